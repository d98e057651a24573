"""Promises of learning, following and deciding, on a work made of random numbers."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import small_work
from hypothesis import given, settings
from hypothesis import strategies as st
from small_work import STEPS, cycle, cycles, part
from sop_monitor_pkg.core import conformal, cycle_store, learning, normal, places, scene, sightings
from sop_monitor_pkg.core.events import CycleEnded, CycleLost, StepBegun, StepEnded, Suspicion
from sop_monitor_pkg.core.evidence import Evidence
from sop_monitor_pkg.core.follower import CycleFollower
from sop_monitor_pkg.core.kinds import Kind
from sop_monitor_pkg.core.learning import LearningError, learn
from sop_monitor_pkg.core.live import LiveFollower
from sop_monitor_pkg.core.normal import SCORES, Extremes, NormalError
from sop_monitor_pkg.core.order_language import OrderLanguage
from sop_monitor_pkg.core.places import PlaceWatch
from sop_monitor_pkg.core.sightings import UNKNOWN, Sighting, SightingError
from sop_monitor_pkg.core.watching import AlarmLine, StepLine, WarningLine, watch

PROCEDURE = small_work.procedure()


@pytest.fixture(scope="module")
def known():
    return learn(PROCEDURE, cycles(24), "random", 1)


def steps(example, known):
    return [line.step for line in watch(PROCEDURE, known, example) if isinstance(line, StepLine)]


def raised(example, known):
    """Kind (as it turned out) and time of each alarm."""
    found = {}
    for line in watch(PROCEDURE, known, example):
        if isinstance(line, AlarmLine):
            begun_s = found.get(line.alarm.number, (None, line.time_s))[1]
            found[line.alarm.number] = (line.alarm.kind, begun_s)
    return list(found.values())


@pytest.mark.parametrize("order", [STEPS, ("take", "turn", "put")])
def test_a_correct_cycle_is_followed_without_an_alarm(known, order):
    example = cycle(order, seed=1)
    assert steps(example, known) == list(order)
    assert raised(example, known) == []


def test_steps_are_told_soon_after_they_begin(known):
    example = cycle(seed=2)
    lines = [x for x in watch(PROCEDURE, known, example) if isinstance(x, StepLine)]
    for line, truth in zip(lines, example.segments, strict=True):
        assert line.begin_s == pytest.approx(truth.begin_s, abs=0.5)
        assert line.told_s - truth.begin_s < 1.5


@pytest.mark.parametrize(
    "order, kind",
    [
        (("take", "put"), Kind.WRONG_ORDER),
        (("take", "put", "turn"), Kind.WRONG_ORDER),
        (("take", "turn", "turn", "put"), Kind.REPEATED),
        (("take", "turn", "wipe"), Kind.SKIPPED),
    ],
)
def test_mistakes_of_the_order_raise_one_alarm(known, order, kind):
    alarms = raised(cycle(order, seed=3), known)
    assert [found for found, _ in alarms] == [kind]


def test_a_step_that_takes_too_long_is_told_while_it_runs(known):
    example = cycle(seed=4, slower={"turn": 4.0})
    ((kind, time_s),) = raised(example, known)
    assert kind in (Kind.TOO_SLOW, Kind.HESITATING)
    assert time_s < example.segments[1].end_s - 2.0


def test_a_step_done_too_fast_is_told_when_it_has_ended(known):
    example = cycle(seed=5, slower={"turn": 0.3})
    assert [kind for kind, _ in raised(example, known)] == [Kind.TOO_FAST]


@pytest.mark.parametrize(
    "name, x, y, kind",
    [
        ("nut_m4", 0.2, 0.8, Kind.DROPPED_PART),
        ("nut_m4", 0.5, 0.2, Kind.WRONG_PART),
        ("coin", 0.2, 0.8, Kind.FOREIGN_OBJECT),
        (UNKNOWN, 0.2, 0.8, Kind.DROPPED_PART),  # one of two sizes
    ],
)
def test_what_lies_where_it_never_does_is_told_by_kind(known, name, x, y, kind):
    thing = part(name, 9, x, y)
    if name == UNKNOWN:
        thing = replace(thing, candidates=("nut_m3", "nut_m4"))
    alarms = raised(cycle(seed=6, extra=[thing]), known)
    assert [found for found, _ in alarms] == [kind]
    assert 3.0 < alarms[0][1] < 5.0


def test_a_part_of_either_size_may_lie_where_one_of_them_does():
    points = np.array([[0.5, 0.2], [0.7, 0.4]], np.float32)
    known_places = places.Places(("nut_m3", "nut_m4"), points, np.zeros(2, int), np.arange(2))
    either = replace(part(UNKNOWN, 1, 0.7, 0.4), candidates=("nut_m3", "nut_m4"))
    assert known_places.misplaced(either, [0]).distance == pytest.approx(0.0, abs=1e-6)
    assert known_places.misplaced(part("nut_m3", 1, 0.7, 0.4), [0]).belongs == "nut_m4"


def test_what_is_taken_for_something_else_now_and_then_is_not_usual():
    def seen(often: int) -> list[Sighting]:
        coin, nut = part("coin", 2, 0.2, 0.8), part("nut_m3", 1, 0.5, 0.2)
        return [Sighting(0.2 * i, (nut, coin) if i < often else (nut,)) for i in range(40)]

    often, rarely = (places.learn([(seen(times), [0] * 40) for _ in range(5)]) for times in (20, 2))
    assert often.classes == ("coin", "nut_m3") and rarely.classes == ("nut_m3",)


def test_a_hand_may_be_anywhere_and_a_part_may_be_carried_anywhere(known):
    watch_ = PlaceWatch(places.Places(("hand",)))
    carried = [
        Sighting(0.1 * i, (part("nut_m3", 1, 0.02 * i, 0.9),)) for i in range(20)
    ]  # never at rest
    assert not any(watch_.take(sighting, [0]) for sighting in carried)
    follower = CycleFollower(PROCEDURE, known)
    assert follower._kind_of(places.Misplaced(("nut_m3",), 0.3)) is Kind.DROPPED_PART
    assert follower._kind_of(places.Misplaced(("nut_m4",), 0.3, "nut_m3")) is Kind.WRONG_PART


def test_a_surface_that_looks_defective_is_told(known):
    example = cycle(seed=7)
    seen = [
        Sighting(s.time_s, s.parts, {"table": 0.9} if s.time_s > 4.0 else s.scores)
        for s in example.sightings
    ]
    alarms = raised(replace(example, sightings=tuple(seen)), known)
    assert [kind for kind, _ in alarms] == [Kind.DEFECT]


def test_a_part_that_a_step_asks_for_and_nobody_sees_is_told(known):
    checked = small_work.procedure(
        small_work.TEXT.replace("title: Turn it", "title: Turn it, checks: [{part: nut_m3}]")
    )
    example = cycle(seed=1)
    assert not [x for x in watch(checked, known, example) if isinstance(x, AlarmLine)]
    turn = example.segments[1]
    hidden = tuple(
        replace(s, parts=s.parts[1:]) if turn.begin_s < s.time_s < turn.end_s + 0.5 else s
        for s in example.sightings
    )
    found = list(watch(checked, known, replace(example, sightings=hidden)))
    assert [(x.alarm.kind, x.alarm.step) for x in found if isinstance(x, AlarmLine)][:1] == [
        (Kind.WRONG_PART, "turn")
    ]


def test_one_labelled_cycle_of_each_kind_is_enough(known):
    few = learn(PROCEDURE, cycles(24, labelled=2), "random", 1)
    assert few.cycles == 24
    for seed, order in ((11, STEPS), (12, ("take", "turn", "put"))):
        assert steps(cycle(order, seed), few) == list(order)
        assert raised(cycle(order, seed), few) == []


def test_it_follows_without_eyes():
    blind = learn(PROCEDURE, cycles(20, eyes=False), "random", 1)
    assert blind.scenes is None
    assert steps(cycle(seed=1, eyes=False), blind) == list(STEPS)


def test_what_cannot_be_learned_from_is_said():
    with pytest.raises(LearningError, match="label at least one"):
        learn(PROCEDURE, cycles(3, labelled=0), "random", 1)
    with pytest.raises(LearningError, match="no labelled cycle does wipe"):
        learn(PROCEDURE, [cycle(("take", "turn", "put"), i) for i in range(3)], "random", 1)
    with pytest.raises(LearningError, match="record more"):
        learn(PROCEDURE, [cycle()], "random", 1)


def test_a_model_is_the_same_when_it_is_read_again(known, tmp_path):
    again = normal.load(known.save(tmp_path / "normal"))
    assert again.threshold == known.threshold and again.scales == known.scales
    example = cycle(seed=8, slower={"turn": 4.0})
    assert raised(example, again) == raised(example, known)
    about = json.loads((tmp_path / "normal" / "normal.json").read_text())
    assert (about["cycles"], about["needed"], about["accepted"]) == (24, 19, 0.05)


def test_damaged_models_and_cycles_are_refused(known, tmp_path):
    with pytest.raises(NormalError, match="make one with ./run sop learn"):
        normal.load(tmp_path / "nothing")
    folder = known.save(tmp_path / "normal")
    (folder / "normal.safetensors").write_bytes(b"damaged")
    with pytest.raises(NormalError, match="no usable model"):
        normal.load(folder)
    (folder / "normal.json").write_text('{"format": "another"}')
    with pytest.raises(NormalError, match="another format"):
        normal.load(folder)
    cycle_store.save(tmp_path / "c.npz", cycle(), "random")
    example, encoder = cycle_store.load(tmp_path / "c.npz")
    assert (encoder, example.segments) == ("random", cycle().segments)
    assert example.sightings == cycle().sightings
    (tmp_path / "c.npz").write_bytes(b"PK damaged")
    with pytest.raises(cycle_store.StoreError, match="remove it"):
        cycle_store.load(tmp_path / "c.npz")
    (tmp_path / "eyes.jsonl").write_text('{"t": 0.0}\n{"t": 0.1, "detections": [{}]}\n')
    with pytest.raises(SightingError, match="line 2"):
        sightings.read(tmp_path / "eyes.jsonl", 640)


# Thresholds.


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([0.05, 0.1, 0.2]))
def test_a_threshold_keeps_the_accepted_rate(seed, accepted):
    """Over many draws; a single threshold may be unlucky."""
    rng = np.random.default_rng(seed)
    flagged = [
        rng.standard_exponential() > conformal.threshold(rng.standard_exponential(40), accepted)
        for _ in range(400)
    ]
    assert np.mean(flagged) < accepted + 3.5 * np.sqrt(accepted * (1 - accepted) / 400)


def test_too_few_cycles_are_said_and_still_give_a_threshold():
    assert (conformal.needed(0.05), conformal.needed(0.01)) == (19, 99)
    assert conformal.threshold(np.array([1.0, 2.0]), 0.05) > 2.0
    assert conformal.threshold(np.arange(19.0), 0.05) == 18.0
    with pytest.raises(ValueError, match="accepted rate 0"):
        conformal.threshold(np.ones(3), 0.0)


def test_cycles_that_are_flagged_in_any_case_use_up_the_rate_and_set_no_threshold():
    maxima = np.array([1.0, 2.0, np.inf])
    assert 2.0 < conformal.threshold(maxima, 0.05) < 2.2
    assert conformal.threshold(np.append(np.arange(39.0), np.inf), 0.05) == 38.0


def test_one_wild_cycle_makes_its_score_dull_and_no_other(known):
    maxima = np.tile(np.linspace(0.0, 1.0, 20)[:, None], len(SCORES)) * 10.0
    wild = maxima.copy()
    wild[0, SCORES.index("dropped")] = 1e6
    calm, upset = (
        known.calibrated([Extremes(row, False, 0.0) for row in rows]) for rows in (maxima, wild)
    )
    place, others = upset.scales["dropped"], set(SCORES) - {"dropped"}
    assert place.score(upset.threshold) >= 1e6
    for name in others:
        assert upset.scales[name].score(upset.threshold) < 2 * calm.scales[name].score(
            calm.threshold
        )


def test_a_lower_accepted_rate_never_flags_more(known):
    strict = known.calibrated(known.clean, 0.01)
    assert strict.threshold >= known.threshold


# Evidence.


def test_parts_at_rest_say_nothing_about_the_step_and_hands_always_do():
    watch_ = scene.SceneWatch(("hand", "nut_m3"), ("nut_m3",))
    nut, hand = part("nut_m3", 1, 0.5, 0.5), part("hand", 2, 0.2, 0.2)
    sums = []
    for i in range(6):
        watch_.take([nut, hand], 0.2 * i)
        sums.append(watch_.map.reshape(2, -1).sum(1).tolist())
    assert sums[0] == pytest.approx([1.0, 1.0]) and sums[-1] == pytest.approx([1.0, 0.0])
    watch_.take([part("nut_m3", 1, 0.6, 0.5), hand], 1.2)  # taken up
    assert watch_.map.reshape(2, -1).sum(1).tolist() == pytest.approx([1.0, 1.0])


def test_a_picture_unlike_all_states_says_little_about_any(known):
    look = known.appearance
    centre, far = look.centres[0], look.centres[0] + 100.0
    near_fits, far_fits = look.fits(np.stack([centre, far]), known.temper)
    assert np.ptp(near_fits) > 1.0 > np.ptp(far_fits)
    assert far_fits == pytest.approx(look.of_none(known.temper), abs=0.1)


def test_a_step_in_passing_is_less_likely_than_a_fast_one(known):
    usual_s = float(np.exp(known.tempo.log_means[1]))
    chances = [known.tempo.log_haste(1, usual_s * share) for share in (1.2, 1.0, 0.5, 0.1)]
    assert chances[:2] == [0.0, 0.0] and 0.0 >= chances[2] > chances[3]


# Answers.


def test_a_cycle_whose_alarms_were_all_false_teaches_and_another_does_not(known, tmp_path):
    """Live: a slow step raises an alarm; called false, the same slowness raises none."""
    follower = LiveFollower(PROCEDURE, known)

    def follow(begin_s: float) -> list[Suspicion]:
        example = cycle(seed=4, slower={"turn": 1.9}, eyes=False)
        stamps = [round((begin_s + time_s) * 1e9) for time_s in example.times_s]
        events = [e for x, t in zip(example.latents, stamps) for e in follower.look(x, t)]
        return [event for event in events if isinstance(event, Suspicion)]

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


# Order.


def test_mistakes_are_rare_and_what_is_allowed_is_not():
    language = OrderLanguage(PROCEDURE)
    chance = dict(zip(STEPS, np.exp(language.log_next((0,)))))
    assert chance["turn"] == pytest.approx(1.0)
    assert 0 < chance["take"] < 0.02 and 0 < chance["put"] < 0.02
    after_skip = dict(zip(STEPS, np.exp(language.log_next((0, 3)))))
    assert after_skip["turn"] > 0.1  # late, but it comes
    next_piece = dict(zip(STEPS, np.exp(language.log_next((0, 1, 0)))))
    assert next_piece["turn"] == pytest.approx(1.0)  # the piece before was broken off
    forbidden = OrderLanguage(PROCEDURE, escape=0.0).log_next((0,))
    assert forbidden[STEPS.index("put")] == -np.inf


# Outlook.


def outlooks(example, known):
    return [
        (time_s, seen.outlook)
        for time_s, seen in learning.play(PROCEDURE, known, example)
        if seen.outlook is not None
    ]


def test_the_next_step_of_a_correct_cycle_is_no_risk(known):
    example = cycle(seed=41)
    found = outlooks(example, known)
    assert max(outlook.risk for _, outlook in found) <= known.risk_threshold
    turn_s, put_s = example.segments[1].begin_s, example.segments[3].begin_s
    before_turn = [o for t, o in found if turn_s - 0.5 < t < turn_s]
    assert all(o.next_step == "turn" and o.probability > 0.5 for o in before_turn)
    before_put = [o for t, o in found if put_s - 0.5 < t < put_s]
    assert all(o.next_step == "put" for o in before_put)


def test_a_step_that_does_not_belong_here_is_expected_before_it_comes(known):
    """Whoever wipes puts it down next; wiping before turning has not been told yet."""
    lines = list(watch(PROCEDURE, known, cycle(("take", "wipe", "put"), seed=42)))
    warned = [line.time_s for line in lines if isinstance(line, WarningLine)]
    assert warned


# Live.


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
    assert not [event for event in events if isinstance(event, Suspicion)]


def work(follower, cycles_, start_ns=10**18, pause_s=0.2):
    """Everything said of cycles that follow each other."""
    events = []
    for example in cycles_:
        events += feed(follower, example, start_ns)
        start_ns += round((example.times_s[-1] + pause_s) * 1e9)
    return events


def told(events):
    """Steps and ends of cycles in order, and kinds of suspicions."""
    order = [getattr(e, "step", "") or type(e).__name__ for e in events if type(e) in ORDER]
    return order, {e.kind for e in events if isinstance(e, Suspicion)}


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


def test_a_suspicion_is_over_when_its_cause_is_gone(known):
    """A coin lies on the table for two seconds."""
    coin, example = part("coin", 9, 0.2, 0.8), cycle(seed=6)
    seen = tuple(
        replace(s, parts=(*s.parts, coin)) if 3.0 <= s.time_s < 5.0 else s
        for s in example.sightings
    )
    events = feed(LiveFollower(PROCEDURE, known), replace(example, sightings=seen), 10**18)
    said = [(e.kind, e.active) for e in events if isinstance(e, Suspicion)]
    assert set(said[:-1]) == {(Kind.FOREIGN_OBJECT, True)}
    assert said[-1] == (Kind.FOREIGN_OBJECT, False)


def test_eyes_that_have_gone_silent_say_nothing(known):
    example = cycle(seed=33)
    blind = Evidence(PROCEDURE, known)
    dead = Evidence(PROCEDURE, known)
    dead.see(example.sightings[0].parts, 0.0)
    for latent, time_s in zip(example.latents, example.times_s):
        alone, stale = blind.look(latent, time_s), dead.look(latent, time_s)
        assert np.array_equal(alone, stale) == (time_s > 2.0)


def test_unlabelled_cycles_are_aligned(known):
    example = cycle(seed=31, labelled=False)
    found = learning.align(PROCEDURE, known, example)
    truth = cycle(seed=31).segments
    assert [s.step for s in found] == [s.step for s in truth]
    assert all(abs(a.begin_s - b.begin_s) < 0.5 for a, b in zip(found, truth))
