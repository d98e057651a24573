"""Boxes in pictures: x0, y0, x1, y1 in pixels, pixel 0 reaching from 0 to 1."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


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
    """Intersection over union of each box of [N, 4] with each of [M, 4]: float64 [N, M]."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    both = np.clip(high - low, 0.0, None).prod(-1)
    areas = [np.clip(part[:, 2:] - part[:, :2], 0.0, None).prod(-1) for part in (first, second)]
    return both / np.maximum(areas[0][:, None] + areas[1][None] - both, 1e-9)


def suppress(boxes: np.ndarray, confidences: np.ndarray, overlap: float) -> list[int]:
    """Non-maximum suppression: indices of the boxes that stay, most confident first."""
    order = list(np.argsort(-confidences, kind="stable"))
    shared = overlaps(boxes, boxes)
    kept: list[int] = []
    for index in order:
        if all(shared[index, other] <= overlap for other in kept):
            kept.append(int(index))
    return kept
