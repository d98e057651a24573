"""What every detector looks like from outside, and the one that runs an ONNX file.

Training needs ultralytics; finding parts needs onnxruntime alone. A model folder holds
`config.json` and `model.onnx`; the file never executes code.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from perception_pkg.core.detection.boxes import Found, suppress
from perception_pkg.core.detection.size_rule import SizePair
from perception_pkg.core.model_folder import ModelError, read_config, write_json
from perception_pkg.core.onnx import open_session

TIE = 1e-6  # weight of its own score, where two classes are equally present
PAD = 114  # grey around a picture that is not square, as ultralytics trains


class Detector(Protocol):
    """Finds parts in pictures.

    Attributes:
        name: of the model.
        classes: what it can find.
    """

    name: str
    classes: tuple[str, ...]

    def find(self, image: np.ndarray) -> list[Found]:
        """The parts in uint8 [H, W, 3] RGB, most confident first."""
        ...


@dataclass(frozen=True)
class DetectorConfig:
    """What a model folder says of its model.

    Attributes:
        classes: in the order of the model's outputs.
        image_px: side of the square that the model is fed.
        pairs: classes that differ only in size, and how they are told apart.
        confidence: from which a box counts.
        confidences: of classes that count from another one; the more varied a class looks, the less
            confident the model is of it.
        overlap: of two boxes from which the less confident one is dropped.
    """

    classes: tuple[str, ...]
    image_px: int = 320
    pairs: tuple[SizePair, ...] = field(default=())
    confidence: float = 0.35
    confidences: dict[str, float] = field(default_factory=dict)
    overlap: float = 0.6

    def __post_init__(self) -> None:
        unknown = sorted(set(self.confidences) - set(self.classes))
        if unknown:
            raise ModelError(f"confidences of {', '.join(unknown)}, which are no classes")

    def least(self, name: str) -> float:
        """The confidence from which a box of this class counts."""
        return self.confidences.get(name, self.confidence)

    def write(self, folder: Path) -> None:
        """Writes `config.json` into the folder."""
        write_json(Path(folder) / "config.json", asdict(self))

    @classmethod
    def read(cls, folder: Path) -> DetectorConfig:
        """What the folder says.

        Raises:
            ModelError: no such folder, or no or unusable config.json.
        """
        values = read_config(folder, "detector")
        try:
            pairs = tuple(SizePair(**pair) for pair in values["pairs"])
            return cls(**{**values, "classes": tuple(values["classes"]), "pairs": pairs})
        except (TypeError, KeyError) as error:
            raise ModelError(f"{folder} holds no detector: {error}") from None


class OnnxDetector:
    """A trained YOLO model by onnxruntime.

    Attributes:
        config: of the model folder.
    """

    def __init__(self, folder: Path, threads: int = 1, confidence: float | None = None):
        """Loads a model folder.

        Args:
            threads: CPU threads; 0: all cores.
            confidence: from which a box of any class counts; None: what the config says.

        Raises:
            ModelError: missing or unusable files.
        """
        self.config = DetectorConfig.read(folder)
        self.name = Path(folder).resolve().name
        self.classes = self.config.classes
        self._least = np.array(
            [self.config.least(n) if confidence is None else confidence for n in self.classes]
        )
        self._session = open_session(Path(folder) / "model.onnx", threads)
        rows = self._session.get_outputs()[0].shape[1]
        if rows != 4 + len(self.classes):
            raise ModelError(
                f"{folder} has {len(self.classes)} classes, its model.onnx {rows - 4}; "
                "both must come from one training"
            )

    def find(self, image: np.ndarray) -> list[Found]:
        """The parts in uint8 [H, W, 3] RGB, most confident first."""
        fed, scale, left, top = letterbox(image, self.config.image_px)
        raw = self.raw(fed).astype(np.float64)
        present = self._present(raw[4:])
        best, confidence = (present + TIE * raw[4:]).argmax(0), present.max(0)
        keep = confidence >= self._least[best]
        if not keep.any():
            return []
        raw, best, confidence = raw[:, keep].T, best[keep], confidence[keep]
        centre, size, scores = raw[:, :2], raw[:, 2:4], raw[:, 4:]
        boxes = np.concatenate([centre - size / 2, centre + size / 2], 1)
        boxes = (boxes - (left, top, left, top)) / scale
        height, width = image.shape[:2]
        boxes = np.clip(boxes, 0.0, (width, height, width, height))
        chosen = suppress(boxes, confidence, self.config.overlap)
        return [
            Found(boxes[i], scores[i].astype(np.float32), int(best[i]), float(confidence[i]))
            for i in chosen
        ]

    def raw(self, fed: np.ndarray) -> np.ndarray:
        """What the network gives for uint8 [S, S, 3] RGB: float32 [4 + classes, anchors]."""
        batch = fed.transpose(2, 0, 1)[None].astype(np.float32) / 255.0
        (output,) = self._session.run(None, {self._session.get_inputs()[0].name: batch})
        return output[0]

    def _present(self, scores: np.ndarray) -> np.ndarray:
        """That something of a class is there, from scores [classes, anchors]: one of two classes
        that differ only in size is there, however little is known of which."""
        present = scores.copy()
        for pair in self.config.pairs:
            both = [self.classes.index(name) for name in (pair.first, pair.second)]
            present[both] = np.minimum(scores[both].sum(0), 1.0)
        return present


def letterbox(image: np.ndarray, side: int) -> tuple[np.ndarray, float, int, int]:
    """The picture in a grey square.

    Returns:
        uint8 [side, side, 3], the scale, and the width of the margins left and on top [px].
    """
    height, width = image.shape[:2]
    scale = side / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    small = image if size == (width, height) else cv2.resize(image, size, interpolation=how)
    square = np.full((side, side, 3), PAD, np.uint8)
    left, top = (side - size[0]) // 2, (side - size[1]) // 2
    square[top : top + size[1], left : left + size[0]] = small
    return square, scale, left, top
