"""From scores to anomalies: what is beyond the threshold has begun, is still there, or is over."""

from __future__ import annotations

from collections.abc import Iterator

from sop_monitor_pkg.core.alarms.kinds import Kind
from sop_monitor_pkg.core.following.events import SECOND_NS, AnomalyEvent, Event
from sop_monitor_pkg.core.following.scores import CycleScores, Score
from sop_monitor_pkg.core.normal.model import NormalModel

LASTS_S = 1.0
"""A score is one of the last second or so, and what it is of may be hidden next by a hand: beyond
the threshold once, it counts for so long. Longer than the on-delay, since the largest score of a
clean cycle lies below the threshold, however short it was."""

_Fault = tuple[Kind, str]  # of things, the step is only when they were seen


class AnomalyWatch:
    """For one cycle."""

    def __init__(self) -> None:
        self._there: dict[_Fault, tuple[Score, float]] = {}  # and when it was beyond last

    def take(self, normal: NormalModel, seen: CycleScores, time_s: float) -> Iterator[Event]:
        """The events of what was seen, an anomaly for every score beyond the threshold, and one
        that is over for each that was looked for and has not been there for LASTS_S."""
        stamp_ns = round(time_s * SECOND_NS)
        for event in seen.events:
            if isinstance(event, AnomalyEvent):  # told when a step has ended: that stays
                self._there.pop(_fault(event.kind, event.step), None)
            yield event
        beyond: dict[_Fault, tuple[float, Score]] = {}
        for score in seen.scores:
            level, fault = normal.scales[score.name](score.value), _fault(score.kind, score.step)
            if level > max(normal.threshold, beyond.get(fault, (0.0, score))[0]):
                beyond[fault] = level, score
        for fault, (level, score) in beyond.items():
            # A piece with a defect stays one, wherever it is turned.
            if score.name in seen.looked and score.kind is not Kind.DEFECT:
                self._there[fault] = score, time_s
            sure = 1.0 - 0.5 * normal.threshold / level
            yield AnomalyEvent(score.kind, stamp_ns, score.step, sure, score.reason)
        for fault, (score, last_s) in list(self._there.items()):
            if score.name in seen.looked and time_s - last_s > LASTS_S:
                del self._there[fault]
                yield AnomalyEvent(score.kind, stamp_ns, score.step, active=False)


def _fault(kind: Kind, step: str) -> _Fault:
    return kind, "" if kind.is_of_things else step
