"""Promises of the tracker, and of telling apart what differs only in size."""

import numpy as np
import pytest
from perception_pkg.core.detection.boxes import Found, overlaps, suppress
from perception_pkg.core.detection.pauses import FORGET_S, forget_after
from perception_pkg.core.detection.size_rule import UNKNOWN, SizePair, fit, size_of
from perception_pkg.core.detection.tracking import Tracker

CLASSES = ("m3", "m4", "base")
PAIR = SizePair("m3", "m4", doubt=1.0)


def found(x, y, side=10.0, scores=(0.0, 0.0, 0.9)):
    box = np.array([x - side / 2, y - side / 2, x + side / 2, y + side / 2], float)
    return Found(box, np.array(scores, np.float32), int(np.argmax(scores)), max(scores))


def test_parts_that_cross_keep_their_numbers():
    tracker = Tracker(CLASSES)
    numbers = []
    for step in range(12):
        left, right = 10 + 8 * step, 98 - 8 * step
        parts = tracker.update([found(left, 20), found(right, 28)])
        numbers.append([part.track for part in parts])
    assert numbers == [[0, 1]] * 12


def test_a_part_that_is_hidden_for_a_moment_keeps_its_number_and_for_long_does_not():
    tracker = Tracker(CLASSES, keep=3)
    first = tracker.update([found(20, 20)])[0].track
    for _ in range(3):
        tracker.update([])
    assert tracker.update([found(21, 20)])[0].track == first
    for _ in range(4):
        tracker.update([])
    assert tracker.update([found(21, 20)])[0].track != first


def test_after_a_pause_or_a_clock_that_went_back_all_tracks_are_new():
    for later_s, new in ((1.5, False), (3600.0, True), (-5.0, True)):
        tracker = Tracker(CLASSES, [PAIR])
        for frame in range(9):
            tracker.update([found(20, 20, scores=(0.9, 0.05, 0.0))], 100.0 + 0.1 * frame)
        (part,) = tracker.update([found(20, 20, scores=(0.05, 0.9, 0.0))], 100.8 + later_s)
        assert (part.track, part.name) == ((1, "m4") if new else (0, "m3"))


def test_who_looks_rarely_does_not_forget_between_pictures():
    assert forget_after(10.0) == FORGET_S
    assert forget_after(0.2) == pytest.approx(12.5)


def test_another_class_at_the_same_place_is_another_part():
    tracker = Tracker(CLASSES)
    tracker.update([found(20, 20)])
    assert tracker.update([found(20, 20, scores=(0.9, 0.0, 0.0))])[0].track == 1


def test_a_doubtful_size_is_unknown_until_pictures_agree():
    tracker = Tracker(CLASSES, [PAIR])
    doubtful = tracker.update([found(20, 20, scores=(0.55, 0.45, 0.0))])[0]
    assert doubtful.name == UNKNOWN
    assert doubtful.candidates == ("m3", "m4")
    for _ in range(5):
        part = tracker.update([found(20, 20, scores=(0.9, 0.05, 0.0))])[0]
    assert (part.name, part.track) == ("m3", 0)


def test_one_odd_picture_does_not_rename_a_part():
    tracker = Tracker(CLASSES, [PAIR])
    for _ in range(10):
        tracker.update([found(20, 20, scores=(0.9, 0.05, 0.0))])
    assert tracker.update([found(20, 20, scores=(0.2, 0.7, 0.0))])[0].name == "m3"


def test_a_part_that_is_partly_hidden_tells_nothing_of_its_size():
    tracker = Tracker(CLASSES, [SizePair("m3", "m4", 0.0, -1.0, 10.0, 1.0)], mm_per_px=1.0)
    for _ in range(3):
        part = tracker.update([found(20, 20, 13.0, (0.5, 0.5, 0.0))])[0]
    assert part.name == "m4"
    assert tracker.update([found(20, 20, 7.0, (0.5, 0.5, 0.0))])[0].name == "m4"


def test_what_looked_large_while_it_was_carried_is_named_by_how_it_looks_at_rest():
    tracker = Tracker(CLASSES, [SizePair("m3", "m4", 0.0, -1.0, 10.0, 1.0)], mm_per_px=1.0)
    for x in range(20, 60, 4):
        assert tracker.update([found(x, 20, 13.0, (0.5, 0.5, 0.0))])[0].name == "m4"
    tracker.update([found(60, 20, 11.0, (0.5, 0.5, 0.0))])
    part = tracker.update([found(60, 20, 8.5, (0.5, 0.5, 0.0))])[0]
    assert (part.name, part.track) == ("m3", 0)


def test_an_elongated_box_tells_nothing_of_the_size():
    assert size_of(np.array([0.0, 0.0, 10.0, 12.0]), 0.5) == 6.0
    assert size_of(np.array([0.0, 0.0, 10.0, 13.0]), 0.5) is None
    assert size_of(np.array([0.0, 0.0, 10.0, 10.0]), 0.0) is None


def test_sizes_are_in_millimetres_only_where_the_camera_is_calibrated():
    assert Tracker(CLASSES).update([found(20, 20)])[0].size_mm is None
    assert Tracker(CLASSES, mm_per_px=0.5).update([found(20, 20)])[0].size_mm == (5.0, 5.0)


@pytest.mark.parametrize("calibrated", [True, False])
def test_the_fitted_rule_names_few_wrong_and_says_unknown_in_between(calibrated):
    rng = np.random.default_rng(0)
    is_first = rng.random(2000) < 0.5
    odds = np.where(is_first, 1.0, -1.0) + rng.normal(0, 1.2, 2000)
    sizes = np.where(is_first, 6.9, 9.4) + rng.normal(0, 0.5, 2000)
    pair = fit(("m3", "m4"), odds, sizes if calibrated else None, is_first, confusion=0.005)
    names = [
        pair.decide(pair.score_weight * o + pair.size_weight * s + pair.offset)
        for o, s in zip(odds, sizes)
    ]
    wrong = np.mean([n == ("m4" if first else "m3") for n, first in zip(names, is_first)])
    unknown = np.mean([n == UNKNOWN for n in names])
    assert wrong <= 0.005
    assert unknown < 0.05 if calibrated else 0.05 < unknown < 0.9


def test_one_class_alone_cannot_be_fitted():
    with pytest.raises(ValueError, match="m3 and of m4 are needed"):
        fit(("m3", "m4"), [1.0, 2.0], None, [True, True])


def test_of_boxes_on_one_part_the_most_confident_stays():
    boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [20, 0, 30, 10]], float)
    assert suppress(boxes, np.array([0.5, 0.9, 0.4]), 0.6) == [1, 2]
    assert overlaps(boxes, boxes)[0, 1] == pytest.approx(90 / 110)
