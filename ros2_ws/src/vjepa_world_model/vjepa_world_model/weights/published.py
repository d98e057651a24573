"""Models of the published sizes with random weights: they load and time like the real ones."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn
from transformers import VJEPA2Config

from vjepa_world_model.model.encoder import Encoder
from vjepa_world_model.model.predictor import PredictorConfig
from vjepa_world_model.model.world_model import WorldModel
from vjepa_world_model.runtime.memory import weight_dtype
from vjepa_world_model.weights import official
from vjepa_world_model.weights.checkpoints import (
    CheckpointError,
    StoredModel,
    blank_encoder,
    blank_predictor,
    write_folder,
)

# Width, blocks, hidden width of the MLP; the heads are in `official`. The action-conditioned
# predictor was published for ViT-g; the others get one of the same size.
ENCODERS = {"vitl": (1024, 24, 4096), "vith": (1280, 32, 5120), "vitg": (1408, 40, 6144)}
_STD = 0.02  # of the published initialisation


def sizes(name: str, image_size: int = official.IMAGE_SIZE) -> tuple[VJEPA2Config, PredictorConfig]:
    """Sizes of an encoder and of its action-conditioned predictor.

    Raises:
        CheckpointError: an unknown name, or an image size that is no multiple of the patches.
    """
    if name not in ENCODERS:
        raise CheckpointError(f"unknown size {name!r}; use {', '.join(ENCODERS)}")
    width, depth, hidden = ENCODERS[name]
    encoder = VJEPA2Config(
        crop_size=image_size,
        hidden_size=width,
        num_attention_heads=official.ENCODER_HEADS[width],
        num_hidden_layers=depth,
        mlp_ratio=official.mlp_ratio(hidden, width),
        pred_hidden_size=24,
        pred_num_attention_heads=1,
        pred_num_hidden_layers=1,
    )
    side, rest = divmod(image_size, encoder.patch_size)
    if rest or not side:
        raise CheckpointError(f"image_size {image_size} is no multiple of {encoder.patch_size}")
    return encoder, PredictorConfig(grid=(side, side), embed_dim=width)


def write_random_folder(
    folder: Path,
    encoder: VJEPA2Config,
    predictor: PredictorConfig,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
) -> Path:
    """Our folder with random weights, made and written shard by shard; returns it."""
    return write_folder(
        folder,
        (encoder, random_weights(blank_encoder(encoder).encoder, seed, dtype)),
        (predictor, random_weights(blank_predictor(predictor), seed + 1, dtype)),
    )


def write_random_official(
    path: Path,
    encoder: VJEPA2Config,
    predictor: PredictorConfig,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
) -> Path:
    """A file in the layout of the official one; all of it is held in memory while it is written."""
    if path.exists():
        raise CheckpointError(f"{path} exists; choose another file or remove it")
    eye = dict(random_weights(blank_encoder(encoder).encoder, seed, dtype))
    mind = dict(random_weights(blank_predictor(predictor), seed + 1, dtype))
    prefix = "module.backbone."
    content = {
        "encoder": {prefix + k: v for k, v in official.official_names(eye).items()},
        "predictor": {prefix + k: v for k, v in mind.items()},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    torch.save(content, part)
    return part.rename(path)


def random_model(name: str) -> StoredModel:
    """A model of a published size that is stored nowhere: its sizes, and tensors without numbers.

    Enough for `memory.estimate`; raises CheckpointError on an unknown name.
    """
    encoder, predictor = sizes(name)
    return StoredModel(
        f"{name} with random weights",
        "random",
        Path(name),
        encoder,
        blank_encoder(encoder).encoder.state_dict(),
        predictor,
        blank_predictor(predictor).state_dict(),
    )


def make_random_model(
    stored: StoredModel,
    device: torch.device,
    dtype: torch.dtype,
    seed: int = 0,
    *,
    memory_limit_bytes: int | None = None,
    compiled: bool | None = False,
) -> WorldModel:
    """The world model of `random_model`, its weights made one by one on their way to `device`.

    `memory_limit_bytes` and `compiled` as `load_world_model`.
    """
    eye, mind = blank_encoder(stored.encoder), blank_predictor(stored.predictor)
    for offset, module in enumerate((eye.encoder, mind)):
        weights = random_weights(module, seed + offset, dtype)
        module.load_state_dict({n: tensor.to(device) for n, tensor in weights}, assign=True)
    model = WorldModel(
        Encoder(eye), mind, stored.name, device, memory_limit_bytes=memory_limit_bytes
    )
    model.compile(compiled)
    return model


def random_weights(
    blank: nn.Module, seed: int, dtype: torch.dtype
) -> Iterator[tuple[str, torch.Tensor]]:
    """Weights for a module on the meta device, one by one: matrices normal, norms one, biases zero.

    The same seed gives the same numbers, whatever the dtype.
    """
    generator = torch.Generator().manual_seed(seed)
    for name, like in blank.state_dict().items():
        if like.ndim > 1:
            tensor = torch.empty(like.shape).normal_(std=_STD, generator=generator)
        else:
            tensor = torch.ones(like.shape) if _is_scale(name) else torch.zeros(like.shape)
        yield name, tensor.to(weight_dtype(name, tensor.dtype, dtype))


def _is_scale(name: str) -> bool:
    return name.endswith("weight")  # the only vectors called weight are those of layer norms
