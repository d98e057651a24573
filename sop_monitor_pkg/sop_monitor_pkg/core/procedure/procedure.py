"""The procedure: its steps, their partial order, parts, checks, and who is told what.

`procedure_file` reads one from YAML; everything else works on these plain values.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

from sop_monitor_pkg.core.alarms.kinds import PRIORITIES, Kind, Priority


class CheckKind(StrEnum):
    """What is looked at when a step has ended."""

    PART = "part"  # the detector sees the part
    NO_DEFECT = "no_defect"  # the surface of the part is free of defects
    TEXT = "text"  # a printed text matches a pattern
    CODE = "code"  # a bar or matrix code matches a pattern

    @property
    def fault(self) -> Kind:
        """The kind of alarm when the check fails."""
        return {
            CheckKind.PART: Kind.WRONG_PART,
            CheckKind.NO_DEFECT: Kind.DEFECT,
            CheckKind.TEXT: Kind.LABEL,
            CheckKind.CODE: Kind.LABEL,
        }[self]


@dataclass(frozen=True)
class QualityCheck:
    """One check of a step; `value` is the name of a part, or a regular expression."""

    kind: CheckKind
    value: str


@dataclass(frozen=True)
class Step:
    """One step of the work.

    Attributes:
        name: identifier, as events carry it.
        title: for people.
        after: steps that come before this one (an optional one only if it is done at all).
        optional: whether a correct cycle may leave it out.
        at_most: how often a correct cycle may do it; None: as often as it likes.
        parts: names of the parts that it takes.
        labels: texts and codes that must be read at its end.
        checks: what else is looked at when it has ended.
        takes_s: shortest and longest time of a correct cycle [s], if the procedure fixes them.
    """

    name: str
    title: str
    after: frozenset[str] = frozenset()
    optional: bool = False
    at_most: int | None = 1
    parts: tuple[str, ...] = ()
    labels: tuple[QualityCheck, ...] = ()
    checks: tuple[QualityCheck, ...] = ()
    takes_s: tuple[float, float] | None = None


@dataclass(frozen=True)
class Person:
    """Somebody who is told of alarms; `told_by` are the ways: page, mqtt, lamp, buzzer."""

    name: str
    told_by: tuple[str, ...] = ("page",)


@dataclass(frozen=True)
class Procedure:
    """A whole procedure; steps stand in an order that respects `after`.

    Attributes:
        variants: groups of parts that can be mistaken for each other, such as screws M3 and M4.
        holders: classes of what moves parts, such as a hand or a driver; they may be anywhere.
    """

    name: str
    title: str
    steps: tuple[Step, ...]
    parts: tuple[str, ...] = ()
    people: tuple[Person, ...] = ()
    tell: tuple[tuple[Kind, tuple[str, ...]], ...] = ()
    priorities: tuple[tuple[Kind, Priority], ...] = ()
    variants: tuple[tuple[str, ...], ...] = ()
    holders: tuple[str, ...] = ()

    @cached_property
    def by_name(self) -> dict[str, Step]:
        return {step.name: step for step in self.steps}

    def priority(self, kind: Kind) -> Priority:
        """How urgent an alarm of this kind is here."""
        return dict(self.priorities).get(kind, PRIORITIES[kind])

    def told(self, kind: Kind) -> tuple[Person, ...]:
        """Who is told of an alarm of this kind."""
        names = dict(self.tell).get(kind, ())
        return tuple(person for person in self.people if person.name in names)

    def are_variants(self, one: str, other: str) -> bool:
        """Whether one part in the place of the other is a wrong part, not a dropped one."""
        return one == other or any(one in group and other in group for group in self.variants)

    def before(self, name: str) -> frozenset[str]:
        """Every step that comes before this one, directly or not.

        Raises:
            KeyError: there is no such step.
        """
        return self._ancestors[name]

    def next_steps(self, done: Iterable[str]) -> list[Step]:
        """What may correctly begin after these steps (with repetitions), in procedure order."""
        times = list(done)
        return [
            step
            for step in self.steps
            if (step.at_most is None or times.count(step.name) < step.at_most)
            and not self.missing_before(step.name, times)
            and not any(step.name in self.before(later) for later in times)
        ]

    def missing_before(self, name: str, done: Iterable[str]) -> list[str]:
        """Steps that a correct cycle has done before this one, and this one has not."""
        have = set(done)
        needed = self.before(name)
        return [s.name for s in self.steps if s.name in needed - have and not s.optional]

    @cached_property
    def inspected(self) -> frozenset[str]:
        """Parts whose surface has to be free of defects."""
        checks = (check for step in self.steps for check in step.checks)
        return frozenset(check.value for check in checks if check.kind is CheckKind.NO_DEFECT)

    @cached_property
    def last_steps(self) -> frozenset[str]:
        """Steps that nothing has to follow."""
        followed = frozenset().union(*(self.before(step.name) for step in self.steps))
        return frozenset(self.by_name) - followed

    @cached_property
    def opening(self) -> str:
        """The step that comes before all others in every cycle; empty: there is none."""
        first, *others = self.steps
        alone = not first.optional and all(first.name in self.before(s.name) for s in others)
        return first.name if alone else ""

    def may_end(self, done: Sequence[str]) -> bool:
        """Whether the cycle may be over with the newest of these steps: nothing has to follow it,
        and none of those that end a cycle is missing."""
        wanted = {name for name in self.last_steps if not self.by_name[name].optional}
        return bool(done) and done[-1] in self.last_steps and wanted <= set(done)

    def begins_next(self, done: Sequence[str], name: str) -> bool:
        """Whether this step, after these steps of a cycle, is the beginning of the next one: it is
        the opening, or nothing was left to do and it may come first and not now."""
        if done and name == self.opening:
            return done[-1] != name
        if not self.may_end(done):
            return False
        first, now = ({step.name for step in self.next_steps(steps)} for steps in ([], done))
        return name in first - now

    def newest(self, done: Sequence[str]) -> list[str]:
        """The steps of the newest cycle among those of several in a row."""
        cycle: list[str] = []
        for name in done:
            cycle = [name] if self.begins_next(cycle, name) else [*cycle, name]
        return cycle

    @cached_property
    def _ancestors(self) -> dict[str, frozenset[str]]:
        found: dict[str, frozenset[str]] = {}
        for step in self.steps:  # a predecessor stands before its successors
            found[step.name] = step.after.union(*(found[name] for name in step.after))
        return found
