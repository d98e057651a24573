"""The layout of the official `vjepa2-ac-*.pt`: names, prefixes, and sizes told from the tensors.

The file holds dictionaries `encoder` and `predictor`, whose keys carry `module.` and `backbone.`,
beside the state of its training, which is never read. Source: facebookresearch/vjepa2.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from transformers import VJEPA2Config

from vjepa_world_model.model.predictor import PredictorConfig
from vjepa_world_model.weights.tensor_files import CheckpointError

IMAGE_SIZE = 256  # [px]
ENCODER_HEADS = {1024: 16, 1280: 16, 1408: 22}  # by width: ViT-L, ViT-H, ViT-g
PREDICTOR_HEADS = {1024: 16}

Tensors = Mapping[str, torch.Tensor]


def strip_prefixes(state: Tensors) -> dict[str, torch.Tensor]:
    """Takes the leading `module.` and `backbone.` of every name away."""
    return {re.sub(r"^((module|backbone)\.)+", "", name): t for name, t in state.items()}


def hugging_face_names(state: Tensors) -> dict[str, torch.Tensor]:
    """Official encoder names -> those of `VJEPA2Encoder`; the fused qkv is split in that order."""
    renamed = {}
    for name, tensor in state.items():
        name = re.sub(r"^blocks\.(\d+)\.", r"layer.\1.", name)
        name = re.sub(r"^patch_embed\.", "embeddings.patch_embeddings.", name)
        name = re.sub(r"^norm\.", "layernorm.", name)
        name = name.replace(".attn.proj.", ".attention.proj.")
        if ".attn.qkv." in name:
            for part, piece in zip(("query", "key", "value"), tensor.chunk(3)):
                renamed[name.replace(".attn.qkv.", f".attention.{part}.")] = piece
        else:
            renamed[name] = tensor
    return renamed


def official_names(state: Tensors) -> dict[str, torch.Tensor]:
    """The inverse of `hugging_face_names`: query, key and value are fused again."""
    renamed = {}
    for name, tensor in state.items():
        name = re.sub(r"^layer\.(\d+)\.", r"blocks.\1.", name)
        name = re.sub(r"^embeddings\.patch_embeddings\.", "patch_embed.", name)
        name = re.sub(r"^layernorm\.", "norm.", name)
        name = name.replace(".attention.proj.", ".attn.proj.")
        if match := re.match(r"(.*)\.attention\.(query|key|value)\.(\w+)", name):
            renamed.setdefault(f"{match[1]}.attn.qkv.{match[3]}", []).append(tensor)
        else:
            renamed[name] = tensor
    return {n: torch.cat(t) if isinstance(t, list) else t for n, t in renamed.items()}


def encoder_config(
    state: Tensors, where: str, image_size: int | None = None, heads: int | None = None
) -> VJEPA2Config:
    """Sizes of an encoder from its tensors.

    Args:
        state: named by `hugging_face_names`.
        where: the file, for errors.
        image_size: [px]; None: the official one. heads: None: those of the published width.

    Raises:
        CheckpointError: a tensor is missing, or the heads are not known or do not divide the width.
    """
    embedding = _need(state, "embeddings.patch_embeddings.proj.weight", where, 5)
    width, channels, tubelet, patch, _ = embedding.shape
    size = image_size or IMAGE_SIZE
    if size % patch:
        raise CheckpointError(
            f"{where}: image_size {size} is no multiple of the patch size {patch}"
        )
    hidden = _need(state, "layer.0.mlp.fc1.weight", where, 2).shape[0]
    return VJEPA2Config(
        patch_size=patch,
        crop_size=size,
        tubelet_size=tubelet,
        in_chans=channels,
        hidden_size=width,
        num_attention_heads=_heads("encoder", width, heads, ENCODER_HEADS, where),
        num_hidden_layers=_depth(state, r"layer\.(\d+)\."),
        mlp_ratio=mlp_ratio(hidden, width),
        qkv_bias="layer.0.attention.query.bias" in state,
        # The mask predictor of the pretraining is not part of this file and never used here.
        pred_hidden_size=24,
        pred_num_attention_heads=1,
        pred_num_hidden_layers=1,
    )


def patch_size(state: Tensors, where: str) -> int:
    """Side of a patch [px], from an encoder's tensors as in `encoder_config`."""
    return _need(state, "embeddings.patch_embeddings.proj.weight", where, 5).shape[-1]


def predictor_config(
    state: Tensors,
    where: str,
    grid: tuple[int, int],
    heads: int | None = None,
    extrinsics: bool = False,
) -> PredictorConfig:
    """Sizes of an action-conditioned predictor from its tensors.

    Args:
        state: official names without prefixes. grid: patches of a frame, rows and columns.
        heads: None: those of the published width. extrinsics: whether it was trained with them;
            the published checkpoint carries that layer unused.

    Raises:
        CheckpointError: as `encoder_config`.
    """
    if "action_encoder.weight" not in state and "mask_tokens.0" in state:
        raise CheckpointError(
            f"{where}: its predictor fills in masks and takes no actions; this is a checkpoint of "
            "the pretraining, take the action-conditioned vjepa2-ac-*.pt"
        )
    inner, outer = _need(state, "predictor_embed.weight", where, 2).shape
    hidden = _need(state, "predictor_blocks.0.mlp.fc1.weight", where, 2).shape[0]
    return PredictorConfig(
        grid=grid,
        embed_dim=outer,
        width=inner,
        depth=_depth(state, r"predictor_blocks\.(\d+)\."),
        heads=_heads("predictor", inner, heads, PREDICTOR_HEADS, where),
        mlp_ratio=mlp_ratio(hidden, inner),
        extrinsics=extrinsics,
    )


def _need(state: Tensors, name: str, where: str, dimensions: int) -> torch.Tensor:
    if name not in state:
        raise CheckpointError(f"{where} has no tensor {name}: not a V-JEPA 2-AC checkpoint")
    if state[name].ndim != dimensions:
        raise CheckpointError(f"{where}: {name} has shape {list(state[name].shape)}")
    return state[name]


def _heads(part: str, width: int, given: int | None, known: Mapping[int, int], where: str) -> int:
    heads = given or known.get(width)
    if heads is None:
        raise CheckpointError(
            f"{where}: no published {part} has width {width}, so its heads are not known; "
            f"give {part}_heads (and image_size, where it is not {IMAGE_SIZE}), as a launch "
            "argument or to ./run convert, which writes a folder that every command takes"
        )
    if width % heads:
        raise CheckpointError(f"{where}: {part}_heads {heads} does not divide the width {width}")
    return heads


def _depth(state: Tensors, pattern: str) -> int:
    return 1 + max(int(m.group(1)) for name in state if (m := re.match(pattern, name)))


def mlp_ratio(hidden: int, width: int) -> float:
    """The ratio from which `int(width * ratio)` gives exactly `hidden`."""
    ratio = hidden / width
    return ratio if int(width * ratio) == hidden else (hidden + 0.5) / width
