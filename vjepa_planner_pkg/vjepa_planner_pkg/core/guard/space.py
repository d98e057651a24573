"""Where the origin of the tool may be: the workspace box without the keep-out boxes."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np

from vjepa_planner_pkg.core.guard.config import GuardConfig

ROUNDING = 1e-9  # [m], [rad]: what floating point may add to a limit

Corners = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class AllowedSpace:
    """An axis-aligned box for the origin of the tool, less the inside of other boxes [m].

    Attributes:
        low, high: corners of the workspace, float64 [3] each.
        keep_out: corners of the boxes that are left out; their faces are allowed.
    """

    low: np.ndarray
    high: np.ndarray
    keep_out: tuple[Corners, ...] = ()

    @classmethod
    def of(cls, config: GuardConfig) -> AllowedSpace:
        """What the configuration allows."""
        keep_out = tuple((np.array(low), np.array(high)) for low, high in config.keep_out_m)
        return cls(np.array(config.workspace_min_m), np.array(config.workspace_max_m), keep_out)

    def nearest(self, position: np.ndarray) -> np.ndarray:
        """The allowed point next to `position`, float64 [3].

        Where nothing at all is allowed it is a forbidden one, whose `distance` is infinite.
        """
        boxed = np.clip(position, self.low, self.high)
        if self._kept_out_by(boxed) is None:
            return boxed
        # The nearest allowed point has on each axis the number of `boxed` or that of a face.
        faces = [corner for corners in self.keep_out for corner in corners]
        grid = itertools.product(*({float(c[axis]) for c in (boxed, *faces)} for axis in range(3)))
        allowed = [
            point
            for point in map(np.array, grid)
            if (point == np.clip(point, self.low, self.high)).all()
            and self._kept_out_by(point) is None
        ]
        return min(allowed, key=lambda point: math.dist(position, point), default=boxed)

    def distance(self, position: np.ndarray) -> float:
        """How far `position` is from what is allowed [m]; 0 where it is allowed."""
        nearest = self.nearest(position)
        if self._kept_out_by(nearest) is not None:
            return math.inf
        return math.dist(position, nearest)

    def where(self, position: np.ndarray) -> str:
        """Where a point lies that is not allowed: the end of a sentence."""
        number = self._kept_out_by(np.asarray(position))
        return "outside the workspace" if number is None else f"inside keep-out box {number}"

    def refuse_way(self, start: np.ndarray, end: np.ndarray) -> str:
        """Why the straight way between two points must not be taken; empty when it may."""
        for number, (low, high) in enumerate(self.keep_out, 1):
            if _crosses(start, end, low + ROUNDING, high - ROUNDING):
                return f"the way there leads through keep-out box {number} of the cell"
        return ""

    def _kept_out_by(self, position: np.ndarray) -> int | None:
        """Number of the box, from 1, that has the point inside."""
        for number, (low, high) in enumerate(self.keep_out, 1):
            if (low < position).all() and (position < high).all():
                return number
        return None


def _crosses(start: np.ndarray, end: np.ndarray, low: np.ndarray, high: np.ndarray) -> bool:
    """Whether a part of the straight line lies inside the box.

    The slab method (Kay and Kajiya, 1986): per axis the stretch of the line between two planes.
    """
    enters, leaves = 0.0, 1.0
    for a, b, below, above in zip(start, end, low, high, strict=True):
        if a == b:
            if not below < a < above:
                return False
            continue
        first, second = sorted(((below - a) / (b - a), (above - a) / (b - a)))
        enters, leaves = max(enters, first), min(leaves, second)
    return enters < leaves
