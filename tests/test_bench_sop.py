"""`./run bench sop`: what it counts, against counts made by hand."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from benchmarks.sop_scores import (
    AlarmSeen,
    Outcome,
    delays,
    edit,
    f1,
    figures,
    pos,
)
from benchmarks.sop_stream import stream, tracked
from sop_monitor_pkg.core.normal.learning import Example, learn
from sop_monitor_pkg.core.recognition.phases import Segment
from sop_monitor_pkg.core.tracks.sightings import Sighting

sys.path.append(str(Path(__file__).resolve().parents[1] / "sop_monitor_pkg" / "test"))
import small_work  # noqa: E402
from small_work import part  # noqa: E402


def test_edit_score_and_order_similarity():
    assert edit("abcd", "abcd") == 100.0
    assert edit("abcd", "abd") == pytest.approx(75.0)
    assert edit("abcd", "") == 0.0
    assert edit("abcd", "acbd") == pytest.approx(50.0)  # two substitutions
    assert pos("abcd", "acbd") == pytest.approx(0.75)  # one exchange
    assert pos("ab", "xyxyxy") == 0.0


def segments(text: str, lengths: list[float]) -> tuple[Segment, ...]:
    found, now_s = [], 0.0
    for step, length_s in zip(text, lengths, strict=True):
        found.append(Segment(step, now_s, now_s + length_s))
        now_s += length_s
    return tuple(found)


def outcome(fault="", alarms=(), found="ab", shift=0.0, visible_s=10.0, level=0.5):
    truth = segments("ab", [10.0, 10.0])
    seen = segments(found, [10.0 + shift, *[10.0 - shift] * (len(found) - 1)])
    told_s = tuple(s.begin_s + 0.5 for s in seen)
    visible_s = visible_s if fault else None
    return Outcome(fault, visible_s, 20.0, truth, seen, told_s, tuple(alarms), level)


def test_segments_count_by_their_overlap():
    assert f1([outcome()], 0.5) == 100.0
    # The second step is told 6 s late: 4 of its 10 s are shared.
    assert f1([outcome(shift=6.0)], 0.5) == pytest.approx(50.0)
    assert f1([outcome(shift=6.0)], 0.25) == 100.0
    assert f1([outcome(found="a")], 0.5) == pytest.approx(100 * 2 / 3)
    assert delays(outcome()) == [0.5, 0.5] and delays(outcome(found="ba")) == []


def alarm(kind: str, at_s: float, later: tuple[str, float] | None = None) -> AlarmSeen:
    return AlarmSeen(at_s, ((kind, at_s), *([later] if later else [])))


def test_faults_are_found_by_the_right_kind_of_alarm():
    found = figures(
        [
            outcome("skipped_step", [alarm("wrong_order", 12.0)], level=9.0),
            outcome("skipped_step", [alarm("defect", 12.0)], level=9.0),
            outcome("dropped_part", [alarm("too_slow", 11.0, ("dropped_part", 13.0))], level=9.0),
            outcome("hesitation", [alarm("hesitating", 8.5), alarm("label", 9.0)], level=9.0),
            outcome(alarms=[alarm("defect", 3.0)], level=1.5),
            outcome(),
            outcome(),
            outcome(),
        ]
    )
    assert found["recall"] == {"skipped_step": 0.5, "hesitation": 1.0, "dropped_part": 1.0}
    assert found["recall_any_kind"] == 1.0
    assert found["latency_s"] == pytest.approx(
        {"skipped_step": 2.0, "hesitation": 0.0, "dropped_part": 3.0}
    )
    # 2 s and 3 s after they could be seen; the hesitation was told before.
    assert found["latency_median_s"] == pytest.approx(2.0)
    assert found["single_alarm_share"] == pytest.approx(0.75)
    assert found["precision"]["defect"] == 0.0 and found["precision"]["dropped_part"] == 1.0
    flagged = found["clean_flagged"]
    assert flagged["share"] == 0.25
    assert (flagged["low"], flagged["high"]) == pytest.approx((0.0063, 0.8059), abs=1e-4)
    assert found["false_alarms_per_hour"] == pytest.approx(3600 / 80)
    assert found["auroc"] == 1.0


def test_an_alarm_of_long_before_the_fault_does_not_name_it():
    found = figures([outcome("hesitation", [alarm("hesitating", 4.0)]), outcome()])
    assert found["recall"] == {"hesitation": 0.0} and found["recall_any_kind"] == 1.0


def test_the_wrong_part_may_be_named_before_it_is_taken_and_nothing_else_long_before():
    early = [outcome(kind, [alarm(kind, 1.0)]) for kind in ("wrong_part", "foreign_object")]
    assert figures(early)["recall"] == {"wrong_part": 1.0, "foreign_object": 0.0}
    assert figures(early)["latency_s"] == {"wrong_part": 0.0}


def test_a_stream_of_cycles_is_scored_by_the_cycle_that_is_shown():
    procedure = small_work.procedure()
    normal = learn(procedure, small_work.cycles(24), "random", 1)
    orders = [small_work.STEPS, ("take", "put"), ("take", "turn", "wipe"), small_work.STEPS]
    examples = [small_work.cycle(order, seed=60 + i) for i, order in enumerate(orders)]
    followed = stream(procedure, normal, examples)
    assert [tuple(s.step for s in cycle.steps) for cycle in followed] == orders
    assert [cycle.ended for cycle in followed] == [True, True, True, False]
    kinds = [[alarm.kinds[-1][0] for alarm in cycle.alarms] for cycle in followed]
    assert kinds == [[], ["wrong_order"], ["skipped"], []]
    for cycle, example in zip(followed, examples, strict=True):
        for found, truth in zip(cycle.steps, example.segments, strict=True):
            # The first moments of a cycle have not been learned; see `evidence.settled`.
            late_s = 0.5 if truth.begin_s else normal.motion_s + 0.1
            assert found.begin_s == pytest.approx(truth.begin_s, abs=late_s)


def test_what_lies_there_before_the_first_step_is_told_is_one_alarm_and_of_that_cycle():
    procedure = small_work.procedure()
    normal = learn(procedure, small_work.cycles(24), "random", 1)
    examples = [small_work.cycle(seed=60 + i) for i in range(3)]
    wrong = [  # a nut lies where another size belongs
        replace(s, parts=(s.parts[0], part("nut_m4", 2, *small_work.PLACES["put"])))
        for s in examples[1].sightings
    ]
    examples[1] = replace(examples[1], sightings=tuple(wrong))
    followed = stream(procedure, normal, examples)
    assert [[a.kinds[0][0] for a in cycle.alarms] for cycle in followed] == [[], ["wrong_part"], []]
    (alarm,) = followed[1].alarms
    assert 0.0 < alarm.raised_s < followed[1].told_s[0]


def test_tracks_go_on_from_cycle_to_cycle_where_a_part_lies_as_one_did():
    def seen(*parts):
        latents, times = np.zeros((1, 1), np.float32), np.zeros(1)
        return Example("", latents, times, None, (Sighting(0.0, tuple(parts)),))

    here, there = (0.1, 0.1), (0.7, 0.1)
    first = seen(part("nut", 1, *here), part("cap", 2, *there), part("nut", -1, *there))
    second = seen(part("nut", 1, 0.12, 0.1), part("nut", 2, *there), part("nut", -1, *here))
    numbers = [[p.track for p in e.sightings[0].parts] for e in tracked([first, second])]
    assert numbers == [[1, 2, -1], [1, 3, -1]]


def test_a_mistake_of_the_order_may_be_named_from_its_first_movement_on():
    slow = outcome("repeated_step", [alarm("repeated", 7.0)])  # visible at 10 s
    found = figures([replace(slow, begun_s=7.5), slow])
    assert found["recall"] == {"repeated_step": 0.5}
