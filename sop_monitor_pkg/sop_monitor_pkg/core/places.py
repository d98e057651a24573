"""Where the eyes see parts in normal work: for each step and class the places of its boxes.

A part that stays where its class has never been in this step, or the step before or after it, is
told. Where a part of another class belongs there, the wrong part was taken; a thing that is no
part of the procedure is foreign; any other has been dropped or put down, if nobody holds it.

What is held moves and stops together with who holds it: a part whose box meets that of a hand or
tool that came to rest at the same time is held, and so is what stands on it. A part that fell comes
to rest later than the hand that lost it, or away from it. A hand or tool that the eyes lose may
hold what stopped when everything did, until something moves.

What the detector leaves open between two classes is told by the sizes that both have here; what a
hand or tool half hides may still be what it seemed before.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from sop_monitor_pkg.core.resting import RestWatch
from sop_monitor_pkg.core.scene import covers, meet
from sop_monitor_pkg.core.sightings import UNKNOWN, SeenPart, Sighting

KEPT = 150  # places of a class in a step
LASTING_S = 0.5  # as long as a part must be out of place
_LONGEST_S = 2.0  # it counts no more from then on
_USUAL = 0.3  # in this share of cycles a class must have been seen, to be one that may be anywhere
_OFTEN = 5  # sightings in a cycle: what is taken for something else now and then has not been seen
_LEARNED_S = 0.3  # places of parts that have lain there for so long are normal
FARTHEST = 0.5  # distances are counted up to here, in picture widths
# A hand that holds a part came to rest at most so much later, or earlier, than the part.
_LATER_S, _EARLIER_S = 0.3, 0.2
_STOPS_S = 0.4  # what comes to rest may move a little for so long
_HIDDEN_S = 1.0  # so long after what it stands on, a part may be seen first that a hand has hidden
_VANISHED_S = 1.0  # so long before a part came to rest, who holds it was seen
_HELD_S = 0.6  # for so long after a hand has begun to move away, or with it, a part counts as held
_CLEARLY = 2.0  # so many times farther from the size of one class than from another's, it is none
_SAME = 0.03  # so near to a normal place of another class, a part is in its place


@dataclass(frozen=True)
class Misplaced:
    """A part out of place.

    Attributes:
        names: the classes it may be. distance: from a normal place [picture widths].
        belongs: a class that is normally there; empty: none.
        rests_s: how long it has lain there.
        covered: whether its centre is on, or under, something larger.
        held: whether somebody holds it, as far as can be seen, or it came along with what it is on.
        again: whether it is on something where another one of its class is in its place.
    """

    names: tuple[str, ...]
    distance: float
    belongs: str = ""
    rests_s: float = 0.0
    covered: bool = False
    held: bool = False
    again: bool = False

    @property
    def name(self) -> str:
        """For people."""
        return " or ".join(self.names)

    @property
    def weight(self) -> float:
        """How far, for how long [picture widths x s]: what the eyes take for something for a
        moment weighs less than what is there."""
        return self.distance * min(self.rests_s, _LONGEST_S)

    @property
    def dropped(self) -> float:
        """The same if it is not held."""
        return 0.0 if self.held else self.weight


@dataclass(frozen=True)
class Places:
    """
    Attributes:
        classes: names of what the eyes can see, in the order of their numbers.
        boxes: float32 [M, 4], x0, y0, x1, y1 [picture widths].
        steps, kinds: int64 [M], the step and class of each.
    """

    classes: tuple[str, ...] = ()
    boxes: np.ndarray = field(default_factory=lambda: np.zeros((0, 4), np.float32))
    steps: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    kinds: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))

    def misplaced(self, part: SeenPart, steps: Sequence[int]) -> Misplaced:
        """How far a part is from where its class may be during these steps: the least distance
        that no edge of its box is beyond."""
        box = np.array(part.box, np.float32)
        here = np.isin(self.steps, steps)
        far = np.full(len(self.classes), FARTHEST)
        for kind in range(len(self.classes)):
            normal = self.boxes[here & (self.kinds == kind)]
            if len(normal):
                far[kind] = min(FARTHEST, float(np.abs(normal - box).max(axis=1).min()))
        known = [self.classes.index(name) for name in part.names if name in self.classes]
        if not known:
            return Misplaced(part.names, FARTHEST)
        own = float(far[known].min())
        nearest = int(far.argmin())
        belongs = self.classes[nearest] if far[nearest] < min(own, _SAME) else ""
        return Misplaced(part.names, own, belongs)

    def likely(self, part: SeenPart) -> tuple[str, ...]:
        """The classes that it may be, less those from whose size it is clearly farther away: from
        one camera over one table, a class is always about as large."""
        if len(part.names) < 2 or not all(name in self._sides for name in part.names):
            return part.names
        side = max(1e-6, float(_side(np.array(part.box))))
        off = {name: abs(np.log(side / self._sides[name])) for name in part.names}
        return tuple(name for name in part.names if off[name] <= _CLEARLY * min(off.values()))

    @functools.cached_property
    def _sides(self) -> dict[str, float]:
        """The median side of the boxes of each class [picture widths]."""
        return {
            self.classes[kind]: float(np.median(_side(self.boxes[self.kinds == kind])))
            for kind in np.unique(self.kinds)
        }


def _side(boxes: np.ndarray) -> np.ndarray:
    """The mean side of boxes [..., 4]."""
    return (boxes[..., 2] - boxes[..., 0] + boxes[..., 3] - boxes[..., 1]) / 2


class PlaceWatch:
    """Says which parts are out of place, and stay there."""

    def __init__(self, places: Places, parts: Collection[str]):
        """`parts`: classes that the procedure names; others that are usual move them."""
        self._places, self._holders = places, set(places.classes) - set(parts)
        self._rests = RestWatch()
        self._held: dict[int, float] = {}  # tracks, and until when
        self._seen_s: dict[str, float] = {}  # when hands and tools were seen last
        self._first_s: dict[int, float] = {}  # tracks, and when they were seen first
        self._came_s: dict[int, float] = {}  # tracks, and since when they rest on what they came on
        self._whole: dict[int, tuple[str, ...]] = {}  # tracks, and what they seemed when unhidden

    def take(
        self, sighting: Sighting, steps: Sequence[int], stopped_s: float = np.inf
    ) -> list[Misplaced]:
        """What has lain at one place for LASTING_S, the weightiest first. `stopped_s`: since when
        nothing has moved in the picture at all."""
        if sighting.parts is None:
            return []
        seen = self._rests.take(self._told_apart(sighting.parts), sighting.time_s)
        self._first_s = {part.track: sighting.time_s for part, _ in seen} | self._first_s
        holders = {part.name for part, _ in seen} & self._holders
        self._seen_s |= dict.fromkeys(holders, sighting.time_s)
        self._hold(seen, sighting.time_s)
        found = [
            (
                part,
                replace(
                    self._places.misplaced(part, steps),
                    rests_s=rests_s,
                    covered=any(covers(other, part) for other in sighting.parts),
                    held=part.track in self._held
                    or self._came_along((part, rests_s), seen, sighting.time_s)
                    or self._unseen_holds(sighting.time_s, rests_s, stopped_s),
                ),
            )
            for part, rests_s in seen
            if rests_s >= LASTING_S
        ]
        rightly = [part for part, item in found if item.distance < _SAME]
        under = [part for part in sighting.parts if part.name not in self._holders]
        items = [
            replace(item, again=_is_again(part, rightly, under)) if item.distance >= _SAME else item
            for part, item in found
        ]
        return sorted(items, key=lambda item: -item.weight)

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
        unmoved = since_s <= self._first_s[part.track] + 1e-6
        later_s = _HIDDEN_S if unmoved else _LATER_S
        for carrier, carrier_s in others:
            if -_LATER_S <= carrier_s - part_s <= later_s and covers(carrier, part):
                self._came_s[part.track] = since_s
        return self._came_s.get(part.track, -np.inf) >= since_s - 1e-6

    def _told_apart(self, parts: Sequence[SeenPart]) -> list[SeenPart]:
        """With fewer candidates where a part's size says more than the detector, and with what it
        seemed before where a hand or tool may hide half of it. Before anything else: what seems
        one class and then another has not been at rest as either."""
        holders = [part for part in parts if part.name in self._holders]
        found = []
        for part in parts:
            if part.name == UNKNOWN:
                part = replace(part, candidates=self._places.likely(part))
            if not any(meet(holder.box, part.box) for holder in holders):
                self._whole[part.track] = part.names
            elif missing := set(self._whole.get(part.track, ())) - set(part.names):
                part = replace(part, name=UNKNOWN, candidates=(*part.names, *sorted(missing)))
            found.append(part)
        return found

    def _hold(self, seen: Sequence[tuple[SeenPart, float]], time_s: float) -> None:
        """Notes which parts are held."""
        self._held = {track: end_s for track, end_s in self._held.items() if time_s < end_s}
        holding = [item for item in seen if item[0].name in self._holders]
        others = [item for item in seen if item[0].name not in self._holders]
        while holding:  # what is held holds what stands on it
            found = [item for item in others if any(_holds(one, item) for one in holding)]
            others = [item for item in others if item not in found]
            self._held |= {part.track: time_s + _HELD_S for part, _ in found}
            holding = found


def _holds(one: tuple[SeenPart, float], other: tuple[SeenPart, float]) -> bool:
    """Whether a hand, or a part in one, holds the other, by their boxes and times at rest [s]."""
    (holder, holder_s), (part, part_s) = one, other
    together = -_LATER_S <= holder_s - part_s <= _EARLIER_S
    return together and meet(holder.box, part.box)


def _is_again(part: SeenPart, rightly: Sequence[SeenPart], others: Sequence[SeenPart]) -> bool:
    """Whether a part is on something that holds another one of its class in its place."""
    same = [one for one in rightly if one.track != part.track and set(one.names) & set(part.names)]
    return any(covers(o, part) and any(covers(o, one) for one in same) for o in others)


def learn(cycles: Iterable[tuple[Sequence[Sighting], Sequence[int]]], seed: int = 0) -> Places:
    """Learns from sightings of correct cycles, each with the running step (index; -1: none)."""
    gathered: dict[tuple[int, str], list[tuple[float, float, float, float]]] = {}
    seen_in: Counter[str] = Counter()
    cycles = list(cycles)
    for sightings, steps in cycles:
        often = Counter(name for s in sightings for name in {part.name for part in s.parts or ()})
        seen_in.update(name for name, count in often.items() if count >= _OFTEN)
        rests = RestWatch()
        for sighting, step in zip(sightings, steps, strict=True):
            for part, rests_s in rests.take(sighting.parts or (), sighting.time_s):
                if rests_s >= _LEARNED_S:
                    gathered.setdefault((step, part.name), []).append(part.box)
    usual = {n for n, k in seen_in.items() if n != UNKNOWN and k >= _USUAL * len(cycles)}
    classes = tuple(sorted(usual))
    rng = np.random.default_rng(seed)
    boxes, steps_, kinds = [], [], []
    for (step, name), found in sorted(gathered.items()):
        if name not in usual:
            continue
        chosen = _spread(np.array(found, np.float32), KEPT, rng)
        boxes.append(chosen)
        steps_.append(np.full(len(chosen), step))
        kinds.append(np.full(len(chosen), classes.index(name)))
    if not boxes:
        return Places(classes)
    return Places(classes, np.concatenate(boxes), np.concatenate(steps_), np.concatenate(kinds))


def _spread(boxes: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """At most `count` of the boxes that cover them all: each next one is the farthest."""
    if len(boxes) <= count:
        return boxes
    chosen = [int(rng.integers(len(boxes)))]
    far = np.abs(boxes - boxes[chosen[0]]).max(axis=1)
    while len(chosen) < count and far.max() > 0.0:
        chosen.append(int(far.argmax()))
        far = np.minimum(far, np.abs(boxes - boxes[chosen[-1]]).max(axis=1))
    return boxes[chosen]
