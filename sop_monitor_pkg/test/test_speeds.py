"""How fast parts are moved, and what that says about a step done too fast."""

from dataclasses import replace

import numpy as np
import pytest
import small_work
from small_work import PROCEDURE, part
from sop_monitor_pkg.core.following.follower import CycleFollower
from sop_monitor_pkg.core.following.scores import CycleScores
from sop_monitor_pkg.core.recognition.phases import Segment
from sop_monitor_pkg.core.tracks import speeds
from sop_monitor_pkg.core.tracks.sightings import Sighting


def moved(speed, begin_s=1.0, rate_hz=5.0, count=1, jitter=0.0, rng=None):
    """Four seconds in which parts move for 0.6 s from `begin_s` on [picture widths per s]."""
    found = []
    for time_s in np.arange(0.0, 4.0, 1.0 / rate_hz):
        x = 0.2 + speed * float(np.clip(time_s - begin_s, 0.0, 0.6))
        y = 0.5 + (rng.normal(scale=jitter) if rng else 0.0)
        track = 1 if time_s < begin_s + 0.3 else 2  # it is lost, and found again
        parts = [part("nut_m3", track + 5 * i, x, y + 0.2 * i) for i in range(count)]
        found.append(Sighting(float(time_s), tuple(parts)))
    return found


def watched(sightings):
    watch = speeds.SpeedWatch(["nut_m3"])
    for sighting in sightings:
        watch.take(sighting.parts, sighting.time_s)
    return watch


@pytest.mark.parametrize("rate_hz", [5.0, 10.0])
def test_the_highest_speed_is_found_however_often_the_eyes_look(rate_hz):
    watch = watched(moved(0.5, rate_hz=rate_hz))
    assert watch.peak(0.0, 4.0) == pytest.approx(0.5)
    assert watch.peak(2.5, 4.0) == pytest.approx(0.0)


def test_of_two_parts_of_a_class_nobody_knows_which_went_where():
    assert watched(moved(0.5, count=2)).peak(0.0, 4.0) == 0.0


def test_what_was_out_of_sight_has_no_speed():
    gone = [s for s in moved(0.5) if not 0.9 < s.time_s < 1.7]
    assert watched(gone).peak(0.0, 4.0) == pytest.approx(0.0)


def learned(jitter=0.0):
    rng = np.random.default_rng(0)
    cycles = [
        (moved(speed, jitter=jitter, rng=rng), [Segment("turn", 0.0, 4.0)])
        for speed in rng.uniform(0.4, 0.5, 20)
    ]
    return speeds.learn(cycles, ["nut_m3"], small_work.STEPS)


def test_only_speeds_beyond_all_usual_ones_are_excess():
    known = learned()
    turn = small_work.STEPS.index("turn")
    assert known.excess(turn, 0.55) == 0.0 < known.excess(turn, 0.9)
    assert known.excess(small_work.STEPS.index("put"), 9.9) == 0.0  # it was never done


@pytest.mark.parametrize("seen_in", [0, 1, 19])
def test_in_a_step_whose_parts_are_not_always_seen_to_move_no_speed_is_excess(seen_in):
    cycles = [(moved(0.5 if i < seen_in else 0.0), [Segment("turn", 0.0, 4.0)]) for i in range(20)]
    known = speeds.learn(cycles, ["nut_m3"], small_work.STEPS)
    assert known.excess(small_work.STEPS.index("turn"), 0.9) == 0.0


@pytest.mark.parametrize("speed, factor", [(0.45, 1.0), (1.5, 2.0)])
def test_a_short_step_in_which_a_part_goes_faster_than_ever_is_twice_as_hasty(known, speed, factor):
    normal = replace(known, speeds=learned())
    follower, seen = CycleFollower(PROCEDURE, normal), CycleScores()
    follower._told = [(1, 1.0)]
    for sighting in moved(speed):
        follower._speeds.take(sighting.parts, sighting.time_s)
    deviation = follower._score_haste(2.0, seen)
    assert deviation < -1.0
    assert [score.value for score in seen.scores] == [pytest.approx(-factor * deviation)]
