"""Promises of the station's plans: what is done in a cycle, in which order, and where it ends."""

from dataclasses import replace

import numpy as np
import pytest
from vjepa_sim.core.station import layout
from vjepa_sim.core.station.faults import DEFECT_KINDS, KINDS, FaultError, Restock
from vjepa_sim.core.station.parts import place_in_bin
from vjepa_sim.core.station.procedure import STEPS, allowed
from vjepa_sim.core.station.script import write_script
from vjepa_sim.core.station.station import Station


def names(plan):
    return [step.step for step in plan.steps]


def script(plan, seed=0):
    return write_script(plan, np.random.default_rng(seed))


def test_correct_cycles_take_every_branch_and_only_those():
    orders = {tuple(names(Station(3).plan(i, None))) for i in range(60)}
    assert all(allowed(list(order)) for order in orders)
    assert len(orders) == 4  # the optional step or not, times M3 or M4 first
    assert max(orders, key=len) in {STEPS, (*STEPS[:3], "screw_m4", "screw_m3", *STEPS[5:])}


@pytest.mark.parametrize("kind", ["wrong_order", "skipped_step", "repeated_step"])
def test_a_fault_of_order_is_no_correct_cycle(kind):
    for i in range(40):
        plan = Station(i).plan(i, kind)
        assert not allowed(names(plan)), names(plan)


def test_the_order_of_other_faults_is_correct():
    for kind in set(KINDS) - {"wrong_order", "skipped_step", "repeated_step"}:
        for i in range(10):
            assert allowed(names(Station(i).plan(i, kind))), kind


def test_steps_follow_each_other_without_overlap():
    for i in range(20):
        made = script(Station(i).plan(i), i)
        times = [t for s in made.segments for t in (s.begin_s, s.end_s)]
        assert times == sorted(times)
        assert made.duration_s > times[-1]


@pytest.mark.parametrize("kind", ["screw_m3", "screw_m4", "peg"])
@pytest.mark.parametrize("into", [True, False])
def test_the_hand_brings_a_part_into_its_bin_or_takes_a_spare_one_out(kind, into):
    restock = Restock(kind, into, seed=3)
    made = script(replace(Station(3).plan(0, None), restock=restock))
    c, end_s = made.choreography, made.restocked_s
    assert 3.0 < end_s <= made.segments[0].begin_s
    bins = [place_in_bin(f"{kind}_{i}") for i in range(len(layout.BIN_PLACES[kind]))]

    def standing(t):
        """Names of the parts in the bin that nobody holds."""
        poses = {p.name: c.pose(p.name, t) for p in made.parts if not c.holder(p.name, t)}
        apart = {n: min(np.linalg.norm(p.point - b.point) for b in bins) for n, p in poses.items()}
        return {name for name, distance in apart.items() if distance < 2 * layout.MM}

    before, after = standing(0.0), standing(end_s)
    more, fewer = (after, before) if into else (before, after)
    (moved,) = more - fewer
    assert fewer < more and moved not in made.taken
    assert "hand" in {c.holder(moved, t) for t in np.arange(0.0, end_s, 0.1)}


def test_restocking_comes_before_as_many_cycles_as_asked_and_changes_no_step():
    station, plain = Station(3, restock_share=0.3), Station(3)
    plans = [station.plan(i) for i in range(200)]
    assert 40 < sum(plan.restock is not None for plan in plans) < 80
    assert [replace(plan, restock=None) for plan in plans] == [plain.plan(i) for i in range(200)]


def test_cycles_take_as_long_as_people_need_and_never_the_same():
    durations = [script(Station(5).plan(i, None), i).duration_s for i in range(60)]
    assert min(durations) > 24.0 and max(durations) < 48.0
    assert np.std(durations) > 2.0


def test_a_step_done_too_fast_is_faster_than_any_correct_one():
    def shortest(kind):
        found = []
        for i in range(40):
            made = script(Station(i).plan(0, kind, "screw_m3" if kind else ""), i)
            found += [s.end_s - s.begin_s for s in made.segments if s.step == "screw_m3"]
        return found

    assert max(shortest("too_fast")) < 0.8 * min(shortest(None))


def test_everything_ends_where_it_belongs():
    made = script(Station(2).plan(0, None))
    c, end = made.choreography, made.duration_s
    held = {part.name for part in made.parts if c.holder(part.name, end) == "base"}
    kinds = sorted(part.kind for part in made.parts if part.name in held)
    assert kinds == ["cover", "peg", "screw_m3", "screw_m4"]
    base = c.pose("base", end)
    assert base.yaw == pytest.approx(-0.5 * np.pi)
    assert np.linalg.norm(base.point - layout.HANDED_OVER) < 0.06


def test_a_screw_stands_in_its_hole_after_the_base_is_turned():
    made = script(Station(2).plan(0, None))
    screw = next(name for name in made.taken if name.startswith("screw_m3"))
    t = next(s.begin_s for s in made.segments if s.step == "place_cover")
    c = made.choreography
    expected = c.pose("base", t).times(
        layout.PlanarPose(*layout.HOLES["screw_m3"][0], layout.BASE_SIZE[2])
    )
    np.testing.assert_allclose(c.pose(screw, t).point, expected.point, atol=1e-9)


def test_a_dropped_part_falls_with_gravity_and_is_used_after_all():
    for step in ("place_base", "screw_m3", "insert_peg"):
        made = script(Station(4).plan(0, "dropped_part", step))
        c, (dropped_s, part) = made.choreography, made.choreography.drops[0]
        heights = [c.pose(part, dropped_s + dt).z for dt in (0.0, 0.03, 0.06)]
        fallen = heights[0] - np.array(heights[1:])
        np.testing.assert_allclose(fallen, 0.5 * 9.81 * np.array([0.03, 0.06]) ** 2, atol=1e-3)
        assert c.holder(part, made.duration_s) == ("hand" if part == "base" else "base")


def test_faulty_cycles_go_through_the_kinds_in_turn():
    plans = [Station(9, KINDS, 1.0).plan(i) for i in range(2 * len(KINDS))]
    kinds = [plan.faults[0].kind for plan in plans]
    assert sorted(kinds[: len(KINDS)]) == sorted(kinds[len(KINDS) :]) == sorted(KINDS)
    halves = [bool(Station(9).plan(i).faults) for i in range(40)]
    assert sum(halves[:20]) == sum(halves[20:]) == 10


@pytest.mark.parametrize(
    ("kind", "detail", "reason"),
    [
        ("dropped", "", "there is no fault dropped; known: wrong_order"),
        ("defective_part", "dent", f"possible: {', '.join(DEFECT_KINDS)}"),
        ("skipped_step", "hand_over", "cannot have the detail 'hand_over'"),
    ],
)
def test_a_fault_that_does_not_exist_is_refused(kind, detail, reason):
    with pytest.raises(FaultError, match=reason):
        Station(0).plan(0, kind, detail)
