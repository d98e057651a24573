"""The states of the work: each step in phases, and the pause after it.

A step is a chain of `PHASES` phases of equal mean length, left to right: its duration is then
Erlang-distributed, which makes the hidden Markov model over phases a semi-Markov model over steps.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

PHASES = 4
STATES_PER_STEP = PHASES + 1  # and the pause after it
NO_STATE = -1


@dataclass(frozen=True)
class Segment:
    """One execution of a step, in seconds since the recording began."""

    step: str
    begin_s: float
    end_s: float

    @property
    def length_s(self) -> float:
        return self.end_s - self.begin_s


def to_the_next(segments: Sequence[Segment]) -> Iterator[tuple[Segment, float]]:
    """Each segment, and when the next one begins, or the last one ends [s]: the pause after a step
    belongs to it."""
    yield from zip(
        segments, [*(s.begin_s for s in segments[1:]), *(s.end_s for s in segments[-1:])]
    )


def states_of(segments: Sequence[Segment], times_s: np.ndarray, steps: Sequence[str]) -> np.ndarray:
    """State of each picture: int64 [T]; NO_STATE before the first step.

    Args:
        segments: in the order in which they were done.
        times_s: float [T], of the pictures.
        steps: names, whose index counts.
    """
    states = np.full(len(times_s), NO_STATE, np.int64)
    for segment in segments:
        first = steps.index(segment.step) * STATES_PER_STEP
        inside = (times_s >= segment.begin_s) & (times_s < segment.end_s)
        share = (times_s[inside] - segment.begin_s) / max(segment.length_s, 1e-6)
        states[inside] = first + np.minimum((share * PHASES).astype(int), PHASES - 1)
        states[times_s >= segment.end_s] = first + PHASES
    return states
