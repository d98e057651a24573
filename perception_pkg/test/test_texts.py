"""Promises of the text reader: what it reads, how sure it is, and what it says of the rest."""

import cv2
import numpy as np
import pytest
import zxingcpp
from perception_pkg.core.regions import Region
from perception_pkg.core.text.fusing import TextFuser, vote
from perception_pkg.core.text.reader import Reading, TextReader

LABEL = Region("label", (84, 54, 236, 116), "text", pattern="LOT-[0-9]{4}")
SQUARE = np.array([(0, 0), (60, 0), (60, 12), (0, 12)], float)


@pytest.fixture(scope="module")
def reader():
    return TextReader(threads=1)


def reading(text, confidence=0.9, odd=None, where=SQUARE, kind="text"):
    """`odd`: position and confidence of one character that is less sure."""
    confidences = [confidence] * len(text)
    if odd is not None:
        confidences[odd[0]] = odd[1]
    return Reading("label", kind, text, tuple(confidences), where)


def test_a_text_is_read_where_it_stands(reader, label_picture):
    (read,) = reader.read(label_picture, LABEL)
    assert (read.region, read.kind, read.text) == ("label", "text", "LOT-4711")
    assert len(read.confidences) == 8 and read.confidence > 0.5
    x, y = read.polygon.mean(0)
    assert 140 < x < 190 and 75 < y < 100


@pytest.mark.parametrize(
    ("symbol", "kind"),
    [("QRCode", "qr"), ("DataMatrix", "datamatrix"), ("Code128", "code128")],
)
def test_codes_are_read_where_they_stand(reader, symbol, kind):
    code = zxingcpp.create_barcode("P-0815", getattr(zxingcpp.BarcodeFormat, symbol))
    bars = np.array(code.to_image(scale=3))
    image = np.full((220, 420, 3), 230, np.uint8)
    image[40 : 40 + bars.shape[0], 50 : 50 + bars.shape[1]] = bars[..., None]
    (read,) = reader.read(image, Region("code", (30, 20, 410, 210), "text", codes=(kind,)))
    assert (read.kind, read.text) == (kind, "P-0815")
    x, y = read.polygon.mean(0)
    assert abs(x - 50 - bars.shape[1] / 2) < 8
    assert 40 < y < 40 + bars.shape[0]  # of a bar code, one line of it
    assert reader.read(image, Region("code", (30, 20, 410, 210), "text", codes=("aztec",))) == []


def test_nothing_is_read_on_an_empty_region_and_it_says_so(reader, label_picture):
    region = Region("corner", (0, 150, 80, 230), "text")
    assert reader.read(label_picture, region) == []
    (text,) = TextFuser(region).update([])
    assert not text.readable and text.reason == "no text or code found"


def test_a_smeared_text_is_flagged(reader, label_picture):
    smeared = cv2.blur(label_picture, (25, 9))
    texts = TextFuser(LABEL).update(reader.read(smeared, LABEL))
    assert not any(text.readable and text.matches for text in texts)


def test_pictures_vote_and_the_majority_is_right():
    readings = [reading("LOT-4711"), reading("LOT-4717", odd=(7, 0.5)), reading("LOT-4711")]
    text, confidences = vote(readings)
    assert text == "LOT-4711"
    assert confidences[7] < confidences[0] == pytest.approx(0.9)


def test_a_lost_character_does_not_shift_the_others():
    assert vote([reading("LOT-4711"), reading("LOT471"), reading("LOT-4711")])[0] == "LOT-4711"


def test_an_uncertain_character_makes_a_text_unreadable_and_is_named():
    (text,) = TextFuser(LABEL).update([reading("LOT-4711", odd=(6, 0.3))])
    assert not text.readable and text.reason == "'LOT-4711' is uncertain: '1' with 0.30"


def test_a_text_of_another_pattern_is_readable_and_does_not_match():
    (text,) = TextFuser(LABEL).update([reading("LOT-47X1")])
    assert text.readable and not text.matches
    assert text.reason == "'LOT-47X1' does not have the pattern 'LOT-[0-9]{4}'"


def test_two_lines_are_two_texts_and_are_fused_apart():
    below = SQUARE + (0, 20)
    fuser = TextFuser(Region("label", (0, 0, 100, 60), "text"))
    for _ in range(3):
        texts = fuser.update([reading("M3"), reading("LOT-4711", where=below)])
    assert [(t.text, t.reads) for t in texts] == [("M3", 3), ("LOT-4711", 3)]


def test_lines_of_a_label_that_moves_are_not_mixed_up():
    fuser = TextFuser(Region("label", (0, 0, 100, 90), "text"))
    for y in (40, 30, 20, 10, 0):  # from picture to picture, half a line
        upper, lower = SQUARE + (0, y), SQUARE + (0, y + 20)
        texts = fuser.update([reading("VJ-3347", where=upper), reading("L45-8377", where=lower)])
    assert [(t.text, t.reads) for t in texts] == [("VJ-3347", 5), ("L45-8377", 5)]
    assert all(text.readable for text in texts)


def test_a_text_is_kept_for_a_moment_and_then_forgotten():
    fuser = TextFuser(LABEL, window=3)
    fuser.update([reading("LOT-4711")])
    assert fuser.update([])[0].text == "LOT-4711"
    fuser.update([])
    assert fuser.update([])[0].text == ""


def test_after_a_pause_or_a_clock_that_went_back_a_text_is_forgotten():
    for later_s, expected in ((1.5, "LOT-4711"), (3600.0, ""), (-5.0, "")):
        fuser = TextFuser(LABEL)
        fuser.update([reading("LOT-4711")], 100.0)
        assert fuser.update([], 100.0 + later_s)[0].text == expected


def test_the_next_part_brings_its_own_text():
    fuser = TextFuser(LABEL, window=6)
    for _ in range(4):
        fuser.update([reading("LOT-4711")])
    for _ in range(3):
        fuser.update([])
    assert fuser.update([reading("LOT-4712")])[0].text == "LOT-4712"
