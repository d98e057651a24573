"""What the page shows, as plain JSON."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sop_monitor_pkg.core.alarm_book import AlarmBook
from sop_monitor_pkg.core.journal import Entry
from sop_monitor_pkg.core.monitor import Monitor
from sop_monitor_pkg.core.procedure import Procedure

CYCLES_SHOWN = 60


class CycleTimes:
    """How long the last cycles took, gathered from journal entries."""

    def __init__(self, past: Iterable[Entry] = ()):
        self.cycles: list[dict[str, Any]] = []
        for entry in past:
            self.take(entry)

    def take(self, entry: Entry) -> None:
        """Looks at one entry; only the end of a cycle counts."""
        if entry.kind != "cycle_ended" or not entry.body.get("steps"):
            return
        steps = entry.body["steps"]
        took_s = (steps[-1][2] - steps[0][1]) * 1e-9
        self.cycles.append({"cycle": entry.body["cycle"], "took_s": round(max(0.0, took_s), 3)})
        del self.cycles[:-CYCLES_SHOWN]


def board(
    procedure: Procedure, monitor: Monitor, book: AlarmBook, times: CycleTimes, now_ns: int
) -> dict[str, Any]:
    """Everything that the page needs to show how things stand at `now_ns`."""
    state = monitor.state(now_ns)
    return {
        "procedure": procedure.title,
        "now_ns": now_ns,
        "head": book.head,
        "cycle": state.cycle,
        "cycle_s": state.cycle_s,
        "progress": state.progress,
        "steps": [
            {
                "name": step.name,
                "title": step.title,
                "optional": step.optional,
                "takes_s": step.takes_s,
                "times": state.done.count(step.name),
                "running": step.name == state.step,
                "expected": step.name in state.expected,
            }
            for step in procedure.steps
        ],
        "step_s": state.step_s,
        "probability": state.probability,
        "alarms": [
            {
                "number": alarm.number,
                "kind": str(alarm.kind),
                "step": alarm.step,
                "title": procedure.by_name[alarm.step].title if alarm.step else "",
                "cycle": alarm.cycle,
                "priority": alarm.priority.name.lower(),
                "state": str(alarm_state),
                "active": alarm.active,
                "reason": alarm.reason,
                "consequences": alarm.consequences,
                "acknowledged_by": alarm.acknowledged_by,
                "score": alarm.score,
                "age_s": max(0.0, (now_ns - alarm.raised_ns) * 1e-9),
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
