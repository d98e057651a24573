"""The monitor: a decoder's events in; state, and alarms through the book, out."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from sop_monitor_pkg.core.alarms.book import AlarmBook
from sop_monitor_pkg.core.alarms.kinds import Kind
from sop_monitor_pkg.core.checks.order_watch import OrderWatch
from sop_monitor_pkg.core.following.cycle import Cycle
from sop_monitor_pkg.core.following.events import (
    AnomalyEvent,
    CycleEnded,
    CycleLost,
    Event,
    StepBegun,
    StepEnded,
)
from sop_monitor_pkg.core.procedure.procedure import Procedure


class EventError(ValueError):
    """An event that the procedure cannot take; the text says why."""


@dataclass(frozen=True)
class MonitorState:
    """Where the work stands.

    Attributes:
        cycle: number of the running or next cycle.
        step: the running step; empty: none.
        probability: that it is this step, as the decoder says.
        step_s, cycle_s: how long the step and the cycle have taken [s].
        progress: share of the steps of a cycle that are done, 0..1; optional ones do not count.
        done: names of the steps done, in order.
        expected: names of the steps that may come next.
        unknown: what is done now looks like no step.
        partly: the cycle had begun before the monitor saw it; what it could not see is not missed.
    """

    cycle: int
    step: str
    probability: float
    step_s: float
    cycle_s: float
    progress: float
    done: tuple[str, ...]
    expected: tuple[str, ...]
    unknown: bool = False
    partly: bool = False


class Monitor:
    """Follows cycles by a decoder's events. Safe to use from any thread.

    Args:
        procedure: what is to be done.
        book: where anomalies go.
        mid_cycle: a cycle may be running already, as after a restart. It is when the first step
            that is told cannot be its first, or something ends without a beginning.
    """

    def __init__(self, procedure: Procedure, book: AlarmBook, mid_cycle: bool = False):
        self._procedure = procedure
        self._book = book
        self._watch = OrderWatch(procedure)
        self._cycle = Cycle()
        # Whether the cycle was running before; None: it may have been, nothing tells yet.
        self._partly: bool | None = None if mid_cycle else False
        self._probability = 0.0
        self._unknown = False
        self._lock = threading.Lock()

    def take(self, event: Event, now_ns: int) -> None:
        """Takes one event.

        Raises:
            EventError: it names a step that the procedure does not have; nothing has changed.
        """
        step = getattr(event, "step", "")
        if step and step not in self._procedure.by_name:
            known = ", ".join(self._procedure.by_name)
            raise EventError(
                f"procedure {self._procedure.name} has no step {step!r}; it has {known}"
            )
        with self._lock:
            match event:
                case AnomalyEvent():
                    if event.kind is Kind.UNKNOWN_ACTION:
                        self._unknown = event.active
                    self._book.observe(event, now_ns)
                case StepBegun():
                    self._begin(event, now_ns)
                case StepEnded():
                    self._end(event, now_ns)
                case CycleEnded():
                    self._finish(event, now_ns)
                case CycleLost():
                    self._lose(event, now_ns)

    def tick(self, now_ns: int) -> None:
        """Lets time pass; call it several times a second."""
        with self._lock:
            self._observe(self._watch.tick(self._cycle, now_ns), now_ns)
            self._book.tick(now_ns)

    def state(self, now_ns: int) -> MonitorState:
        """Where the work stands."""
        with self._lock:
            running, steps = self._cycle.running, self._cycle.steps
            done = steps[:-1] if running else steps
            needed = [step.name for step in self._procedure.steps if not step.optional]
            spans = self._cycle.spans
            return MonitorState(
                cycle=self._book.table.cycle + 1,
                step=running.step if running else "",
                probability=self._probability if running else 0.0,
                step_s=running.length_s(now_ns) if running else 0.0,
                cycle_s=max(0.0, (now_ns - spans[0].begun_ns) * 1e-9) if spans else 0.0,
                progress=sum(name in done for name in needed) / len(needed),
                done=tuple(done),
                expected=tuple(step.name for step in self._procedure.next_steps(steps)),
                unknown=self._unknown and running is not None,
                partly=bool(self._partly),
            )

    def _begin(self, event: StepBegun, now_ns: int) -> None:
        self._probability, self._unknown = event.probability, False
        if not self._cycle.spans:
            self._open(event.step, now_ns)
        running = self._cycle.running
        if running is not None and running.step != event.step:
            self._end(StepEnded(running.step, event.stamp_ns), now_ns)
        if self._cycle.begin(event.step, event.stamp_ns):
            self._observe(self._watch.step_begun(self._cycle, event.stamp_ns), now_ns)

    def _open(self, step: str, now_ns: int) -> None:
        """The first step that is told of a cycle."""
        if self._partly is None:
            self._partly = step not in [s.name for s in self._procedure.next_steps([])]
            if not self._partly and self._book.table.in_cycle:  # its end was not seen
                self._book.end_cycle(now_ns, {**Cycle().record(), "partly": True})
        if self._partly:
            self._watch.join(step)

    def _end(self, event: StepEnded, now_ns: int) -> None:
        if self._partly is None:
            self._partly = True
        running = self._cycle.running
        if running is None or running.step != event.step:
            return  # the next one has begun, and has ended it
        self._cycle.end(event.stamp_ns)
        self._observe(self._watch.step_ended(running, event.stamp_ns), now_ns)

    def _finish(self, event: CycleEnded, now_ns: int) -> None:
        if not self._cycle.spans and self._partly is False:
            return
        self._cycle.end(event.stamp_ns)
        if self._cycle.spans:
            self._observe(self._watch.cycle_ended(self._cycle, event.stamp_ns), now_ns)
        partly = {"partly": True} if self._partly is not False else {}
        record = {**self._cycle.record(), **partly}
        self._book.end_cycle(now_ns, record, self._complete_ns())
        self._cycle, self._partly = Cycle(), False

    def _complete_ns(self) -> int | None:
        """Since when nothing has been left to do but the last step; None: something is."""
        over = self._procedure.may_end(self._cycle.steps)
        return self._cycle.spans[-1].begun_ns if over else None

    def _lose(self, event: CycleLost, now_ns: int) -> None:
        """What is told next may be the rest of this cycle, or another one."""
        if self._cycle.spans:
            self._cycle.end(event.stamp_ns)
            self._watch.forget()
            self._book.end_cycle(now_ns, {**self._cycle.record(), "partly": True})
        self._cycle, self._partly = Cycle(), None

    def _observe(self, anomalies: list[AnomalyEvent], now_ns: int) -> None:
        for anomaly in anomalies:
            self._book.observe(anomaly, now_ns)
