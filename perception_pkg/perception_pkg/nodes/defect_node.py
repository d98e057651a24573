"""Surface defects in the inspected regions of camera pictures, on `defects`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from node_kit.lifecycle import run
from node_kit.parameters import parameter
from node_kit.qos import RELIABLE
from vjepa_interfaces.msg import Defects

from perception_pkg.core.annotate import draw_defects
from perception_pkg.core.defects.finder import DefectFinder
from perception_pkg.core.regions import DEFECTS, RegionLayout
from perception_pkg.nodes import messages
from perception_pkg.nodes.perception_node import PerceptionNode, PerceptionParameters, shipped


@dataclass
class DefectParameters(PerceptionParameters):
    """Parameters of the defect node."""

    model: str = parameter("", "model folder of ./run train defects; empty: the shipped one")


class DefectNode(PerceptionNode):
    """Mask, kind and area of surface defects, region by region."""

    Parameters = DefectParameters
    needs = DEFECTS

    def __init__(self, **kwargs: Any):
        super().__init__("defect", **kwargs)

    def prepare(self, layout: RegionLayout) -> str:
        folder = Path(self.p.model) if self.p.model else shipped("station_defects")
        self.finder = DefectFinder(folder, self.p.threads)
        self.inspected = layout.of(DEFECTS)
        self.defects = self.create_publisher(Defects, "defects", RELIABLE)
        return self.finder.name

    def look(self, image: np.ndarray, header: Any, draw: bool) -> np.ndarray | None:
        seen = self.finder.inspect(image, self.inspected)
        kinds = self.finder.config.kinds
        message = messages.defects_msg(seen, kinds, header, self.finder.name)
        if self.active:
            self.defects.publish(message)
        return draw_defects(image, seen, self.inspected) if draw else None


def main() -> None:
    run(DefectNode)


if __name__ == "__main__":
    main()
