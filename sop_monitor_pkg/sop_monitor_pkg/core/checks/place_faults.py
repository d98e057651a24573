"""What a thing out of place means: dropped, swapped, foreign, or a step done again or too early."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sop_monitor_pkg.core.alarms.kinds import Kind
from sop_monitor_pkg.core.following.scores import Score
from sop_monitor_pkg.core.normal.places import Misplaced
from sop_monitor_pkg.core.procedure.procedure import Procedure

PLACE_SCORES = {
    Kind.DROPPED_PART: "dropped",
    Kind.WRONG_PART: "swapped",
    Kind.FOREIGN_OBJECT: "foreign",
}
_RISKY = 0.5  # so likely a step out of order, it has put together what never is at this time


class PlaceFaults:
    """By a procedure."""

    def __init__(self, procedure: Procedure, usual: Collection[str]):
        """`usual`: classes that correct cycles show; others are foreign, but for holders."""
        self._procedure, self._usual = procedure, frozenset(usual)

    def scores(self, items: Sequence[Misplaced], done: Sequence[str], risk: float) -> list[Score]:
        """Of things out of place one of each kind, the first.

        Args:
            done: the steps begun so far, the last of which runs. risk: see `StepForecast`.
        """
        found: dict[Kind, Score] = {}
        for item in items:
            kind = self.kind(item)
            if kind is None or kind in found:
                continue
            if kind is Kind.DROPPED_PART and item.covered and risk > _RISKY:
                continue
            found[kind] = self._score(item, kind, done)
        return list(found.values())

    def kind(self, item: Misplaced) -> Kind | None:
        """What it is by itself; None: nothing, since hands and tools go anywhere."""
        if any(name in self._procedure.parts for name in item.names):
            mistaken = self._procedure.are_variants(item.names[0], item.belongs)
            return Kind.WRONG_PART if mistaken else Kind.DROPPED_PART
        known = self._usual.union(self._procedure.holders)
        return None if any(name in known for name in item.names) else Kind.FOREIGN_OBJECT

    def _score(self, item: Misplaced, kind: Kind, done: Sequence[str]) -> Score:
        """What is on the piece and does not belong there was not dropped: the step that takes it
        was done again, or too early."""
        name, step = PLACE_SCORES[kind], done[-1]
        where = f"{item.name} where it never is in a correct cycle"
        if kind is Kind.WRONG_PART:
            where = f"{item.name} in the place of {item.belongs}"
            return Score(name, item.weight, kind, step, where)
        if kind is Kind.FOREIGN_OBJECT:
            return Score(name, item.sure_s, kind, step, where)
        taking = self._taking(item.names)
        if item.again:
            kind, step, where = Kind.REPEATED, taking or step, f"one more {where}"
        elif item.covered and taking and taking not in done:
            missing = self._procedure.missing_before(taking, done)
            if missing:
                title = self._procedure.by_name[missing[0]].title
                kind, step, where = Kind.WRONG_ORDER, taking, f"{item.name} before '{title}'"
        return Score(name, item.dropped, kind, step, where)

    def _taking(self, parts: Sequence[str]) -> str:
        """The step that takes one of these parts; empty: none does."""
        steps = (step.name for step in self._procedure.steps if set(step.parts) & set(parts))
        return next(steps, "")
