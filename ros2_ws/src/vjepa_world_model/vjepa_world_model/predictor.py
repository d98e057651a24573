"""The action-conditioned predictor of V-JEPA 2-AC, in the published architecture.

Each frame is a block of tokens [action, state, (extrinsics), patches row-major]. Attention is full
inside a frame and to all earlier frames; the patch outputs of frame t predict frame t + 1. Because
no frame sees a later one, a rollout keeps the keys and values of earlier frames (`KeyValueCache`)
and computes each frame once. Source: facebookresearch/vjepa2, `src/models/ac_predictor.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field

import torch
import torch.nn.functional as F
from torch import nn

from vjepa_world_model.rotary import RotaryTables, rotary_tables, rotate

Projected = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""Rotated queries, rotated keys, and values, each [B, tokens, width]."""


@dataclass(frozen=True)
class PredictorConfig:
    """Sizes of the predictor; the defaults are the published ones for ViT-g at 256 px."""

    grid: tuple[int, int] = (16, 16)  # patches: rows, columns
    embed_dim: int = 1408  # width of the encoder's features
    width: int = 1024
    depth: int = 24
    heads: int = 16
    mlp_ratio: float = 4.0
    extrinsics: bool = False  # camera extrinsics [6] as a third conditioning token

    @property
    def tokens(self) -> int:
        """Patch tokens of one frame."""
        return self.grid[0] * self.grid[1]

    @property
    def conditions(self) -> int:
        """Conditioning tokens in front of each frame's patches."""
        return 3 if self.extrinsics else 2

    def to_dict(self) -> dict:
        """For JSON."""
        return asdict(self)


@dataclass
class KeyValueCache:
    """Keys and values of the frames so far, per block, each [B, heads, tokens, head width]."""

    blocks: list[tuple[torch.Tensor, torch.Tensor]] = field(default_factory=list)
    frames: int = 0


class ActionConditionedPredictor(nn.Module):
    """Predicts the next frame's features from features, action and state.

    Parameter names are those of the official checkpoint (`predictor` dictionary).
    """

    def __init__(self, config: PredictorConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.predictor_embed = nn.Linear(config.embed_dim, width)
        self.action_encoder = nn.Linear(7, width)
        self.state_encoder = nn.Linear(7, width)
        # The published checkpoint carries this layer even where it is unused.
        self.extrinsics_encoder = nn.Linear(6, width)
        self.predictor_blocks = nn.ModuleList(
            Block(width, config.heads, config.mlp_ratio) for _ in range(config.depth)
        )
        self.predictor_norm = nn.LayerNorm(width, eps=1e-6)
        self.predictor_proj = nn.Linear(width, config.embed_dim)
        self.run_blocks: list[Callable] = list(self.predictor_blocks)
        """The blocks as they are called; `compiling` puts compiled ones in their place."""
        self._rotary: dict[tuple, RotaryTables] = {}

    def forward(
        self,
        features: torch.Tensor,
        actions: torch.Tensor,
        states: torch.Tensor,
        extrinsics: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Predict all frames at once (teacher forcing).

        Args:
            features: [B, T * N, D], patches of T frames, row-major inside a frame.
            actions, states: [B, T, 7]; extrinsics: [B, T, 6] where the model uses them.

        Returns:
            [B, T * N, D]: the rows of frame t predict frame t + 1 (before the layer norm).
        """
        frames = actions.shape[1]
        tokens = self._tokens(features, actions, states, extrinsics)
        rotary = self._rotary_tables(0, frames, tokens)
        mask = _frame_mask(frames, tokens.shape[1] // frames, tokens.device) if frames > 1 else None
        change = None
        for block in self.run_blocks:
            tokens, change, _ = block(tokens, change, rotary, mask=mask)
        return self._patches(change.add_(tokens), frames)

    def step(
        self,
        features: torch.Tensor,
        actions: torch.Tensor,
        states: torch.Tensor,
        cache: KeyValueCache,
        extrinsics: torch.Tensor | None = None,
        *,
        last: bool = False,
    ) -> torch.Tensor:
        """Predict one more frame; `cache` holds the earlier ones and is extended.

        Args:
            features: [B, N, D] of the newest frame; actions, states: [B, 7]; extrinsics: [B, 6].
                Features and states may be of one frame that all B actions share.
            last: no step follows, so this frame's keys and values are not kept.

        Returns:
            [B, N, D]: the prediction of the next frame (before the layer norm).
        """
        tokens = self._tokens(
            features,
            actions[:, None],
            states[:, None],
            None if extrinsics is None else extrinsics[:, None],
        )
        rotary = self._rotary_tables(cache.frames, 1, tokens)
        earlier = cache.blocks or [None] * len(self.run_blocks)
        first, change, kept = None, None, []
        shared = [part for part in (features, states, extrinsics) if part is not None]
        if len(actions) > max(map(len, shared)):
            first = self._project_shared(tokens, rotary)
        for index, block in enumerate(self.run_blocks):
            projected = first if index == 0 else None
            tokens, change, seen = block(
                tokens, change, rotary, past=earlier[index], keep=not last, projected=projected
            )
            if not last:
                earlier[index] = None  # it is in what was seen now
                kept.append(seen)
        if not last:
            cache.blocks = kept
            cache.frames += 1
        return self._patches(change.add_(tokens), 1)

    def _project_shared(self, tokens: torch.Tensor, rotary: RotaryTables) -> Projected:
        """What the first block projects, where tokens differ in their action alone: the others are
        projected once for all."""
        block = self.predictor_blocks[0]
        own = block.project(tokens[:, :1], rotary.at(slice(0, 1)))
        shared = block.project(tokens[:1, 1:], rotary.at(slice(1, None)))
        shared = (part.expand(len(tokens), -1, -1) for part in shared)
        return tuple(torch.cat(parts, 1) for parts in zip(own, shared, strict=True))

    def _tokens(self, features, actions, states, extrinsics) -> torch.Tensor:
        if self.config.extrinsics and extrinsics is None:
            raise ValueError(
                "this predictor was trained with camera extrinsics [B, T, 6]: give them"
            )
        batch, frames = actions.shape[:2]
        dtype = self.predictor_embed.weight.dtype
        patches = self.predictor_embed(features.to(dtype)).unflatten(1, (frames, -1))
        if patches.shape[2] != self.config.tokens:
            raise ValueError(
                f"features have {patches.shape[2]} tokens a frame, the predictor expects "
                f"{self.config.tokens} ({self.config.grid[0]} x {self.config.grid[1]})"
            )
        # These layers are always float32: bf16 would round positions to millimetres.
        parts = [self.action_encoder(actions), self.state_encoder(states)]
        if self.config.extrinsics:
            parts.append(self.extrinsics_encoder(extrinsics))
        parts = [*(part.to(dtype)[:, :, None] for part in parts), patches]
        return torch.cat([part.expand(batch, -1, -1, -1) for part in parts], dim=2).flatten(1, 2)

    def _patches(self, tokens: torch.Tensor, frames: int) -> torch.Tensor:
        tokens = tokens.unflatten(1, (frames, -1))[:, :, self.config.conditions :].flatten(1, 2)
        return self.predictor_proj(self.predictor_norm(tokens))

    @torch.inference_mode(False)  # made while planning, they must serve training as well
    def _rotary_tables(self, first_frame: int, frames: int, like: torch.Tensor) -> RotaryTables:
        """For queries and keys of all heads side by side, computed once per shape."""
        key = (first_frame, frames, like.device, like.dtype)
        if key not in self._rotary:
            c = self.config
            tables = rotary_tables(c.grid, c.conditions, c.width // c.heads, first_frame, frames)
            self._rotary[key] = tables.to(like.device, like.dtype).tiled(2 * c.heads)
        return self._rotary[key]


class Block(nn.Module):
    """Pre-norm transformer block with rotary attention."""

    def __init__(self, width: int, heads: int, mlp_ratio: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = RotaryAttention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = Mlp(width, int(width * mlp_ratio))

    def forward(self, tokens, change, rotary, mask=None, past=None, keep=False, projected=None):
        """The tokens, how they change last, and the keys and values seen if they are to be kept.

        `change`, what the MLP gave, is added by who takes it: a compiler joins that with the norm
        of the next block, which comes in as its `change`; the first block gets None.
        `projected`: what `project` gives for these tokens, where it is known already.
        """
        if change is not None:
            tokens = change.add_(tokens)  # in place: nothing else needs what a linear layer gave
        if projected is None:
            projected = self.project(tokens, rotary)
        attended, seen = self.attn(projected, mask, past, keep)
        tokens = attended.add_(tokens)
        return tokens, self.mlp(self.norm2(tokens)), seen

    def project(self, tokens: torch.Tensor, rotary: RotaryTables) -> Projected:
        """Rotated queries, rotated keys, and values of every token."""
        return self.attn.project(self.norm1(tokens), rotary)


class RotaryAttention(nn.Module):
    """Multi-head attention; keys are cached after rotation, since frames keep their index."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def project(self, tokens: torch.Tensor, rotary: RotaryTables) -> Projected:
        """Rotated queries, rotated keys, and values of every token, heads side by side."""
        width = tokens.shape[-1]
        qkv = self.qkv(tokens)
        return *rotate(qkv[..., : 2 * width], rotary).chunk(2, dim=-1), qkv[..., 2 * width :]

    def forward(self, projected, mask, past, keep):
        queries, keys, values = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in projected
        )
        if past is not None:
            keys, values = torch.cat([past[0], keys], 2), torch.cat([past[1], values], 2)
        elif keep:  # copies, or all of queries, keys and values would be kept
            keys, values = keys.contiguous(), values.contiguous()
        attended = F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask)
        return self.proj(attended.transpose(1, 2).flatten(2)), (keys, values) if keep else None


class Mlp(nn.Module):
    """Two linear layers with exact GELU."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        hidden = self.fc1(tokens)
        # In place it takes no memory of its own; a gradient needs what was there before.
        act = F.gelu if hidden.requires_grad else torch.ops.aten.gelu_
        return self.fc2(act(hidden))


def _frame_mask(frames: int, per_frame: int, device: torch.device) -> torch.Tensor:
    """Boolean [tokens, tokens]: a token sees its own frame and all earlier ones."""
    frame = torch.arange(frames, device=device).repeat_interleave(per_frame)
    return frame[:, None] >= frame[None, :]
