"""Watches a recorded cycle as the live monitor would: steps, state and alarms, in video time."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sop_monitor_pkg.core.alarms.book import AlarmBook, AlarmRules, Change
from sop_monitor_pkg.core.alarms.journal import Journal
from sop_monitor_pkg.core.alarms.table import Alarm
from sop_monitor_pkg.core.following.anomalies import AnomalyWatch
from sop_monitor_pkg.core.following.events import SECOND_NS, CycleEnded, StepBegun
from sop_monitor_pkg.core.following.monitor import Monitor
from sop_monitor_pkg.core.following.scores import CycleScores
from sop_monitor_pkg.core.normal.learning import Example, play
from sop_monitor_pkg.core.normal.model import NormalModel
from sop_monitor_pkg.core.procedure.procedure import Procedure


@dataclass(frozen=True)
class StepLine:
    """A step that has begun: at `begin_s` in the video, told at `told_s`."""

    step: str
    begin_s: float
    told_s: float
    probability: float


@dataclass(frozen=True)
class WarningLine:
    """From `time_s` on, a step that is not allowed now seems to come next: `next_step`."""

    time_s: float
    next_step: str
    risk: float


@dataclass(frozen=True)
class AlarmLine:
    """A change of an alarm at `time_s`: `raised`, `reclassified`, `evidence` ..."""

    change: str
    time_s: float
    alarm: Alarm


Line = StepLine | WarningLine | AlarmLine


def watch(
    procedure: Procedure, normal: NormalModel, example: Example, rules: AlarmRules | None = None
) -> Iterator[Line]:
    """Steps and alarms of one cycle, in order."""
    return judge(procedure, normal, play(procedure, normal, example), rules)


def judge(
    procedure: Procedure,
    normal: NormalModel,
    seen: Iterable[tuple[float, CycleScores]],
    rules: AlarmRules | None = None,
) -> Iterator[Line]:
    """As `watch`, of a cycle that was followed already: `seen` as `learning.play` gives it."""
    with tempfile.TemporaryDirectory() as folder:
        changes: list[Change] = []
        journal = Journal(Path(folder) / "journal.db")
        try:
            book = AlarmBook(procedure, journal, changes.append, rules)
            monitor = Monitor(procedure, book)
            anomalies = AnomalyWatch()
            time_s, now_ns, warned = 0.0, 0, False
            for time_s, found in seen:
                forecast = found.forecast
                if forecast is not None:
                    risky = forecast.risk > normal.risk_threshold
                    if risky and not warned:
                        yield WarningLine(time_s, forecast.next_step, forecast.risk)
                    warned = risky
                now_ns = round(time_s * SECOND_NS)
                for event in anomalies.take(normal, found, time_s):
                    monitor.take(event, now_ns)
                    if isinstance(event, StepBegun):
                        begin_s = event.stamp_ns / SECOND_NS
                        yield StepLine(event.step, begin_s, time_s, event.probability)
                monitor.tick(now_ns)
                yield from _lines(changes, time_s)
            monitor.take(CycleEnded(now_ns), now_ns)
            yield from _lines(changes, time_s)
        finally:
            journal.close()


def _lines(changes: list[Change], time_s: float) -> Iterator[AlarmLine]:
    for change in changes:
        if change.alarm is not None and change.entry.kind != "cleared":
            yield AlarmLine(change.entry.kind, time_s, change.alarm)
    changes.clear()
