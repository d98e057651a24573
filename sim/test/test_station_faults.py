"""Promises of the time stamps: each fault can be seen at its stamp, and not before."""

from functools import cache

import numpy as np
import pytest
from vjepa_sim.core.station.evidence import STILL_S
from vjepa_sim.core.station.faults import KINDS
from vjepa_sim.core.station.script import write_script
from vjepa_sim.core.station.station import Station

SEED = 5
LEAD_S = 1.7  # filmed before the fault begins


@cache
def witnessed(kind, detail=""):
    """The cycle, its event and the frames from a little before the fault to a little after."""
    station = Station(SEED)
    cycle = station.cycle(0, station.plan(0, kind, detail))
    begin_s = cycle.events()[0].begin_s
    frames, after = [], 5
    for index in range(max(int((begin_s - LEAD_S) * cycle.fps), 0), cycle.frames_count):
        frames.append(cycle.frame(index))
        after -= cycle.events()[0].visible_s is not None
        if not after:
            break
    cycle.close()
    return cycle, cycle.events()[0], frames


def at(frames, t):
    return min(frames, key=lambda frame: abs(frame.t - t))


def box(frame, name):
    return next((b for b in frame.boxes if b.name == name), None)


@pytest.mark.parametrize("kind", KINDS)
def test_every_fault_becomes_visible_after_it_began_and_at_a_frame(kind):
    cycle, event, _ = witnessed(kind)
    assert event.kind == kind and event.visible_s is not None
    assert event.begin_s <= event.visible_s <= event.end_s + 1.0
    assert event.visible_s * cycle.fps == pytest.approx(round(event.visible_s * cycle.fps))


@pytest.mark.parametrize("kind", ["wrong_order", "skipped_step", "repeated_step", "wrong_part"])
def test_the_part_of_the_step_is_seen_to_move_at_the_stamp_and_rests_before(kind):
    cycle, event, frames = witnessed(kind)
    part = cycle.script.taken[cycle.plan.faults[0].at]
    boxes = {f.t: box(f, part) for f in frames if event.begin_s <= f.t <= event.visible_s}
    seen = boxes.pop(event.visible_s)
    before = [b.xyxy for b in boxes.values() if b is not None and b.visible > 0.95]
    assert seen.visible >= 0.3
    # The edges of what rests stay where they are until something covers them.
    assert len(before) == 0 or np.ptp(np.array(before), axis=0).max() <= 8
    assert len(before) == 0 or np.abs(np.subtract(seen.xyxy, before[0])).max() >= 2


def test_a_label_not_read_shows_when_the_product_leaves_and_not_when_it_is_lifted():
    cycle, event, frames = witnessed("skipped_step", "read_label")
    assert box(at(frames, event.visible_s), "cover").xyxy[0] == 0
    lifted = [f for f in frames if event.begin_s + 1.0 < f.t < event.visible_s]
    assert lifted and all(box(f, "cover").xyxy[0] > 0 for f in lifted)


def test_a_label_read_twice_shows_when_it_is_held_up_again():
    cycle, event, frames = witnessed("repeated_step", "read_label")
    assert any(text.legible for text in at(frames, event.visible_s).texts)
    between = [f for f in frames if event.begin_s <= f.t < event.visible_s]
    assert between and not any(text.legible for f in between for text in f.texts)


def test_the_wrong_screw_is_in_the_wrong_bin_and_lands_in_the_hole():
    cycle, event, _ = witnessed("wrong_part", "screw_m3")
    part = cycle.script.taken[cycle.plan.faults[0].at]
    assert part.startswith("screw_m3")
    kinds = {p.name: p.kind for p in cycle.script.parts}
    assert kinds[part] == "screw_m4"
    assert cycle.script.choreography.holder(part, event.end_s) == "base"


def test_at_the_stamp_of_a_hesitation_nothing_has_moved_for_a_while():
    cycle, event, frames = witnessed("hesitation")
    still = [f for f in frames if event.visible_s - 1.45 <= f.t <= event.visible_s]
    assert len(still) >= 15
    for name in ("hand", "tool"):
        boxes = np.array([box(f, name).xyxy for f in still if box(f, name)])
        assert len(boxes) == 0 or np.ptp(boxes, axis=0).max() <= 4
    actor = "tool" if event.step.startswith(("screw", "insert")) else "hand"
    moving = [box(f, actor) for f in frames if event.begin_s - 0.6 < f.t <= event.begin_s]
    assert np.ptp(np.array([b.xyxy for b in moving if b]), axis=0).max() > 10


def test_a_correct_cycle_stands_still_only_to_have_the_label_read():
    for seed in range(30):
        made = write_script(Station(seed).plan(0, None), np.random.default_rng(seed))
        times = np.arange(0.0, made.segments[-1].end_s, 0.1)
        pose = made.choreography.pose
        ways = [np.array([pose(actor, t).point for t in times]) for actor in ("hand", "tool")]
        steps = np.max([np.linalg.norm(np.diff(way, axis=0), axis=1) for way in ways], axis=0)
        still = longest = 0
        for t, step in zip(times[1:], steps):
            reading = any(
                s.begin_s <= t <= s.end_s for s in made.segments if s.step == "read_label"
            )
            still = 0 if step > 0.4e-3 or reading else still + 1
            longest = max(longest, still)
        assert 0.1 * longest < STILL_S, seed


def test_a_step_too_fast_outruns_the_same_step_of_a_correct_cycle():
    cycle, event, frames = witnessed("too_fast")
    actor = "tool" if event.step.startswith(("screw", "insert")) else "hand"
    seen = [box(f, actor) for f in frames if event.begin_s <= f.t <= event.visible_s + 0.2]
    centres = np.array([b.centre for b in seen if b])
    assert (
        np.linalg.norm(np.diff(centres, axis=0), axis=1).max() > 8
    )  # pixels in a tenth of a second


@pytest.mark.parametrize("step", ["place_base", "screw_m4", "insert_peg"])
def test_a_dropped_part_leaves_its_grip_at_the_stamp(step):
    cycle, event, frames = witnessed("dropped_part", step)
    part = cycle.script.taken[cycle.plan.faults[0].at]
    actor = "hand" if part == "base" else "tool"

    def away(frame):
        return box(frame, part).centre - np.array(box(frame, actor).xyxy)[[0, 3]]

    before = at(frames, event.begin_s - 0.05)
    seen = at(frames, event.visible_s)
    assert np.linalg.norm(away(seen) - away(before)) > 3
    assert event.visible_s - event.begin_s < 0.35


@pytest.mark.parametrize("detail", ["scratch", "crack", "missing_corner"])
def test_a_defect_covers_pixels_of_the_part_at_the_stamp(detail):
    _, event, frames = witnessed("defective_part", detail)
    areas = {f.t: 0 if f.mask is None else int((f.mask > 0).sum()) for f in frames}
    largest = max(areas.values())
    assert areas[event.visible_s] > 0.5 * largest > 20
    assert all(area < 0.7 * largest for t, area in areas.items() if t < event.visible_s)


@pytest.mark.parametrize("kind", ["wrong_label", "unreadable_label"])
def test_a_label_can_be_judged_at_the_stamp(kind):
    cycle, event, frames = witnessed(kind)
    texts = at(frames, event.visible_s).texts
    assert any(text.legible for text in texts)
    assert any(text.readable for text in texts) == (kind == "wrong_label")
    assert not any(t.legible for f in frames if f.t < event.visible_s for t in f.texts)
    if kind == "wrong_label":
        assert event.detail["product"] in {text.text for text in texts}


@pytest.mark.parametrize("detail", ["nut", "wrench", "coin", "clip"])
def test_a_foreign_object_shows_pixels_at_the_stamp_and_none_before_it_came(detail):
    cycle, event, frames = witnessed("foreign_object", detail)
    index = cycle.names.index("foreign")
    pixels = {f.t: int((f.objects == index).sum()) for f in frames}
    assert pixels[event.visible_s] > 100
    assert all(count == 0 for t, count in pixels.items() if t < event.begin_s)
