"""One picture of the station, and its truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vjepa_sim.core.station.annotate import AnnotatedBox, SeenDefect, Text


@dataclass(frozen=True)
class StationFrame:
    """One picture and its truth.

    Attributes:
        index: from 0.
        t: seconds since the cycle began.
        image: uint8 RGB [H, W, 3].
        objects: int16 [H, W], index of the object that each pixel shows, -1 for none.
        boxes, texts, defect: what is seen.
        mask: uint8 [H, W] of the defect, None if none is seen.
        step: the step being done.
    """

    index: int
    t: float
    image: np.ndarray
    objects: np.ndarray
    boxes: list[AnnotatedBox]
    texts: list[Text]
    defect: SeenDefect | None
    mask: np.ndarray | None
    step: str
