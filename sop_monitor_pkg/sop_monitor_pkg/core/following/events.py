"""What a decoder of the work says, as plain values: the input of everything that decides.

Whoever follows the work (a video decoder, a PLC, a person) sends these; times are stamps of what
was seen, in nanoseconds since 1970.
"""

from __future__ import annotations

from dataclasses import dataclass

from sop_monitor_pkg.core.alarms.kinds import Kind

SECOND_NS = 1_000_000_000


@dataclass(frozen=True)
class StepBegun:
    """A step has begun; the first one of a cycle begins the cycle."""

    step: str
    stamp_ns: int
    probability: float = 1.0


@dataclass(frozen=True)
class StepEnded:
    """A step has ended."""

    step: str
    stamp_ns: int


@dataclass(frozen=True)
class CycleEnded:
    """The piece is finished or has left; what is said next is about another one."""

    stamp_ns: int


@dataclass(frozen=True)
class CycleLost:
    """Nothing was seen for a while: how the cycle went on is not known, and not judged."""

    stamp_ns: int


@dataclass(frozen=True)
class AnomalyEvent:
    """Something looks wrong, or (`active` false) no longer does.

    Attributes:
        kind: what.
        stamp_ns: when it was seen.
        step: in which step; empty: in none.
        score: how sure, 0..1.
        reason: for people, in one sentence.
        active: false: it is over.
    """

    kind: Kind
    stamp_ns: int
    step: str = ""
    score: float = 1.0
    reason: str = ""
    active: bool = True


Event = StepBegun | StepEnded | CycleEnded | CycleLost | AnomalyEvent
