"""Parts in camera pictures: class, confidence, track and size on `detections`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from node_kit.lifecycle import run
from node_kit.parameters import parameter
from node_kit.qos import RELIABLE
from vjepa_interfaces.msg import Detections

from perception_pkg.core.annotate import draw_parts
from perception_pkg.core.detection.detector import OnnxDetector
from perception_pkg.core.detection.tracking import Tracker
from perception_pkg.core.regions import RegionLayout
from perception_pkg.nodes import messages
from perception_pkg.nodes.perception_node import (
    PerceptionNode,
    PerceptionParameters,
    shipped,
    time_s,
)


@dataclass
class DetectorParameters(PerceptionParameters):
    """Parameters of the detector node."""

    model: str = parameter("", "model folder of ./run train detector; empty: the shipped one")
    confidence: float = parameter(
        0.0, "from which a box counts; 0: what the model says", minimum=0.0, maximum=1.0
    )
    mm_per_px: float = parameter(
        0.0,
        "scale of the parts; 0: that of the regions file, else of the cell, if any",
        unit="mm",
        minimum=0.0,
    )
    keep_tracks: int = parameter(
        10, "pictures for which a track outlives its part", minimum=0, maximum=1000
    )


class DetectorNode(PerceptionNode):
    """Finds and follows parts; classes that differ only in size are `unknown` when in doubt."""

    Parameters = DetectorParameters

    def __init__(self, **kwargs: Any):
        super().__init__("detector", **kwargs)

    def prepare(self, layout: RegionLayout) -> str:
        folder = Path(self.p.model) if self.p.model else shipped("station_detector")
        self.detector = OnnxDetector(folder, self.p.threads, self.p.confidence or None)
        scale = self.p.mm_per_px or layout.mm_per_px
        config = self.detector.config
        self.tracker = Tracker(
            config.classes, config.pairs, scale, self.p.keep_tracks, self.forget_s
        )
        self.detections = self.create_publisher(Detections, "detections", RELIABLE)
        return self.detector.name

    def look(self, image: np.ndarray, header: Any, draw: bool) -> np.ndarray | None:
        parts = self.tracker.update(self.detector.find(image), time_s(header))
        message = messages.detections_msg(parts, header, self.detector.name)
        if self.active:
            self.detections.publish(message)
        return draw_parts(image, parts) if draw else None


def main() -> None:
    run(DetectorNode)


if __name__ == "__main__":
    main()
