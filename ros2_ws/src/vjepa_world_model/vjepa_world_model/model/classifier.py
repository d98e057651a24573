"""Clips to labels: an attentive probe on the frozen encoder.

A folder is transformers' `VJEPA2ForVideoClassification` (safetensors and config.json), such as the
published SSv2 and Diving-48 ones, or what `./run train probe` writes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from transformers import VJEPA2Config, VJEPA2ForVideoClassification

from vjepa_world_model.model.encoder import preprocess
from vjepa_world_model.weights.tensor_files import CheckpointError, map_safetensors, take


@dataclass(frozen=True)
class Labelled:
    """The most likely labels of a clip with their probabilities, the likeliest first."""

    labels: tuple[str, ...]
    probabilities: tuple[float, ...]


class ClipClassifier:
    """Labels clips. Its weights never change.

    Attributes:
        labels: all it knows. frames: of a clip, as it was trained. name: of its folder.
    """

    def __init__(self, model: VJEPA2ForVideoClassification, name: str, device: torch.device):
        config = model.config
        self.name = name
        self.device = device
        self.frames = int(config.frames_per_clip)
        self.image_size = int(config.crop_size)
        self.labels = tuple(str(config.id2label[i]) for i in range(config.num_labels))
        self._model = model.eval().requires_grad_(False).to(device)

    @torch.inference_mode()
    def classify(self, clip: np.ndarray, top: int = 5) -> Labelled:
        """uint8 RGB [T, H, W, 3], T any number: as many pictures as it was trained with are taken
        from it, evenly.

        Raises:
            FrameError: another type or shape.
        """
        pixels = preprocess(clip, self.image_size, self.device)
        taken = torch.from_numpy(spread(len(pixels), self.frames)).to(self.device)
        scores = self._model(pixel_values_videos=pixels[taken][None]).logits[0].float()
        found = scores.softmax(0).topk(min(top, len(self.labels)))
        return Labelled(
            tuple(self.labels[i] for i in found.indices.tolist()), tuple(found.values.tolist())
        )


def load_classifier(folder: str | Path, device: torch.device) -> ClipClassifier:
    """Reads a folder; no code in it is ever executed.

    Raises:
        CheckpointError: missing or damaged files, or another kind of model.
    """
    folder = Path(folder).expanduser()
    config = classifier_config(folder)
    with torch.device("meta"):
        model = VJEPA2ForVideoClassification(config)
    stored = map_safetensors(folder, "model")
    wanted = {name: tensor.shape for name, tensor in model.state_dict().items()}
    # The mask predictor of the pretraining takes no part in classification.
    needed = {name for name in wanted if not name.startswith("vjepa2.predictor.")}
    wrong = sorted(n for n in needed if n not in stored or stored[n].shape != wanted[n])
    if wrong:
        raise CheckpointError(
            f"{folder} does not hold the weights that its config.json asks for: {wrong[0]}"
            + (f" and {len(wrong) - 1} more" if len(wrong) > 1 else "")
        )
    model.vjepa2.predictor = torch.nn.Identity()
    tensors = {name: take(stored[name], mapped=True) for name in needed}
    model.load_state_dict({n: t.float() for n, t in tensors.items()}, assign=True)
    return ClipClassifier(model, folder.name, device)


def classifier_config(folder: Path) -> VJEPA2Config:
    """Raises CheckpointError for anything but a classifier's config.json."""
    path = folder / "config.json"
    try:
        config = VJEPA2Config.from_json_file(path)
    except (OSError, ValueError, TypeError) as error:
        raise CheckpointError(
            f"{path} cannot be read ({error}); name a VJEPA2ForVideoClassification folder, or make "
            "one with ./run train probe"
        ) from None
    if "VJEPA2ForVideoClassification" not in (config.architectures or ()):
        raise CheckpointError(
            f"{folder} is no VJEPA2ForVideoClassification folder, but {config.architectures}"
        )
    return config


def spread(count: int, wanted: int) -> np.ndarray:
    """int64 [wanted]: indices spread evenly over `count` pictures."""
    return np.linspace(0, count - 1, wanted).round().astype(np.int64)
