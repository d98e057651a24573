"""How long steps take: learned times, relative to the pace of the cycle.

The time of a step goes from its beginning to that of the next one, the pause between them included:
when a step begins is seen more sharply than when it ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sop_monitor_pkg.core.recognition.phases import Segment, to_the_next

LEAST_SPREAD = 0.1  # least standard deviation of the logarithm of a time
_BLUR_S = 0.3  # standard deviation of where a beginning is seen
_HASTY = 2.0  # standard deviations below the usual time, from which on a step is hardly done
_HASTE_MOST = 20.0
NEVER = 1e3  # spread of a step that was never seen
_PACE_PRIOR = 3.0  # steps that the usual pace counts as


@dataclass(frozen=True)
class Tempo:
    """
    Attributes:
        log_means, log_spreads: float64 [S], of the time of each step [log s] at a pace of 1.
    """

    log_means: np.ndarray
    log_spreads: np.ndarray

    def deviation(self, step: int, length_s: float, pace: float) -> float:
        """By how many standard deviations a step is longer than usual at this pace."""
        usual = self.log_means[step] + pace
        return float((np.log(max(length_s, 1e-3)) - usual) / self.log_spreads[step])

    def usual_s(self, step: int) -> tuple[float, float]:
        """Between which times [s] a step lasts at the usual pace: two standard deviations either
        way; 0 and 0 for one that was never seen."""
        spread = self.log_spreads[step]
        if spread >= NEVER:
            return 0.0, 0.0
        low, high = np.exp(self.log_means[step] + np.array([-2.0, 2.0]) * spread)
        return round(float(low), 2), round(float(high), 2)

    def log_haste(self, step: int, length_s: float) -> float:
        """Log-probability, up to a constant, that a step is over so soon; 0 from _HASTY on.

        A fast worker's step must stay more likely than one that was left out.
        """
        excess = max(0.0, -self.deviation(step, length_s, 0.0) - _HASTY)
        return -min(_HASTE_MOST, 0.5 * excess**2)

    def pace(self, done: Sequence[tuple[int, float]]) -> float:
        """How much longer than usual the steps of this cycle took, as a logarithm.

        `done`: index and time [s] of each. The median counts, shrunk to 0 while few are done.
        """
        if not done:
            return 0.0
        ratios = [np.log(max(length_s, 1e-3)) - self.log_means[step] for step, length_s in done]
        return float(np.median(ratios) * len(ratios) / (len(ratios) + _PACE_PRIOR))


def learn(cycles: Sequence[Sequence[Segment]], steps: Sequence[str]) -> Tempo:
    """Learns from the segments of correct cycles; a step never done has an unlimited spread."""
    raw = [
        [
            (steps.index(segment.step), max(0.1, end_s - segment.begin_s))
            for segment, end_s in to_the_next(cycle)
        ]
        for cycle in cycles
        if cycle
    ]
    means = np.zeros(len(steps))
    for step in range(len(steps)):
        logs = [np.log(length_s) for cycle in raw for s, length_s in cycle if s == step]
        means[step] = np.median(logs) if logs else 0.0
    flat = Tempo(means, np.ones(len(steps)))
    spreads = np.full(len(steps), NEVER)
    rests: list[list[float]] = [[] for _ in steps]
    for cycle in raw:
        for position, (step, length_s) in enumerate(cycle):
            pace = flat.pace(cycle[:position])  # as it is known while the step runs
            rests[step].append(np.log(length_s) - means[step] - pace)
    for step, rest in enumerate(rests):
        if rest:
            blur = np.sqrt(2.0) * _BLUR_S / np.exp(means[step])
            spreads[step] = np.sqrt(np.mean(np.square(rest)) + blur**2 + LEAST_SPREAD**2)
    return Tempo(means, spreads)
