"""What the eyes say of one picture, as plain values: parts, inspected regions, texts.

One line of `results.jsonl`, as `./run perceive` writes it, or what the perception nodes publish.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

UNKNOWN = "unknown"  # a part whose class the detector leaves open


class SightingError(ValueError):
    """A line that is no sighting; the text says what is wrong."""


@dataclass(frozen=True)
class SeenPart:
    """A part: its class (or `unknown`), number of its track, and box x0, y0, x1, y1, each as a
    share of the picture's width; the classes that an unknown one may be; how sure, 0..1, the
    detector is that it is there."""

    name: str
    track: int
    box: tuple[float, float, float, float]
    candidates: tuple[str, ...] = ()
    confidence: float = 1.0

    @property
    def names(self) -> tuple[str, ...]:
        """The classes it may be; none: nothing is known of it."""
        return self.candidates if self.name == UNKNOWN else (self.name,)

    @property
    def centre(self) -> tuple[float, float]:
        x0, y0, x1, y1 = self.box
        return (x0 + x1) / 2, (y0 + y1) / 2


@dataclass(frozen=True)
class SeenText:
    """A text or code that was read, empty where nothing could be, and what kind it is."""

    region: str
    kind: str
    text: str
    readable: bool


@dataclass(frozen=True)
class Sighting:
    """What was seen in the picture of this time [s].

    `scores`: of each inspected region, the probability of a defect. None: that eye did not look.
    """

    time_s: float
    parts: tuple[SeenPart, ...] | None = None
    scores: Mapping[str, float] | None = None
    texts: tuple[SeenText, ...] | None = None
    defect_kinds: Mapping[str, str] = field(default_factory=dict)


def read(path: Path, width_px: int) -> list[Sighting]:
    """The lines of a `results.jsonl`, for pictures of this width.

    Raises:
        SightingError: the file cannot be read, or a line is damaged.
    """
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SightingError(f"{path} cannot be read: {error}") from None
    found = []
    for number, line in enumerate(lines, 1):
        try:
            found.append(from_json(json.loads(line), width_px))
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise SightingError(
                f"{path}, line {number}: {error!r}; make it anew with ./run perceive"
            ) from None
    return found


def from_json(line: dict, width_px: int) -> Sighting:
    """One line; raises KeyError, TypeError or ValueError for anything else."""
    parts = scores = texts = None
    if "detections" in line:
        parts = tuple(
            SeenPart(
                str(item["name"]),
                int(item.get("track", -1)),
                tuple(float(value) / width_px for value in item["box"]),
                tuple(map(str, item.get("candidates", ()))),
                float(item.get("confidence", 1.0)),
            )
            for item in line["detections"]
        )
    if "regions" in line:
        scores = {str(item["region"]): float(item["score"]) for item in line["regions"]}
    if "texts" in line:
        texts = tuple(
            SeenText(str(t["region"]), str(t["kind"]), str(t["text"]), bool(t["readable"]))
            for t in line["texts"]
        )
    kinds = {str(item["region"]): str(item["kind"]) for item in line.get("defects", [])}
    return Sighting(float(line["t"]), parts, scores, texts, kinds)
