"""Drawing what was found into a copy of the picture."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

import cv2
import numpy as np

from perception_pkg.core.defects import Inspection
from perception_pkg.core.regions import Region
from perception_pkg.core.size_rule import UNKNOWN
from perception_pkg.core.text_fusing import FusedText
from perception_pkg.core.tracking import Part

GOOD, BAD, DOUBT = (40, 170, 60), (220, 40, 40), (240, 170, 20)


def draw_parts(image: np.ndarray, parts: Sequence[Part]) -> np.ndarray:
    """Boxes with class, track and size; returns a new uint8 [H, W, 3]."""
    drawn = image.copy()
    for part in parts:
        name = "|".join(part.candidates) + "?" if part.name == UNKNOWN else part.name
        text = f"{part.track} {name} {part.confidence:.2f}"
        if part.size_mm is not None:
            text += f" {part.size_mm[0]:.0f}x{part.size_mm[1]:.0f} mm"
        colour = DOUBT if part.name == UNKNOWN else _colour(part.name)
        _box(drawn, part.box, colour, text)
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
    x0, y0, x1, y1 = (int(round(float(v))) for v in box)
    cv2.rectangle(image, (x0, y0), (x1 - 1, y1 - 1), colour, 1)
    _text(image, text, x0, y0 - 3 if y0 > 12 else y0 + 10, colour)


def _text(image: np.ndarray, text: str, x: int, y: int, colour: tuple) -> None:
    for shade, width in (((255, 255, 255), 3), (colour, 1)):
        cv2.putText(image, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, 0.33, shade, width, cv2.LINE_AA)


def _colour(name: str) -> tuple[int, int, int]:
    """Always the same for one name."""
    hue = sum(ord(letter) * (index + 7) for index, letter in enumerate(name)) % 97 / 97
    return tuple(int(255 * v) for v in colorsys.hsv_to_rgb(hue, 0.9, 0.75))
