"""The monitor's values to messages, and a decoder's messages to events."""

from __future__ import annotations

from collections.abc import Iterable

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticStatus
from node_kit.health import status
from node_kit.stamps import stamp_ns
from vjepa_interfaces.msg import Alert, Alerts, SopEvent, SopState

from sop_monitor_pkg.core.alarms.book import Change
from sop_monitor_pkg.core.alarms.kinds import Kind, Priority
from sop_monitor_pkg.core.alarms.table import Alarm, AlarmState
from sop_monitor_pkg.core.following.events import (
    SECOND_NS,
    AnomalyEvent,
    CycleEnded,
    CycleLost,
    Event,
    StepBegun,
    StepEnded,
)
from sop_monitor_pkg.core.following.monitor import EventError, MonitorState
from sop_monitor_pkg.core.procedure.procedure import Procedure


def event(message: SopEvent) -> Event:
    """A decoder's message as an event.

    Raises:
        EventError: no stamp, an unknown type or kind, a missing step, or a probability that is
            not within 0..1.
    """
    seen_ns = stamp_ns(message.header.stamp)
    if seen_ns <= 0:
        raise EventError("header.stamp is 0; give it the stamp of the picture, or now")
    if message.type == SopEvent.CYCLE_ENDED:
        return CycleEnded(seen_ns)
    if message.type == SopEvent.CYCLE_LOST:
        return CycleLost(seen_ns)
    if not 0.0 <= message.probability <= 1.0:  # also false for NaN
        raise EventError(f"probability is {message.probability:g}; it goes from 0 to 1")
    if message.type in (SopEvent.SUSPICION, SopEvent.SUSPICION_OVER):
        if message.kind not in [str(kind) for kind in Kind]:
            raise EventError(f"kind is {message.kind!r}; choose one of {', '.join(Kind)}")
        active = message.type == SopEvent.SUSPICION
        score, reason = float(message.probability), message.reason
        return AnomalyEvent(Kind(message.kind), seen_ns, message.step, score, reason, active)
    if not message.step:
        raise EventError("step is empty; name the step that has begun or ended")
    if message.type == SopEvent.STEP_BEGUN:
        return StepBegun(message.step, seen_ns, float(message.probability))
    if message.type == SopEvent.STEP_ENDED:
        return StepEnded(message.step, seen_ns)
    raise EventError(f"type is {message.type}; SopEvent names those there are")


def event_message(event: Event, frame_id: str = "") -> SopEvent:
    """An event as a message; `event` reads it again."""
    message = SopEvent()
    message.header.stamp = time_message(event.stamp_ns)
    message.header.frame_id = frame_id
    match event:
        case StepBegun():
            message.type, message.step = SopEvent.STEP_BEGUN, event.step
            message.probability = float(event.probability)
        case StepEnded():
            message.type, message.step = SopEvent.STEP_ENDED, event.step
        case CycleEnded():
            message.type = SopEvent.CYCLE_ENDED
        case CycleLost():
            message.type = SopEvent.CYCLE_LOST
        case AnomalyEvent():
            message.type = SopEvent.SUSPICION if event.active else SopEvent.SUSPICION_OVER
            message.kind, message.step = str(event.kind), event.step
            message.probability, message.reason = float(event.score), event.reason
    return message


def alerts_message(
    change: Change | None,
    open_alarms: Iterable[tuple[Alarm, AlarmState]],
    procedure: Procedure,
    head: int,
    now_ns: int,
) -> Alerts:
    """All open alarms after a change; None: after a start, with the journal at `head`."""
    message = Alerts(entry=head, change="started")
    message.header.stamp = time_message(now_ns)
    if change is not None:
        message.entry, message.change = change.entry.number, change.entry.kind
        message.header.stamp = time_message(change.entry.stamp_ns)
        if change.alarm is not None:
            message.changed = [alert_message(change.alarm, change.state, procedure)]
    message.alerts = [alert_message(alarm, state, procedure) for alarm, state in open_alarms]
    return message


def alert_message(alarm: Alarm, state: AlarmState, procedure: Procedure) -> Alert:
    """One alarm."""
    message = Alert(
        number=alarm.number,
        kind=str(alarm.kind),
        step=alarm.step,
        cycle=alarm.cycle,
        priority=int(alarm.priority),
        state=str(state),
        active=alarm.active,
        score=float(alarm.score),
        reason=alarm.reason,
        consequences=list(alarm.consequences),
        told=[person.name for person in procedure.told(alarm.kind)],
        acknowledged_by=alarm.acknowledged_by,
        raised=time_message(alarm.raised_ns),
        changed=time_message(alarm.changed_ns),
    )
    message.header.stamp = time_message(alarm.seen_ns)
    return message


def state_message(state: MonitorState, procedure: Procedure, now_ns: int) -> SopState:
    """Where the work stands."""
    message = SopState(
        procedure=procedure.name,
        cycle=state.cycle,
        step="unknown" if state.unknown else state.step,
        probability=float(state.probability),
        step_s=float(state.step_s),
        cycle_s=float(state.cycle_s),
        progress=float(state.progress),
        done=list(state.done),
        expected=list(state.expected),
    )
    message.header.stamp = time_message(now_ns)
    return message


def diagnostics(alarms: list[tuple[Alarm, AlarmState]]) -> list[DiagnosticStatus]:
    """Each open alarm for /diagnostics, and a line that says how many there are."""
    wanted = [item for item in alarms if not item[1].is_quiet]
    worst = max((_level(alarm) for alarm, _ in wanted), default=DiagnosticStatus.OK)
    found = [status("alarms", worst, f"{len(wanted)} open", open=str(len(wanted)))]
    for alarm, state in wanted:
        where = f"{alarm.kind} in {alarm.step}" if alarm.step else str(alarm.kind)
        text = f"{where}: {alarm.reason}" if alarm.reason else where
        values = {"state": str(state), "cycle": str(alarm.cycle), "score": f"{alarm.score:.2f}"}
        found.append(status(f"alarm {alarm.number}", _level(alarm), text, **values))
    return found


def time_message(stamp_ns: int) -> Time:
    """Nanoseconds since 1970 as a Time; what lies before is 0."""
    seconds, rest = divmod(max(0, stamp_ns), SECOND_NS)
    return Time(sec=seconds, nanosec=rest)


def _level(alarm: Alarm) -> bytes:
    urgent = alarm.priority >= Priority.HIGH
    return DiagnosticStatus.ERROR if urgent else DiagnosticStatus.WARN
