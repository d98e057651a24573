"""Promises of the station's pictures: camera, boxes, sizes, labels and defects are what is seen."""

from functools import cache

import cv2
import numpy as np
import pytest
import zxingcpp
from vjepa_sim.core.station import layout
from vjepa_sim.core.station.station import Station
from vjepa_sim.core.station.world import SolidsWorld


@cache
def film(seed, kind, step, after_s, detail=""):
    """Station, cycle and the second of two frames, `after_s` after `step` began."""
    station = Station(seed)
    cycle = station.cycle(0, station.plan(0, kind, detail))
    index = int((next(s.begin_s for s in cycle.segments if s.step == step) + after_s) * cycle.fps)
    cycle.frame(index - 1)
    frame = cycle.frame(index)
    cycles.append(cycle)
    return station, cycle, frame


cycles = []


@pytest.fixture(scope="module", autouse=True)
def worlds():
    """Frees the worlds of all that was filmed."""
    yield
    film.cache_clear()
    for cycle in cycles:
        cycle.close()


def presented(seed, kind=None, detail=""):
    """The label held up, as `film` gives it."""
    station = Station(seed)
    plan = station.plan(0, kind, detail)
    cycle = station.cycle(0, plan)
    cycle.close()
    segment = next(s for s in cycle.segments if s.step == "read_label")
    return film(seed, kind, "read_label", segment.end_s - segment.begin_s - 0.6, detail)


@pytest.mark.parametrize("seed", [1, 2])
def test_the_camera_projects_parts_to_where_the_picture_shows_them(seed):
    station, cycle, frame = film(seed, None, "place_base", 0.5)
    poses = cycle.poses(frame.t)
    for box in frame.boxes:
        if box.kind in layout.HEAD_DIAMETER and box.visible > 0.97:
            ring = np.array([[x, y, 0.0] for x in (-1, 1) for y in (-1, 1)]) * 1e-9
            head = [0.0, 0.0, layout.HEAD_HEIGHT]
            seen = cycle.scene.project(poses[box.name], ring + head).mean(axis=0)
            column = 0.5 * (box.xyxy[0] + box.xyxy[2] - 1)
            assert abs(column - seen[0]) < 1.0, box


def test_mm_per_px_measures_the_heads_of_screws_and_tells_m3_from_m4():
    widths = {"screw_m3": [], "screw_m4": []}
    for seed in (1, 2):
        station, _, frame = film(seed, None, "place_base", 0.5)
        scale = station.describe()["mm_per_px"]["screw_heads"]
        for box in frame.boxes:
            if box.kind in widths and box.visible > 0.97:
                widths[box.kind].append((box.xyxy[2] - box.xyxy[0]) * scale)
    for kind, seen in widths.items():
        assert len(seen) >= 4
        assert np.mean(seen) == pytest.approx(1e3 * layout.HEAD_DIAMETER[kind], abs=0.6)
    assert min(widths["screw_m4"]) - max(widths["screw_m3"]) > 1.0


def test_boxes_enclose_exactly_the_pixels_of_their_object():
    for args in ((1, None, "screw_m3", 2.0), (2, None, "rotate_part", 1.5)):
        _, cycle, frame = film(*args)
        assert {"base", "hand" if args[2] == "rotate_part" else "tool"} <= {
            box.name for box in frame.boxes
        }
        for box in frame.boxes:
            rows, columns = np.nonzero(frame.objects == cycle.names.index(box.name))
            x0, y0, x1, y1 = box.xyxy
            assert (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) == (
                x0,
                y0,
                x1,
                y1,
            )
            assert 0.0 < box.visible <= 1.0


def test_visible_share_is_that_of_the_object_without_what_hides_it():
    _, cycle, frame = film(2, None, "rotate_part", 1.5)
    base = next(box for box in frame.boxes if box.name == "base")
    assert base.visible < 0.97  # the hand is on it
    poses = cycle.poses(frame.t)
    away = {**poses, "hand": layout.PlanarPose(0.0, -0.4, 0.02)}
    alone = cycle.scene.render(away, frame.t).objects == cycle.names.index("base")
    seen = frame.objects == cycle.names.index("base")
    assert base.visible == pytest.approx(seen.sum() / alone.sum(), abs=0.04)


def test_windows_drawn_again_give_the_picture_drawn_at_once():
    station = Station(1)
    pictures = []
    for first in (0, 40):  # the second cycle starts with the frame that the first comes to
        cycle = station.cycle(0, station.plan(0, None))
        for index in (*range(first, 40, 8), 40):
            objects = cycle.frame(index).objects
        pictures.append(objects)
        cycle.close()
    assert (pictures[0] != pictures[1]).mean() < 1e-3


def test_a_world_used_again_gives_the_pictures_of_a_new_one():
    station, world = Station(1), SolidsWorld()
    for index in (0, 1, 0):
        again = station.cycle(index, world=world)
        pictures = [again.frame(i).image for i in (0, 30, 60)]
        again.close()
    new = station.cycle(0)
    for i, picture in zip((0, 30, 60), pictures):
        np.testing.assert_array_equal(new.frame(i).image, picture)
    new.close()
    world.close()


@pytest.mark.parametrize("seed", [1, 2])  # a DataMatrix and a QR code
def test_the_label_held_up_can_be_read(seed):
    station, cycle, frame = presented(seed)
    x0, y0, x1, y1 = station.regions()["label"]
    codes = zxingcpp.read_barcodes(np.ascontiguousarray(frame.image[y0:y1, x0:x1]))
    assert [code.text for code in codes] == [cycle.plan.label.code]
    assert {text.text for text in frame.texts} == {
        cycle.plan.label.product,
        cycle.plan.label.lot,
        cycle.plan.label.code,
    }
    assert all(text.readable for text in frame.texts)
    for text in frame.texts:
        corners = np.array(text.polygon)
        assert (corners >= [x0, y0]).all() and (corners <= [x1, y1]).all()
        inside = np.zeros(frame.image.shape[:2], np.uint8)
        cv2.fillConvexPoly(inside, corners.round().astype(np.int32), 1)
        print_share = (frame.image[..., 0][inside > 0] < 110).mean()
        assert 0.15 < print_share < 0.7  # ink, and paper


@pytest.mark.parametrize("how", ["smeared", "scribbled", "blank"])
def test_an_unreadable_label_is_flagged_and_cannot_be_read(how):
    station, _, frame = presented(2, "unreadable_label", how)
    x0, y0, x1, y1 = station.regions()["label"]
    assert frame.texts and not any(text.readable for text in frame.texts)
    assert not zxingcpp.read_barcodes(np.ascontiguousarray(frame.image[y0:y1, x0:x1]))


@pytest.mark.parametrize("kind", ["scratch", "crack", "missing_corner"])
def test_the_mask_of_a_defect_is_where_the_picture_differs_from_a_sound_part(kind):
    station, cycle, frame = film(1, "defective_part", "screw_m3", 0.2, kind)
    assert cycle.plan.defect.part == "base"
    _, _, sound = film(1, None, "screw_m3", 0.2)
    assert frame.defect is not None and frame.defect.visible > 0.9
    inside = frame.mask > 0
    x0, y0, x1, y1 = station.regions()["fixture"]
    difference = np.abs(frame.image.astype(int) - sound.image).sum(axis=2)
    near = cv2.dilate(inside.astype(np.uint8), np.ones((7, 7))) > 0
    elsewhere = ~near
    elsewhere[:y0] = elsewhere[y1:] = elsewhere[:, :x0] = elsewhere[:, x1:] = False
    assert difference[inside].mean() > 60
    assert difference[elsewhere].mean() < 15
    rows, columns = np.nonzero(inside)
    assert frame.defect.xyxy == (
        columns.min(),
        rows.min(),
        columns.max() + 1,
        rows.max() + 1,
    )
    scale = station.describe()["mm_per_px"]["base_top"]
    assert inside.sum() * scale**2 == pytest.approx(frame.defect.area_mm2, rel=0.25)
