"""The Hugging Face V-JEPA 2 encoder for training: some patches only, and about twice as fast."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from vjepa_world_model.model.rotary import RotaryTables, rotary_tables, rotate


def encode_visible(encoder, clip: torch.Tensor, visible: torch.Tensor) -> torch.Tensor:
    """The Hugging Face encoder on some patches only: gather after the embedding, keep positions."""
    return encode_with_middle(encoder, clip, visible)[1]


def encode_with_middle(encoder, clip: torch.Tensor, visible: torch.Tensor) -> tuple:
    """As `encode_visible`; the tokens before the last layer come first."""
    rotary = rotary_of(encoder.layer, visible)
    tokens = embed_visible(encoder.embeddings.patch_embeddings.proj, clip, visible)
    middle = run_layers(encoder.layer[:-1], tokens, rotary)
    return middle, encoder.layernorm(run_layers(encoder.layer[-1:], middle, rotary))


def embed_visible(projection, clip: torch.Tensor, visible: torch.Tensor) -> torch.Tensor:
    """The patch embedding, a convolution without overlap, of some patches of [B, T, 3, S, S]."""
    depth, side, _ = projection.kernel_size
    batch, frames, channels, height, width = clip.shape
    patches = clip.reshape(
        batch, frames // depth, depth, channels, height // side, side, width // side, side
    )
    patches = patches.permute(0, 1, 4, 6, 3, 2, 5, 7).flatten(4).flatten(1, 3)[:, visible]
    return F.linear(patches, projection.weight.flatten(1), projection.bias)


def run_layers(layers, tokens: torch.Tensor, rotary: RotaryTables) -> torch.Tensor:
    """The same numbers as calling each VJEPA2Layer, about twice as fast to train on a CPU.

    Hugging Face computes the rotary tables in every layer, for queries and for keys; and the
    backward pass of torch's fused CPU attention is slow at these sizes.
    """
    for layer in layers:
        attention = layer.attention
        normed = layer.norm1(tokens)
        queries, keys, values = (
            part(normed).unflatten(-1, (attention.num_attention_heads, -1)).transpose(1, 2)
            for part in (attention.query, attention.key, attention.value)
        )
        queries, keys = rotate(queries, rotary), rotate(keys, rotary)
        weights = (queries * attention.scaling @ keys.mT).softmax(dim=-1)
        attended = (weights.to(values.dtype) @ values).transpose(1, 2).flatten(2)
        tokens = tokens + attention.proj(attended)
        tokens = tokens + layer.mlp(layer.norm2(tokens))
    return tokens


def rotary_of(layers, positions: torch.Tensor) -> RotaryTables:
    attention = layers[0].attention
    grid = (attention.grid_size, attention.grid_size)
    frames = int(positions.max()) // (grid[0] * grid[1]) + 1
    tables = rotary_tables(grid, 0, attention.attention_head_size, 0, frames)
    return tables.to(positions.device, torch.float32).at(positions)
