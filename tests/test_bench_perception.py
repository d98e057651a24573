"""How `./run bench perception` counts: right, wrong, hidden and doubtful parts, and texts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from benchmarks.perception import (
    TARGETS,
    Tally,
    _count_boxes,
    _count_defects,
    _count_sizes,
    _count_texts,
    _follow_texts,
    _read,
    takes,
)
from perception_pkg.commands.perceive import MODELS
from perception_pkg.core.defects.finder import DefectFinder
from perception_pkg.core.detection.boxes import Found
from perception_pkg.core.detection.tracking import TrackedPart
from perception_pkg.core.recordings import RecordedFrame
from perception_pkg.core.regions import Region
from perception_pkg.core.text.fusing import FusedText, TextFuser
from perception_pkg.core.text.reader import TextReader
from vjepa_sim.core.station.station import Station

CLASSES = ("screw_m3", "screw_m4")


def frame(boxes=(), texts=()):
    truth = {"boxes": list(boxes), "texts": list(texts)}
    return RecordedFrame(
        "cycle_0000", 0, 0.0, np.zeros((8, 8, 3), np.uint8), truth, np.zeros((8, 8))
    )


def box(x, name="screw_m3", visible=1.0):
    return {"class": name, "xyxy": [x, 0, x + 20, 20], "visible": visible}


def found(x, number=0, confidence=0.9):
    scores = np.zeros(2, np.float32)
    scores[number] = confidence
    return Found(np.array([x, 0, x + 20, 20], float), scores, number, confidence)


def part(x, name, candidates=None):
    corners = np.array([x, 0, x + 20, 20], float)
    return TrackedPart(name, candidates or (name,), 0.9, 0, corners, None)


def text(kind, content, readable=True):
    return FusedText("label", kind, content, (), np.zeros((4, 2)), readable, True, "", 1)


def test_exact_boxes_of_the_right_class_are_perfect():
    tally = Tally(CLASSES, ("crack",))
    for _ in range(5):
        _count_boxes(tally, frame([box(0), box(40, "screw_m4")]), [found(0), found(40, 1)])
    assert tally.figures()["detector.map50_95"] == pytest.approx(0.995, abs=0.006)


def test_shifted_boxes_and_wrong_classes_lower_the_average_precision():
    exact, shifted, swapped = (Tally(CLASSES, ("crack",)) for _ in range(3))
    for _ in range(5):
        truth = frame([box(0), box(40, "screw_m4")])
        _count_boxes(exact, truth, [found(0), found(40, 1)])
        _count_boxes(shifted, truth, [found(4), found(44, 1)])  # overlap 2/3
        _count_boxes(swapped, truth, [found(0, 1), found(40, 0)])
    figures = [t.figures()["detector.map50_95"] for t in (exact, shifted, swapped)]
    assert figures[0] > 2 * figures[1] > 0.5
    assert figures[2] == 0.0


def test_a_part_that_is_hardly_visible_neither_counts_nor_makes_a_box_wrong():
    tally = Tally(CLASSES, ("crack",))
    _count_boxes(tally, frame([box(0), box(40, visible=0.1)]), [found(0), found(40)])
    assert len(tally.hits) == len(tally.true_classes) == 1
    _count_boxes(tally, frame([box(0), box(40, visible=0.1)]), [found(0)])
    assert len(tally.true_classes) == 2


def test_sizes_are_right_wrong_or_unknown():
    tally = Tally(CLASSES, ("crack",))
    truth = frame([box(0), box(40, "screw_m4"), box(80), box(120, visible=0.1)])
    parts = [
        part(0, "screw_m3"),
        part(40, "screw_m3"),
        part(80, "unknown", CLASSES),
        part(120, "screw_m4"),
    ]
    _count_sizes(tally, truth, parts, set(CLASSES))
    assert tally.named == {"right": 1, "wrong": 1, "unknown": 1}


def test_a_region_that_is_scored_below_the_threshold_has_no_mask():
    finder = DefectFinder(MODELS / "station_defects")
    shown = RecordedFrame(
        "c", 0, 0.0, np.zeros((64, 96, 3), np.uint8), {}, np.zeros((64, 96), np.uint8)
    )
    shown.mask[20:30, 20:40] = 1
    region = Region("plate", (10, 10, 74, 60), "defects")
    tally = Tally(CLASSES, finder.config.kinds)
    for image_threshold in (0.0, 1.1):
        finder.config = replace(
            finder.config, threshold=0.0, peak=0.0, image_threshold=image_threshold
        )
        _count_defects(tally, shown, region, finder)
    passed, gated = tally.defects.rows
    assert (passed["both"], passed["either"]) == (200, 64 * 50)
    assert (gated["both"], gated["either"]) == (0, 200)
    assert gated["score"] == passed["score"]


def test_reading_is_timed_where_there_is_a_text():
    tally = Tally(CLASSES, ("crack",))
    fuser, reader = TextFuser(Region("label", (0, 0, 8, 8), "text")), TextReader(1)
    _read(tally, frame(), fuser, reader)
    _read(tally, frame(texts=[{"region": "other"}]), fuser, reader)
    assert tally.seconds["text"] == []
    _read(tally, frame(texts=[{"region": "label"}]), fuser, reader)
    assert len(tally.seconds["text"]) == 1


@pytest.mark.parametrize("cycles", [1, 2, 9])
def test_as_many_cycles_of_each_and_labels_of_both_kinds(cycles):
    plan = takes(1000, cycles)
    labels = [take for take in plan if "label" in take.name]
    assert sum(take.count for take in plan) == 3 * cycles
    assert sum(take.count for take in labels) == cycles
    kinds = {Station(take.seed).code_kind for take in labels}
    assert kinds == ({"qr", "datamatrix"} if cycles > 1 else {"qr"})
    assert len({take.name for take in plan}) == len(plan)


def test_texts_are_judged_by_what_the_reading_comes_to():
    good = {"region": "label", "text": "L1", "kind": "text", "readable": True}
    moving = {**good, "readable": False}
    smeared = {"region": "label", "text": "L2", "kind": "text", "readable": False}
    tally = Tally(CLASSES, ("crack",))

    def cycle(*pictures):
        shown = {}
        for truth, read in pictures:
            _follow_texts(shown, frame(texts=[truth]), "label", read)
        _count_texts(tally, shown)

    cycle((moving, []), (good, [text("text", "L7")]), (good, [text("text", "L1")]), (moving, []))
    assert tally.texts["right"] == 1
    cycle((good, [text("text", "L1")]), (good, [text("qr", "L1")]))
    assert tally.texts["wrong"] == 1
    cycle((smeared, [text("text", "L7", readable=False)]))
    cycle((smeared, [text("text", "L2")]))
    assert tally.texts["flagged"] == 2
    cycle((smeared, []), (smeared, [text("text", "L7")]))
    assert tally.texts == {"right": 1, "wrong": 1, "flagged": 2, "not flagged": 1}
    figures = tally.figures()
    assert figures["text.accuracy"] == 0.5 and figures["text.flagged"] == pytest.approx(2 / 3)
    assert set(figures) == set(TARGETS)
