"""What is out of place, and whether somebody holds it.

A part that stays where its class has never been in this step, or the step before or after it, is
told. Where a part of another class belongs there, the wrong part was taken; a thing that is no
part of the procedure is foreign; any other has been dropped or put down, if nobody holds it.

What is held moves and stops together with who holds it: a part whose box meets that of a hand or
tool that came to rest at the same time is held, and so is what stands on it. A part that fell comes
to rest later than the hand that lost it, or away from it, or moves while the hand does not. A hand
or tool that the eyes lose may hold what stopped when everything did, until something moves.

What a hand or tool half hides may still be what it seemed before. What seems one class and then
another has been at rest as neither; where neither ever lies, it has lain there all the same. What
was there when the cycle began, and what the detector takes for a part there, has not been dropped
in it.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from sop_monitor_pkg.core.normal.places import SAME, Misplaced, Places
from sop_monitor_pkg.core.tracks.resting import RestWatch
from sop_monitor_pkg.core.tracks.scene import covers, meet
from sop_monitor_pkg.core.tracks.sightings import UNKNOWN, SeenPart, Sighting

LASTING_S = 0.5  # as long as a part must be out of place
# A hand that holds a part came to rest at most so much later, or earlier, than the part.
_LATER_S, _EARLIER_S = 0.3, 0.2
_STOPS_S = 0.4  # what comes to rest may move a little for so long
_HIDDEN_S = 1.0  # so long after what it stands on, a part may be seen first that a hand has hidden
_VANISHED_S = 1.0  # so long before a part came to rest, who holds it was seen
_BEGINNING_S = 1.0  # of a cycle: nobody has dropped anything yet
_SURE_S = 1.0  # so far back it counts how surely a part was seen
_FALLS = 0.024  # picture widths that a part moves at least, if it does so by itself
_HELD_S = 0.6  # for so long after a hand has begun to move away, or with it, a part counts as held


@dataclass
class _KnownPart:
    """What is remembered of one track; times [s].

    Attributes:
        first_s: when it was seen first. held_s: until when it counts as held.
        came_s: since when it rests on what it came along with.
        astray_s: since when it has lain where nothing ever does that it seemed to be.
        where: its centre when it was seen last. alone_s: when it moved though no hand or tool did
            that its box meets.
        whole: the classes it seemed to be when nothing hid it.
        sure: when it was seen at rest, and what each moment adds to `Misplaced.sure_s`.
    """

    first_s: float = np.inf
    held_s: float = -np.inf
    came_s: float = -np.inf
    astray_s: float = np.inf
    where: tuple[float, float] | None = None
    alone_s: float = -np.inf
    whole: tuple[str, ...] = ()
    sure: deque[tuple[float, float]] = field(default_factory=deque)

    def look(self, time_s: float, confidence: float, elapsed_s: float, at_rest: bool) -> None:
        """Takes how surely it was seen, after `elapsed_s` in which nothing was looked at."""
        if not at_rest:
            self.sure.clear()
            return
        self.sure.append((time_s, confidence**2 * elapsed_s))
        while self.sure[0][0] <= time_s - _SURE_S + 1e-6:
            self.sure.popleft()

    def lies(self, time_s: float, rests_s: float, astray: bool) -> float:
        """For how long it has lain there, counted as one of its class or, where none ever lies,
        as any. `rests_s`: as what it seems now."""
        self.astray_s = min(self.astray_s, time_s - rests_s) if astray else np.inf
        return max(rests_s, time_s - self.astray_s)

    def fell(self, time_s: float, rests_s: float) -> bool:
        """Whether it came by itself to where it has been at rest for so long."""
        return self.alone_s >= time_s - rests_s - _STOPS_S

    @property
    def sure_s(self) -> float:
        return sum(seconds for _, seconds in self.sure)


class PlaceWatch:
    """Says which parts are out of place, and stay there."""

    def __init__(self, places: Places, holders: Collection[str]):
        """`holders`: classes of hands and tools, which move parts and may be anywhere."""
        self._places = places
        self.holders = set(holders)
        self.astray: set[str] = set()
        """Of parts that lie, or are held still, where they never are, in the last sighting."""
        self._rests, self._stays = RestWatch(), RestWatch(by_class=False)
        self._last_s = np.inf
        self._began_s = np.inf
        self._before: list[SeenPart] = []
        self._seen_s: dict[str, float] = {}  # when hands and tools were seen last
        self._known: defaultdict[int, _KnownPart] = defaultdict(_KnownPart)  # of each track

    def begin(self, sighting: Sighting) -> None:
        """Takes a picture of the cycle, also one before its first step: the first ones count."""
        self._began_s = min(self._began_s, sighting.time_s)
        if sighting.time_s <= self._began_s + _BEGINNING_S:
            self._before += sighting.parts or ()

    def take(
        self, sighting: Sighting, steps: Sequence[int], stopped_s: float = np.inf
    ) -> list[Misplaced]:
        """What has lain at one place for LASTING_S, the weightiest first. `stopped_s`: since when
        nothing has moved in the picture at all."""
        if sighting.parts is None:
            return []
        parts = self._told_apart(sighting.parts)
        seen = self._rests.take(parts, sighting.time_s)
        still = self._stays.take(parts, sighting.time_s)
        sure = {part.track for part in self._places.surest(sighting.parts)}
        elapsed_s = np.clip(sighting.time_s - self._last_s, 0.0, LASTING_S)
        self._last_s = sighting.time_s
        for part, rests_s in seen:
            known = self._known[part.track]
            known.first_s = min(known.first_s, sighting.time_s)
            known.look(sighting.time_s, part.confidence, elapsed_s, rests_s > 0.0)
        holders = {part.name for part, _ in seen} & self.holders
        self._seen_s |= dict.fromkeys(holders, sighting.time_s)
        self._hold(still, sighting.time_s)
        self.astray = set()
        found = []
        for (part, rests_s), (_, stays_s) in zip(seen, still, strict=True):
            known = self._known[part.track]
            if stays_s == 0.0 or part.track not in sure:
                known.astray_s = np.inf
                continue
            item = self._places.misplaced(part, steps)
            if item.distance >= SAME:
                self.astray.update(part.names)
            astray = item.distance >= SAME and not item.belongs
            rests_s = known.lies(sighting.time_s, rests_s, astray)
            if rests_s >= LASTING_S:
                held = self._is_held((part, stays_s), still, sighting.time_s, stopped_s)
                fell = known.fell(sighting.time_s, stays_s)
                covered = any(covers(other, part) for other in sighting.parts)
                before = any(_same_place(part, other) for other in self._before)
                item = replace(item, rests_s=rests_s, sure_s=known.sure_s, covered=covered)
                found.append((part, replace(item, before=before, fell=fell, held=held)))
        rightly = [part for part, item in found if item.distance < SAME]
        under = [part for part in sighting.parts if part.name not in self.holders]
        items = [
            replace(item, again=_is_again(part, rightly, under)) if item.distance >= SAME else item
            for part, item in found
        ]
        return sorted(items, key=lambda item: (-item.weight, -item.sure_s))

    def _is_held(
        self,
        item: tuple[SeenPart, float],
        others: Sequence[tuple[SeenPart, float]],
        time_s: float,
        stopped_s: float,
    ) -> bool:
        """Whether somebody holds a part, or may, by times at rest [s]; see `take`."""
        part, stays_s = item
        return (
            time_s < self._known[part.track].held_s
            or self._came_along(item, others, time_s)
            or self._unseen_holds(time_s, stays_s, stopped_s)
        )

    def _unseen_holds(self, time_s: float, rests_s: float, stopped_s: float) -> bool:
        """Whether a part may be in a hand or tool that is not seen: it was seen before the part
        came to rest, and since then nothing has moved at all."""
        since_s = time_s - rests_s
        return stopped_s < since_s + _STOPS_S and any(
            since_s - _VANISHED_S <= last_s < time_s for last_s in self._seen_s.values()
        )

    def _came_along(
        self,
        item: tuple[SeenPart, float],
        others: Sequence[tuple[SeenPart, float]],
        time_s: float,
    ) -> bool:
        """Whether a part has come to rest together with what it stands on, by times at rest [s].
        One that has never been seen moving may have been hidden by a hand until it was seen."""
        part, part_s = item
        since_s = time_s - part_s
        known = self._known[part.track]
        unmoved = since_s <= known.first_s + 1e-6
        later_s = _HIDDEN_S if unmoved else _LATER_S
        for carrier, carrier_s in others:
            if -_LATER_S <= carrier_s - part_s <= later_s and covers(carrier, part):
                known.came_s = since_s
        return known.came_s >= since_s - 1e-6

    def _told_apart(self, parts: Sequence[SeenPart]) -> list[SeenPart]:
        """With fewer candidates where a part's size says more than the detector, and with what it
        seemed before where a hand or tool may hide half of it. Before anything else: what it seems
        decides how long it has been at rest."""
        holders = [part for part in parts if part.name in self.holders]
        found = []
        for part in parts:
            if part.name == UNKNOWN:
                part = replace(part, candidates=self._places.likely(part))
            if not any(meet(holder.box, part.box) for holder in holders):
                self._known[part.track].whole = part.names
            elif missing := set(self._known[part.track].whole) - set(part.names):
                part = replace(part, name=UNKNOWN, candidates=(*part.names, *sorted(missing)))
            found.append(part)
        return found

    def _hold(self, seen: Sequence[tuple[SeenPart, float]], time_s: float) -> None:
        """Notes which parts are held."""
        holding = [item for item in seen if item[0].name in self.holders]
        others = []
        for part, rests_s in seen:
            if part.name in self.holders:
                continue
            known = self._known[part.track]
            before, known.where = known.where or part.centre, part.centre
            moved = rests_s == 0.0 and np.hypot(*np.subtract(part.centre, before)) > _FALLS
            near = [holder_s for holder, holder_s in holding if meet(holder.box, part.box)]
            if moved and min(near, default=0.0) > 0.0:
                known.alone_s = time_s
            if not known.fell(time_s, rests_s):
                others.append((part, rests_s))
        while holding:  # what is held holds what stands on it
            found = [item for item in others if any(_holds(one, item) for one in holding)]
            others = [item for item in others if item not in found]
            for part, _ in found:
                self._known[part.track].held_s = time_s + _HELD_S
            holding = found


def _same_place(one: SeenPart, other: SeenPart) -> bool:
    """Whether they may be one and the same part that has not moved."""
    return bool(set(one.names) & set(other.names)) and all(
        abs(a - b) < SAME for a, b in zip(one.box, other.box)
    )


def _holds(one: tuple[SeenPart, float], other: tuple[SeenPart, float]) -> bool:
    """Whether a hand, or a part in one, holds the other, by their boxes and times at rest [s]."""
    (holder, holder_s), (part, part_s) = one, other
    together = -_LATER_S <= holder_s - part_s <= _EARLIER_S
    return together and meet(holder.box, part.box)


def _is_again(part: SeenPart, rightly: Sequence[SeenPart], others: Sequence[SeenPart]) -> bool:
    """Whether a part is on something that holds another one of its class in its place."""
    same = [one for one in rightly if one.track != part.track and set(one.names) & set(part.names)]
    return any(covers(o, part) and any(covers(o, one) for one in same) for o in others)
