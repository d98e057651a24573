"""Scratches, cracks and missing corners: drawn on top of a part, or cut from its outline."""

from __future__ import annotations

import cv2
import numpy as np

from vjepa_sim.core.station import layout
from vjepa_sim.core.station.faults import Defect
from vjepa_sim.core.station.layout import MM
from vjepa_sim.core.station.solids import chamfered
from vjepa_sim.core.station.textures import PX_PER_MM, Picture

CLASSES = {"scratch": 1, "crack": 2, "missing_corner": 3}
_SIZES = {"base": layout.BASE_SIZE, "cover": layout.COVER_SIZE}
# Where a defect may lie on the top (x0, y0, x1, y1) [mm]: the cover's label is left alone.
_AREAS = {"base": (-30, -21, 30, 21), "cover": (-22, -31, 22, -15)}


def outline(part: str, defect: Defect | None) -> np.ndarray:
    """Outline [n, 2] [m] of base or cover, counter-clockwise, without a missing corner."""
    whole = chamfered(_SIZES[part])
    if defect is None or defect.part != part or defect.kind != "missing_corner":
        return whole
    edge, _, mirror = _broken(defect)
    broken = np.vstack([edge, whole[2:]]) * mirror
    return broken if mirror.prod() > 0 else broken[::-1]


def missing_area(defect: Defect) -> np.ndarray:
    """The polygon that is missing, [n, 2] [m]: between the broken edge and the corner's chamfer."""
    edge, chamfer, mirror = _broken(defect)
    return np.vstack([edge, chamfer[::-1]]) * mirror


def _broken(defect: Defect) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Broken edge [4, 2] of the upper right corner, its chamfer [2, 2], and where it really is."""
    rng = np.random.default_rng(defect.seed)
    w, d = 0.5 * _SIZES[defect.part][0], 0.5 * _SIZES[defect.part][1]
    along, down = rng.uniform(9, 14, 2) * MM
    ends = np.array([[w, d - down], [w - along, d]])
    inner = ends[0] + np.array([[0.35], [0.7]]) * (ends[1] - ends[0])
    inner += rng.uniform(-1.5, 0.8, (2, 1)) * MM  # jagged, mostly inwards
    return (
        np.vstack([ends[:1], inner, ends[1:]]),
        chamfered(_SIZES[defect.part])[:2],
        rng.choice([-1.0, 1.0], 2),
    )


def draw(picture: Picture, defect: Defect) -> None:
    """Draw a scratch or a crack into the picture of the part."""
    rng = np.random.default_rng(defect.seed)
    line = _scratch(rng, defect.part) if defect.kind == "scratch" else _crack(rng, defect.part)
    mask = np.zeros(picture.albedo.shape[:2], np.uint8)
    for points, width in line:
        columns = (points[:, 0] + 0.5 * picture.size[0] / MM) * PX_PER_MM
        rows = (0.5 * picture.size[1] / MM - points[:, 1]) * PX_PER_MM
        pixels = np.round(np.column_stack([columns, rows]) * 16).astype(np.int32)
        thickness = max(round(width * PX_PER_MM), 1)
        cv2.polylines(mask, [pixels], False, 255, thickness, cv2.LINE_AA, shift=4)
    share = mask[..., None] / 255.0
    if defect.kind == "crack":
        ink = np.array([10.0, 9.0, 9.0])
    else:
        bright = {"base": 205.0, "cover": 92.0}[defect.part]
        ink = bright + rng.normal(0, 14, mask.shape)[..., None]
    picture.albedo[:] = np.clip(picture.albedo * (1 - share) + ink * share, 0, 255)
    picture.defect = np.where(mask > 127, CLASSES[defect.kind], 0).astype(np.uint8)


def area_mm2(defect: Defect, picture: Picture) -> float:
    """What the defect takes of the top."""
    if defect.kind == "missing_corner":
        return float(cv2.contourArea((missing_area(defect) / MM).astype(np.float32)))
    return float((picture.defect > 0).sum()) / PX_PER_MM**2


def _scratch(rng: np.random.Generator, part: str) -> list[tuple[np.ndarray, float]]:
    """A slightly bent stroke: points [n, 2] and width, in mm."""
    x0, y0, x1, y1 = _AREAS[part]
    length = rng.uniform(12, 26) if part == "base" else rng.uniform(10, 18)
    angle = rng.uniform(0, np.pi) if part == "base" else rng.uniform(-0.35, 0.35)
    reach = 0.5 * length * np.abs([np.cos(angle), np.sin(angle)])
    middle = rng.uniform(
        np.minimum([x0, y0] + reach, 0.5 * (x0 + x1)), np.maximum([x1, y1] - reach, 0.5 * (x0 + x1))
    )
    middle = np.clip(middle, np.array([x0, y0]) + 2, np.array([x1, y1]) - 2)
    t = np.linspace(-0.5, 0.5, 12)
    bend = rng.uniform(-2.0, 2.0) * (4 * t**2 - 0.5)
    along = np.array([np.cos(angle), np.sin(angle)])
    points = middle + np.outer(t * length, along) + np.outer(bend, [-along[1], along[0]])
    points = np.clip(points, [x0, y0], [x1, y1])
    return [(points, float(rng.uniform(1.3, 1.9)))]


def _crack(rng: np.random.Generator, part: str) -> list[tuple[np.ndarray, float]]:
    """A jagged line from an edge inwards, with a branch: points [n, 2] and widths, in mm."""
    w, d = 0.5 * _SIZES[part][0] / MM, 0.5 * _SIZES[part][1] / MM
    x0, y0, x1, y1 = _AREAS[part]
    side = 1 if rng.random() < 0.5 else -1
    if part == "base":
        start = np.array([rng.uniform(-0.6, 0.6) * w, side * d])
        heading = np.arctan2(-side, rng.uniform(-0.8, 0.8))
    else:
        start = np.array([side * w, rng.uniform(y0 + 4, y1 - 3)])
        heading = np.arctan2(rng.uniform(-0.3, 0.2), -side)
    points = [start]
    for _ in range(int(rng.integers(6, 9))):
        heading += rng.normal(0, 0.35)
        step = rng.uniform(2.2, 3.6) * np.array([np.cos(heading), np.sin(heading)])
        points.append(np.clip(points[-1] + step, [x0, y0], [x1, y1]))
    trunk = np.array(points)
    fork = heading + rng.choice([-0.9, 0.9])
    branch = trunk[3] + np.outer([0, 3, 6], [np.cos(fork), np.sin(fork)])
    branch = np.clip(branch, [x0, y0], [x1, y1])
    width = float(rng.uniform(1.2, 1.7))
    return [(trunk, width), (branch, 0.8 * width)]
