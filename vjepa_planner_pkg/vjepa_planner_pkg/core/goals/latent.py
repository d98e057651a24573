"""Features of a picture, as plain values."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Latent:
    """Features of one image.

    Attributes:
        stamp_ns: of the image.
        features: float32 [N, D], layer-normed.
        grid: patch rows and columns; N is a multiple of their product.
        model: name of the model that computed them.
        frame: of the camera.
    """

    stamp_ns: int
    features: np.ndarray
    grid: tuple[int, int] = (0, 0)
    model: str = ""
    frame: str = ""
