"""The published encoder and predictor once more, written as plainly as can be.

One head, one axis and one token kind at a time, without cache, tables or fused attention: slow, and
nothing that it shares with the implementation it is compared with. Sizes come from the weights.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F


def random_weights(shapes: dict[str, tuple[int, ...]], seed: int) -> dict[str, torch.Tensor]:
    """Weights that are far from an identity, so that every part of the model counts."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.randn(shape, generator=generator) * (0.3 if len(shape) == 1 else 0.15)
        + (1.0 if name.endswith(("norm1.weight", "norm2.weight", "norm.weight")) else 0.0)
        for name, shape in shapes.items()
    }


def block_shapes(prefix: str, width: int, hidden: int) -> dict[str, tuple[int, ...]]:
    shapes = {}
    for name, shape in {
        "norm1": (width,),
        "attn.qkv": (3 * width, width),
        "attn.proj": (width, width),
        "norm2": (width,),
        "mlp.fc1": (hidden, width),
        "mlp.fc2": (width, hidden),
    }.items():
        shapes |= {f"{prefix}.{name}.weight": shape, f"{prefix}.{name}.bias": shape[:1]}
    return shapes


def encoder_shapes(width: int, depth: int, hidden: int, patch: int) -> dict[str, tuple[int, ...]]:
    shapes = {"patch_embed.proj.weight": (width, 3, 2, patch, patch)}
    shapes["patch_embed.proj.bias"] = (width,)
    for i in range(depth):
        shapes |= block_shapes(f"blocks.{i}", width, hidden)
    return shapes | {"norm.weight": (width,), "norm.bias": (width,)}


def predictor_shapes(outer: int, width: int, depth: int, hidden: int) -> dict[str, tuple[int, ...]]:
    shapes = {}
    for name, inputs in (
        ("predictor_embed", outer),
        ("action_encoder", 7),
        ("state_encoder", 7),
        ("extrinsics_encoder", 6),
    ):
        shapes |= {f"{name}.weight": (width, inputs), f"{name}.bias": (width,)}
    for i in range(depth):
        shapes |= block_shapes(f"predictor_blocks.{i}", width, hidden)
    shapes |= {"predictor_norm.weight": (width,), "predictor_norm.bias": (width,)}
    return shapes | {"predictor_proj.weight": (outer, width), "predictor_proj.bias": (outer,)}


def encode(w: dict, heads: int, clip: torch.Tensor) -> torch.Tensor:
    """clip [B, 3, T, H, W] -> [B, T / 2 * rows * columns, width]."""
    kernel = w["patch_embed.proj.weight"]
    x = F.conv3d(clip, kernel, w["patch_embed.proj.bias"], stride=kernel.shape[2:])
    _, _, frames, rows, columns = x.shape
    x = x.flatten(2).transpose(1, 2)
    positions = [(t, i, j) for t in range(frames) for i in range(rows) for j in range(columns)]
    for i in range(_depth(w, "blocks")):
        x = _block(w, f"blocks.{i}", x, heads, positions, mask=None)
    return _norm(w, "norm", x)


def predict(w, heads, grid, features, actions, states, extrinsics=None) -> torch.Tensor:
    """features [B, T * N, D] and [B, T, 7] -> [B, T * N, D]."""
    batch, frames, _ = actions.shape
    rows, columns = grid
    tokens, positions, owner = [], [], []
    patches = _linear(w, "predictor_embed", features).view(batch, frames, rows * columns, -1)
    for t in range(frames):
        conditions = [("action_encoder", actions), ("state_encoder", states)]
        if extrinsics is not None:
            conditions.append(("extrinsics_encoder", extrinsics))
        for name, values in conditions:
            tokens.append(_linear(w, name, values[:, t]))
            positions.append((t, 0.0, 0.0))
        for i in range(rows):
            for j in range(columns):
                tokens.append(patches[:, t, i * columns + j])
                positions.append((t, i, j * rows / columns))
        owner += [t] * (len(conditions) + rows * columns)
    mask = torch.tensor([[seen <= sees for seen in owner] for sees in owner])
    x = torch.stack(tokens, dim=1)
    for i in range(_depth(w, "predictor_blocks")):
        x = _block(w, f"predictor_blocks.{i}", x, heads, positions, mask)
    keep = [n for n in range(len(owner)) if n % (len(owner) // frames) >= len(conditions)]
    return _linear(w, "predictor_proj", _norm(w, "predictor_norm", x[:, keep]))


def _block(w, name, x, heads, positions, mask):
    q, k, v = _linear(w, f"{name}.attn.qkv", _norm(w, f"{name}.norm1", x)).chunk(3, dim=-1)
    width = x.shape[-1] // heads
    out = []
    for h in range(heads):
        part = slice(h * width, (h + 1) * width)
        a = _rotate(q[..., part], positions) @ _rotate(k[..., part], positions).transpose(1, 2)
        a = a / width**0.5
        if mask is not None:
            a = a.masked_fill(~mask, -torch.inf)
        out.append(a.softmax(-1) @ v[..., part])
    x = x + _linear(w, f"{name}.attn.proj", torch.cat(out, -1))
    hidden = F.gelu(_linear(w, f"{name}.mlp.fc1", _norm(w, f"{name}.norm2", x)))
    return x + _linear(w, f"{name}.mlp.fc2", hidden)


def _rotate(x, positions):
    """Pair (2i, 2i + 1) of an axis turns in part by frequency 2i mod n, in part by 2i + 1 mod n."""
    size = 2 * ((x.shape[-1] // 3) // 2)
    out = x.clone()
    for axis in range(3):
        place = torch.tensor([float(p[axis]) for p in positions])
        for i in range(size // 2):
            a, b = axis * size + 2 * i, axis * size + 2 * i + 1
            for target, index, partner, sign in ((a, 2 * i, b, -1.0), (b, 2 * i + 1, a, 1.0)):
                frequency = 10000.0 ** -((index % (size // 2)) / (size / 2))
                angle = place * frequency
                out[..., target] = (
                    x[..., target] * angle.cos() + sign * x[..., partner] * angle.sin()
                )
    return out


def _linear(w, name, x):
    return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]


def _norm(w, name, x):
    return F.layer_norm(x, x.shape[-1:], w[f"{name}.weight"], w[f"{name}.bias"], eps=1e-6)


def _depth(w, stem):
    return 1 + max(int(k.split(".")[1]) for k in w if k.startswith(stem + "."))


def arrays(config: str, weights: dict, steps: dict[str, torch.Tensor]) -> dict[str, np.ndarray]:
    """A file of the form of the parity fixtures."""
    out = {"config": np.array(config)}
    out |= {f"weights/{k}": v.numpy() for k, v in weights.items()}
    return out | {k: v.numpy() for k, v in steps.items()}
