"""Promises of following piece after piece, live."""

from __future__ import annotations

from dataclasses import replace

import pytest
import small_work
from small_work import PROCEDURE, STEPS, cycle, cycles, part
from sop_monitor_pkg.core.alarms.kinds import Kind
from sop_monitor_pkg.core.following.events import (
    AnomalyEvent,
    CycleEnded,
    CycleLost,
    StepBegun,
    StepEnded,
)
from sop_monitor_pkg.core.following.live import LiveFollower
from sop_monitor_pkg.core.normal import model as normal
from sop_monitor_pkg.core.normal.learning import learn


def test_a_cycle_whose_alarms_were_all_false_teaches_and_another_does_not(known, tmp_path):
    """Live: a slow step raises an alarm; called false, the same slowness raises none."""
    follower = LiveFollower(PROCEDURE, known)

    def follow(begin_s: float) -> list[AnomalyEvent]:
        example = cycle(seed=4, slower={"turn": 1.9}, eyes=False)
        stamps = [round((begin_s + time_s) * 1e9) for time_s in example.times_s]
        events = [e for x, t in zip(example.latents, stamps) for e in follower.look(x, t)]
        return [event for event in events if isinstance(event, AnomalyEvent)]

    (first, *_) = follow(100.0)
    follower.raised([(1, first.stamp_ns), (2, first.stamp_ns + 1)])
    follower.false_alarm(1)
    follow(200.0)  # the gap ends the first cycle
    assert follower.learn_from_answers() is None  # alarm 2 was not answered
    follower.false_alarm(2)
    taught = follower.learn_from_answers()
    assert taught is not None and follower.learn_from_answers() is None
    assert (taught.cycles, taught.answered) == (known.cycles + 1, 1)
    assert taught.threshold >= known.threshold
    assert follow(300.0) == []
    again = normal.load(taught.save(tmp_path / "normal"))
    assert (again.threshold, again.answered) == (taught.threshold, 1)


def feed(follower, example, start_ns):
    """Everything that a live follower says of a cycle."""
    events, seen = [], list(example.sightings)
    for latent, time_s in zip(example.latents, example.times_s):
        stamp_ns = start_ns + round(time_s * 1e9)
        while seen and seen[0].time_s <= time_s:
            events += follower.see(seen.pop(0), stamp_ns)
        events += follower.look(latent, stamp_ns)
    return events


def test_cycles_follow_each_other_live(known):
    follower, events, start_ns = LiveFollower(PROCEDURE, known), [], 10**18
    for seed in (21, 22, 23):
        example = cycle(seed=seed)
        events += feed(follower, example, start_ns)
        start_ns += round((example.times_s[-1] + 0.2) * 1e9)
    ends = [i for i, event in enumerate(events) if isinstance(event, CycleEnded)]
    assert len(ends) == 2  # the third one still runs
    begun = [event.step for event in events[: ends[1]] if isinstance(event, StepBegun)]
    assert begun == [*STEPS, *STEPS]
    assert all(event.stamp_ns >= 10**18 for event in events)
    assert not [event for event in events if isinstance(event, AnomalyEvent)]


def work(follower, cycles_, start_ns=10**18, pause_s=0.2):
    """Everything said of cycles that follow each other."""
    events = []
    for example in cycles_:
        events += feed(follower, example, start_ns)
        start_ns += round((example.times_s[-1] + pause_s) * 1e9)
    return events


def told(events):
    """Steps and ends of cycles in order, and kinds of anomalies."""
    order = [getattr(e, "step", "") or type(e).__name__ for e in events if type(e) in ORDER]
    return order, {e.kind for e in events if isinstance(e, AnomalyEvent)}


ORDER = (StepBegun, CycleEnded, CycleLost)


@pytest.mark.parametrize("broken_off", [("take", "turn", "wipe"), ("take", "turn")])
def test_the_next_piece_shows_that_the_last_one_was_not_finished(known, broken_off):
    follower = LiveFollower(PROCEDURE, known)
    events = work(follower, [cycle(broken_off, 25), cycle(seed=26), cycle(seed=27)])
    order, _ = told(events)
    assert order == [*broken_off, "CycleEnded", *STEPS, "CycleEnded", *STEPS]
    ended = [isinstance(event, CycleEnded) for event in events].index(True)
    assert not told(events[ended:])[1]


def test_a_follower_that_starts_in_mid_cycle_is_right_from_the_next_on(known):
    follower = LiveFollower(PROCEDURE, known)
    half = cycle(seed=28)
    late = replace(half, latents=half.latents[16:], times_s=half.times_s[16:], sightings=())
    order, _ = told(work(follower, [late, cycle(seed=29), cycle(seed=30)]))
    assert order[-10:] == ["CycleEnded", *STEPS, "CycleEnded", *STEPS]


def test_a_cycle_is_not_over_before_all_that_ends_it_is_done():
    """`wipe` may come last, but `put` must be done."""
    free = small_work.procedure(
        small_work.TEXT.replace("optional: true}", "optional: true, after: [take]}").replace(
            "title: Put it down", "title: Put it down, after: [turn]"
        )
    )
    assert free.last_steps == {"wipe", "put"} and free.opening == "take"
    model = learn(free, cycles(24), "random", 1)
    clean = [cycle(("take", "wipe", "turn", "put"), seed) for seed in (51, 52)]
    order, kinds = told(work(LiveFollower(free, model), clean))
    steps_ = ["take", "wipe", "turn", "put"]
    assert order == [*steps_, "CycleEnded", *steps_] and Kind.REPEATED not in kinds


def test_after_a_gap_of_the_camera_nothing_is_said_of_what_was_not_seen(known):
    follower = LiveFollower(PROCEDURE, known)
    example = cycle(seed=24)
    half = len(example.latents) // 2
    for latent, time_s in zip(example.latents[:half], example.times_s[:half]):
        follower.look(latent, 10**18 + round(time_s * 1e9))
    events = follower.look(example.latents[0], 10**18 + 60 * 10**9)
    assert [type(e) for e in events] == [CycleLost]


def test_a_cycle_in_its_last_step_ends_with_the_camera(known):
    follower = LiveFollower(PROCEDURE, known)
    feed(follower, cycle(seed=24), 10**18)
    events = follower.look(cycle(seed=24).latents[0], 10**18 + 60 * 10**9)
    assert [type(e) for e in events][:2] == [StepEnded, CycleEnded]


def test_an_anomaly_is_over_when_its_cause_is_gone(known):
    """A coin lies on the table for two seconds."""
    coin, example = part("coin", 9, 0.2, 0.8), cycle(seed=6)
    seen = tuple(
        replace(s, parts=(*s.parts, coin)) if 3.0 <= s.time_s < 5.0 else s
        for s in example.sightings
    )
    events = feed(LiveFollower(PROCEDURE, known), replace(example, sightings=seen), 10**18)
    said = [(e.kind, e.active) for e in events if isinstance(e, AnomalyEvent)]
    assert set(said[:-1]) == {(Kind.FOREIGN_OBJECT, True)}
    assert said[-1] == (Kind.FOREIGN_OBJECT, False)
