"""What the tests share: small models, a picture with a label, a recording of two cycles."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import torch
from node_kit.testing import ros  # noqa: F401
from onnx import TensorProto, helper, numpy_helper
from perception_pkg.core.defects import unet
from perception_pkg.core.defects.config import DefectConfig
from perception_pkg.core.detection.detector import DetectorConfig
from perception_pkg.core.detection.size_rule import SizePair
from vjepa_world_model.data.video import VideoWriter

CLASSES = ("screw_m3", "screw_m4", "base")
PAIR = SizePair("screw_m3", "screw_m4", doubt=1.0)


@pytest.fixture(scope="session")
def detector_folder(tmp_path_factory) -> Path:
    """A detector of 64 px that finds the same three parts in every picture: a screw that is
    surely M3, one that may be either, and a base."""
    rows = [
        # centre x, y, width, height; scores of the classes
        (16, 16, 8, 8, 0.9, 0.1, 0.0),
        (40, 16, 8, 8, 0.3, 0.2, 0.0),
        (32, 44, 24, 16, 0.0, 0.0, 0.8),
        (33, 44, 24, 16, 0.0, 0.0, 0.5),  # the base once more
        (32, 32, 9, 9, 0.01, 0.0, 0.0),  # nothing
    ]
    folder = tmp_path_factory.mktemp("models") / "constant"
    folder.mkdir()
    values = numpy_helper.from_array(np.array(rows, np.float32).T[None], "parts")
    shape = [1, 7, len(rows)]
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMin", ["images"], ["darkest"], keepdims=0),
            helper.make_node("Mul", ["darkest", "none"], ["zero"]),
            helper.make_node("Add", ["parts", "zero"], ["output0"]),
        ],
        "constant",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 64, 64])],
        [helper.make_tensor_value_info("output0", TensorProto.FLOAT, shape)],
        [values, numpy_helper.from_array(np.float32(0.0), "none")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, folder / "model.onnx")
    DetectorConfig(CLASSES, 64, (PAIR,)).write(folder)
    return folder


@pytest.fixture(scope="session")
def defect_folder(tmp_path_factory) -> Path:
    """A defect model of random weights for 64 px, to which every picture is defective."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("models") / "random"
    config = DefectConfig(("crack", "scratch"), 64 * 64, 0.1, peak=0.1, image_threshold=0.0)
    unet.save(folder, unet.build(2).eval(), config)
    unet.export(folder)
    return folder


@pytest.fixture(scope="session")
def label_picture() -> np.ndarray:
    """uint8 [240, 320, 3] with the label LOT-4711 inside x 90..230, y 60..110."""
    image = np.full((240, 320, 3), 120, np.uint8)
    image[60:110, 90:230] = 240
    cv2.putText(
        image, "LOT-4711", (100, 94), cv2.FONT_HERSHEY_SIMPLEX, 0.8, (20, 20, 20), 2, cv2.LINE_AA
    )
    return image


@pytest.fixture(scope="session")
def recording(tmp_path_factory) -> Path:
    """A recording of two cycles of six pictures, as the station writes it: a base, a screw that is
    hidden in half of them, and a scratch on the base from the fourth picture on."""
    folder = tmp_path_factory.mktemp("recordings") / "two"
    folder.mkdir()
    station = {
        "schema": 1,
        "size": [128, 96],
        "fps": 10,
        "seed": 3,
        "classes": list(CLASSES),
        "regions": {"label": [80, 0, 128, 40], "fixture": [16, 32, 80, 96]},
        "mm_per_px": {"table": 0.5, "fixture": 0.4},
        "procedure": ["pick base"],
    }
    (folder / "station.json").write_text(json.dumps(station))
    for cycle in range(2):
        _write_cycle(folder / f"cycle_{cycle:04d}")
    return folder


def _write_cycle(folder: Path) -> None:
    (folder / "masks").mkdir(parents=True)
    lines = []
    with VideoWriter(folder / "video.mp4", (128, 96), 10) as video:
        for number in range(6):
            image = np.full((96, 128, 3), 60, np.uint8)
            image[40:88, 20:76] = 150
            image[10:22, 10 + number : 22 + number] = 230
            defects = []
            if number >= 3:
                image[60:63, 30:60] = 250
                mask = np.zeros((96, 128), np.uint8)
                mask[60:63, 30:60] = 1
                cv2.imwrite(str(folder / "masks" / f"{number:06d}.png"), mask)
                defects = [{"id": 0, "kind": "scratch", "xyxy": [30, 60, 60, 63], "area_mm2": 14}]
            video.add(image)
            boxes = [
                {"id": 0, "class": "base", "xyxy": [20, 40, 76, 88], "visible": 1.0},
                {
                    "id": 1,
                    "class": "screw_m3",
                    "xyxy": [10 + number, 10, 22 + number, 22],
                    "visible": 1.0 if number % 2 else 0.1,
                },
            ]
            truth = {"frame": number, "t": number / 10, "boxes": boxes, "texts": []}
            lines.append(json.dumps({**truth, "defects": defects}))
    (folder / "frames.jsonl").write_text("\n".join(lines) + "\n")
    fault = {"kind": "defective_part", "visible_s": 0.3, "end_s": 0.5}
    (folder / "cycle.json").write_text(json.dumps({"seed": 3, "clean": False, "faults": [fault]}))
