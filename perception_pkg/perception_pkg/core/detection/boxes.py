"""Boxes in pictures: x0, y0, x1, y1 in pixels, pixel 0 reaching from 0 to 1."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import supervision as sv


@dataclass(frozen=True)
class Found:
    """One part that a detector found in one picture.

    box: float64 [4]. scores: float32 [classes], each 0..1, not summing to anything. best: number
    of its class. confidence: 0..1, that it is there, whichever of two classes that differ only in
    size it may be.
    """

    box: np.ndarray
    scores: np.ndarray
    best: int
    confidence: float


def overlaps(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Intersection over union of each box of [N, 4] with each of [M, 4]: float32 [N, M]."""
    return sv.box_iou_batch(first, second)


def suppress(boxes: np.ndarray, confidences: np.ndarray, overlap: float) -> list[int]:
    """Non-maximum suppression: indices of the boxes that stay, most confident first."""
    kept = sv.box_non_max_suppression(np.column_stack([boxes, confidences]), overlap)
    order = np.argsort(-confidences, kind="stable")
    return [int(index) for index in order if kept[index]]
