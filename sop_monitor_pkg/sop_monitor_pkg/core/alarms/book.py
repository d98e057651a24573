"""The alarms: anomalies and answers in, journalled changes out.

An anomaly becomes an alarm when it has lasted for the on-delay. Anomalies with one root cause
make one alarm: what is seen within the cause window of an open alarm of the same cycle is a
consequence of it, and so is, until the cycle ends, a part that lies wrong after a mistake of the
order. What lies around and was seen when nothing was left to do is of the next cycle, if it is
seen there, too. A cause comes before its symptoms and quality before process: when it turns out
what was done wrong, or that the piece itself is bad, the alarm becomes about that. Every change is
in the journal before it is published.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from sop_monitor_pkg.core.alarms.journal import Entry, Journal
from sop_monitor_pkg.core.alarms.kinds import Kind
from sop_monitor_pkg.core.alarms.table import (
    Alarm,
    AlarmState,
    AlarmTable,
    Fault,
    conditions,
    fault,
)
from sop_monitor_pkg.core.following.events import SECOND_NS, AnomalyEvent
from sop_monitor_pkg.core.procedure.procedure import Procedure

# Established by a single event: waiting would make them no surer, and the cycle may end meanwhile.
_FACTS = frozenset({Kind.WRONG_ORDER, Kind.SKIPPED, Kind.REPEATED, Kind.TOO_FAST, Kind.LABEL})

_SURE = 2 / 3  # of the follower's scores: half as much again as the threshold


class AlarmError(ValueError):
    """An answer that cannot be carried out; the text says why."""


@dataclass(frozen=True)
class AlarmRules:
    """Times of the alarm logic [s]."""

    on_delay_s: float = 0.2
    off_delay_s: float = 2.0
    cause_window_s: float = 10.0
    longest_shelf_s: float = 8 * 3600.0


@dataclass(frozen=True)
class Change:
    """What has just been written to the journal; `alarm` is the one it is about, as it is now."""

    entry: Entry
    alarm: Alarm | None
    state: AlarmState | None


class AlarmBook:
    """Keeps the alarms of one procedure. Safe to use from any thread.

    Args:
        procedure: gives priorities, and the steps that conditions may name.
        journal: where every change goes first.
        publish: called with each change, in order, after it is on the disk; must not block.
        past: the journal's entries so far, from which the state is rebuilt.
    """

    def __init__(
        self,
        procedure: Procedure,
        journal: Journal,
        publish: Callable[[Change], None],
        rules: AlarmRules | None = None,
        past: Iterable[Entry] = (),
    ):
        self.table = AlarmTable()
        self._procedure = procedure
        self._journal = journal
        self._publish = publish
        self._rules = rules or AlarmRules()
        self._lock = threading.RLock()
        self._waiting: dict[Fault, tuple[int, AnomalyEvent]] = {}  # for the on-delay, since when
        self._sources: dict[Fault, int] = {}  # what is seen now, and the alarm it belongs to
        self._suppressed: set[Fault] = set()
        self._ending: dict[int, int] = {}  # alarms whose cause is gone, and since when
        self._evidence_ns: dict[int, int] = {}
        self._complete_ns: int | None = None  # since when nothing was left to do in the last cycle
        for entry in past:
            alarm = self.table.apply(entry)
            if alarm is not None:
                self._evidence_ns[alarm.number] = entry.stamp_ns

    # What is seen.

    def observe(self, anomaly: AnomalyEvent, now_ns: int) -> None:
        """Takes an anomaly: begun, still there (may be said again and again), or over."""
        kind, step = anomaly.kind, anomaly.step
        seen = fault(kind, step, anomaly.reason)
        with self._lock:
            if not anomaly.active:
                self._over(kind, step, now_ns)
            elif self.table.covered(kind, step, by=self.table.out_of_service):
                self._suppress(seen, anomaly, now_ns)
            elif (number := self._sources.get(seen) or self._ending_alarm(seen)) is not None:
                self._sources[seen] = number
                self._still_there(number, now_ns)
            elif seen not in self.table.dismissed:
                since_ns, before = self._waiting.get(seen, (now_ns, anomaly))
                surer = anomaly if anomaly.score >= before.score else before
                self._waiting[seen] = since_ns, replace(surer, stamp_ns=before.stamp_ns)
            self.tick(now_ns)

    def end_cycle(self, now_ns: int, record: dict, complete_ns: int | None = None) -> None:
        """The piece is gone, and with it every cause.

        What is still within the on-delay was too short to be an alarm.

        Args:
            now_ns: the time.
            record: plain JSON for the journal.
            complete_ns: stamp since which nothing was left to do; None: something was.
        """
        with self._lock:
            for alarm in [a for a in self.table.alarms.values() if a.active]:
                self._write("cleared", {"alarm": alarm.number, "why": "cycle ended"}, now_ns)
            for memory in (self._waiting, self._sources, self._suppressed, self._ending):
                memory.clear()
            kept = self._evidence_ns.keys() & self.table.alarms.keys()
            self._evidence_ns = {number: self._evidence_ns[number] for number in kept}
            self._complete_ns = complete_ns
            body = {**record, "cycle": self.table.cycle + 1}
            self._write("cycle_ended", body, now_ns)

    def tick(self, now_ns: int) -> None:
        """Lets time pass: delays and shelves."""
        with self._lock:
            on_ns = round(self._rules.on_delay_s * SECOND_NS)
            due = [
                (seen, anomaly)
                for seen, (since_ns, anomaly) in self._waiting.items()
                if anomaly.kind in _FACTS or now_ns - since_ns >= on_ns
            ]
            # Quality first: what is found together is about the bad piece.
            for seen, anomaly in sorted(due, key=lambda item: not item[1].kind.is_quality):
                del self._waiting[seen]
                self._sources[seen] = self._alarm(anomaly, now_ns)
            off_ns = round(self._rules.off_delay_s * SECOND_NS)
            for number, since_ns in list(self._ending.items()):
                if now_ns - since_ns >= off_ns:
                    del self._ending[number]
                    if number in self.table.alarms and self.table.alarms[number].active:
                        self._write("cleared", {"alarm": number, "why": "over"}, now_ns)
            for condition, shelf in list(self.table.shelves.items()):
                if now_ns >= shelf.until_ns:
                    self._write("unshelved", {"condition": condition, "by": ""}, now_ns)

    # What people say.

    def acknowledge(self, number: int, by: str, comment: str, now_ns: int) -> None:
        """Somebody has seen the alarm and sees to it.

        Raises:
            AlarmError: there is no such open alarm, it is acknowledged already, or no name.
        """
        with self._lock:
            alarm = self._open(number)
            if alarm.acknowledged_by:
                by_whom = alarm.acknowledged_by
                raise AlarmError(f"alarm {number} is acknowledged already, by {by_whom}")
            body = {"alarm": number, "by": _named(by), "comment": comment}
            self._write("acknowledged", body, now_ns)

    def false_alarm(self, number: int, by: str, comment: str, now_ns: int) -> None:
        """Nothing is wrong: the alarm is closed, and its fault is not raised again this cycle.

        Raises:
            AlarmError: there is no such open alarm, or no name.
        """
        with self._lock:
            self._open(number)
            body = {"alarm": number, "by": _named(by), "comment": comment}
            self._write("false_alarm", body, now_ns)

    def shelve(self, condition: str, for_s: float, by: str, comment: str, now_ns: int) -> None:
        """Puts a condition aside for a while; its alarms are kept, and come back afterwards.

        Raises:
            AlarmError: an unknown condition, a time that is not allowed, or no name.
        """
        longest_s = self._rules.longest_shelf_s
        if not 0.0 < for_s <= longest_s:
            raise AlarmError(f"shelve for {for_s:g} s: give 1 to {longest_s:g} s")
        with self._lock:
            until_ns = now_ns + round(for_s * SECOND_NS)
            body = {"condition": self._known(condition), "until_ns": until_ns}
            self._write("shelved", {**body, "by": _named(by), "comment": comment}, now_ns)

    def unshelve(self, condition: str, by: str, now_ns: int) -> None:
        """Takes a condition from the shelf before its time.

        Raises:
            AlarmError: it is not shelved, or no name.
        """
        with self._lock:
            if condition not in self.table.shelves:
                raise AlarmError(f"{condition} is not shelved")
            self._write("unshelved", {"condition": condition, "by": _named(by)}, now_ns)

    def take_out_of_service(self, condition: str, by: str, comment: str, now_ns: int) -> None:
        """Stops watching a condition until somebody returns it; its faults are still journalled.

        Raises:
            AlarmError: an unknown condition, one that is out already, or no name.
        """
        with self._lock:
            if condition in self.table.out_of_service:
                raise AlarmError(f"{condition} is out of service already")
            body = {"condition": self._known(condition), "by": _named(by), "comment": comment}
            self._write("out_of_service", body, now_ns)
            for seen, (_, anomaly) in list(self._waiting.items()):
                if condition in conditions(anomaly.kind, anomaly.step):
                    del self._waiting[seen]

    def return_to_service(self, condition: str, by: str, now_ns: int) -> None:
        """Watches a condition again.

        Raises:
            AlarmError: it is in service, or no name.
        """
        with self._lock:
            if condition not in self.table.out_of_service:
                raise AlarmError(f"{condition} is not out of service")
            self._write("in_service", {"condition": condition, "by": _named(by)}, now_ns)
            self._suppressed.clear()

    @property
    def head(self) -> int:
        """Number of the last journal entry."""
        return self._journal.head[0]

    def snapshot(self) -> list[tuple[Alarm, AlarmState]]:
        """Every alarm that is not closed, with its state, the most urgent and oldest first."""
        with self._lock:
            alarms = sorted(
                self.table.alarms.values(), key=lambda a: (-a.priority, a.raised_ns, a.number)
            )
            return [(alarm, self.table.state(alarm)) for alarm in alarms]

    # One alarm per root cause.

    def _alarm(self, anomaly: AnomalyEvent, now_ns: int) -> int:
        """Raises an alarm, or adds to the one of the same root cause; returns its number."""
        cause = self._cause(anomaly, now_ns)
        kind, step = anomaly.kind, anomaly.step
        about = {
            "kind": str(kind),
            "step": step,
            "priority": int(self._procedure.priority(kind)),
            "score": float(anomaly.score),
            "reason": anomaly.reason,
        }
        if cause is None:
            number = self.table.raised + 1
            body = {"alarm": number, "cycle": self.table.cycle + 1, "seen_ns": anomaly.stamp_ns}
            self._write("raised", {**body, **about}, now_ns)
            self._evidence_ns[number] = now_ns
            return number
        number = cause.number
        self._still_there(number, now_ns)
        if cause.fault == fault(kind, step, anomaly.reason):
            if not cause.active:
                body = {"alarm": number, "cycle": self.table.cycle + 1}
                self._write("returned", body, now_ns)
        elif _takes_over(anomaly, cause):
            self._write("reclassified", {"alarm": number, **about}, now_ns)
        else:
            text = anomaly.reason or " in ".join(filter(None, (str(kind), step)))
            if text not in cause.consequences:
                score = anomaly.score if kind is cause.kind else cause.score
                body = {"alarm": number, "text": text, "score": float(score)}
                self._write("evidence", body, now_ns)
        return number

    def _cause(self, anomaly: AnomalyEvent, now_ns: int) -> Alarm | None:
        """The open alarm of this cycle that the anomaly belongs to, or one that came early."""
        window_ns = round(self._rules.cause_window_s * SECOND_NS)
        kind, step = anomaly.kind, anomaly.step
        shelved = self.table.covered(kind, step, by=self.table.shelves)
        related = []
        for alarm in self.table.alarms.values():
            recent = now_ns - self._evidence_ns.get(alarm.number, alarm.raised_ns) <= window_ns
            of_this = alarm.cycle == self.table.cycle + 1
            same = alarm.fault == fault(kind, step, anomaly.reason)
            if same and (of_this or recent and self._came_early(alarm)):
                return alarm
            if not of_this:
                continue
            if kind.is_quality and alarm.kind.is_quality:
                # Two kinds of bad are two causes, if both are sure; the same kind in two steps is
                # the same piece.
                joins = alarm.kind is kind and alarm.active
                joins |= recent and (_unsure(alarm) or _unsure(anomaly))
            else:
                joins = recent or kind is Kind.DROPPED_PART and alarm.kind.is_of_order
            # Neither may a consequence hide on a shelf, nor an alarm be taken there by its cause.
            hides = self.table.state(alarm).is_quiet
            hides |= shelved and _takes_over(anomaly, alarm)
            if joins and not hides:
                related.append(alarm)
        return max(
            related, key=lambda a: self._evidence_ns.get(a.number, a.raised_ns), default=None
        )

    def _came_early(self, alarm: Alarm) -> bool:
        """Whether it was raised in the cycle before, of what may have lain there for this one."""
        since_ns = self._complete_ns
        if since_ns is None or alarm.cycle != self.table.cycle or alarm.seen_ns < since_ns:
            return False
        return alarm.kind.is_of_things and alarm.kind is not Kind.DEFECT  # that is of the piece

    def _over(self, kind: Kind, step: str, now_ns: int) -> None:
        """A fault is no longer seen: its alarm ends when it was the last one."""

        def ends(seen: Fault) -> bool:
            return seen[0] is kind and (kind.is_of_things or seen[1] == step)

        self._suppressed = {seen for seen in self._suppressed if not ends(seen)}
        for seen in filter(ends, list(self._waiting)):
            del self._waiting[seen]
        numbers = [self._sources.pop(seen) for seen in filter(ends, list(self._sources))]
        if not numbers:  # raised before a restart
            alarms = self.table.alarms.values()
            numbers = [a.number for a in alarms if a.active and ends(a.fault)]
        for number in numbers:
            if number in self.table.alarms and number not in self._sources.values():
                self._ending.setdefault(number, now_ns)

    def _ending_alarm(self, seen: Fault) -> int | None:
        """Number of the alarm of a fault that is over, and not for the off-delay yet."""
        alarms = self.table.alarms
        ending = (alarms[number] for number in self._ending if number in alarms)
        return next((a.number for a in ending if a.active and a.fault == seen), None)

    def _still_there(self, number: int, now_ns: int) -> None:
        self._ending.pop(number, None)
        self._evidence_ns[number] = now_ns

    def _suppress(self, seen: Fault, anomaly: AnomalyEvent, now_ns: int) -> None:
        self._waiting.pop(seen, None)
        if seen not in self._suppressed:
            self._suppressed.add(seen)
            kind, step = str(anomaly.kind), anomaly.step
            body = {"kind": kind, "step": step, "reason": anomaly.reason}
            self._write("suppressed", body, now_ns)

    # Helpers.

    def _write(self, kind: str, body: dict, now_ns: int) -> None:
        entry = self._journal.append(kind, body, now_ns)
        alarm = self.table.apply(entry)
        self._publish(Change(entry, alarm, None if alarm is None else self.table.state(alarm)))

    def _open(self, number: int) -> Alarm:
        if number not in self.table.alarms:
            raise AlarmError(f"there is no open alarm {number}; it may have been closed meanwhile")
        return self.table.alarms[number]

    def _known(self, condition: str) -> str:
        kind, _, step = condition.partition("@")
        steps = ["", *self._procedure.by_name]
        if kind in [str(k) for k in Kind] and step in steps:
            found = conditions(Kind(kind), step)[-1]
            if found == condition:
                return condition
        raise AlarmError(f"{condition!r} is no condition: write KIND or KIND@STEP")


def _takes_over(anomaly: AnomalyEvent, alarm: Alarm) -> bool:
    """Whether the anomaly is what the alarm comes from, and not the other way round."""
    if alarm.kind is Kind.DROPPED_PART and anomaly.kind.is_of_order:
        # A part lies where it never does after a mistake that takes longer to tell.
        return anomaly.stamp_ns < alarm.seen_ns
    surer = _unsure(alarm) and _is_sure(anomaly)
    return surer or anomaly.kind.explains > alarm.kind.explains


def _unsure(what: Alarm | AnomalyEvent) -> bool:
    """Whether the piece seems bad, and only just."""
    return what.kind.is_quality and what.kind not in _FACTS and what.score < _SURE


def _is_sure(anomaly: AnomalyEvent) -> bool:
    """Whether the piece is bad beyond doubt."""
    return anomaly.kind.is_quality and not _unsure(anomaly)


def _named(by: str) -> str:
    if not by.strip():
        raise AlarmError("say who you are: the journal keeps a name with every answer")
    return by.strip()
