"""Loading and saving world models. No file is ever allowed to execute code.

`load_world_model` takes any path that `stored.open_model` knows, judges it whole, weighs it against
the memory that is left, and only then reads it, tensor by tensor. `write_model` turns it into our
folder in the same way.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn
from transformers import VJEPA2Config, VJEPA2Model

from vjepa_world_model.model.encoder import Encoder
from vjepa_world_model.model.predictor import ActionConditionedPredictor, PredictorConfig
from vjepa_world_model.model.world_model import WorldModel
from vjepa_world_model.runtime import memory
from vjepa_world_model.weights.stored import (
    FORMAT,
    MODELS,
    SHIPPED,
    Parts,
    StoredModel,
    hugging_face_config,
    join,
    open_model,
    open_official,
)
from vjepa_world_model.weights.tensor_files import (
    CheckpointError,
    map_safetensors,
    take,
    write_safetensors,
)

__all__ = [
    "COMPILE", "CheckpointError", "DTYPES", "MODELS", "SHIPPED", "Parts", "StoredModel",
    "blank_encoder", "blank_predictor", "build_world_model", "choose_device", "join",
    "load_encoder_folder", "load_world_model", "open_model", "open_official", "save_world_model",
    "write_folder", "write_model",
]  # fmt: skip

DTYPES = {"auto": None, "fp32": torch.float32, "bf16": torch.bfloat16}
COMPILE = {"auto": None, "always": True, "never": False}
"""Words for `compiled` of `build_world_model`."""


def load_world_model(
    path: str | Path | None = None,
    device: str = "auto",
    *,
    dtype: str = "auto",
    parts: Parts = "both",
    image_size: int | None = None,
    encoder_heads: int | None = None,
    predictor_heads: int | None = None,
    memory_limit_bytes: int | None = None,
    compiled: bool | None = False,
) -> WorldModel:
    """Load a world model from our folder, a Hugging Face V-JEPA 2 folder or an official `.pt`.

    Only the tensors that are needed are read, one by one, and cast on the way.

    Args:
        path: folder or file; None for the shipped model.
        device: `auto` (cuda when there is one), `cpu`, `cuda`, `cuda:1` ...
        dtype: `fp32`, `bf16`, or `auto` for what the file holds. Features, states and energies are
            float32 in any case, and so are the weights that take in actions and states.
        parts: `encoder` or `predictor` loads only that one. A Hugging Face folder holds an encoder
            only: of `both` it gives what there is, and `rollout` then refuses.
        image_size, encoder_heads, predictor_heads: what tensors do not tell; None: the official
            values. A folder knows its own, and refuses others.
        memory_limit_bytes: for activations; None: half of what is free. See `WorldModel`.
        compiled: see `WorldModel.compile`; None: on a GPU, where it pays, and not on a CPU,
            where it was measured to gain nothing.

    Raises:
        CheckpointError: says what is wrong with the file, or that it does not fit into memory, and
            what to do.
    """
    chosen = choose_device(device)
    if dtype not in DTYPES:
        raise CheckpointError(f"unknown dtype {dtype!r}; use {', '.join(DTYPES)}")
    stored = open_model(
        path,
        image_size=image_size,
        encoder_heads=encoder_heads,
        predictor_heads=predictor_heads,
        parts=parts,
    )
    if parts != "both":
        stored = stored.only(parts)
    return build_world_model(
        stored,
        chosen,
        DTYPES[dtype],
        memory_limit_bytes=memory_limit_bytes,
        compiled=compiled,
    )


def build_world_model(
    stored: StoredModel,
    device: torch.device,
    dtype: torch.dtype | None = None,
    grid: tuple[int, int] | None = None,
    *,
    memory_limit_bytes: int | None = None,
    compiled: bool | None = False,
) -> WorldModel:
    """Read the tensors of an opened model, if they fit into memory.

    Args:
        dtype: of the weights; None keeps the stored one.
        grid: patches (rows, columns) of pictures that are not square; such a model has no
            `image_size`, it is given clips that are normalised already.
        memory_limit_bytes, compiled: see `load_world_model`.

    Raises:
        CheckpointError: the tensors do not fit their sizes, or the model not the memory.
    """
    try:
        memory.check_fits(memory.estimate(stored, dtype, sequences=1), device)
    except memory.MemoryTooSmall as error:
        raise CheckpointError(f"{stored.path} does not fit: {error}") from error
    encoder = predictor = None
    if stored.encoder is not None:
        encoder = Encoder(_load_encoder(stored, dtype, device), grid)
    if stored.predictor is not None:
        sizes = stored.predictor if grid is None else replace(stored.predictor, grid=grid)
        predictor = _load_predictor(replace(stored, predictor=sizes), dtype, device)
    model = WorldModel(encoder, predictor, stored.name, device, stored.anchored, memory_limit_bytes)
    model.compile(compiled)
    return model


def choose_device(name: str) -> torch.device:
    """`auto` -> cuda when torch sees one, else cpu; raises CheckpointError where there is none."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise CheckpointError(f"unknown device {name!r}; use auto, cpu or cuda") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise CheckpointError(f"device {name} asked for, but torch sees no GPU; use device:=auto")
    return device


def save_world_model(
    folder: Path,
    encoder: VJEPA2Model,
    predictor: ActionConditionedPredictor,
    anchored: bool = False,
) -> Path:
    """Write our folder and return it; `anchored`: see `WorldModel`."""
    folder.mkdir(parents=True, exist_ok=True)
    encoder.save_pretrained(folder / "encoder", safe_serialization=True)
    write_safetensors(folder, "predictor", predictor.state_dict().items())
    _write_config(folder, predictor.config, anchored)
    return folder


def write_model(folder: Path, stored: StoredModel, dtype: torch.dtype | None = None) -> Path:
    """Turn a stored model into our folder, shard by shard, and return the folder.

    Args:
        folder: must not exist; it appears when it is complete.
        dtype: of the weights; None keeps the stored one.

    Raises:
        CheckpointError: `folder` exists, or the tensors do not fit their sizes.
    """
    encoder = predictor = None
    if stored.encoder is not None:
        blank = blank_encoder(stored.encoder).encoder
        _check_tensors(blank, stored.encoder_tensors, stored.path)
        encoder = stored.encoder, _cast(stored.encoder_tensors, dtype, stored.mapped)
    if stored.predictor is not None:
        blank = blank_predictor(stored.predictor)
        _check_tensors(blank, stored.predictor_tensors, stored.path)
        predictor = stored.predictor, _cast(stored.predictor_tensors, dtype, stored.mapped)
    return write_folder(folder, encoder, predictor, stored.anchored)


def write_folder(
    folder: Path,
    encoder: tuple[VJEPA2Config, Iterable[tuple[str, torch.Tensor]]] | None,
    predictor: tuple[PredictorConfig, Iterable[tuple[str, torch.Tensor]]] | None,
    anchored: bool = False,
) -> Path:
    """Write our folder from sizes and tensors as they come, and return it; see `write_model`."""
    if folder.exists():
        raise CheckpointError(f"{folder} exists; choose another folder or remove it")
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)  # of a run that was interrupted
    part.mkdir(parents=True)
    if encoder is not None:
        (part / "encoder").mkdir()
        named = ((f"encoder.{name}", tensor) for name, tensor in encoder[1])
        write_safetensors(part / "encoder", "model", named)
        encoder[0].save_pretrained(part / "encoder")
    if predictor is not None:
        write_safetensors(part, "predictor", predictor[1])
    _write_config(part, predictor[0] if predictor else None, anchored)
    return part.rename(folder)


def load_encoder_folder(folder: Path) -> VJEPA2Model:
    """A Hugging Face V-JEPA 2 folder with its mask predictor, complete or refused; for training."""
    config = hugging_face_config(folder)
    model = VJEPA2Model(config)
    tensors = map_safetensors(folder, "model")
    _check_tensors(model, tensors, folder)
    model.load_state_dict({name: take(tensor, mapped=True) for name, tensor in tensors.items()})
    return model


def _write_config(folder: Path, predictor: PredictorConfig | None, anchored: bool) -> None:
    sizes = None if predictor is None else predictor.to_dict()
    config = {"format": FORMAT, "anchored": anchored, "predictor": sizes}
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")


def _load_encoder(
    stored: StoredModel, dtype: torch.dtype | None, device: torch.device
) -> VJEPA2Model:
    model = blank_encoder(stored.encoder)
    _fill(model.encoder, stored.encoder_tensors, stored.path, dtype, device, stored.mapped)
    return model


def _load_predictor(
    stored: StoredModel, dtype: torch.dtype | None, device: torch.device
) -> ActionConditionedPredictor:
    model = blank_predictor(stored.predictor)
    _fill(model, stored.predictor_tensors, stored.path, dtype, device, stored.mapped)
    return model


def blank_encoder(config: VJEPA2Config) -> VJEPA2Model:
    """Without memory for its weights; of its mask predictor it never gets any."""
    try:
        with torch.device("meta"):
            return VJEPA2Model(config)
    except ValueError as error:
        raise CheckpointError(f"the encoder's sizes do not go together: {error}") from error


def blank_predictor(config: PredictorConfig) -> ActionConditionedPredictor:
    if config.width % config.heads:
        raise CheckpointError(
            f"predictor_heads {config.heads} does not divide the width {config.width}"
        )
    with torch.device("meta"):
        return ActionConditionedPredictor(config)


def _fill(
    module: nn.Module,
    tensors: Mapping[str, torch.Tensor],
    path: Path,
    dtype: torch.dtype | None,
    device: torch.device,
    mapped: bool,
) -> None:
    """Give a module on the meta device its weights, all of them or none."""
    _check_tensors(module, tensors, path)
    weights = {
        name: take(tensor, memory.weight_dtype(name, tensor.dtype, dtype), device, mapped=mapped)
        for name, tensor in tensors.items()
    }
    module.load_state_dict(weights, strict=True, assign=True)


def _cast(
    tensors: Mapping[str, torch.Tensor],
    dtype: torch.dtype | None,
    mapped: bool,
) -> Iterator[tuple[str, torch.Tensor]]:
    for name, tensor in tensors.items():
        kind = memory.weight_dtype(name, tensor.dtype, dtype)
        yield name, take(tensor, kind, mapped=mapped)


def _check_tensors(module: nn.Module, tensors: Mapping[str, torch.Tensor], path: Path) -> None:
    """Refuses missing and extra tensors, other shapes, and anything but floating-point numbers."""
    wanted = module.state_dict()
    missing, extra = sorted(set(wanted) - set(tensors)), sorted(set(tensors) - set(wanted))
    wrong = [
        f"{name} is {tensors[name].dtype} {list(tensors[name].shape)}, not {list(there.shape)}"
        for name, there in wanted.items()
        if name in tensors
        and (tensors[name].shape != there.shape or not tensors[name].is_floating_point())
    ]
    faults = [
        f"{what} {_some(names)}"
        for what, names in (("missing", missing), ("unknown", extra), ("of another shape:", wrong))
        if names
    ]
    if faults:
        raise CheckpointError(f"{path} does not fit the model: {'; '.join(faults)}")


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
