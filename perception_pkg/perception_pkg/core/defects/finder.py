"""Surface defects in the regions of a picture, by the exported U-Net alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from scipy import ndimage

from perception_pkg.core.defects.config import DefectConfig, normalise, resize, target_size
from perception_pkg.core.model_folder import ModelError
from perception_pkg.core.onnx import open_session
from perception_pkg.core.regions import Region

SMALLEST_PX = 4  # smaller spots of the mask are noise


@dataclass(frozen=True)
class Spot:
    """One connected defect.

    Attributes:
        region: in which it lies. kind: of defect. confidence: mean probability of its pixels.
        box: x0, y0, x1, y1 in the whole picture [px].
        area_px: its pixels. area_mm2: None where the camera is not calibrated.
    """

    region: str
    kind: str
    confidence: float
    box: tuple[float, float, float, float]
    area_px: float
    area_mm2: float | None


@dataclass(frozen=True)
class Inspection:
    """What was found in one picture.

    Attributes:
        scores: of each region, the probability of any defect.
        spots: the defects of all regions that count as defective.
        mask: uint8 [H, W] of the whole picture, 0 none, i + 1 for kinds[i].
    """

    regions: tuple[str, ...]
    scores: tuple[float, ...]
    defective: tuple[bool, ...]
    spots: tuple[Spot, ...]
    mask: np.ndarray


class DefectFinder:
    """Runs a model folder on the CPU.

    Attributes:
        config: of the model folder. name: of the model.
    """

    def __init__(self, folder: Path, threads: int = 1):
        """Loads a model folder.

        Raises:
            ModelError: missing or unusable files.
        """
        self.config = DefectConfig.read(folder)
        self.name = Path(folder).resolve().name
        self._session = open_session(Path(folder) / "model.onnx", threads)
        kinds = self._session.get_outputs()[0].shape[1] - 1
        if kinds != len(self.config.kinds):
            raise ModelError(
                f"{folder} has {len(self.config.kinds)} kinds of defect, its model.onnx {kinds}; "
                "both must come from one training"
            )

    def inspect(self, image: np.ndarray, regions: Sequence[Region]) -> Inspection:
        """Looks for defects in the regions of uint8 [H, W, 3] RGB."""
        mask = np.zeros(image.shape[:2], np.uint8)
        scores, defective, spots = [], [], []
        for region in regions:
            maps, score = self.probabilities(region.crop(image))
            bad = score >= self.config.image_threshold
            scores.append(score)
            defective.append(bad)
            if not bad:
                continue
            found = label(maps, self.config.threshold, self.config.peak)
            x0, y0, x1, y1 = region.box
            np.copyto(mask[y0:y1, x0:x1], found, where=found > 0)
            spots += self._spots(maps, found, region)
        names = tuple(region.name for region in regions)
        return Inspection(names, tuple(scores), tuple(defective), tuple(spots), mask)

    def probabilities(self, crop: np.ndarray) -> tuple[np.ndarray, float]:
        """Of one region, uint8 [H, W, 3] RGB.

        Returns:
            float32 [1 + kinds, H, W], and the probability of any defect.
        """
        height, width = crop.shape[:2]
        size = target_size(height, width, self.config.area_px)
        maps, whole = self._session.run(None, {"pictures": normalise(resize(crop, size)[None])})
        large = cv2.resize(maps[0].transpose(1, 2, 0), (width, height))
        return large.transpose(2, 0, 1), float(whole[0, 0])

    def _spots(self, maps: np.ndarray, found: np.ndarray, region: Region) -> list[Spot]:
        count, parts, stats, _ = cv2.connectedComponentsWithStats(
            (found > 0).astype(np.uint8), connectivity=8
        )
        spots = []
        for part in range(1, count):
            left, top, width, height, area = stats[part]
            if area < SMALLEST_PX:
                continue
            inside = parts == part
            means = maps[1:, inside].mean(1)
            x, y = region.box[0] + float(left), region.box[1] + float(top)
            scale = region.mm_per_px
            spots.append(
                Spot(
                    region.name,
                    self.config.kinds[int(means.argmax())],
                    float(1.0 - maps[0, inside].mean()),
                    (x, y, x + float(width), y + float(height)),
                    float(area),
                    float(area) * scale**2 if scale else None,
                )
            )
        return spots


def label(maps: np.ndarray, threshold: float, peak: float) -> np.ndarray:
    """Where there is a defect, and of which kind, by thresholding with hysteresis.

    Args:
        maps: probabilities, float32 [1 + kinds, H, W], 0 none.
        threshold: of any defect, from which a pixel counts.
        peak: which a patch of such pixels must reach somewhere.

    Returns:
        uint8 [H, W]: 0 none, i + 1 for kinds[i].
    """
    any_defect = 1.0 - maps[0]
    count, patches = cv2.connectedComponents((any_defect >= threshold).astype(np.uint8))
    peaks = ndimage.maximum(any_defect, patches, np.arange(count))
    counts = np.asarray(peaks) >= peak
    counts[0] = False  # the rest of the picture
    kinds = (maps[1:].argmax(0) + 1).astype(np.uint8)
    return np.where(counts[patches], kinds, 0).astype(np.uint8)
