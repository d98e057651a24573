"""Pictures become latents: features of the frozen V-JEPA 2 encoder, pooled to a coarse grid."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
from vjepa_world_model.data.video import VideoReader, thinned
from vjepa_world_model.model.world_model import WorldModel

POOLED = 4  # rows and columns that are left of the patch grid
AT_ONCE = 16


class Latents:
    """Encodes single pictures, each as a clip that repeats it, as V-JEPA 2-AC does."""

    def __init__(self, model: WorldModel, pooled: int = POOLED):
        self.model = model
        self.pooled = min(pooled, *model.grid)
        """Rows and columns of the pooled grid."""
        self._side = model.image_size

    def encode(self, pictures: np.ndarray) -> np.ndarray:
        """uint8 RGB [B, H, W, 3] -> float32 [B, D], D: pooled^2 times the width of a feature.

        The whole picture is squeezed into the square that the encoder sees: where things are at
        the edge counts.
        """
        squares = np.stack([_squeezed(picture, self._side) for picture in pictures])
        features = self.model.encode(squares).float()
        rows, columns = self.model.grid
        grid = features.reshape(len(squares), rows, columns, -1).permute(0, 3, 1, 2)
        pooled = torch.nn.functional.adaptive_avg_pool2d(grid, self.pooled)
        return pooled.flatten(1).cpu().numpy()

    def of_video(self, path: Path, rate_hz: float) -> tuple[np.ndarray, np.ndarray]:
        """Latents float32 [T, D] and times float64 [T] in seconds, at most `rate_hz`."""
        times: list[float] = []
        parts: list[np.ndarray] = []
        with VideoReader(path) as video:
            for batch in batches(thinned(video.frames(), rate_hz)):
                times += [time_s for time_s, _ in batch]
                parts.append(self.encode(np.stack([picture for _, picture in batch])))
        return np.concatenate(parts), np.array(times)


def batches(items: Iterable, size: int = AT_ONCE) -> Iterator[list]:
    """Lists of at most `size` items."""
    batch: list = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _squeezed(picture: np.ndarray, side: int) -> np.ndarray:
    return cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA)
