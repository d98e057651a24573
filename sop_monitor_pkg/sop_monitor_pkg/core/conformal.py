"""Thresholds by split conformal prediction on the per-cycle maximum.

Each clean cycle gives one number, the largest of its scores. A new clean cycle is then flagged with
a probability of at most the accepted rate, whatever the scores are, as long as clean cycles are
exchangeable (Vovk, Gammerman & Shafer, Algorithmic Learning in a Random World, 2005).

Not exactly so where `Scale.of` has made the scales of several scores from the same cycles: a cycle
helps to measure itself. On six simulated stations, 7 % were flagged where 5 % were accepted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

ACCEPTED = 0.05
_BEYOND = 1.05  # where no threshold keeps the rate: so far above the highest
_FARTHEST = 2.0  # of clean cycles on the common scale; of 100 normally distributed maxima, the last
WILD = 5.0  # on a scale made from the other cycles: one of these is not of their kind


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


@dataclass(frozen=True)
class Scale:
    """Puts scores of different kinds on one scale: 0 is a usual cycle's maximum, 1 a high one's."""

    usual: float
    high: float

    @classmethod
    def of(cls, maxima: np.ndarray, least: float) -> Scale:
        """From the maxima of one score over clean cycles.

        No clean cycle comes out above `_FARTHEST`: one in which a single score went wild, and that
        the accepted rate does not let be set aside, makes that score dull, and not the threshold
        that it shares with the others.

        Args:
            least: smaller differences mean nothing, in the score's unit.
        """
        usual, high = np.quantile(maxima, (0.5, 0.9))
        width = max(high - usual, (np.max(maxima) - usual) / _FARTHEST, least)
        return cls(float(usual), float(usual + width))

    def __call__(self, score: float) -> float:
        """At least 0."""
        return max(0.0, (score - self.usual) / (self.high - self.usual))

    def score(self, level: float) -> float:
        """The score that comes out at this level."""
        return self.usual + level * (self.high - self.usual)


def wild(maxima: np.ndarray, least: Sequence[float], count: int) -> list[tuple[int, int]]:
    """At most `count` cycles in which a score was far beyond what it is in the others.

    Args:
        maxima: float [C, K], of each score in each clean cycle.
        least: of each score, as in `Scale.of`.

    Returns:
        index of the cycle and of the score, the wildest first.
    """
    if count < 1 or len(maxima) <= count + 1:
        return []
    levels = np.zeros(maxima.shape)
    for score, smallest in enumerate(least):
        ordered = np.sort(maxima[:, score])
        scale = Scale.of(ordered[:-count], smallest)
        levels[:, score] = [scale(value) for value in maxima[:, score]]
    wildest = np.argsort(-levels.max(1), kind="stable")[:count]
    return [(int(c), int(levels[c].argmax())) for c in wildest if levels[c].max() >= WILD]
