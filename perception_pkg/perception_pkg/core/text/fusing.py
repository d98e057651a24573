"""Readings of several pictures become one: characters vote, weighted by their confidence."""

from __future__ import annotations

import collections
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from perception_pkg.core.detection.pauses import FORGET_S, Pauses
from perception_pkg.core.regions import Region
from perception_pkg.core.text.reader import TEXT, Reading


@dataclass(frozen=True)
class FusedText:
    """What a region says, after several pictures.

    Attributes:
        region, kind, text, polygon: as in a `Reading`; the polygon is the newest one.
        confidences: of each character: share of the votes for it, times its mean confidence.
        readable: whether every character is confident enough.
        matches: whether the text has the region's pattern.
        reason: why it is not readable or does not match; empty where all is well.
        reads: pictures it was fused from.
    """

    region: str
    kind: str
    text: str
    confidences: tuple[float, ...]
    polygon: np.ndarray
    readable: bool
    matches: bool
    reason: str
    reads: int


@dataclass
class _Place:
    """One text at one place of a region."""

    kind: str
    centre: np.ndarray
    readings: collections.deque[Reading]
    missed: int = 0


@dataclass
class TextFuser:
    """Fuses the readings of one region.

    Args:
        region: whose readings come.
        window: pictures that count; older ones are forgotten.
        min_confidence: below it, a character is not readable.
        forget_s: after a longer gap between two pictures, what was read is forgotten [s].
    """

    region: Region
    window: int = 8
    min_confidence: float = 0.6
    forget_s: float = FORGET_S
    _places: list[_Place] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._pauses = Pauses(self.forget_s)

    def update(self, readings: Sequence[Reading], time_s: float | None = None) -> list[FusedText]:
        """The texts of the region after one more picture; one that says that nothing is readable
        if there is none.

        Args:
            time_s: when it was taken [s]. After a pause, or if time goes back, what was read is
                forgotten; None: unknown, pictures alone count.
        """
        if self._pauses.before(time_s):
            self._places.clear()
        for place in self._places:
            place.missed += 1
        known = {(place.kind, place.readings[-1].text) for place in self._places}
        for reading in sorted(readings, key=lambda r: (r.kind, r.text) not in known):
            place = self._place(reading)
            place.readings.append(reading)
            place.centre = reading.polygon.mean(0)
            place.missed = 0
        self._places = [place for place in self._places if place.missed < self.window]
        now = [place for place in self._places if not place.missed] or self._places
        if not now:
            return [self._nothing()]
        return [self._fuse(place) for place in now]

    def _place(self, reading: Reading) -> _Place:
        """Where this has been read before. A label may move by a line from picture to picture: the
        place that read the same last is the right one, wherever it is; then one that is near."""
        centre = reading.polygon.mean(0)
        free = [p for p in self._places if p.missed and p.kind == reading.kind]
        for place in free:
            if place.readings[-1].text == reading.text:
                return place
        reach = max(np.ptp(reading.polygon, axis=0).min(), 4.0)
        for place in free:
            if np.linalg.norm(place.centre - centre) < reach:
                if place.missed > 2:
                    place.readings.clear()  # another part has come to this place
                return place
        place = _Place(reading.kind, centre, collections.deque(maxlen=self.window))
        self._places.append(place)
        return place

    def _fuse(self, place: _Place) -> FusedText:
        text, confidences = vote(place.readings)
        newest = place.readings[-1]
        worst = min(confidences, default=0.0)
        readable = worst >= self.min_confidence
        matches = not self.region.pattern or bool(re.fullmatch(self.region.pattern, text))
        reason = ""
        if not readable:
            unsure = text[int(np.argmin(confidences))] if confidences else ""
            reason = f"{text!r} is uncertain: {unsure!r} with {worst:.2f}"
        elif not matches:
            reason = f"{text!r} does not have the pattern {self.region.pattern!r}"
        return FusedText(
            self.region.name, place.kind, text, confidences, newest.polygon, readable, matches,
            reason, len(place.readings),
        )  # fmt: skip

    def _nothing(self) -> FusedText:
        x0, y0, x1, y1 = self.region.box
        polygon = np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], float)
        reason = "no text or code found"
        return FusedText(self.region.name, TEXT, "", (), polygon, False, False, reason, 0)


def vote(readings: Sequence[Reading]) -> tuple[str, tuple[float, ...]]:
    """The text that readings of one place agree on, and the confidence of its characters.

    Readings of the most confident length vote character by character.
    """
    lengths: dict[int, float] = collections.defaultdict(float)
    for reading in readings:
        lengths[len(reading.text)] += reading.confidence + 1e-6
    length = max(lengths, key=lengths.__getitem__)
    voters = [reading for reading in readings if len(reading.text) == length]
    agreed = lengths[length] / sum(lengths.values())
    text, confidences = [], []
    for position in range(length):
        votes: dict[str, float] = collections.defaultdict(float)
        for reading in voters:
            votes[reading.text[position]] += reading.confidences[position]
        best = max(votes, key=votes.__getitem__)
        own = [r.confidences[position] for r in voters if r.text[position] == best]
        share = votes[best] / max(sum(votes.values()), 1e-9)
        text.append(best)
        confidences.append(float(np.mean(own)) * share * agreed)
    return "".join(text), tuple(confidences)
