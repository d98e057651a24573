"""What a defect model says of itself, and what it is fed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np

from perception_pkg.core.model_folder import ModelError, read_config, write_json

STRIDE = 32  # sides of what is fed are multiples of it


@dataclass(frozen=True)
class DefectConfig:
    """What a model folder says of its model.

    Attributes:
        kinds: of defect; output channel 0 is none, channel i + 1 is kinds[i].
        area_px: pictures are scaled to about this many pixels, sides kept in proportion.
        threshold: probability of any defect from which a pixel counts.
        peak: probability of any defect that a patch of such pixels reaches somewhere, to count.
        image_threshold: score from which a picture counts as defective.
    """

    kinds: tuple[str, ...]
    area_px: int = 256 * 320
    threshold: float = 0.5
    peak: float = 0.95
    image_threshold: float = 0.5

    def write(self, folder: Path) -> None:
        """Writes `config.json` into the folder."""
        write_json(Path(folder) / "config.json", asdict(self))

    @classmethod
    def read(cls, folder: Path) -> DefectConfig:
        """What the folder says.

        Raises:
            ModelError: no such folder, or no or unusable config.json.
        """
        values = read_config(folder, "defects")
        try:
            return cls(**{**values, "kinds": tuple(values["kinds"])})
        except (TypeError, KeyError) as error:
            raise ModelError(f"{folder} holds no defect model: {error}") from None


def target_size(height: int, width: int, area_px: int) -> tuple[int, int]:
    """Height and width after scaling to about `area_px` pixels, multiples of STRIDE."""
    scale = (area_px / (height * width)) ** 0.5
    high, wide = (max(STRIDE, STRIDE * round(side * scale / STRIDE)) for side in (height, width))
    return high, wide


def resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The picture with height and width `size`."""
    shrinks = size[0] * size[1] < image.shape[0] * image.shape[1]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cv2.resize(image, (size[1], size[0]), interpolation=how)


def normalise(images: np.ndarray) -> np.ndarray:
    """uint8 [B, H, W, 3] RGB to float32 [B, 3, H, W], -1..1, as the encoder was trained."""
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2), np.float32) / 127.5 - 1.0
