"""Lamp and buzzer: how the open alarms look and sound at the station."""

from __future__ import annotations

from collections.abc import Iterable

from sop_monitor_pkg.core.alarms.kinds import Priority
from sop_monitor_pkg.core.alarms.table import Alarm, AlarmState
from sop_monitor_pkg.core.procedure.procedure import Procedure

GREEN = "green"
YELLOW = "yellow"
RED = "red"
BLINKING = "_blinking"
"""Added to a colour while an alarm of that colour is not acknowledged."""


def lamp(procedure: Procedure, alarms: Iterable[tuple[Alarm, AlarmState]]) -> str:
    """The colour of the lamp: that of the most urgent alarm whose people are told by the lamp."""
    shown = [(alarm, state) for alarm, state in alarms if _reaches(procedure, alarm, state, "lamp")]
    colour = max((_colour(alarm) for alarm, _ in shown), default=GREEN, key=_SEVERITY.index)
    unseen = any(_colour(alarm) == colour and not alarm.acknowledged_by for alarm, _ in shown)
    return colour + BLINKING if unseen else colour


def buzzer(procedure: Procedure, alarms: Iterable[tuple[Alarm, AlarmState]]) -> bool:
    """Whether the buzzer sounds: until an alarm whose people are told by it is acknowledged, also
    when its cause is gone meanwhile."""
    unseen = (AlarmState.UNACKNOWLEDGED, AlarmState.CLEARED)
    return any(
        state in unseen and _reaches(procedure, alarm, state, "buzzer") for alarm, state in alarms
    )


_SEVERITY = (GREEN, YELLOW, RED)


def _colour(alarm: Alarm) -> str:
    return RED if alarm.priority >= Priority.HIGH else YELLOW


def _reaches(procedure: Procedure, alarm: Alarm, state: AlarmState, way: str) -> bool:
    if state.is_quiet or state is AlarmState.CLOSED:
        return False
    # A procedure without people leaves nobody out.
    told = procedure.told(alarm.kind)
    return not procedure.people or any(way in person.told_by for person in told)
