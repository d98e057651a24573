"""How likely a step is after the steps done so far: the procedure as a language of steps."""

from __future__ import annotations

import math

from sop_monitor_pkg.core.procedure.procedure import Procedure

ESCAPE = 1e-2
"""Probability of a mistake: people make some, and evidence has to overcome this."""

_FARTHER = 0.3  # for each further step that is left out, how much rarer the mistake is
_AGAIN, _BACK = 1.0, 1e-3  # of doing the step again that was just done, or another one
_ANEW = 0.1  # of the step that all cycles open with: the next piece, this one being broken off
_LATE = 0.5  # a step whose absence has been accepted, when it is done after all


class OrderLanguage:
    """Log-probabilities of the next step. `escape`: 0 forbids what is not allowed."""

    def __init__(self, procedure: Procedure, escape: float = ESCAPE):
        self._procedure = procedure
        self.steps = tuple(procedure.by_name)
        self._escape = math.log(escape) if escape > 0.0 else -math.inf
        self._known: dict[tuple[int, ...], tuple[list[float], frozenset[int]]] = {}

    def log_next(self, done: tuple[int, ...]) -> list[float]:
        """For each step the log-probability that it is next after these (indices, in order)."""
        return self._after(done)[0]

    def allowed(self, done: tuple[int, ...]) -> frozenset[int]:
        """Steps (indices) that are no mistake after these."""
        return self._after(done)[1]

    def _after(self, done: tuple[int, ...]) -> tuple[list[float], frozenset[int]]:
        found = self._known.get(done)
        if found is None:
            found = self._known[done] = self._compute(done)
        return found

    def _compute(self, done: tuple[int, ...]) -> tuple[list[float], frozenset[int]]:
        procedure = self._procedure
        names = procedure.newest([self.steps[index] for index in done])
        missed: set[str] = set()  # of these the absence has been accepted
        for position, name in enumerate(names):
            missed.update(procedure.missing_before(name, names[:position]))
        allowed, late = [], []
        for step in procedure.steps:
            if step.at_most is not None and names.count(step.name) >= step.at_most:
                continue
            if set(procedure.missing_before(step.name, names)) - missed:
                continue
            if step.name in missed and step.name not in names:
                late.append(step.name)
            elif not any(step.name in procedure.before(later) for later in names):
                allowed.append(step.name)
        if procedure.may_end(names):
            allowed += [n for n in self.steps if procedure.begins_next(names, n)]
        share = dict.fromkeys(allowed, 1.0) | dict.fromkeys(late, _LATE)
        total = sum(share.values()) or 1.0
        found = []
        for name in self.steps:
            if name in share:
                found.append(math.log(share[name] / total))
            else:
                found.append(self._escape + math.log(self._mistake(name, names, missed)))
        return found, frozenset(i for i, name in enumerate(self.steps) if name in share)

    def _mistake(self, name: str, names: list[str], missed: set[str]) -> float:
        """How usual it is, among mistakes, that this step comes next."""
        if name in names:
            if name == names[-1]:
                return _AGAIN
            return _ANEW if name == self._procedure.opening else _BACK
        skipped = set(self._procedure.missing_before(name, names)) - missed
        return _FARTHER ** max(0, len(skipped) - 1) if skipped else _BACK
