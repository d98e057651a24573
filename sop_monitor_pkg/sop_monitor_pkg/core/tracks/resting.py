"""Which of the things that the eyes see lie still, and for how long."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from sop_monitor_pkg.core.tracks.sightings import SeenPart

_UNSEEN_S = 1.0  # so long a part may be hidden, by a hand for example, and be the same still
_GLIMPSE_S = 0.5  # but not one that had just come there: it may have been away and come back
_STILL = 0.012  # between two sightings, in picture widths: carried parts move more
_ACTS = 0.008  # picture widths that a side of a box moves; boxes of still things jitter less


class RestWatch:
    """Follows tracks from sighting to sighting."""

    def __init__(self, by_class: bool = True):
        """`by_class`: what seems one class and then another has not been at rest as either."""
        self._by_class = by_class
        self._since: dict[int, tuple[float, SeenPart, float]] = {}  # begun, where, seen last

    def take(self, parts: Sequence[SeenPart], time_s: float) -> list[tuple[SeenPart, float]]:
        """Each part that is tracked and of which something is known, and for how long it has lain
        where it is [s]."""
        found = []
        since = {t: item for t, item in self._since.items() if time_s - item[2] <= _UNSEEN_S}
        for part in parts:
            if not part.names or part.track < 0:
                continue
            begun_s, where, last_s = since.get(part.track, (time_s, part, time_s))
            moved = np.hypot(*np.subtract(part.centre, where.centre)) > _STILL
            glimpsed = last_s == begun_s and time_s - last_s > _GLIMPSE_S
            another = self._by_class and not set(part.names) & set(where.names)
            if moved or glimpsed or another:
                begun_s, where = time_s, part
            elif last_s == begun_s:
                where = part  # the first sighting at a place may show the last of its motion
            since[part.track] = begun_s, where, time_s
            found.append((part, time_s - begun_s))
        self._since = since
        return found


class ActionWatch:
    """Notes when the eyes have last seen a hand or tool move."""

    def __init__(self, names: Collection[str]):
        """`names`: classes of hands and tools."""
        self._names = frozenset(names)
        self._where: dict[int, tuple[float, SeenPart]] = {}  # of each track: seen last, moved last
        self.moved_s = -np.inf

    def take(self, parts: Sequence[SeenPart], time_s: float) -> None:
        """One that comes into view, or is lost, may have been overlooked before: it has not moved
        by that."""
        where = {t: item for t, item in self._where.items() if time_s - item[0] <= _UNSEEN_S}
        for part in parts:
            if part.name not in self._names or part.track < 0:
                continue
            _, before = where.get(part.track, (time_s, part))
            if np.abs(np.subtract(part.box, before.box)).max() > _ACTS:
                self.moved_s, before = time_s, part
            where[part.track] = time_s, before
        self._where = where
