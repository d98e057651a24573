"""The state of all alarms, as the journal's entries make it: the same entries, the same state.

States follow ISA-18.2 and OPC UA Part 9. An alarm is closed when its cause is gone and somebody
has acknowledged it; a condition (a kind of fault, in one step or in any) can be shelved for a
while or taken out of service.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import StrEnum

from sop_monitor_pkg.core.alarms.journal import Entry
from sop_monitor_pkg.core.alarms.kinds import Kind, Priority

Fault = tuple[Kind, str]
"""What is wrong, whenever it is seen: a kind, and the step or, of things, what is said of them."""


class AlarmState(StrEnum):
    """What is to be done about an alarm."""

    UNACKNOWLEDGED = "unacknowledged"  # active, nobody has seen it
    ACKNOWLEDGED = "acknowledged"  # active, somebody sees to it
    CLEARED = "cleared"  # gone, nobody has seen it
    SHELVED = "shelved"  # put aside for a while
    OUT_OF_SERVICE = "out_of_service"  # its condition is not watched for now
    CLOSED = "closed"

    @property
    def is_quiet(self) -> bool:
        """Whether somebody has decided that nobody wants to hear of it for now."""
        return self in (AlarmState.SHELVED, AlarmState.OUT_OF_SERVICE)


@dataclass(frozen=True)
class Alarm:
    """One alarm: one root cause in one cycle.

    Attributes:
        number: of this alarm; counts up over the whole journal.
        kind, step: of what is taken for the cause.
        cycle: number of the cycle that it is about.
        score: how sure, 0..1, at its highest.
        reason: for people.
        seen_ns: stamp of what was seen first.
        raised_ns, changed_ns: when it was raised, and when it changed last.
        active: whether the cause is still there.
        acknowledged_by: who has seen it; empty: nobody.
        false: somebody has said that it is a false alarm.
        consequences: what else was seen of the same cause, in words.
    """

    number: int
    kind: Kind
    step: str
    cycle: int
    priority: Priority
    score: float
    reason: str
    seen_ns: int
    raised_ns: int
    changed_ns: int
    active: bool = True
    acknowledged_by: str = ""
    false: bool = False
    consequences: tuple[str, ...] = ()

    @property
    def closed(self) -> bool:
        """Whether nothing is left to do about it."""
        return self.false or (not self.active and bool(self.acknowledged_by))

    @property
    def fault(self) -> Fault:
        """What it is about."""
        return fault(self.kind, self.step, self.reason)


@dataclass(frozen=True)
class Shelf:
    """A shelved condition; `until_ns` is when it is watched again."""

    until_ns: int
    by: str


@dataclass
class AlarmTable:
    """Alarms by number, and conditions that are shelved or out of service.

    A condition is `kind` or `kind@step`. `dismissed` are faults that somebody has called a false
    alarm in this cycle; `raised` and `cycle` count the alarms and the cycles that have ended.
    """

    alarms: dict[int, Alarm] = field(default_factory=dict)
    shelves: dict[str, Shelf] = field(default_factory=dict)
    out_of_service: dict[str, str] = field(default_factory=dict)
    dismissed: set[Fault] = field(default_factory=set)
    raised: int = 0
    cycle: int = 0

    def apply(self, entry: Entry) -> Alarm | None:
        """Takes over one entry; returns the alarm that it is about, if there is one.

        A closed alarm is returned once, and then forgotten: the journal has it.
        """
        return _EFFECTS.get(entry.kind, _no_effect)(self, entry)

    def state(self, alarm: Alarm) -> AlarmState:
        """What is to be done about an alarm."""
        if alarm.closed:
            return AlarmState.CLOSED
        keys = conditions(alarm.kind, alarm.step)
        if any(key in self.out_of_service for key in keys):
            return AlarmState.OUT_OF_SERVICE
        if any(key in self.shelves for key in keys):
            return AlarmState.SHELVED
        if not alarm.active:
            return AlarmState.CLEARED
        return AlarmState.ACKNOWLEDGED if alarm.acknowledged_by else AlarmState.UNACKNOWLEDGED

    def open_alarms(self) -> list[Alarm]:
        """Those that want attention, the most urgent and then the oldest first."""
        alarms = [a for a in self.alarms.values() if not self.state(a).is_quiet]
        return sorted(alarms, key=lambda a: (-a.priority, a.raised_ns, a.number))

    @property
    def in_cycle(self) -> bool:
        """Whether anything is known of the running cycle."""
        alarms = self.alarms.values()
        return bool(self.dismissed) or any(alarm.cycle > self.cycle for alarm in alarms)

    def covered(self, kind: Kind, step: str, by: dict) -> bool:
        """Whether a fault falls under one of the conditions in `by`."""
        return any(key in by for key in conditions(kind, step))


def conditions(kind: Kind, step: str) -> tuple[str, ...]:
    """Names of the conditions that a fault falls under."""
    return (str(kind), f"{kind}@{step}") if step else (str(kind),)


def fault(kind: Kind, step: str, reason: str) -> Fault:
    """What is wrong: things are told apart by what is said of them, not by the step."""
    return kind, reason if kind.is_of_things else step


# What each kind of entry does.


def _raised(table: AlarmTable, entry: Entry) -> Alarm:
    body = entry.body
    alarm = Alarm(
        number=body["alarm"],
        kind=Kind(body["kind"]),
        step=body["step"],
        cycle=body["cycle"],
        priority=Priority(body["priority"]),
        score=body["score"],
        reason=body["reason"],
        seen_ns=body["seen_ns"],
        raised_ns=entry.stamp_ns,
        changed_ns=entry.stamp_ns,
    )
    table.alarms[alarm.number] = alarm
    table.raised = alarm.number
    return alarm


def _evidence(table: AlarmTable, entry: Entry) -> Alarm:
    """Something more was seen of the same cause."""
    alarm, body = table.alarms[entry.body["alarm"]], entry.body
    told = (*alarm.consequences, body["text"])
    score = max(alarm.score, body["score"])
    return _changed(table, alarm, entry, consequences=told, score=score)


def _reclassified(table: AlarmTable, entry: Entry) -> Alarm:
    """The real cause has shown: the alarm is now about it, and wants to be seen again."""
    alarm, body = table.alarms[entry.body["alarm"]], entry.body
    before = alarm.reason or str(alarm.kind)
    return _changed(
        table,
        alarm,
        entry,
        kind=Kind(body["kind"]),
        step=body["step"],
        priority=Priority(body["priority"]),
        score=body["score"],
        reason=body["reason"],
        active=True,
        acknowledged_by="",
        consequences=(before, *alarm.consequences),
    )


def _cleared(table: AlarmTable, entry: Entry) -> Alarm:
    return _changed(table, table.alarms[entry.body["alarm"]], entry, active=False)


def _returned(table: AlarmTable, entry: Entry) -> Alarm:
    """Its cause is there again, or is one of the cycle that has begun since."""
    alarm = table.alarms[entry.body["alarm"]]
    cycle = entry.body.get("cycle", alarm.cycle)  # older journals do not have it
    return _changed(table, alarm, entry, active=True, acknowledged_by="", cycle=cycle)


def _acknowledged(table: AlarmTable, entry: Entry) -> Alarm:
    alarm = table.alarms[entry.body["alarm"]]
    return _changed(table, alarm, entry, acknowledged_by=entry.body["by"])


def _false_alarm(table: AlarmTable, entry: Entry) -> Alarm:
    alarm = table.alarms[entry.body["alarm"]]
    told = (alarm.reason, *alarm.consequences)  # all that whoever answers has been shown
    table.dismissed |= {fault(alarm.kind, alarm.step, text) for text in told}
    return _changed(table, alarm, entry, acknowledged_by=entry.body["by"], false=True)


def _shelved(table: AlarmTable, entry: Entry) -> None:
    body = entry.body
    table.shelves[body["condition"]] = Shelf(body["until_ns"], body["by"])


def _unshelved(table: AlarmTable, entry: Entry) -> None:
    table.shelves.pop(entry.body["condition"], None)


def _out_of_service(table: AlarmTable, entry: Entry) -> None:
    table.out_of_service[entry.body["condition"]] = entry.body["by"]


def _in_service(table: AlarmTable, entry: Entry) -> None:
    table.out_of_service.pop(entry.body["condition"], None)


def _cycle(table: AlarmTable, entry: Entry) -> None:
    table.cycle = entry.body["cycle"]
    table.dismissed.clear()


def _no_effect(table: AlarmTable, entry: Entry) -> None:
    """An entry for the record only, such as a fault of a condition that is out of service."""


def _changed(table: AlarmTable, alarm: Alarm, entry: Entry, **values: object) -> Alarm:
    alarm = replace(alarm, changed_ns=entry.stamp_ns, **values)
    table.alarms[alarm.number] = alarm
    if alarm.closed:
        del table.alarms[alarm.number]
    return alarm


_EFFECTS: dict[str, Callable[[AlarmTable, Entry], Alarm | None]] = {
    "raised": _raised,
    "evidence": _evidence,
    "reclassified": _reclassified,
    "cleared": _cleared,
    "returned": _returned,
    "acknowledged": _acknowledged,
    "false_alarm": _false_alarm,
    "shelved": _shelved,
    "unshelved": _unshelved,
    "out_of_service": _out_of_service,
    "in_service": _in_service,
    "cycle_ended": _cycle,
}
