"""Promises of the models that come with the package, on pictures of a station that no training
saw."""

import numpy as np
import pytest
from perception_pkg.commands.perceive import MODELS
from perception_pkg.core.defects.finder import DefectFinder
from perception_pkg.core.detection.boxes import overlaps
from perception_pkg.core.detection.detector import OnnxDetector
from perception_pkg.core.labels import counts, crop_truth
from perception_pkg.core.recordings import RecordedFrame
from perception_pkg.core.regions import DEFECTS, layout_from
from vjepa_sim.core.station.station import Station

SEED, EVERY = 1000, 4


@pytest.fixture(scope="module")
def station():
    return Station(SEED, fps=1.0)


@pytest.fixture(scope="module")
def frames(station):
    """Ten pictures of a cycle whose base has a crack, and their truth."""
    cycle = station.cycle(0, station.plan(0, "defective_part", "crack"))
    filmed = [cycle.frame(index) for index in range(0, cycle.frames_count, EVERY)]
    cycle.close()
    return [_with_truth(frame) for frame in filmed]


def _with_truth(frame):
    boxes = [{"class": b.kind, "xyxy": b.xyxy, "visible": b.visible} for b in frame.boxes]
    mask = np.zeros(frame.image.shape[:2], np.uint8) if frame.mask is None else frame.mask
    return RecordedFrame("cycle_0000", frame.index, frame.t, frame.image, {"boxes": boxes}, mask)


def test_the_shipped_detector_finds_the_parts(frames):
    detector = OnnxDetector(MODELS / "station_detector")
    hits = []
    for frame in frames:
        found = detector.find(frame.image)
        boxes = np.stack([item.box for item in found])
        names = np.array([detector.classes[item.best] for item in found])
        for truth in filter(counts, frame.truth["boxes"]):
            shared = overlaps(np.array([truth["xyxy"]], float), boxes)[0]
            hits.append(bool((shared[names == truth["class"]] >= 0.5).any()))
    assert len(hits) > 100
    assert np.mean(hits) > 0.95


def test_the_shipped_detector_finds_what_does_not_belong_there(station):
    detector = OnnxDetector(MODELS / "station_detector")
    cycle = station.cycle(0, station.plan(0, "foreign_object", "wrench"))
    filmed = [cycle.frame(index) for index in range(0, cycle.frames_count, 2)]
    cycle.close()
    hits, elsewhere = [], 0
    for frame in map(_with_truth, filmed):
        found = [i for i in detector.find(frame.image) if detector.classes[i.best] == "foreign"]
        truth = [box["xyxy"] for box in frame.truth["boxes"] if box["class"] == "foreign"]
        if truth:
            boxes = np.array([item.box for item in found]).reshape(-1, 4)
            hits.append(bool((overlaps(np.array(truth, float), boxes) >= 0.3).any()))
        else:
            elsewhere += len(found)
    assert len(hits) >= 4
    assert np.mean(hits) > 0.5 and elsewhere == 0


def test_the_shipped_defect_model_tells_a_cracked_region_from_a_clean_one(station, frames):
    finder = DefectFinder(MODELS / "station_defects")
    layout = layout_from(station.describe(), "station")
    judged = {"crack": [], "free": []}
    kinds = set()
    for frame in frames:
        for region in layout.of(DEFECTS):
            kind, mask = crop_truth(frame, region)
            if kind is None:
                continue
            seen = finder.inspect(frame.image, [region])
            judged[kind].append(seen.defective[0])
            if kind == "crack" and seen.defective[0]:
                kinds.add(max(seen.spots, key=lambda spot: spot.area_px).kind)
                assert (region.crop(seen.mask)[mask > 0] > 0).mean() > 0.5
    assert len(judged["crack"]) >= 5 and np.mean(judged["crack"]) >= 0.8
    assert len(judged["free"]) >= 10 and np.mean(judged["free"]) <= 0.1
    assert kinds == {"crack"}
