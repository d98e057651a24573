"""What the page shows, as plain JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sop_monitor_pkg.core.alarms.book import AlarmBook
from sop_monitor_pkg.core.alarms.clips import ClipFolder
from sop_monitor_pkg.core.alarms.journal import Entry
from sop_monitor_pkg.core.following.monitor import Monitor
from sop_monitor_pkg.core.procedure.procedure import Procedure

CYCLES_SHOWN = 60
_OUTLOOK_S = 2.0  # an older one is none


class CycleTimes:
    """How long the last cycles took, gathered from journal entries."""

    def __init__(self, past: Iterable[Entry] = ()):
        self.cycles: list[dict[str, Any]] = []
        for entry in past:
            self.take(entry)

    def take(self, entry: Entry) -> None:
        """Looks at one entry; only the end of a cycle counts, of one that was seen as a whole."""
        if entry.kind != "cycle_ended" or not entry.body.get("steps") or entry.body.get("partly"):
            return
        steps = entry.body["steps"]
        took_s = (steps[-1][2] - steps[0][1]) * 1e-9
        self.cycles.append({"cycle": entry.body["cycle"], "took_s": round(max(0.0, took_s), 3)})
        del self.cycles[:-CYCLES_SHOWN]


class Expected(NamedTuple):
    """What seemed to come next at `at_ns`; the others as in an `StepForecast` message."""

    next_step: str
    probability: float
    risk: float
    warning: bool
    at_ns: int


@dataclass
class Beside:
    """What the page shows beside the alarms; all of it may be missing.

    Attributes:
        usual_s: between which times [s] each step lasts in normal work.
        clips: of alarms and steps.
        forecast: the newest.
    """

    usual_s: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    clips: ClipFolder | None = None
    forecast: Expected | None = None


def board(
    procedure: Procedure,
    monitor: Monitor,
    book: AlarmBook,
    times: CycleTimes,
    now_ns: int,
    beside: Beside,
) -> dict[str, Any]:
    """Everything that the page needs to show how things stand at `now_ns`."""
    state, clips = monitor.state(now_ns), beside.clips
    return {
        "procedure": procedure.title,
        "now_ns": now_ns,
        "head": book.head,
        "cycle": state.cycle,
        "partly": state.partly,
        "unknown": state.unknown,
        "cycle_s": state.cycle_s,
        "progress": state.progress,
        "steps": [
            {
                "name": step.name,
                "title": step.title,
                "optional": step.optional,
                "takes_s": step.takes_s or beside.usual_s.get(step.name),
                "times": state.done.count(step.name),
                "running": step.name == state.step,
                "expected": step.name in state.expected,
            }
            for step in procedure.steps
        ],
        "step_s": state.step_s,
        "probability": state.probability,
        "forecast": _forecast(procedure, beside, now_ns),
        "alarms": [
            {
                "number": alarm.number,
                "kind": str(alarm.kind),
                "step": alarm.step,
                "title": _title(procedure, alarm.step),
                "cycle": alarm.cycle,
                "priority": alarm.priority.name.lower(),
                "state": str(alarm_state),
                "active": alarm.active,
                "reason": alarm.reason,
                "consequences": alarm.consequences,
                "acknowledged_by": alarm.acknowledged_by,
                "score": alarm.score,
                "age_s": max(0.0, (now_ns - alarm.raised_ns) * 1e-9),
                "clip": clips is not None and clips.moment(alarm.number) is not None,
                "normal_clip": clips is not None and clips.step(alarm.step) is not None,
            }
            for alarm, alarm_state in book.snapshot()
        ],
        "shelves": [
            {"condition": key, "left_s": max(0.0, (shelf.until_ns - now_ns) * 1e-9), "by": shelf.by}
            for key, shelf in dict(book.table.shelves).items()
        ],
        "out_of_service": dict(book.table.out_of_service),
        "cycles": list(times.cycles),
    }


def _title(procedure: Procedure, step: str) -> str:
    """Of an alarm's step, which may be one of another procedure that had the journal before."""
    return procedure.by_name[step].title if step in procedure.by_name else step


def _forecast(procedure: Procedure, beside: Beside, now_ns: int) -> dict[str, Any] | None:
    """What seems to come next; None: nobody says, or not lately."""
    forecast = beside.forecast
    if forecast is None or now_ns - forecast.at_ns > _OUTLOOK_S * 1e9:
        return None
    if forecast.next_step not in procedure.by_name:
        return None
    return {
        "title": procedure.by_name[forecast.next_step].title,
        "probability": forecast.probability,
        "risk": forecast.risk,
        "warning": forecast.warning,
    }
