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

from vjepa_world_model.model.rotary import RotaryTables, rotary_tables, rotate

Projected = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""Rotated queries, rotated keys, and values, each [B, tokens, width]."""
KeysValues = tuple[torch.Tensor, torch.Tensor]
"""Each [B, heads, tokens, head width]."""


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
    """Keys and values of the frames so far, per block."""

    blocks: list[KeysValues] = field(default_factory=list)
    frames: int = 0


@dataclass
class Steps:
    """What a predictor calls; `compiling` puts compiled ones in their place.

    Attributes:
        first: the first block, where the first token alone differs between sequences.
        blocks: all blocks. patches: what becomes of the last block's tokens.
    """

    first: Callable
    blocks: list[Callable]
    patches: Callable


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
        self.run = Steps(
            self.predictor_blocks[0].forward_shared, list(self.predictor_blocks), self._patches
        )
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
        tokens = _joined(self._parts(features, actions, states, extrinsics))
        rotary = self._rotary_tables(0, frames, tokens)
        mask = _frame_mask(frames, tokens.shape[1] // frames, tokens.device) if frames > 1 else None
        change = None
        for block in self.run.blocks:
            tokens, change, _ = block(tokens, change, rotary, mask=mask)
        return self.run.patches(tokens, change, frames)

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
        parts = self._parts(
            features,
            actions[:, None],
            states[:, None],
            None if extrinsics is None else extrinsics[:, None],
        )
        rotary = self._rotary_tables(cache.frames, 1, parts[0])
        own, others = parts[0].flatten(1, 2), parts[1:]
        earlier = cache.blocks or [None] * len(self.run.blocks)
        kept, blocks = [], self.run.blocks
        if not cache.frames and len(own) > max(map(len, others)):
            shared = torch.cat(others, dim=2).flatten(1, 2)
            tokens, change, seen = self.run.first(own, shared, rotary, keep=not last)
            kept, blocks = [seen], blocks[1:]
        else:
            tokens, change = _joined(parts), None
        for index, block in enumerate(blocks, len(kept)):
            tokens, change, seen = block(tokens, change, rotary, past=earlier[index], keep=not last)
            if not last:
                earlier[index] = None  # it is in what was seen now
                kept.append(seen)
        if not last:
            cache.blocks = kept
            cache.frames += 1
        return self.run.patches(tokens, change, 1)

    def _parts(self, features, actions, states, extrinsics) -> list[torch.Tensor]:
        """Tokens of actions, states, extrinsics and patches, each [B or 1, T, tokens, width]."""
        if self.config.extrinsics and extrinsics is None:
            raise ValueError(
                "this predictor was trained with camera extrinsics [B, T, 6]: give them"
            )
        frames = actions.shape[1]
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
        return [*(part.to(dtype)[:, :, None] for part in parts), patches]

    def _patches(self, tokens: torch.Tensor, change: torch.Tensor, frames: int) -> torch.Tensor:
        tokens = _added(change, tokens)
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

    def forward(self, tokens, change, rotary, mask=None, past=None, keep=False):
        """The tokens, how they change last, and the keys and values seen if they are to be kept.

        `change`, what the MLP gave, is added by who takes it: a compiler joins that with the norm
        of the next block, which comes in as its `change`; the first block gets None.
        """
        if change is not None:
            tokens = _added(change, tokens)
        found, seen = self.attn.attend(self._project(tokens, rotary), mask, past, keep)
        return *self._change(tokens, found), seen

    def forward_shared(
        self, own: torch.Tensor, shared: torch.Tensor, rotary: RotaryTables, keep: bool
    ) -> tuple[torch.Tensor, torch.Tensor, KeysValues | None]:
        """`forward` of a first frame's tokens that differ between sequences in the first one alone.

        Args:
            own: that one, [B, 1, width]; shared: the others, [1, tokens - 1, width].
        """
        mine = self._project(own, rotary.at(slice(0, 1)))
        theirs = self._project(shared, rotary.at(slice(1, None)))
        found, seen = self.attn.attend_shared(mine, theirs, keep)
        tokens = torch.cat([own, shared.expand(len(own), -1, -1)], dim=1)
        return *self._change(tokens, found), seen

    def _project(self, tokens: torch.Tensor, rotary: RotaryTables) -> Projected:
        return self.attn.project(self.norm1(tokens), rotary)

    def _change(
        self, tokens: torch.Tensor, found: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        tokens = _added(self.attn.proj(found), tokens)
        return tokens, self.mlp(self.norm2(tokens))


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

    def attend(
        self,
        projected: Projected,
        mask: torch.Tensor | None,
        past: KeysValues | None,
        keep: bool,
    ) -> tuple[torch.Tensor, KeysValues | None]:
        """What every token finds [B, tokens, width]; the keys and values seen, if they are kept."""
        queries, keys, values = (self._heads(part) for part in projected)
        if past is not None:
            keys, values = torch.cat([past[0], keys], 2), torch.cat([past[1], values], 2)
        elif keep:  # copies, or all of queries, keys and values would be kept
            keys, values = keys.contiguous(), values.contiguous()
        found = F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask)
        return found.transpose(1, 2).flatten(2), (keys, values) if keep else None

    def attend_shared(
        self, own: Projected, shared: Projected, keep: bool
    ) -> tuple[torch.Tensor, KeysValues | None]:
        """As `attend` of a first frame whose first token alone differs between sequences.

        Every token attends to the shared ones, whose answer to shared tokens is the same in all
        sequences, and to the one that is not: that has a weight of exp(s) / (exp(s) + sum of those
        of the others), which is a sigmoid.

        Args:
            own: of the first token, [B, 1, width]; shared: of the others, [1, tokens - 1, width].
        """
        theirs, keys, values = (self._heads(part)[0] for part in shared)  # [heads, tokens - 1, ...]
        mine, own_keys, own_values = (self._heads(part)[:, :, 0].transpose(0, 1) for part in own)
        scale = keys.shape[-1] ** -0.5

        def scores(queries: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
            return scale * (queries.float() @ keys.float().transpose(-2, -1))

        def among_shared(queries: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            found = scores(queries, keys)
            return found.softmax(-1).to(values.dtype) @ values, found.logsumexp(-1, keepdim=True)

        answer, total = among_shared(theirs)
        weight = (scores(theirs, own_keys) - total).sigmoid().to(values.dtype)
        rest = torch.lerp(  # [B, tokens - 1, heads, head width]
            answer.transpose(0, 1)[None],
            own_values.transpose(0, 1)[:, None],
            weight.permute(2, 1, 0)[..., None],
        )
        answer, total = among_shared(mine)
        weight = (scores(mine[:, :, None], own_keys[:, :, None])[..., 0] - total).sigmoid()
        first = torch.lerp(answer, own_values, weight.to(values.dtype))
        found = torch.cat([first.transpose(0, 1)[:, None], rest], dim=1).flatten(2)
        if not keep:
            return found, None
        both = ((own_keys, keys), (own_values, values))
        return found, tuple(
            torch.cat([a.transpose(0, 1)[:, :, None], b.expand(len(found), -1, -1, -1)], dim=2)
            for a, b in both
        )

    def _heads(self, projected: torch.Tensor) -> torch.Tensor:
        return projected.unflatten(-1, (self.heads, -1)).transpose(1, 2)


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


def _joined(parts: list[torch.Tensor]) -> torch.Tensor:
    """Tokens [B, T * tokens of a frame, width] of parts that each are [B or 1, T, ..., width]."""
    batch = max(map(len, parts))
    return torch.cat([part.expand(batch, -1, -1, -1) for part in parts], dim=2).flatten(1, 2)


def _added(change: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """Their sum in place, since nothing else needs what a linear layer gave; a compiler does not
    even write it down, unless it has to change what came from elsewhere."""
    return change + tokens if torch.compiler.is_compiling() else change.add_(tokens)


def _frame_mask(frames: int, per_frame: int, device: torch.device) -> torch.Tensor:
    """Boolean [tokens, tokens]: a token sees its own frame and all earlier ones."""
    frame = torch.arange(frames, device=device).repeat_interleave(per_frame)
    return frame[:, None] >= frame[None, :]
