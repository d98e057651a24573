"""Where the eyes see parts in normal work: for each step and class the places of its boxes.

A part that stays where its class has never been in this step, or the step before or after it, is
told. Where a part of another class belongs there, the wrong part was taken; a thing that is no
part of the procedure is foreign; any other has been dropped or put down.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from sop_monitor_pkg.core.resting import RestWatch
from sop_monitor_pkg.core.sightings import UNKNOWN, SeenPart, Sighting

KEPT = 150  # places of a class in a step
LASTING_S = 0.5  # as long as a part must be out of place
_LONGEST_S = 2.0  # it counts no more from then on
_USUAL = 0.3  # in this share of cycles a class must have been seen, to be one that may be anywhere
_OFTEN = 5  # sightings in a cycle: what is taken for something else now and then has not been seen
_LEARNED_S = 0.3  # places of parts that have lain there for so long are normal
FARTHEST = 0.5  # distances are counted up to here, in picture widths
_CARRIED = 0.03  # so far from its normal places it may be held
_SAME = 0.03  # so near to a normal place of another class, a part is in its place


@dataclass(frozen=True)
class Misplaced:
    """A part out of place.

    Attributes:
        names: the classes it may be. distance: from a normal place [picture widths].
        belongs: a class that is normally there; empty: none.
        rests_s: how long it has lain there, up to _LONGEST_S.
        covered: whether its centre is on, or under, something larger.
    """

    names: tuple[str, ...]
    distance: float
    belongs: str = ""
    rests_s: float = 0.0
    covered: bool = False

    @property
    def name(self) -> str:
        """For people."""
        return " or ".join(self.names)

    @property
    def weight(self) -> float:
        """How far, for how long [picture widths x s]: what the eyes take for something for a
        moment weighs less than what is there."""
        return self.distance * self.rests_s

    @property
    def dropped(self) -> float:
        """The same as far as it is not held: where people carry it, a part may stand still for a
        while."""
        return max(0.0, self.distance - _CARRIED) * self.rests_s


@dataclass(frozen=True)
class Places:
    """
    Attributes:
        classes: names of what the eyes can see, in the order of their numbers.
        points: float32 [M, 2], centres of boxes [picture widths].
        steps, kinds: int64 [M], the step and class of each.
    """

    classes: tuple[str, ...] = ()
    points: np.ndarray = field(default_factory=lambda: np.zeros((0, 2), np.float32))
    steps: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    kinds: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))

    def misplaced(self, part: SeenPart, steps: Sequence[int]) -> Misplaced:
        """How far a part is from where its class may be during these steps."""
        point = np.array(part.centre, np.float32)
        here = np.isin(self.steps, steps)
        far = np.full(len(self.classes), FARTHEST)
        for kind in range(len(self.classes)):
            normal = self.points[here & (self.kinds == kind)]
            if len(normal):
                far[kind] = min(FARTHEST, float(np.hypot(*(normal - point).T).min()))
        known = [self.classes.index(name) for name in part.names if name in self.classes]
        if not known:
            return Misplaced(part.names, FARTHEST)
        own = float(far[known].min())
        nearest = int(far.argmin())
        belongs = self.classes[nearest] if far[nearest] < min(own, _SAME) else ""
        return Misplaced(part.names, own, belongs)


class PlaceWatch:
    """Says which parts are out of place, and stay there."""

    def __init__(self, places: Places):
        self._places = places
        self._rests = RestWatch()

    def take(self, sighting: Sighting, steps: Sequence[int]) -> list[Misplaced]:
        """What has lain at one place for LASTING_S, the weightiest first."""
        if sighting.parts is None:
            return []
        found = [
            replace(
                self._places.misplaced(part, steps),
                rests_s=min(rests_s, _LONGEST_S),
                covered=any(_covers(other, part) for other in sighting.parts),
            )
            for part, rests_s in self._rests.take(sighting.parts, sighting.time_s)
            if rests_s >= LASTING_S
        ]
        return sorted(found, key=lambda item: -item.weight)


def _covers(one: SeenPart, other: SeenPart) -> bool:
    """Whether the box of `one` is the larger and holds the centre of the other."""
    (x0, y0, x1, y1), (u0, v0, u1, v1) = one.box, other.box
    x, y = other.centre
    larger = (x1 - x0) * (y1 - y0) > (u1 - u0) * (v1 - v0)
    return larger and x0 < x < x1 and y0 < y < y1


def learn(cycles: Iterable[tuple[Sequence[Sighting], Sequence[int]]], seed: int = 0) -> Places:
    """Learns from sightings of correct cycles, each with the running step (index; -1: none)."""
    gathered: dict[tuple[int, str], list[tuple[float, float]]] = {}
    seen_in: Counter[str] = Counter()
    cycles = list(cycles)
    for sightings, steps in cycles:
        often = Counter(name for s in sightings for name in {part.name for part in s.parts or ()})
        seen_in.update(name for name, count in often.items() if count >= _OFTEN)
        rests = RestWatch()
        for sighting, step in zip(sightings, steps, strict=True):
            for part, rests_s in rests.take(sighting.parts or (), sighting.time_s):
                if rests_s >= _LEARNED_S:
                    gathered.setdefault((step, part.name), []).append(part.centre)
    usual = {n for n, k in seen_in.items() if n != UNKNOWN and k >= _USUAL * len(cycles)}
    classes = tuple(sorted(usual))
    rng = np.random.default_rng(seed)
    points, steps_, kinds = [], [], []
    for (step, name), centres in sorted(gathered.items()):
        if name not in usual:
            continue
        chosen = _spread(np.array(centres, np.float32), KEPT, rng)
        points.append(chosen)
        steps_.append(np.full(len(chosen), step))
        kinds.append(np.full(len(chosen), classes.index(name)))
    if not points:
        return Places(classes)
    return Places(classes, np.concatenate(points), np.concatenate(steps_), np.concatenate(kinds))


def _spread(points: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """At most `count` of the points that cover them all: each next one is the farthest."""
    if len(points) <= count:
        return points
    chosen = [int(rng.integers(len(points)))]
    far = np.hypot(*(points - points[chosen[0]]).T)
    while len(chosen) < count and far.max() > 0.0:
        chosen.append(int(far.argmax()))
        far = np.minimum(far, np.hypot(*(points - points[chosen[-1]]).T))
    return points[chosen]
