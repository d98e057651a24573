"""Thresholds by split conformal prediction on the per-cycle maximum.

Each clean cycle gives one number, the largest of its scores. A new clean cycle is then flagged with
a probability of at most the accepted rate, whatever the scores are, as long as clean cycles are
exchangeable (Vovk, Gammerman & Shafer, Algorithmic Learning in a Random World, 2005).

Scores of different kinds are put on one scale first, which the same cycles make. What a cycle has
helped to measure says little about new ones, so each is measured by the others (`held_out`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import binom

ACCEPTED = 0.05
_BEYOND = 1.05  # where no threshold keeps the rate: so far above the highest
# So many times as far from the usual as the highest of clean cycles lies the limit: each of several
# scores that share a rate is higher than ever in one of as many new cycles, any of them more often.
_MARGIN = 1.5
HIGHEST = 1.0 / _MARGIN  # on a scale, the highest of clean cycles, or less
# So steeply falls, from 1 at ACCEPTED, the level that a higher rate of clean cycles exceeds: 0.85
# at 10 %, 0.72 at 20 %. Chosen on clean cycles of the stations 42, 303 and 6060.
_FALL = 0.2345
_BY_CHANCE = 0.1  # what is likelier than this does not contradict a rate
WILD = 2.5  # times as far as the limit from the other cycles: one of these is not of their kind


def needed(accepted: float, flagged: int = 0) -> int:
    """How many clean cycles a threshold for this rate needs, if so many of them are flagged in any
    case."""
    return math.ceil((1.0 + flagged) / accepted - 1e-9) - 1


def spare(cycles: int, accepted: float) -> int:
    """How many of so many clean cycles, and the next one, may be flagged together."""
    return math.floor((cycles + 1) * accepted + 1e-9)


def threshold(maxima: np.ndarray, accepted: float) -> float:
    """The smallest threshold that a new clean cycle exceeds with at most this probability.

    `maxima`: float [C], of clean cycles, at least 0; infinite for one that is flagged in any case.
    Where no threshold guarantees the rate, with fewer cycles than `needed` or too many infinite
    ones, one a little above the highest finite one is given.

    Raises:
        ValueError: no cycles, or a rate that is not between 0 and 1.
    """
    if not len(maxima) or not 0.0 < accepted < 1.0:
        raise ValueError(f"{len(maxima)} clean cycles, accepted rate {accepted}")
    ordered = np.sort(np.asarray(maxima, float))
    rank = len(ordered) + 1 - spare(len(ordered), accepted)
    if rank <= len(ordered) and np.isfinite(ordered[rank - 1]):
        return float(ordered[rank - 1])
    finite = ordered[np.isfinite(ordered)]
    return float(finite[-1] * _BEYOND) if len(finite) else 0.0


def shared_threshold(levels: np.ndarray, accepted: float) -> float:
    """The threshold that all scores share, on their scales; arguments and errors as `threshold`.

    Up to ACCEPTED it is at least 1, the limit, however low the levels of a few cycles are. Beyond,
    it is the level that as many clean cycles usually exceed, unless these contradict: few of them
    say little about a rate, and the second highest of twenty is anything.
    """
    found = threshold(levels, accepted)
    least = min(1.0, (ACCEPTED / accepted) ** _FALL)
    beyond = int((levels > least).sum())
    if least < 1.0 and binom.sf(beyond - 1, len(levels), accepted) > _BY_CHANCE:
        return least
    return max(found, least)


@dataclass(frozen=True)
class Scale:
    """Puts scores of different kinds on one scale: 0 is a usual cycle's maximum, 1 the limit."""

    usual: float
    limit: float

    @classmethod
    def of(cls, usual: float, high: float, least: float) -> Scale:
        """From the maxima of one score over clean cycles: the usual one and the highest, but for
        those that the accepted rate lets be beyond.

        Args:
            least: smaller differences from the usual mean nothing, in the score's unit.
        """
        return cls(float(usual), float(usual + max(_MARGIN * (high - usual), least)))

    def __call__(self, score: float) -> float:
        """At least 0."""
        return max(0.0, (score - self.usual) / (self.limit - self.usual))

    def score(self, level: float) -> float:
        """The score that comes out at this level."""
        return self.usual + level * (self.limit - self.usual)


def scales(
    maxima: np.ndarray, least: np.ndarray, beyond: int = 0, within: np.ndarray | None = None
) -> list[Scale]:
    """The scale of each score.

    Args:
        maxima: float [C, K], of each score in each clean cycle.
        least: float [K], as in `Scale.of`.
        beyond: so many cycles may have a score beyond its limit; `within`: float [N, K], of cycles
            that may not.
    """
    highs = np.sort(maxima, axis=0)[-1 - min(beyond, len(maxima) - 1)]
    if within is not None:
        highs = np.max([highs, *within], axis=0)
    return [Scale.of(*each) for each in zip(np.median(maxima, axis=0), highs, least)]


def held_out(maxima: np.ndarray, least: np.ndarray, beyond: int = 0) -> np.ndarray:
    """The largest level of each clean cycle on scales that the others make, float [C]; arguments as
    of `scales`. One that is wild there makes its own score dull, and not the threshold that it
    shares with the others: it is measured with itself."""
    own = scales(maxima, least, beyond)
    levels = np.zeros(len(maxima))
    for index, row in enumerate(maxima):
        others = np.delete(maxima, index, axis=0)
        levels[index] = _level(row, scales(others, least, beyond)) if len(others) else np.inf
        if levels[index] >= WILD:
            levels[index] = _level(row, own)
    return levels


def wild(maxima: np.ndarray, least: np.ndarray, count: int) -> list[tuple[int, int]]:
    """At most `count` cycles in which a score was far beyond what it is in the others.

    Returns:
        index of the cycle and of the score, the wildest first.
    """
    if count < 1 or len(maxima) <= count + 1:
        return []
    others = scales(np.sort(maxima, axis=0)[:-count], least)
    levels = np.array([[scale(value) for scale, value in zip(others, row)] for row in maxima])
    wildest = np.argsort(-levels.max(1), kind="stable")[:count]
    return [(int(c), int(levels[c].argmax())) for c in wildest if levels[c].max() >= WILD]


def _level(row: np.ndarray, scales_: Sequence[Scale]) -> float:
    return max(scale(value) for scale, value in zip(scales_, row))
