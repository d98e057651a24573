"""Where parts, hands and tools are, as one vector: for each class a coarse map of the picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sop_monitor_pkg.core.tracks.resting import RestWatch
from sop_monitor_pkg.core.tracks.sightings import SeenPart, Sighting

COLUMNS, ROWS = 10, 8
_RESTS_S = 0.6  # so long at one place, a part is not being moved
_HEIGHT = 0.8  # of the map, in picture widths; what is lower counts to the last row


def width(classes: Sequence[str]) -> int:
    """Of the vector."""
    return len(classes) * COLUMNS * ROWS


def maps(parts: Sequence[SeenPart], classes: Sequence[str]) -> np.ndarray:
    """float32 [len(classes) * ROWS * COLUMNS]: each box adds 1, shared among the four cells that
    its centre lies between. Classes that are not in the list are left out."""
    found = np.zeros((len(classes), ROWS, COLUMNS), np.float32)
    index = {name: i for i, name in enumerate(classes)}
    for part in parts:
        if part.name not in index:
            continue
        x, y = part.centre
        column = np.clip(x * COLUMNS - 0.5, 0.0, COLUMNS - 1.001)
        row = np.clip(y / _HEIGHT * ROWS - 0.5, 0.0, ROWS - 1.001)
        c, r = int(column), int(row)
        right, down = column - c, row - r
        cells = found[index[part.name]]
        cells[r, c] += (1 - right) * (1 - down)
        cells[r, c + 1] += right * (1 - down)
        cells[r + 1, c] += (1 - right) * down
        cells[r + 1, c + 1] += right * down
    return found.reshape(-1)


class SceneWatch:
    """The map of what is being moved or held: parts that lie still are left out, and those that
    stand on a moved one, since what has been done before says nothing about what is done now. What
    is no part (a hand, a tool) always counts, and so does a part that was moved for as long as one
    of these is over it."""

    def __init__(self, classes: Sequence[str], parts: Sequence[str]):
        self._classes, self._parts = classes, frozenset(parts)
        self._rests = RestWatch()
        self._held: set[int] = set()  # tracks
        self.map = np.zeros(width(classes), np.float32)
        """As `maps` gives it, of the newest sighting."""

    def take(self, parts: Sequence[SeenPart], time_s: float) -> None:
        """What was seen at this time."""
        seen = self._rests.take(parts, time_s)
        others = [part for part, _ in seen if part.name not in self._parts]
        moved = [
            part
            for part, rests_s in seen
            if part.name in self._parts and (rests_s < _RESTS_S or part.track in self._held)
        ]
        self._held = {p.track for p in moved if any(meet(p.box, o.box) for o in others)}
        alone = [part for part in moved if not any(covers(one, part) for one in moved)]
        self.map = maps([*others, *alone], self._classes)


def meet(one: Sequence[float], other: Sequence[float]) -> bool:
    """Whether two boxes x0, y0, x1, y1 have something in common."""
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def covers(one: SeenPart, other: SeenPart) -> bool:
    """Whether the box of `one` is the larger and holds the centre of the other."""
    (x0, y0, x1, y1), (u0, v0, u1, v1) = one.box, other.box
    x, y = other.centre
    larger = (x1 - x0) * (y1 - y0) > (u1 - u0) * (v1 - v0)
    return larger and x0 < x < x1 and y0 < y < y1


def at(
    times_s: np.ndarray,
    sightings: Sequence[Sighting],
    classes: Sequence[str],
    parts: Sequence[str],
) -> np.ndarray:
    """float32 [T, width]: at each time the map of the newest sighting that is not later.

    `parts`: classes that a procedure names; see `SceneWatch`.
    """
    found = np.zeros((len(times_s), width(classes)), np.float32)
    looks = [s for s in sightings if s.parts is not None]
    watch, position = SceneWatch(classes, parts), 0
    for row, time_s in enumerate(times_s):
        while position < len(looks) and looks[position].time_s <= time_s + 1e-6:
            watch.take(looks[position].parts or (), looks[position].time_s)
            position += 1
        found[row] = watch.map
    return found
