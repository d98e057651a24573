"""What a procedure file alone can tell of a cycle: order, repetitions, and times that it fixes.

What is learnt from recordings (how long a step normally takes, what it looks like) is not part
of this.
"""

from __future__ import annotations

from sop_monitor_pkg.core.alarms.kinds import Kind
from sop_monitor_pkg.core.following.cycle import Cycle, Span
from sop_monitor_pkg.core.following.events import AnomalyEvent
from sop_monitor_pkg.core.procedure.procedure import Procedure


class OrderWatch:
    """Follows one cycle after the other; each method returns what has become suspicious.

    A step that is missing is told once: what follows from its absence is no news.
    """

    def __init__(self, procedure: Procedure):
        self._procedure = procedure
        self._told: set[str] = set()  # steps whose absence was told, or is not to be told
        self._slow: Span | None = None

    def join(self, step: str) -> None:
        """A cycle is seen from this step on: what may have been done before it is not missed."""
        before = (
            s.name for s in self._procedure.steps if step not in self._procedure.before(s.name)
        )
        self._told.update(name for name in before if name != step)

    def forget(self) -> None:
        """The cycle is not followed to its end."""
        self._told.clear()
        self._slow = None

    def step_begun(self, cycle: Cycle, stamp_ns: int) -> list[AnomalyEvent]:
        """A step has begun, the last of `cycle`."""
        *done, step = cycle.steps
        title = self._title(step)
        missing = [m for m in self._procedure.missing_before(step, done) if m not in self._told]
        if missing:
            self._told.update(missing)
            titles = " and ".join(f"'{self._title(name)}'" for name in missing)
            return [
                AnomalyEvent(Kind.WRONG_ORDER, stamp_ns, step, reason=f"'{title}' before {titles}")
            ]
        most = self._procedure.by_name[step].at_most
        if most is not None and done.count(step) >= most:
            reason = f"'{title}' for the {done.count(step) + 1}. time, at most {most} allowed"
            return [AnomalyEvent(Kind.REPEATED, stamp_ns, step, reason=reason)]
        if step in self._told:  # it comes late; that it was missing is told
            return []
        later = [name for name in done if step in self._procedure.before(name)]
        if later:
            reason = f"'{title}' after '{self._title(later[0])}'"
            return [AnomalyEvent(Kind.WRONG_ORDER, stamp_ns, step, reason=reason)]
        return []

    def step_ended(self, span: Span, stamp_ns: int) -> list[AnomalyEvent]:
        """A step has ended."""
        found = self._no_longer_slow(stamp_ns)
        limits = self._procedure.by_name[span.step].takes_s
        length_s = span.length_s(stamp_ns)
        if limits is not None and length_s < limits[0]:
            reason = f"'{self._title(span.step)}' took {length_s:.1f} s, at least {limits[0]:g} s"
            found.append(AnomalyEvent(Kind.TOO_FAST, stamp_ns, span.step, reason=reason))
        return found

    def tick(self, cycle: Cycle, stamp_ns: int) -> list[AnomalyEvent]:
        """Time has passed."""
        span = cycle.running
        if span is None or span is self._slow:
            return []
        limits = self._procedure.by_name[span.step].takes_s
        if limits is None or span.length_s(stamp_ns) <= limits[1]:
            return []
        self._slow = span
        reason = f"'{self._title(span.step)}' takes longer than {limits[1]:g} s"
        return [AnomalyEvent(Kind.TOO_SLOW, stamp_ns, span.step, reason=reason)]

    def cycle_ended(self, cycle: Cycle, stamp_ns: int) -> list[AnomalyEvent]:
        """The cycle has ended: what was not done is skipped."""
        found = self._no_longer_slow(stamp_ns)
        done = {*cycle.steps, *self._told}
        left_out = [s for s in self._procedure.steps if not s.optional and s.name not in done]
        if left_out:
            reason = f"left out: {', '.join(step.title for step in left_out)}"
            found.append(AnomalyEvent(Kind.SKIPPED, stamp_ns, left_out[0].name, reason=reason))
        self._told.clear()
        return found

    def _no_longer_slow(self, stamp_ns: int) -> list[AnomalyEvent]:
        slow, self._slow = self._slow, None
        if slow is None:
            return []
        return [AnomalyEvent(Kind.TOO_SLOW, stamp_ns, slow.step, active=False)]

    def _title(self, step: str) -> str:
        return self._procedure.by_name[step].title
