"""How defective the surfaces of the piece look, over several pictures."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import numpy as np

from sop_monitor_pkg.core.tracks.sightings import Sighting

_LASTS_S, _PICTURES = 0.75, 3  # time and pictures that a surface looks defective in, at least
_SURE = 1e-3  # a probability nearer to 0 or 1 says no more; its odds count as 1


class SurfaceWatch:
    """Follows the defect scores of every region."""

    def __init__(self) -> None:
        self._last: dict[str, deque[tuple[float, float]]] = {}  # times and scores

    def forget(self) -> None:
        """What was seen before says nothing about what is seen next."""
        self._last.clear()

    def take(self, sighting: Sighting) -> Iterator[tuple[str, float]]:
        """Each region of which enough was seen, with its log-odds of being defective: at least 0,
        and the mean of the last pictures, since one in which a hand casts a shadow is no defect,
        and one in which it hides a defect does not take it away.
        """
        for region, score in (sighting.scores or {}).items():
            last = self._last.setdefault(region, deque())
            last.append((sighting.time_s, score))
            while len(last) > _PICTURES and last[1][0] <= sighting.time_s - _LASTS_S:
                last.popleft()
            if len(last) >= _PICTURES and sighting.time_s - last[0][0] >= _LASTS_S:
                values = np.clip([value for _, value in last], _SURE, 1.0 - _SURE)
                yield region, float(np.mean(np.log(values / (1.0 - values) / _SURE)))
