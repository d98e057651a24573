"""Promises of following and deciding, on a work made of random numbers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import small_work
from small_work import PROCEDURE, STEPS, cycle, part, raised, steps
from sop_monitor_pkg.core.alarms.kinds import Kind
from sop_monitor_pkg.core.checks.place_faults import PlaceFaults
from sop_monitor_pkg.core.checks.place_watch import PlaceWatch
from sop_monitor_pkg.core.checks.surfaces import SurfaceWatch
from sop_monitor_pkg.core.following.events import AnomalyEvent, StepBegun
from sop_monitor_pkg.core.following.follower import CycleFollower
from sop_monitor_pkg.core.following.scores import CycleScores
from sop_monitor_pkg.core.following.watching import AlarmLine, StepLine, WarningLine, watch
from sop_monitor_pkg.core.normal import learning, places
from sop_monitor_pkg.core.recognition.evidence import Evidence
from sop_monitor_pkg.core.tracks import scene
from sop_monitor_pkg.core.tracks.sightings import UNKNOWN, SeenPart, Sighting


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


def test_what_the_detector_is_hardly_sure_of_has_to_be_seen_for_longer(known):
    def alarms(confidence: float) -> list[tuple[Kind, float]]:
        coin = replace(part("coin", 9, 0.2, 0.8), confidence=confidence)
        return raised(cycle(seed=6, extra=[coin]), known)

    (sure,), (unsure,) = alarms(0.9), alarms(0.6)
    assert sure[0] is unsure[0] is Kind.FOREIGN_OBJECT
    assert sure[1] + 0.3 < unsure[1] < sure[1] + 1.0
    assert not alarms(0.4)  # however long


def test_what_lay_there_when_the_cycle_began_was_not_dropped_in_it(known):
    nut, coin = part("nut_m4", 9, 0.2, 0.8), part("coin", 10, 0.3, 0.8)
    example = cycle(seed=6)

    def alarms(thing: SeenPart, from_s: float) -> list[Kind]:
        seen = [
            replace(s, parts=(*s.parts, thing)) if s.time_s >= from_s else s
            for s in example.sightings
        ]
        return [kind for kind, _ in raised(replace(example, sightings=tuple(seen)), known)]

    assert alarms(nut, 0.0) == []
    assert alarms(nut, 3.0) == [Kind.DROPPED_PART]
    assert alarms(coin, 0.0) == [Kind.FOREIGN_OBJECT]  # foreign it is, whoever left it there


def test_a_hand_may_be_anywhere_and_a_part_may_be_carried_anywhere(known):
    watch_ = PlaceWatch(places.Places(("hand",)), ["hand", "tool"])
    carried = [
        Sighting(0.1 * i, (part("nut_m3", 1, 0.02 * i, 0.9),)) for i in range(20)
    ]  # never at rest
    assert not any(watch_.take(sighting, [0]) for sighting in carried)
    faults = PlaceFaults(PROCEDURE, known.places.classes)
    assert faults.kind(places.Misplaced(("nut_m3",), 0.3)) is Kind.DROPPED_PART
    assert faults.kind(places.Misplaced(("nut_m4",), 0.3, "nut_m3")) is Kind.WRONG_PART


def test_a_surface_that_looks_defective_is_told(known):
    example = cycle(seed=7)
    seen = [
        Sighting(s.time_s, s.parts, {"table": 0.9} if s.time_s > 4.0 else s.scores)
        for s in example.sightings
    ]
    alarms = raised(replace(example, sightings=tuple(seen)), known)
    assert [kind for kind, _ in alarms] == [Kind.DEFECT]


def test_a_defect_may_be_hidden_for_a_look_and_a_shadow_for_a_look_is_none():
    def most(*scores):
        watch_, found = SurfaceWatch(), [0.0]
        for look, score in enumerate(scores):
            sighting = Sighting(0.4 * look, (), {"table": score})
            found += [odds for _, odds in watch_.take(sighting)]
        return max(found)

    clean, shadow = most(0.3, 0.3, 0.3, 0.3), most(0.3, 0.3, 0.95, 0.3, 0.3)
    hidden = most(0.3, 0.3, 0.999, 0.5, 0.999, 0.3)
    assert clean < shadow < hidden - 2.0
    assert most(0.999, 0.999) == 0.0  # too little was seen


@pytest.mark.parametrize("where, told", [((0.2, 0.2), [Kind.DEFECT]), ((0.2, 0.8), [])])
def test_a_piece_that_lies_where_it_never_does_is_not_inspected(known, where, told):
    inspected = small_work.procedure(
        small_work.TEXT.replace("title: Take it", "title: Take it, checks: [{no_defect: nut_m3}]")
    )
    follower = CycleFollower(inspected, known, opened=("take", 0.0))
    for time_s in np.arange(1.0, 4.0, 0.2):
        follower.look(np.zeros(small_work.WIDTH, np.float32), time_s)
        nut = part("nut_m3", 1, *where)
        seen = follower.see(Sighting(float(time_s), (nut,), {"table": 0.999}))
    found = [score.kind for score in seen.scores if score.value > 9.0]
    assert [kind for kind in found if kind is Kind.DEFECT] == told


def test_holding_a_label_still_is_no_hesitation(known):
    text = small_work.TEXT
    for title in ("title: Take it", "title: Turn it"):
        text = text.replace(title, f"{title}, labels: [{{text: LOT-47}}]")
    reading = small_work.procedure(text)
    for work, expected in ((PROCEDURE, 1), (reading, 0)):
        follower = CycleFollower(work, known, opened=("take", 0.0))
        for time_s in np.arange(0.2, 4.0, 0.2):
            seen = follower.look(np.zeros(small_work.WIDTH, np.float32), float(time_s))
        assert len([score for score in seen.scores if score.name == "still"]) == expected


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


def test_what_stands_on_a_part_that_is_moved_is_not_what_is_moved():
    watch_ = scene.SceneWatch(("hand", "nut_m3", "plate"), ("nut_m3", "plate"))
    for i in range(6):
        x = 0.5 + 0.03 * i
        plate, on_it = SeenPart("plate", 1, (x - 0.1, 0.3, x + 0.1, 0.5)), part("nut_m3", 2, x, 0.4)
        watch_.take([part("hand", 3, x, 0.5), plate, on_it], 0.2 * i)
    assert watch_.map.reshape(3, -1).sum(1).tolist() == pytest.approx([1.0, 0.0, 1.0])


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


def forecasts(example, known):
    return [
        (time_s, seen.forecast)
        for time_s, seen in learning.play(PROCEDURE, known, example)
        if seen.forecast is not None
    ]


def test_the_next_step_of_a_correct_cycle_is_no_risk(known):
    example = cycle(seed=41)
    found = forecasts(example, known)
    assert max(forecast.risk for _, forecast in found) <= known.risk_threshold
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


def test_eyes_that_have_gone_silent_say_nothing(known):
    example = cycle(seed=33)
    blind = Evidence(PROCEDURE, known)
    dead = Evidence(PROCEDURE, known)
    dead.see(example.sightings[0].parts, 0.0)
    for latent, time_s in zip(example.latents, example.times_s):
        alone, stale = blind.look(latent, time_s), dead.look(latent, time_s)
        says_nothing = time_s < known.motion_s or time_s > 2.0
        assert np.array_equal(alone, stale) == says_nothing


def test_the_first_moments_of_a_recording_say_nothing(known):
    """Nobody knows what has come before: the cut is no part of the work, live there is none."""
    evidence = Evidence(PROCEDURE, known)
    example = cycle(seed=34)
    silent = []
    for latent, time_s in zip(example.latents, example.times_s):
        fits = evidence.look(latent, time_s)
        silent.append(not fits.any() and evidence.waiting < 0.0)
    first = int(np.searchsorted(example.times_s, known.motion_s))
    assert all(silent[:first]) and not any(silent[first:])


@pytest.mark.parametrize(
    "risk, on, told",
    [(0.2, True, [Kind.DROPPED_PART]), (0.9, False, [Kind.DROPPED_PART]), (0.9, True, [])],
)
def test_what_a_step_out_of_order_has_put_together_is_not_dropped(known, risk, on, told):
    follower = CycleFollower(PROCEDURE, known, opened=("take", 0.0))
    nut, plate = part("nut_m3", 3, 0.2, 0.8), SeenPart("plate", 4, (0.1, 0.7, 0.3, 0.9))
    for time_s in np.arange(1.0, 4.0, 0.2):
        follower.look(np.zeros(small_work.WIDTH, np.float32), time_s)
        follower._risk = risk  # what the decoder doubts is another matter
        seen = follower.see(Sighting(float(time_s), (nut, plate) if on else (nut,)))
    kinds = [score.kind for score in seen.scores]
    assert [kind for kind in kinds if kind is Kind.DROPPED_PART] == told


@pytest.mark.parametrize("beside, kind", [(0.0, Kind.REPEATED), (0.3, Kind.DROPPED_PART)])
def test_a_second_part_on_what_holds_one_already_is_a_step_done_again(known, beside, kind):
    text = small_work.TEXT.replace("title: Turn it", "title: Turn it, parts: [nut_m3]")
    plate = SeenPart("plate", 9, (0.2, 0.4, 0.5, 0.7))
    boxes = np.array([part("nut_m3", 1, 0.3, 0.5).box, plate.box], np.float32)
    where = places.Places(("nut_m3", "plate"), boxes, np.zeros(2, int), np.arange(2))
    work = small_work.procedure(text.replace("[nut_m3, nut_m4]", "[nut_m3, nut_m4, plate]"))
    follower = CycleFollower(work, replace(known, places=where), opened=("take", 0.0))
    nuts = part("nut_m3", 1, 0.3, 0.5), part("nut_m3", 2, 0.4 + beside, 0.6)
    for time_s in np.arange(1.0, 4.0, 0.2):
        follower.look(np.zeros(small_work.WIDTH, np.float32), time_s)
        seen = follower.see(Sighting(float(time_s), (plate, *nuts)))
    told = [(score.kind, score.step) for score in seen.scores if "nut_m3" in score.reason]
    assert told == [(kind, "turn" if kind is Kind.REPEATED else "take")]


@pytest.mark.parametrize(
    "done, on, kind, step",
    [
        (("take",), True, Kind.WRONG_ORDER, "put"),  # and 'turn' has not been done
        (("take",), False, Kind.DROPPED_PART, "take"),
        (("take", "turn"), True, Kind.DROPPED_PART, "turn"),  # its time has come
        (("take", "put"), True, Kind.DROPPED_PART, "put"),  # that is told already
    ],
)
def test_what_is_on_the_piece_before_its_time_was_put_there_too_early(done, on, kind, step):
    text = small_work.TEXT.replace("title: Put it down", "title: Put it down, parts: [nut_m3]")
    faults = PlaceFaults(small_work.procedure(text), ["nut_m3"])
    item = places.Misplaced(("nut_m3",), 0.3, rests_s=1.0, covered=on)
    (found,) = faults.scores([item], done, risk=0.0)
    assert (found.kind, found.step, found.value) == (kind, step, item.dropped)
    assert ("before 'Turn it'" in found.reason) is (kind is Kind.WRONG_ORDER)


@pytest.mark.parametrize("length_s, kind", [(3.0, Kind.LABEL), (0.5, Kind.SKIPPED)])
def test_a_step_in_which_nobody_had_time_to_read_its_label_is_skipped(known, length_s, kind):
    labelled = small_work.procedure(
        small_work.TEXT.replace("title: Turn it", "title: Turn it, labels: [{text: LOT-47}]")
    )
    follower, seen = CycleFollower(labelled, known), CycleScores()
    follower._labels.reads, follower._told = True, [(1, 2.0)]
    follower._close(2.0 + length_s, 2.0 + length_s, seen)
    (told,) = (event for event in seen.events if isinstance(event, AnomalyEvent))
    assert (told.kind, told.step) == (kind, "turn") and "no label reads LOT-47" in told.reason
    uncalibrated = CycleFollower(labelled, replace(known, scales={}))
    uncalibrated._labels.reads, uncalibrated._told = True, [(1, 2.0)]
    uncalibrated._close(2.5, 2.5, seen := CycleScores())
    assert [e.kind for e in seen.events if isinstance(e, AnomalyEvent)] == [Kind.LABEL]


def test_standing_still_counts_from_when_the_work_goes_on(known):
    """In the last step nobody has to move, and the next piece is not late for it."""
    follower, example = CycleFollower(PROCEDURE, known), cycle(seed=36)
    end_s = float(example.times_s[-1])
    for latent, time_s in zip(example.latents, example.times_s):
        follower.look(latent, time_s)
    follower._evidence.change = np.zeros(small_work.WIDTH)
    goes_on, seen = (
        replace(follower.belief, path=(*follower.belief.path, (0, end_s))),
        CycleScores(),
    )
    follower._score_time(goes_on, end_s + 1.2, seen)
    assert [score.value for score in seen.scores if score.name == "still"] == [0.0]


@pytest.mark.parametrize(
    "name, px_a_look, still",
    [("hand", 4.0, False), ("hand", 0.0, True), ("nut_m3", 4.0, True), ("none", 0.0, True)],
)
def test_nobody_stands_still_whose_hand_the_eyes_see_move(known, name, px_a_look, still):
    """A latent of the whole picture says little about a small tool."""
    where = places.Places(("hand", "nut_m3"))
    follower = CycleFollower(PROCEDURE, replace(known, places=where), opened=("take", 0.0))
    for look in range(20):
        time_s = 0.2 * (look + 1)
        jitter = 0.001 * (-1) ** look
        moved = part(name, 1, 0.2 + jitter + px_a_look / 640.0 * look, 0.5)
        follower.see(Sighting(time_s, (moved,) if name != "none" else ()))
        seen = follower.look(np.zeros(small_work.WIDTH, np.float32), time_s)
    (still_s,) = (score.value for score in seen.scores if score.name == "still")
    assert (still_s > 2.0) is still and (still_s < 1.0) is not still


def test_no_probability_is_above_one(known):
    """Sums of probabilities round to more than 1, and the monitor refuses an event that says so."""
    for seed in range(6):
        follower = CycleFollower(PROCEDURE, known)
        for time_s, what in learning.in_order(cycle(seed=seed)):
            seen = follower.take(what, time_s)
            begun = [e.probability for e in seen.events if isinstance(e, StepBegun)]
            belief, forecast = follower.belief, seen.forecast
            believed = [belief.probability] if belief else []
            expected = [forecast.risk, forecast.probability] if forecast else []
            assert max([*begun, *believed, *expected], default=0.0) <= 1.0
