"""What a picture says about the running step: how it changes, and what the eyes see being moved.

Only change counts here, not how things stand: in a step done too early, or after one left out, the
table looks as it never does in a correct cycle, and the motion is the usual one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np

from sop_monitor_pkg.core.normal.model import NormalModel
from sop_monitor_pkg.core.procedure.procedure import Procedure
from sop_monitor_pkg.core.tracks.scene import SceneWatch
from sop_monitor_pkg.core.tracks.sightings import SeenPart

_WAITING = 0.9  # of the log-likelihood of no state: nothing has begun
_AT_FIRST = -1.0  # the same while no picture tells anything: recordings begin with the work
_STALE_S = 2.0  # what the eyes saw longer ago says nothing about this picture


class Evidence:
    """For one cycle: log-likelihoods of all states, picture after picture."""

    def __init__(self, procedure: Procedure, normal: NormalModel):
        self._normal = normal
        self._motion = Motion(normal.motion_s)
        self._scene = SceneWatch(normal.places.classes, procedure.parts)
        self._seen_s = -np.inf  # when the eyes looked last
        self._begun_s = np.inf  # time of the first latent
        self.waiting = 0.0
        """Log-likelihood of the last picture when no step has begun."""
        self.change = self.point = np.zeros(0, np.float32)
        """How the last latent has changed, and where that and the scene are in the projections."""

    def see(self, parts: Sequence[SeenPart], time_s: float) -> None:
        """What the eyes saw last."""
        self._scene.take(parts, time_s)
        self._seen_s = time_s

    def look(self, latent: np.ndarray, time_s: float) -> np.ndarray:
        """Takes a latent, float32 [D]; returns float64 [N], the fit of each state."""
        normal = self._normal
        self.change = self._motion.take(latent, time_s)
        self._begun_s = min(self._begun_s, time_s)
        point = normal.motions.project(self.change[None])
        fits = normal.motions.fits(point, normal.temper)[0]
        self.waiting = _WAITING * normal.motions.of_none(normal.temper)
        if normal.scenes is not None:
            seen = normal.scenes.project(self._scene.map[None])
            point = np.hstack([point, seen])
            if time_s - self._seen_s <= _STALE_S:
                fits = fits + normal.scenes.fits(seen, normal.temper)[0]
                self.waiting += _WAITING * normal.scenes.of_none(normal.temper)
        self.point = point[0]
        if not settled(time_s, self._begun_s, normal.motion_s):
            self.waiting = _AT_FIRST
            return np.zeros_like(fits)
        return fits


class Motion:
    """How a vector has changed over the last `motion_s`."""

    def __init__(self, motion_s: float):
        self._motion_s = motion_s
        self._recent: deque[tuple[float, np.ndarray]] = deque()

    def take(self, vector: np.ndarray, time_s: float) -> np.ndarray:
        """Of the same size as the vector; 0 at first."""
        recent = self._recent
        recent.append((time_s, vector))
        while len(recent) > 1 and recent[1][0] <= time_s - self._motion_s + 1e-6:
            recent.popleft()
        return vector - recent[0][1]


def settled(times_s: Any, begun_s: float, motion_s: float) -> Any:
    """Whether a recording that has begun at `begun_s` tells at these times [s] how things change:
    in its first moments nobody knows what has come before."""
    return times_s - begun_s > motion_s - 1e-6


def changes(vectors: np.ndarray, times_s: np.ndarray, motion_s: float) -> np.ndarray:
    """float32 [T, D]: as `Motion`, of a whole recording."""
    motion = Motion(motion_s)
    return np.stack([motion.take(vector, time_s) for vector, time_s in zip(vectors, times_s)])
