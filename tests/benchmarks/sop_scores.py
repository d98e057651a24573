"""Scores of followed cycles, as the field defines them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.stats import binomtest
from sklearn.metrics import roc_auc_score
from sop_monitor_pkg.core.recognition.phases import Segment

ANSWERS = {
    "wrong_order": ("wrong_order", "skipped"),
    "skipped_step": ("skipped", "wrong_order"),
    "repeated_step": ("repeated",),
    "hesitation": ("hesitating", "too_slow"),
    "too_fast": ("too_fast",),
    "dropped_part": ("dropped_part",),
    "wrong_part": ("wrong_part",),
    "defective_part": ("defect",),
    "wrong_label": ("label",),
    "unreadable_label": ("label",),
    "foreign_object": ("foreign_object",),
}
"""Faults of the station, and the kinds of alarm that name them. When a step comes whose predecessor
has not been done, nobody can tell yet whether that will come late or never."""

ORDER_FAULTS = ("wrong_order", "skipped_step", "repeated_step")
EARLIEST_S = 5.0  # before a fault is visible, a warning belongs to it
BEFORE_S = 2.0  # before it is visible, an alarm does
BEFOREHAND = ("wrong_part",)
"""Faults that are visible when somebody does them, and whose cause lies in view from the beginning:
the wrong screw in its bin. An alarm that names it there comes before the mistake, not too early."""


@dataclass(frozen=True)
class AlarmSeen:
    """An alarm: when it was raised, and every kind it has had, with the time from which on."""

    raised_s: float
    kinds: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Outcome:
    """One followed cycle.

    Attributes:
        fault: of the station; empty: a clean cycle. visible_s: from when it can be seen.
        begun_s, complete_s: when it was done, from its cause to the end of the step in which it
            shows.
        length_s: of the cycle.
        truth, found: its steps, and those that were told. told_s: when.
        warned_s: when a mistake of the order seemed to come next.
        alarms: raised. level: the largest scaled score, infinite for a mistake of the order; or, of
            a stream, whether there was an alarm.
    """

    fault: str
    visible_s: float | None
    length_s: float
    truth: tuple[Segment, ...]
    found: tuple[Segment, ...]
    told_s: tuple[float, ...]
    alarms: tuple[AlarmSeen, ...] = field(default=())
    level: float = 0.0
    warned_s: tuple[float, ...] = ()
    begun_s: float = np.inf
    complete_s: float = np.inf


def edit(truth: Sequence[str], found: Sequence[str]) -> float:
    """Segmental edit score, 0..100 (Lea et al., ECCV 2016)."""
    longest = max(len(truth), len(found), 1)
    return 100.0 * (1.0 - _distance(truth, found) / longest)


def pos(truth: Sequence[str], found: Sequence[str]) -> float:
    """Procedure order similarity, 0..1 (Schoonbeek et al., WACV 2024): Damerau-Levenshtein."""
    return 1.0 - min(_distance(truth, found, swaps=True) / max(len(truth), 1), 1.0)


def f1(outcomes: Sequence[Outcome], overlap: float) -> float:
    """Segmental F1 at this overlap over all cycles, 0..100 (Lea et al., CVPR 2017)."""
    hits = wrong = missed = 0
    for outcome in outcomes:
        taken: set[int] = set()
        for segment in outcome.found:
            shares = [
                _overlap(segment, true) if true.step == segment.step and i not in taken else 0.0
                for i, true in enumerate(outcome.truth)
            ]
            best = int(np.argmax(shares)) if shares else 0
            if shares and shares[best] >= overlap:
                taken.add(best)
                hits += 1
            else:
                wrong += 1
        missed += len(outcome.truth) - len(taken)
    return 100.0 * 2 * hits / max(2 * hits + wrong + missed, 1)


def delays(outcome: Outcome) -> list[float]:
    """How long after its beginning each step was told [s], where the steps are the right ones."""
    if [s.step for s in outcome.truth] != [s.step for s in outcome.found]:
        return []
    return [told - true.begin_s for told, true in zip(outcome.told_s, outcome.truth)]


def figures(outcomes: Sequence[Outcome]) -> dict:
    """All figures of `./run bench sop`."""
    clean = [o for o in outcomes if not o.fault]
    faulty = [o for o in outcomes if o.fault and o.visible_s is not None]
    names = [([s.step for s in o.truth], [s.step for s in o.found]) for o in outcomes]
    late = [delay for o in outcomes for delay in delays(o)]
    found = {id(o): _answer(o) for o in faulty}
    by_kind = {
        kind: [found[id(o)] for o in faulty if o.fault == kind]
        for kind in ANSWERS
        if any(o.fault == kind for o in faulty)
    }
    latencies = [latency for latency in found.values() if latency is not None]
    flagged = sum(bool(o.alarms) for o in clean)
    share = binomtest(flagged, len(clean)).proportion_ci(method="exact") if clean else None
    hours = sum(o.length_s for o in clean) / 3600.0
    both = bool(clean) and bool(faulty)
    return {
        "cycles": {"clean": len(clean), "faulty": len(faulty)},
        "edit": float(np.mean([edit(*pair) for pair in names])),
        "f1_10": f1(outcomes, 0.10),
        "f1_25": f1(outcomes, 0.25),
        "f1_50": f1(outcomes, 0.50),
        "pos": float(np.mean([pos(*pair) for pair in names])),
        "delay_s": float(np.median(late)) if late else None,
        "recall": {
            kind: sum(value is not None for value in answers) / len(answers)
            for kind, answers in by_kind.items()
        },
        "latency_s": {
            kind: float(np.median([value for value in answers if value is not None]))
            for kind, answers in by_kind.items()
            if answers != [None] * len(answers)
        },
        "recall_all": float(np.mean([v is not None for v in found.values()])) if faulty else None,
        "recall_any_kind": float(np.mean([bool(o.alarms) for o in faulty])) if faulty else None,
        "precision": _precision(outcomes),
        "latency_median_s": float(np.median(latencies)) if latencies else None,
        "latency_p95_s": float(np.percentile(latencies, 95)) if latencies else None,
        "clean_flagged": {
            "share": flagged / len(clean) if clean else None,
            "low": float(share.low) if share else None,
            "high": float(share.high) if share else None,
        },
        "false_alarms_per_hour": sum(len(o.alarms) for o in clean) / hours if clean else None,
        "single_alarm_share": float(np.mean([len(o.alarms) == 1 for o in faulty]))
        if faulty
        else None,
        "early_warning": _early(clean, faulty),
        "auroc": float(
            roc_auc_score(
                [0] * len(clean) + [1] * len(faulty),
                [min(o.level, 1e9) for o in [*clean, *faulty]],
            )
        )
        if both
        else None,
    }


def _answer(outcome: Outcome) -> float | None:
    """How long after it was visible the fault was named [s], at least 0; None: never. An alarm of
    long before is about something else, but see BEFOREHAND."""
    visible_s = outcome.visible_s or 0.0
    first_s = -np.inf if outcome.fault in BEFOREHAND else visible_s - BEFORE_S
    if outcome.fault in ORDER_FAULTS:  # the wrong step shows from its first movement on
        first_s = min(first_s, outcome.begun_s - BEFORE_S)
    times = [
        since_s
        for alarm in outcome.alarms
        for kind, since_s in alarm.kinds
        if kind in ANSWERS[outcome.fault] and since_s >= first_s
    ]
    return max(0.0, min(times) - visible_s) if times else None


def _early(clean: Sequence[Outcome], faulty: Sequence[Outcome]) -> dict:
    """Warnings, which are no alarms: how often and how long before the fault is complete, and
    before the alarm, they come."""
    mistakes = [o for o in faulty if o.fault in ORDER_FAULTS]
    before_complete, before_alarm = [], []
    for outcome in mistakes:
        # What came long before has to do with something else.
        first_s = (outcome.visible_s or 0.0) - EARLIEST_S
        times = [t for t in outcome.warned_s if first_s <= t < outcome.complete_s]
        if times:
            before_complete.append(outcome.complete_s - times[0])
        alarm_s = min((a.raised_s for a in outcome.alarms), default=np.inf)
        if times and times[0] < alarm_s < np.inf:
            before_alarm.append(alarm_s - times[0])
    return {
        "warned_before": len(before_complete) / len(mistakes) if mistakes else None,
        "lead_s": float(np.median(before_complete)) if before_complete else None,
        "warned_before_alarm": len(before_alarm) / len(mistakes) if mistakes else None,
        "lead_alarm_s": float(np.median(before_alarm)) if before_alarm else None,
        "clean_warned": float(np.mean([bool(o.warned_s) for o in clean])) if clean else None,
    }


def _precision(outcomes: Sequence[Outcome]) -> dict[str, float]:
    """Of the alarms of each kind (as it was in the end), the share that names the cycle's fault."""
    right: dict[str, list[bool]] = {}
    for outcome in outcomes:
        for alarm in outcome.alarms:
            kind = alarm.kinds[-1][0]
            right.setdefault(kind, []).append(kind in ANSWERS.get(outcome.fault, ()))
    return {kind: float(np.mean(values)) for kind, values in sorted(right.items())}


def _overlap(one: Segment, other: Segment) -> float:
    shared = min(one.end_s, other.end_s) - max(one.begin_s, other.begin_s)
    union = max(one.end_s, other.end_s) - min(one.begin_s, other.begin_s)
    return max(0.0, shared) / union if union > 0 else 0.0


def _distance(one: Sequence[str], other: Sequence[str], swaps: bool = False) -> int:
    """Levenshtein distance; with `swaps`, exchanging neighbours costs 1 (Damerau, restricted)."""
    rows = np.zeros((len(one) + 1, len(other) + 1), int)
    rows[:, 0], rows[0] = np.arange(len(one) + 1), np.arange(len(other) + 1)
    for i in range(1, len(one) + 1):
        for j in range(1, len(other) + 1):
            differ = one[i - 1] != other[j - 1]
            rows[i, j] = min(rows[i - 1, j] + 1, rows[i, j - 1] + 1, rows[i - 1, j - 1] + differ)
            if (
                swaps
                and i > 1
                and j > 1
                and one[i - 1] == other[j - 2]
                and one[i - 2] == other[j - 1]
            ):
                rows[i, j] = min(rows[i, j], rows[i - 2, j - 2] + 1)
    return int(rows[-1, -1])
