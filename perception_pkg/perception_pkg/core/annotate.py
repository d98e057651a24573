"""Drawing what was found into a copy of the picture."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

import cv2
import numpy as np

from perception_pkg.core.defects.finder import Inspection
from perception_pkg.core.detection.size_rule import UNKNOWN
from perception_pkg.core.detection.tracking import TrackedPart
from perception_pkg.core.regions import Region
from perception_pkg.core.text.fusing import FusedText

Rect = tuple[int, int, int, int]
"""x0, y0, x1, y1 [px]."""

GOOD, BAD, DOUBT = (40, 170, 60), (220, 40, 40), (240, 170, 20)
_SMALL_PX = 2000  # area of a box that no label may cover
_FONT, _FONT_SCALE = cv2.FONT_HERSHEY_SIMPLEX, 0.33


def draw_parts(image: np.ndarray, parts: Sequence[TrackedPart]) -> np.ndarray:
    """Boxes with class, track and size; returns a new uint8 [H, W, 3].

    Where labels would cover each other or small parts, the less certain part has a shorter one, or
    its box alone: a class always has the same colour.
    """
    drawn = image.copy()
    for part in parts:
        _rectangle(drawn, part.box, _colour_of(part))
    taken = [box for box in map(_whole, (part.box for part in parts)) if _area(box) < _SMALL_PX]
    for part in sorted(parts, key=lambda part: -part.confidence):
        name = "|".join(part.candidates) + "?" if part.name == UNKNOWN else part.name
        size = ""
        if part.size_mm is not None:
            size = f" {part.size_mm[0]:.0f}x{part.size_mm[1]:.0f} mm"
        for text in (f"{part.track} {name} {part.confidence:.2f}{size}", f"{part.track} {name}"):
            own = _whole(part.box)
            place = _free_place(text, own, [t for t in taken if t != own], image.shape)
            if place is not None:
                taken.append(place)
                _text(drawn, text, place[0], place[3] - 2, _colour_of(part))
                break
    return drawn


def draw_defects(
    image: np.ndarray, inspection: Inspection, regions: Sequence[Region]
) -> np.ndarray:
    """Regions, green or red, their score, and the outlines of defects; a new uint8 [H, W, 3]."""
    drawn = image.copy()
    for region, score, bad in zip(regions, inspection.scores, inspection.defective):
        _box(drawn, region.box, BAD if bad else GOOD, f"{region.name} {score:.2f}")
    outlines, _ = cv2.findContours(
        (inspection.mask > 0).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
    )
    cv2.drawContours(drawn, outlines, -1, BAD, 1)
    for spot in inspection.spots:
        area = f"{spot.area_px:.0f} px" if spot.area_mm2 is None else f"{spot.area_mm2:.1f} mm2"
        _text(drawn, f"{spot.kind} {area}", int(spot.box[0]), int(spot.box[3]) + 9, BAD)
    return drawn


def draw_texts(image: np.ndarray, texts: Sequence[FusedText]) -> np.ndarray:
    """Outlines and what is read, red with the reason where it is not as it should be."""
    drawn = image.copy()
    for text in texts:
        good = text.readable and text.matches
        colour = GOOD if good else BAD
        cv2.polylines(drawn, [np.round(text.polygon).astype(np.int32)], True, colour, 1)
        left, low = text.polygon.min(0)[0], text.polygon.max(0)[1]
        _text(drawn, text.text if good else text.reason, int(left), int(low) + 10, colour)
    return drawn


def _box(image: np.ndarray, box: Sequence[float], colour: tuple, text: str) -> None:
    x0, y0 = _rectangle(image, box, colour)
    _text(image, text, x0, y0 - 3 if y0 > 12 else y0 + 10, colour)


def _rectangle(image: np.ndarray, box: Sequence[float], colour: tuple) -> tuple[int, int]:
    """Draws it; returns its upper left corner."""
    x0, y0, x1, y1 = _whole(box)
    cv2.rectangle(image, (x0, y0), (x1 - 1, y1 - 1), colour, 1)
    return x0, y0


def _free_place(text: str, box: Rect, taken: Sequence[Rect], shape: Sequence[int]) -> Rect | None:
    """Above, below, right or left of a box, inside the picture and on no other label."""
    (width, height), _ = cv2.getTextSize(text, _FONT, _FONT_SCALE, 1)
    width, height = width + 2, height + 4
    x0, y0, x1, y1 = box
    middle = (y0 + y1 - height) // 2
    for x, y in ((x0, y0 - height), (x0, y1), (x1 + 1, middle), (x0 - width - 1, middle)):
        x = min(max(x, 0), shape[1] - width)
        place = x, y, x + width, y + height
        if x >= 0 and y >= 0 and place[3] <= shape[0] and not any(_meet(place, t) for t in taken):
            return place
    return None


def _whole(box: Sequence[float]) -> Rect:
    """A box in whole pixels."""
    x0, y0, x1, y1 = (int(round(float(v))) for v in box)
    return x0, y0, x1, y1


def _area(box: Rect) -> int:
    return (box[2] - box[0]) * (box[3] - box[1])


def _meet(one: Rect, other: Rect) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _text(image: np.ndarray, text: str, x: int, y: int, colour: tuple) -> None:
    """White on the colour; x, y: where the base line begins."""
    (width, height), _ = cv2.getTextSize(text, _FONT, _FONT_SCALE, 1)
    cv2.rectangle(image, (x, y - height - 2), (x + width, y + 2), colour, cv2.FILLED)
    white = (255, 255, 255)
    cv2.putText(image, text, (x + 1, y), _FONT, _FONT_SCALE, white, 1, cv2.LINE_AA)


def _colour_of(part: TrackedPart) -> tuple[int, int, int]:
    return DOUBT if part.name == UNKNOWN else _colour(part.name)


def _colour(name: str) -> tuple[int, int, int]:
    """Always the same for one name."""
    hue = sum(ord(letter) * (index + 7) for index, letter in enumerate(name)) % 97 / 97
    return tuple(int(255 * v) for v in colorsys.hsv_to_rgb(hue, 0.9, 0.75))
