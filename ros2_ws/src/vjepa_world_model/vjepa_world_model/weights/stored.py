"""Models on disk: what kind a path holds, its sizes, and its tensors, mapped but not read.

Three layouts are told apart:

- our folder: `config.json`, `encoder/` (a Hugging Face V-JEPA 2 folder), `predictor.safetensors`;
- a Hugging Face V-JEPA 2 folder: an encoder, without an action-conditioned predictor;
- the official `vjepa2-ac-*.pt`, see `official`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from transformers import VJEPA2Config

from vjepa_world_model.model.predictor import PredictorConfig
from vjepa_world_model.weights import official
from vjepa_world_model.weights.tensor_files import (
    CheckpointError,
    map_safetensors,
    map_torch_file,
    read_json,
)

FORMAT = "vjepa-ros world model 1"
MODELS = Path(__file__).resolve().parents[2] / "models"
SHIPPED = MODELS / "sim_panda"
# What a Hugging Face folder may hold beside the encoder, none of it used: the mask predictor of
# the pretraining, the pooler and classifier of the video classifiers.
_UNUSED = ("predictor.", "pooler.", "classifier.")
Parts = Literal["both", "encoder", "predictor"]


@dataclass(frozen=True)
class StoredModel:
    """A model on disk: its sizes, and its tensors, mapped but not read.

    Attributes:
        name: of the file or folder.
        kind: "folder", "hugging face" or "official".
        encoder, predictor: sizes; None where there is no such part.
        encoder_tensors: by the names of `VJEPA2Encoder`. predictor_tensors: by official names.
        anchored: see `WorldModel`.
        mapped: whether the tensors are pages of files, which are given back once they are read.
    """

    name: str
    kind: str
    path: Path
    encoder: VJEPA2Config | None
    encoder_tensors: Mapping[str, torch.Tensor]
    predictor: PredictorConfig | None
    predictor_tensors: Mapping[str, torch.Tensor]
    anchored: bool = False
    mapped: bool = False

    def only(self, parts: Parts) -> StoredModel:
        """The part that is needed; raises CheckpointError where it is not there."""
        if parts != "encoder" and self.predictor is None:
            raise CheckpointError(
                f"{self.path} is an encoder without an action-conditioned predictor: it encodes, "
                "but cannot imagine actions; give the official vjepa2-ac-*.pt, or join the two "
                "with ./run convert ENCODER OUT --predictor FILE"
            )
        if parts != "predictor" and self.encoder is None:
            raise CheckpointError(f"{self.path} holds no encoder")
        if parts == "encoder":
            return replace(self, predictor=None, predictor_tensors={})
        if parts == "predictor":
            return replace(self, encoder=None, encoder_tensors={})
        return self

    def check_together(self) -> None:
        """Raises CheckpointError where encoder and predictor do not belong together."""
        if self.encoder is None or self.predictor is None:
            return
        side = self.encoder.crop_size // self.encoder.patch_size
        ours = (self.encoder.hidden_size, (side, side))
        theirs = (self.predictor.embed_dim, self.predictor.grid)
        if ours != theirs:
            raise CheckpointError(
                f"{self.path}: encoder and predictor do not belong together: the encoder gives "
                f"features of width {ours[0]} on a grid {ours[1]}, the predictor expects width "
                f"{theirs[0]} on {theirs[1]}"
            )


def open_model(
    path: str | Path | None = None,
    *,
    image_size: int | None = None,
    encoder_heads: int | None = None,
    predictor_heads: int | None = None,
    parts: Parts = "both",
) -> StoredModel:
    """Sizes and mapped tensors of any of the three kinds; arguments as `load_world_model`.

    `parts` keeps an official file from being judged by a part that is not wanted.

    Raises:
        CheckpointError: says what is wrong with the file and what to do.
    """
    path = SHIPPED if path in (None, "") else Path(path).expanduser()
    if len(path.parts) == 1 and not path.exists() and (MODELS / path).is_dir():
        path = MODELS / path  # a shipped model, by its name
    sizes = (image_size, encoder_heads, predictor_heads)
    if path.is_dir():
        stored = _open_folder(path)
        _check_given(stored, *sizes)
    elif path.is_file():
        stored = open_official(path, *sizes, parts)
    else:
        raise CheckpointError(
            f"no model at {path}; give a model folder, a Hugging Face V-JEPA 2 folder or a "
            "vjepa2-ac .pt file"
        )
    stored.check_together()
    return stored


def open_official(
    path: Path,
    image_size: int | None = None,
    encoder_heads: int | None = None,
    predictor_heads: int | None = None,
    parts: Parts = "both",
) -> StoredModel:
    """Sizes and mapped tensors of an official file; arguments and errors as `open_model`."""
    content = map_torch_file(path)
    states = {}
    for name in ("encoder", "predictor"):
        state = content.get(name) if isinstance(content, dict) else None
        if not isinstance(state, dict) or not state:
            found = ", ".join(map(str, content)) if isinstance(content, dict) else "no dictionary"
            raise CheckpointError(
                f"{path} has no {name} dictionary; it holds: {found or 'nothing'}"
            )
        states[name] = official.strip_prefixes(state)
        for key, tensor in states[name].items():
            if not isinstance(tensor, torch.Tensor):
                raise CheckpointError(
                    f"{path}: {name} {key} is a {type(tensor).__name__}, no tensor"
                )
    encoder_tensors = official.hugging_face_names(states["encoder"])
    config = predictor = None
    if parts != "predictor":
        config = official.encoder_config(encoder_tensors, str(path), image_size, encoder_heads)
    if parts != "encoder":
        side = (image_size or official.IMAGE_SIZE) // official.patch_size(
            encoder_tensors, str(path)
        )
        predictor = official.predictor_config(
            states["predictor"], str(path), (side, side), predictor_heads
        )
    return StoredModel(
        path.stem,
        "official",
        path,
        config,
        encoder_tensors if config else {},
        predictor,
        states["predictor"] if predictor else {},
        mapped=True,
    )


def join(encoder: StoredModel, predictor: StoredModel) -> StoredModel:
    """The encoder of one model with the predictor of another.

    Raises:
        CheckpointError: a part is missing, or the two do not belong together.
    """
    eye, mind = encoder.only("encoder"), predictor.only("predictor")
    joined = replace(
        eye,
        predictor=mind.predictor,
        predictor_tensors=mind.predictor_tensors,
        anchored=mind.anchored,
        mapped=eye.mapped and mind.mapped,
    )
    joined.check_together()
    return joined


def _open_folder(folder: Path) -> StoredModel:
    path = folder / "config.json"
    if not path.is_file():
        raise CheckpointError(
            f"{folder} has no config.json: neither a world model folder nor a Hugging Face one"
        )
    config = read_json(path)
    if "model_type" in config:
        sizes, tensors = _open_encoder(folder)
        return StoredModel(
            folder.name, "hugging face", folder, sizes, tensors, None, {}, mapped=True
        )
    if config.get("format") != FORMAT:
        raise CheckpointError(
            f"{path}: format is {config.get('format')!r}, this version reads {FORMAT!r}"
        )
    sizes, tensors = _open_encoder(folder / "encoder")
    anchored = bool(config.get("anchored", False))
    if config.get("predictor") is None:
        return StoredModel(
            folder.name, "folder", folder, sizes, tensors, None, {}, anchored, mapped=True
        )
    try:
        stored = dict(config["predictor"])
        stored["grid"] = tuple(stored["grid"])
        predictor = PredictorConfig(**stored)
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: its predictor's sizes are not readable: {error}") from error
    return StoredModel(
        folder.name,
        "folder",
        folder,
        sizes,
        tensors,
        predictor,
        map_safetensors(folder, "predictor"),
        anchored,
        mapped=True,
    )


def _open_encoder(folder: Path) -> tuple[VJEPA2Config, dict[str, torch.Tensor]]:
    config = hugging_face_config(folder)
    if not list(folder.glob("*.safetensors")) and list(folder.glob("pytorch_model*")):
        raise CheckpointError(
            f"{folder} holds a pickle only; save it as safetensors (save_pretrained does)"
        )
    tensors = {}
    for name, tensor in map_safetensors(folder, "model").items():
        name = name.removeprefix("vjepa2.")  # of the video classifiers
        if not name.startswith(_UNUSED):
            tensors[name.removeprefix("encoder.")] = tensor
    return config, tensors


def hugging_face_config(folder: Path) -> VJEPA2Config:
    path = folder / "config.json"
    if not path.is_file():
        raise CheckpointError(f"{folder} has no config.json: not a Hugging Face V-JEPA 2 folder")
    config = read_json(path)
    if config.get("model_type") != "vjepa2":
        raise CheckpointError(f"{folder} holds a {config.get('model_type')!r} model, not vjepa2")
    try:
        sizes = VJEPA2Config(**config)
    except Exception as error:  # transformers checks types and raises several kinds
        raise CheckpointError(f"{path} is not a V-JEPA 2 configuration: {error}") from error
    if not isinstance(sizes.patch_size, int):
        raise CheckpointError(f"{path}: patches of {sizes.patch_size} px are not square")
    return sizes


def _check_given(
    stored: StoredModel,
    image_size: int | None,
    encoder_heads: int | None,
    predictor_heads: int | None,
) -> None:
    known = {
        "image_size": (image_size, stored.encoder.crop_size),
        "encoder_heads": (encoder_heads, stored.encoder.num_attention_heads),
    }
    if stored.predictor is not None:
        known["predictor_heads"] = (predictor_heads, stored.predictor.heads)
    for name, (given, stands) in known.items():
        if given not in (None, 0, stands):
            raise CheckpointError(
                f"{stored.path} says {name} {stands}, {given} was given; leave {name} out"
            )
