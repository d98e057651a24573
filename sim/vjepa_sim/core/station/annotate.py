"""What can be seen in a frame: boxes, texts and defects, measured on the rendered objects."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from scipy import ndimage

from vjepa_sim.core.station import defects
from vjepa_sim.core.station.faults import Defect, Label
from vjepa_sim.core.station.layout import PlanarPose
from vjepa_sim.core.station.scene import Rendered, StationScene

LEAST_VISIBLE_PX, LEAST_VISIBLE = 12, 0.02  # less of an object is not worth a box
LEAST_DEFECT_PX = 6
READABLE_VISIBLE = 0.97  # share of a text's area that must be seen
READABLE_HEIGHT_PX = 11.0  # of a line of text, and
READABLE_MODULE_PX = 2.0  # of a module of a code
READABLE_MOTION_PX = 3.0  # since the frame before
SEEN_DEPTH_M = 2.5e-3  # what is this much nearer than a plane hides it


@dataclass(frozen=True)
class AnnotatedBox:
    """One object as it is seen: `xyxy` in pixels, right and lower edge exclusive."""

    name: str
    kind: str
    xyxy: tuple[int, int, int, int]
    visible: float

    @property
    def centre(self) -> np.ndarray:
        """Of the box [2]."""
        return 0.5 * (np.array(self.xyxy[:2]) + self.xyxy[2:])


@dataclass(frozen=True)
class Text:
    """A line of text or a code as it is seen, its corners [4][2] clockwise from the upper left.

    `legible`: large, still and whole enough to be read; `readable`: and printed well.
    """

    text: str
    kind: str
    readable: bool
    legible: bool
    visible: float
    polygon: list[list[float]]


@dataclass(frozen=True)
class SeenDefect:
    """A defect as it is seen."""

    kind: str
    xyxy: tuple[int, int, int, int]
    area_mm2: float
    visible: float


class Annotator:
    """Measures the frames of one cycle.

    Args:
        scene: that renders them.
        kinds: class of each object that gets a box, by name.
        label: of the cover.
        label_region: where it is read, x0, y0, x1, y1 [px].
        defect: of base or cover, if there is one.
    """

    def __init__(
        self,
        scene: StationScene,
        kinds: dict[str, str],
        label: Label,
        label_region: list[int],
        defect: Defect | None,
    ) -> None:
        self._scene, self._kinds = scene, kinds
        self._label, self._defect = label, defect
        self._low, self._high = np.array(label_region[:2]), np.array(label_region[2:])
        self._quads: dict[str, np.ndarray] = {}
        self._corners = {
            name: np.vstack([solid.corners() for solid in scene.solids[name]]) for name in kinds
        }

    def boxes(
        self, rendered: Rendered, poses: dict[str, PlanarPose], floors: dict[str, float]
    ) -> list[AnnotatedBox]:
        """Every object of which at least LEAST_VISIBLE_PX and LEAST_VISIBLE are seen.

        `floors`: what is below this height [m] is inside another part and not expected to be seen.
        """
        found = ndimage.find_objects(rendered.objects + 1)
        sizes = np.bincount(rendered.objects.ravel() + 1, minlength=len(self._scene.names) + 1)
        boxes = []
        for index, name in enumerate(self._scene.names):
            seen = int(sizes[index + 1])
            if name not in self._kinds or seen < LEAST_VISIBLE_PX:
                continue
            rows, columns = found[index]
            xyxy = (columns.start, rows.start, columns.stop, rows.stop)
            share = seen / max(self._silhouette(name, poses[name], floors.get(name, -1.0)), 1.0)
            if share >= LEAST_VISIBLE:
                boxes.append(AnnotatedBox(name, self._kinds[name], xyxy, round(min(share, 1.0), 3)))
        return boxes

    def texts(self, rendered: Rendered, cover: PlanarPose) -> list[Text]:
        """What of the label is in its region; call it for every frame in turn."""
        picture, _ = self._scene.top_map("cover", cover)
        local = {name: quad for name, quad in picture.quads.items() if name != "label"}
        top = self._scene.solids["cover"][1].high
        texts, quads = [], {}
        for name, quad in local.items():
            points = np.column_stack([quad, np.full(4, top)])
            pixels = quads[name] = self._scene.project(cover, points)
            if (pixels < self._low).any() or (pixels > self._high).any():
                continue
            visible = self._visible_share(rendered, "cover", pixels)
            if visible < 0.1:
                continue
            legible = self._legible(name, pixels, visible)
            texts.append(
                Text(
                    {"product": self._label.product, "lot": self._label.lot}.get(
                        name, self._label.code
                    ),
                    self._label.code_kind if name == "code" else "text",
                    legible and not self._label.smear,
                    legible,
                    round(visible, 3),
                    np.round(pixels, 1).tolist(),
                )
            )
        self._quads = quads
        return texts

    def defect(
        self, rendered: Rendered, poses: dict[str, PlanarPose]
    ) -> tuple[SeenDefect | None, np.ndarray | None]:
        """The defect and its mask uint8 [H, W] (classes of `defects.CLASSES`), if it is seen."""
        if self._defect is None:
            return None, None
        part, kind = self._defect.part, self._defect.kind
        picture, homography = self._scene.top_map(part, poses[part])
        shape = rendered.objects.shape
        if kind == "missing_corner":
            whole = self._missing(shape, poses[part])
            plane = self._scene.camera.eye[2] - poses[part].z - self._scene.solids[part][1].high
            seen = whole & (rendered.depth > plane - SEEN_DEPTH_M)
        else:
            drawn = (picture.defect > 0).astype(np.uint8) * 255
            warped = cv2.warpPerspective(drawn, homography, shape[::-1], flags=cv2.INTER_AREA)
            whole = warped > 127
            seen = whole & (rendered.tops == self._scene.names.index(part))
        if seen.sum() < LEAST_DEFECT_PX:
            return None, None
        rows, columns = np.nonzero(seen)
        xyxy = (int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1)
        area = round(defects.area_mm2(self._defect, picture), 1)
        total = self._defect_px(homography, picture, poses[part])
        share = min(float(seen.sum()) / max(total, 1.0), 1.0)
        mask = np.where(seen, defects.CLASSES[kind], 0).astype(np.uint8)
        return SeenDefect(kind, xyxy, area, round(share, 3)), mask

    def _silhouette(self, name: str, pose: PlanarPose, floor: float) -> float:
        """Area [px] that the object would cover if nothing hid it and the picture had no edge."""
        corners = pose.point + self._corners[name] @ pose.rotation().T
        corners[:, 2] = np.maximum(corners[:, 2], floor)
        pixels = self._scene.camera.project(corners).astype(np.float32)
        return float(cv2.contourArea(cv2.convexHull(pixels)))

    def _visible_share(self, rendered: Rendered, name: str, polygon: np.ndarray) -> float:
        index = self._scene.names.index(name)
        inside = np.zeros(rendered.tops.shape, np.uint8)
        cv2.fillConvexPoly(inside, np.round(polygon).astype(np.int32), 1)
        inside = inside > 0
        return float((rendered.tops[inside] == index).mean()) if inside.any() else 0.0

    def _legible(self, name: str, pixels: np.ndarray, visible: float) -> bool:
        before = self._quads.get(name)
        still = before is not None and np.abs(pixels - before).max() < READABLE_MOTION_PX
        height = float(np.linalg.norm(pixels[3] - pixels[0]))
        upright = pixels[1, 0] - pixels[0, 0] > 3 * abs(pixels[1, 1] - pixels[0, 1])
        if name == "code":
            modules = {"qr": 29, "datamatrix": 18}[self._label.code_kind]
            large = height / modules >= READABLE_MODULE_PX
        else:
            large = height >= READABLE_HEIGHT_PX and upright
        return bool(still and large and visible >= READABLE_VISIBLE)

    def _missing(self, shape: tuple[int, int], pose: PlanarPose) -> np.ndarray:
        """Where the missing corner would be, bool [H, W]."""
        area = defects.missing_area(self._defect)
        top = self._scene.solids[self._defect.part][1].high
        pixels = self._scene.project(pose, np.column_stack([area, np.full(len(area), top)]))
        mask = np.zeros(shape, np.uint8)
        cv2.fillPoly(mask, [np.round(pixels * 16).astype(np.int32)], 1, shift=4)
        return mask > 0

    def _defect_px(self, homography: np.ndarray, picture, pose: PlanarPose) -> float:
        """Area [px] of the whole defect from here."""
        mm2 = defects.area_mm2(self._defect, picture)
        scale = self._scene.camera.mm_per_px(pose.z + self._scene.solids[self._defect.part][1].high)
        return mm2 / scale**2
