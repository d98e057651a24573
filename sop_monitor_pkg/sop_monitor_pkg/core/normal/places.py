"""Where the eyes see parts in normal work: for each step and class the places of its boxes.

What the detector leaves open between two classes is told by the sizes that both have here.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from sop_monitor_pkg.core.tracks.resting import RestWatch
from sop_monitor_pkg.core.tracks.sightings import UNKNOWN, SeenPart, Sighting

KEPT = 150  # places of a class in a step
_LONGEST_S = 2.0  # it counts no more from then on
_USUAL = 0.3  # in this share of cycles a class must have been seen, to be one that may be anywhere
_OFTEN = 5  # sightings in a cycle: what is taken for something else now and then has not been seen
_LEARNED_S = 0.3  # places of parts that have lain there for so long are normal
FARTHEST = 0.5  # distances are counted up to here, in picture widths
_UNSURE = 0.75  # times the confidence in the others
_SELDOM = 0.02  # in this share of sightings there may seem to be one more of a class
_CLEARLY = 2.0  # so many times farther from the size of one class than from another's, it is none
SAME = 0.03  # so near to a normal place of another class, a part is in its place


@dataclass(frozen=True)
class Misplaced:
    """A part out of place.

    Attributes:
        names: the classes it may be. distance: from a normal place [picture widths].
        belongs: a class that is normally there; empty: none.
        rests_s: how long it has lain there.
        sure_s: how long of the last second it has been seen there, each moment times the square
            of the detector's confidence: of what only seems something it is hardly ever sure.
        covered: whether its centre is on, or under, something larger.
        held: whether somebody holds it, as far as can be seen, or it came along with what it is on.
        again: whether it is on something where another one of its class is in its place.
        before: whether one of its class was there when the cycle began.
        fell: whether it came there by itself.
    """

    names: tuple[str, ...]
    distance: float
    belongs: str = ""
    rests_s: float = 0.0
    sure_s: float = 0.0
    covered: bool = False
    held: bool = False
    again: bool = False
    before: bool = False
    fell: bool = False

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
        """The same if it is not held, and was not there before; twice as much if it was seen to
        fall."""
        return 0.0 if self.held or self.before else self.weight * (1.0 + self.fell)


@dataclass(frozen=True)
class Places:
    """
    Attributes:
        classes: names of what the eyes can see, in the order of their numbers.
        boxes: float32 [M, 4], x0, y0, x1, y1 [picture widths].
        steps, kinds: int64 [M], the step and class of each.
        most: int64 [len(classes)], how many of each class there are at a time, at most.
    """

    classes: tuple[str, ...] = ()
    boxes: np.ndarray = field(default_factory=lambda: np.zeros((0, 4), np.float32))
    steps: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    kinds: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    most: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))

    def surest(self, parts: Sequence[SeenPart]) -> list[SeenPart]:
        """Without those that are more of a class than there were ever, and that the eyes are far
        less sure of than of the others."""
        most = dict(zip(self.classes, self.most.tolist()))
        found: list[SeenPart] = []
        for part in sorted(parts, key=lambda part: -part.confidence):
            same = [one.confidence for one in found if one.name == part.name]
            if len(same) < most.get(part.name, np.inf) or part.confidence > _UNSURE * min(same):
                found.append(part)
        return found

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
        belongs = self.classes[nearest] if far[nearest] < min(own, SAME) else ""
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


def learn(cycles: Iterable[tuple[Sequence[Sighting], Sequence[int]]], seed: int = 0) -> Places:
    """Learns from sightings of correct cycles, each with the running step (index; -1: none)."""
    gathered: dict[tuple[int, str], list[tuple[float, float, float, float]]] = {}
    seen_in: Counter[str] = Counter()
    counts: Counter[tuple[str, int]] = Counter()  # sightings with so many of a class, or more
    cycles = list(cycles)
    for sightings, steps in cycles:
        often = Counter(name for s in sightings for name in {part.name for part in s.parts or ()})
        seen_in.update(name for name, count in often.items() if count >= _OFTEN)
        rests = RestWatch()
        for sighting, step in zip(sightings, steps, strict=True):
            for name, count in Counter(part.name for part in sighting.parts or ()).items():
                counts.update((name, number + 1) for number in range(count))
            for part, rests_s in rests.take(sighting.parts or (), sighting.time_s):
                if rests_s >= _LEARNED_S:
                    gathered.setdefault((step, part.name), []).append(part.box)
    usual = {n for n, k in seen_in.items() if n != UNKNOWN and k >= _USUAL * len(cycles)}
    classes = tuple(sorted(usual))
    looks = sum(s.parts is not None for sightings, _ in cycles for s in sightings)
    numbers = [name for (name, _), count in counts.items() if count > _SELDOM * looks]
    most = np.array([max(1, numbers.count(name)) for name in classes], np.int64)
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
        return Places(classes, most=most)
    found = [np.concatenate(each) for each in (boxes, steps_, kinds)]
    return Places(classes, *found, most)


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
