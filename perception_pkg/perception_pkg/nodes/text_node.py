"""Texts and codes in the regions of camera pictures, fused over pictures, on `texts`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from node_kit.lifecycle import run
from node_kit.parameters import parameter
from node_kit.qos import RELIABLE
from vjepa_interfaces.msg import Texts

from perception_pkg.core.annotate import draw_texts
from perception_pkg.core.regions import TEXT, RegionLayout
from perception_pkg.core.text.fusing import TextFuser
from perception_pkg.core.text.reader import TextReader
from perception_pkg.nodes import messages
from perception_pkg.nodes.perception_node import PerceptionNode, PerceptionParameters, time_s


@dataclass
class TextParameters(PerceptionParameters):
    """Parameters of the text node."""

    max_rate_hz: float = parameter(
        3.0, "pictures taken per second at most", unit="Hz", minimum=0.1, maximum=1000.0
    )
    window: int = parameter(8, "pictures that are fused to one reading", minimum=1, maximum=1000)
    min_confidence: float = parameter(
        0.6, "a text is readable if no character is less certain", minimum=0.0, maximum=1.0
    )


class TextNode(PerceptionNode):
    """Reads texts and codes; says which are not readable or lack the pattern of their region."""

    Parameters = TextParameters
    needs = TEXT

    def __init__(self, **kwargs: Any):
        super().__init__("text", **kwargs)

    def prepare(self, layout: RegionLayout) -> str:
        self.reader = TextReader(self.p.threads)
        self.fusers = [
            TextFuser(region, self.p.window, self.p.min_confidence, self.forget_s)
            for region in layout.of(TEXT)
        ]
        self.texts = self.create_publisher(Texts, "texts", RELIABLE)
        return "rapidocr, zxing-cpp"

    def look(self, image: np.ndarray, header: Any, draw: bool) -> np.ndarray | None:
        texts = [
            text
            for fuser in self.fusers
            for text in fuser.update(self.reader.read(image, fuser.region), time_s(header))
        ]
        message = messages.texts_msg(texts, header)
        if self.active:
            self.texts.publish(message)
        return draw_texts(image, texts) if draw else None


def main() -> None:
    run(TextNode)


if __name__ == "__main__":
    main()
