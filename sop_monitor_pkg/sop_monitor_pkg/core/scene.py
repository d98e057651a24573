"""Where parts, hands and tools are, as one vector: for each class a coarse map of the picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sop_monitor_pkg.core.sightings import SeenPart, Sighting

COLUMNS, ROWS = 10, 8
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


def at(times_s: np.ndarray, sightings: Sequence[Sighting], classes: Sequence[str]) -> np.ndarray:
    """float32 [T, width]: at each time the newest sighting of parts that is not later."""
    found = np.zeros((len(times_s), width(classes)), np.float32)
    looks = [s for s in sightings if s.parts is not None]
    position, current = 0, np.zeros(width(classes), np.float32)
    for row, time_s in enumerate(times_s):
        while position < len(looks) and looks[position].time_s <= time_s + 1e-6:
            current = maps(looks[position].parts or (), classes)
            position += 1
        found[row] = current
    return found
