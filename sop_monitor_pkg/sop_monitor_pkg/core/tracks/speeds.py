"""How fast parts are moved, as the eyes see it."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from sop_monitor_pkg.core.recognition.phases import Segment, to_the_next
from sop_monitor_pkg.core.recognition.tempo import LEAST_SPREAD, NEVER
from sop_monitor_pkg.core.tracks.sightings import SeenPart, Sighting

_OVER_S = 0.2  # a speed is that over so long, however often the eyes look
_LOST_S = 0.45  # after so long unseen, nobody knows which way it took
_EARLY_S = 0.3  # a beginning is told a little late
_KEPT = 600  # speeds
_LEAST = 0.1  # picture widths per s: boxes of still things jitter, and hands hide half of them
_USUAL = 3.0  # standard deviations above the mean


class SpeedWatch:
    """Follows classes of which one part is in view: a track may break in a fast motion."""

    def __init__(self, names: Collection[str]):
        """`names`: of the classes."""
        self._names = frozenset(names)
        self._recent: dict[str, deque[tuple[float, tuple[float, float]]]] = {}
        self._speeds: deque[tuple[float, float]] = deque(maxlen=_KEPT)

    def take(self, parts: Sequence[SeenPart], time_s: float) -> None:
        """What was seen at this time."""
        for name in self._names:
            found = [part.centre for part in parts if name in part.names]
            recent = self._recent.setdefault(name, deque())
            if len(found) != 1:
                recent.clear()
                continue
            recent.append((time_s, found[0]))
            while len(recent) > 1 and recent[1][0] <= time_s - _OVER_S + 1e-6:
                recent.popleft()
            before_s, before = recent[0]
            elapsed_s = time_s - before_s
            if _OVER_S - 1e-6 <= elapsed_s <= _LOST_S:
                self._speeds.append((time_s, np.hypot(*np.subtract(found[0], before)) / elapsed_s))

    def peak(self, begin_s: float, end_s: float) -> float:
        """The highest speed between these times [picture widths per s]; 0: none is known."""
        return max((v for t, v in self._speeds if begin_s - _EARLY_S <= t <= end_s), default=0.0)


@dataclass(frozen=True)
class Speeds:
    """How fast parts go in normal work.

    Attributes:
        log_means, log_spreads: float64 [S], of the highest speed in each step, as a logarithm [log
            picture widths per s]; an unlimited spread where parts are not always seen to move.
    """

    log_means: np.ndarray
    log_spreads: np.ndarray

    def excess(self, step: int, peak: float) -> float:
        """By how much a speed is more than any usual one [standard deviations]; 0: it is not."""
        off = np.log(max(peak, _LEAST)) - self.log_means[step]
        return max(0.0, float(off / self.log_spreads[step]) - _USUAL)


def learn(
    cycles: Iterable[tuple[Sequence[Sighting], Sequence[Segment]]],
    names: Collection[str],
    steps: Sequence[str],
) -> Speeds:
    """Learns from correct cycles; in a step in which the eyes do not always see parts move, no
    speed is more than usual.

    Args:
        cycles: what was seen in each, and its steps.
        names: classes of parts. steps: names, whose index counts.
    """
    found: list[list[float]] = [[] for _ in steps]
    for sightings, segments in cycles:
        watch = SpeedWatch(names)
        for sighting in sightings:
            watch.take(sighting.parts or (), sighting.time_s)
        for segment, end_s in to_the_next(segments):
            peak = watch.peak(segment.begin_s, end_s)
            found[steps.index(segment.step)].append(np.log(max(peak, _LEAST)))
    means = np.array([np.mean(logs) if logs else 0.0 for logs in found])
    spreads = np.maximum([np.std(logs) if logs else NEVER for logs in found], LEAST_SPREAD)
    seen = means - _USUAL * spreads > np.log(_LEAST)
    return Speeds(means, np.where(seen, spreads, NEVER))
