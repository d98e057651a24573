"""The same part keeps its number from picture to picture, and what was seen of it adds up.

Boxes are compared by supervision, which has no tracker any more. ByteTrack of its sister package
`trackers` (2.6.1) was measured in place of the matching here, one tracker for each class, with the
same memory of 10 pictures: 12 cycles of the golden recordings (station seed 90210), in which parts
are found 57,498 times. From one picture to the next a part's number changes or is missing 237
times here and 697 times there (491 with generalised IoU, its best), because ByteTrack numbers a
part from its second picture on. The monitor tells parts apart by these numbers in each picture.
M3 and M4 are confused as rarely (0.11 %). A picture takes 0.5 ms here and 1.4 ms there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import linear_sum_assignment

from perception_pkg.core.detection.boxes import Found, overlaps
from perception_pkg.core.detection.pauses import FORGET_S, Pauses
from perception_pkg.core.detection.size_rule import UNKNOWN, SizePair, size_of

NEWEST = 0.1  # share of the newest picture in a track's evidence, once it is long
MOVED = 0.25  # of its size, from picture to picture: held up or blurred, a part looks larger
RESIZED = 0.25  # a box that grows or shrinks by more is partly hidden: it says nothing of its size


@dataclass(frozen=True)
class TrackedPart:
    """One part as it is published.

    Attributes:
        name: its class, or `unknown`.
        candidates: the classes it may be.
        confidence: 0..1.
        track: number of its track.
        box: float64 [4].
        size_mm: width and height, as if it lay in the plane of `mm_per_px`: what is held up, nearer
            to the camera, comes out too large. None where the camera is not calibrated.
    """

    name: str
    candidates: tuple[str, ...]
    confidence: float
    track: int
    box: np.ndarray
    size_mm: tuple[float, float] | None


@dataclass
class _Track:
    number: int
    kind: str
    box: np.ndarray
    step: np.ndarray = field(default_factory=lambda: np.zeros(4))
    missed: int = 0
    evidence: float = 0.0  # mean log-odds, the newest pictures counting most
    seen: int = 0


class Tracker:
    """Joins boxes of consecutive pictures into tracks by overlap along a constant motion.

    Args:
        classes: of the detector.
        pairs: classes that only differ in size; for tracking each pair is one class.
        mm_per_px: [mm]; 0: not calibrated.
        keep: pictures for which a track outlives its part.
        forget_s: a longer gap between two pictures ends all tracks [s].
    """

    def __init__(
        self,
        classes: Sequence[str],
        pairs: Sequence[SizePair] = (),
        mm_per_px: float = 0.0,
        keep: int = 10,
        forget_s: float = FORGET_S,
    ):
        self.classes = tuple(classes)
        self._pairs = {name: pair for pair in pairs for name in (pair.first, pair.second)}
        self._mm_per_px = mm_per_px
        self._keep = keep
        self._pauses = Pauses(forget_s)
        self._tracks: list[_Track] = []
        self._next = 0

    def update(self, found: Sequence[Found], time_s: float | None = None) -> list[TrackedPart]:
        """The parts of one picture, in the order of `found`.

        Args:
            time_s: when it was taken [s]. After a pause, or if time goes back, all tracks are new;
                None: unknown, pictures alone count.
        """
        if self._pauses.before(time_s):
            self._tracks.clear()
        for track in self._tracks:
            track.missed += 1
        matches = self._match(found)
        parts = []
        for index, item in enumerate(found):
            track = matches.get(index)
            if track is None:
                track = _Track(self._next, self._kind(item), item.box)
                self._next += 1
                self._tracks.append(track)
            else:
                track.step = 0.5 * track.step + 0.5 * (item.box - track.box) / track.missed
            track.missed = 0
            parts.append(self._part(track, item))
            track.box = item.box
        self._tracks = [track for track in self._tracks if track.missed <= self._keep]
        return parts

    def _match(self, found: Sequence[Found]) -> dict[int, _Track]:
        if not found or not self._tracks:
            return {}
        boxes = np.stack([item.box for item in found])
        expected = np.stack([track.box + track.step * track.missed for track in self._tracks])
        gain = overlaps(boxes, expected) + 0.5 * _nearness(boxes, expected)
        for row, item in enumerate(found):
            gain[row, [track.kind != self._kind(item) for track in self._tracks]] = 0.0
        rows, columns = linear_sum_assignment(-gain)
        return {
            int(row): self._tracks[column]
            for row, column in zip(rows, columns)
            if gain[row, column] > 0.1
        }

    def _kind(self, item: Found) -> str:
        name = self.classes[item.best]
        pair = self._pairs.get(name)
        return name if pair is None else f"{pair.first}|{pair.second}"

    def _part(self, track: _Track, item: Found) -> TrackedPart:
        name = self.classes[item.best]
        sides = item.box[2:] - item.box[:2]
        size_mm = None
        if self._mm_per_px:
            size_mm = (float(sides[0] * self._mm_per_px), float(sides[1] * self._mm_per_px))
        pair = self._pairs.get(name)
        if pair is None:
            return TrackedPart(name, (name,), item.confidence, track.number, item.box, size_mm)
        self._weigh(track, item, pair)
        decided = pair.decide(track.evidence)
        candidates = (pair.first, pair.second) if decided == UNKNOWN else (decided,)
        return TrackedPart(decided, candidates, item.confidence, track.number, item.box, size_mm)

    def _weigh(self, track: _Track, item: Found, pair: SizePair) -> None:
        first, second = (
            float(item.scores[self.classes.index(name)]) for name in (pair.first, pair.second)
        )
        news = pair.evidence(first, second, size_of(item.box, self._mm_per_px))
        before = np.maximum(track.box[2:] - track.box[:2], 1e-6)
        change = np.abs((item.box[2:] - item.box[:2]) / before - 1.0).max()
        shift = np.abs((item.box - track.box).reshape(2, 2).mean(0) / before).max()
        if change <= RESIZED:
            track.seen += 1
            track.evidence += max(NEWEST, 1.0 / track.seen) * (news - track.evidence)
        if shift > MOVED:
            track.seen = 0


def _nearness(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """1 for boxes with one centre, 0 from a distance of their size on: float64 [N, M]."""
    centres = [(boxes[:, :2] + boxes[:, 2:]) / 2 for boxes in (first, second)]
    sizes = [(boxes[:, 2:] - boxes[:, :2]).max(1) for boxes in (first, second)]
    distance = np.linalg.norm(centres[0][:, None] - centres[1][None], axis=-1)
    reach = np.maximum(sizes[0][:, None], sizes[1][None])
    return np.clip(1.0 - distance / np.maximum(reach, 1e-6), 0.0, 1.0)
