"""From training runs to a world model folder."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from transformers import VJEPA2Model

from vjepa_world_model.training.encoder import EncoderRecipe, new_model
from vjepa_world_model.weights.checkpoints import CheckpointError, load_encoder_folder


def load_encoder(run: Path, untrained: bool, seed: int) -> VJEPA2Model:
    """The frozen encoder of a training run, or random weights of the same sizes."""
    path = run / "encoder" / "training.json"
    if not path.is_file():
        raise CheckpointError(f"{run} holds no finished encoder; run ./run train encoder first")
    if not untrained:
        return load_encoder_folder(run / "encoder")
    recipe = json.loads(path.read_text())["recipe"]
    recipe["ema"] = tuple(recipe["ema"])
    torch.manual_seed(seed)
    return new_model(EncoderRecipe(**recipe))
