"""One cycle as it is seen: which steps, from when to when."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Span:
    """A step that was begun; `ended_ns` is None while it runs."""

    step: str
    begun_ns: int
    ended_ns: int | None = None

    def length_s(self, now_ns: int) -> float:
        """How long it took, or has taken so far [s]."""
        return (max(self.begun_ns, self.ended_ns or now_ns) - self.begun_ns) * 1e-9


@dataclass
class Cycle:
    """The steps of one piece."""

    spans: list[Span] = field(default_factory=list)

    @property
    def steps(self) -> list[str]:
        """Names of the steps begun so far, in order, with repetitions."""
        return [span.step for span in self.spans]

    @property
    def running(self) -> Span | None:
        """The step that is being done."""
        return self.spans[-1] if self.spans and self.spans[-1].ended_ns is None else None

    def begin(self, step: str, stamp_ns: int) -> bool:
        """A step begins, and ends the one before; False: it was running already."""
        running = self.running
        if running is not None and running.step == step:
            return False
        self.end(stamp_ns)
        self.spans.append(Span(step, stamp_ns))
        return True

    def end(self, stamp_ns: int) -> Span | None:
        """The running step ends; returns it, None if there is none."""
        running = self.running
        if running is not None:
            running.ended_ns = max(stamp_ns, running.begun_ns)
        return running

    def record(self) -> dict:
        """The cycle for the journal, as plain JSON."""
        spans = [[span.step, span.begun_ns, span.ended_ns] for span in self.spans]
        return {"steps": spans}
