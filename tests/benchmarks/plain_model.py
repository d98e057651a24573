"""The published predictor and its rollout, written straightforwardly, to compare with.

As in the public V-JEPA 2-AC code: every step of a rollout computes the whole sequence again,
every block works out positions, sines and cosines for queries and keys, conditioning tokens and
patches are projected and rotated apart and then merged, attention is fused under the frame mask,
and poses are composed on the host with scipy. Weights are those of our predictor.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from scipy.spatial.transform import Rotation
from torch import Tensor
from vjepa_world_model.model.encoder import normalize_features
from vjepa_world_model.model.predictor import ActionConditionedPredictor, Block, RotaryAttention


class PlainModel:
    """`rollout` of the published code, with the layers and weights of a predictor of ours."""

    def __init__(self, predictor: ActionConditionedPredictor):
        self._predictor, self._config = predictor, predictor.config

    def rollout(self, features: Tensor, states: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """As `WorldModel.rollout`: features [B, H, N, D] and states [B, H, 7] after each action."""
        batch, horizon = actions.shape[:2]
        frames = features.expand(batch, -1, -1)
        poses = states.expand(batch, -1)[:, None]
        for step in range(horizon):
            predicted = self._predict(frames, actions[:, : step + 1], poses)
            newest = normalize_features(predicted[:, -self._config.tokens :])
            frames = torch.cat([frames, newest], dim=1)
            poses = torch.cat([poses, _moved(poses[:, -1:], actions[:, step : step + 1])], dim=1)
        imagined = frames[:, self._config.tokens :].unflatten(1, (horizon, -1))
        return imagined, poses[:, 1:]

    def score(
        self,
        features: Tensor,
        goal: Tensor,
        state: Tensor,
        actions: Tensor,
        stay: Tensor | None,
    ) -> Tensor:
        """Energies [S, H] as `WorldModel.score`, all sequences at once."""
        imagined, _ = self.rollout(features[None], state[None], actions)
        if stay is not None:
            imagined = normalize_features(features + imagined - stay)
        return (imagined - goal).abs().mean(dim=(-2, -1))

    def _predict(self, features: Tensor, actions: Tensor, states: Tensor) -> Tensor:
        """[B, T * N, D] and [B, T, 7] -> [B, T * N, D], before the layer norm."""
        p, batch, frames = self._predictor, len(actions), actions.shape[1]
        x = p.predictor_embed(features.to(p.predictor_embed.weight.dtype))
        x = x.view(batch, frames, self._config.tokens, -1)
        a = p.action_encoder(actions).to(x.dtype)[:, :, None]
        s = p.state_encoder(states).to(x.dtype)[:, :, None]
        x = torch.cat([a, s, x], dim=2).flatten(1, 2)
        mask = _frame_mask(frames, self._config.tokens + self._config.conditions, x.device)
        for block in p.predictor_blocks:
            x = self._block(block, x, frames, mask)
        x = x.view(batch, frames, self._config.conditions + self._config.tokens, -1)
        x = x[:, :, self._config.conditions :].flatten(1, 2)
        return p.predictor_proj(p.predictor_norm(x))

    def _block(self, block: Block, x: Tensor, frames: int, mask: Tensor) -> Tensor:
        x = x + self._attend(block.attn, block.norm1(x), frames, mask)
        return x + block.mlp(block.norm2(x))

    def _attend(self, attn: RotaryAttention, x: Tensor, frames: int, mask: Tensor) -> Tensor:
        batch, count, width = x.shape
        (rows, columns), conditions = self._config.grid, self._config.conditions
        axis = 2 * ((width // attn.heads // 3) // 2)
        x = x.view(batch, frames, conditions + rows * columns, width)
        parts = []
        frame = torch.arange(frames, device=x.device)
        for i in range(conditions):
            q, k, v = _project(attn, x[:, :, i])
            q, k = (_rotate_axes(t, [frame], axis) for t in (q, k))
            parts.append([t.unsqueeze(3) for t in (q, k, v)])
        place = torch.arange(frames * rows * columns, device=x.device)
        within = place % (rows * columns)
        positions = [
            place // (rows * columns),
            within // columns,
            (within % columns) * (rows / columns),
        ]
        q, k, v = _project(attn, x[:, :, conditions:].flatten(1, 2))
        q, k = (_rotate_axes(t, positions, axis) for t in (q, k))
        parts.append([t.unflatten(2, (frames, rows * columns)) for t in (q, k, v)])
        q, k, v = (torch.cat(same, dim=3).flatten(2, 3) for same in zip(*parts, strict=True))
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return attn.proj(out.transpose(1, 2).reshape(batch, count, width))


def _project(attn: RotaryAttention, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values [B, heads, tokens, head width]."""
    return attn.qkv(x).unflatten(-1, (3, attn.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)


def _rotate_axes(x: Tensor, positions: list[Tensor], axis: int) -> Tensor:
    """Rotates as many axes of `axis` dimensions as there are positions [tokens]."""
    turned = [
        _rotate(x[..., i * axis : (i + 1) * axis], position) for i, position in enumerate(positions)
    ]
    return torch.cat([*turned, x[..., len(positions) * axis :]], dim=-1)


def _rotate(x: Tensor, position: Tensor) -> Tensor:
    half = x.shape[-1] // 2
    frequency = 10000.0 ** -(torch.arange(half, dtype=torch.float32, device=x.device) / half)
    angle = position.float()[:, None] * frequency
    cosine = angle.cos().repeat(1, 2).to(x.dtype)
    sine = angle.sin().repeat(1, 2).to(x.dtype)
    even, odd = x.unflatten(-1, (-1, 2)).unbind(-1)
    return x * cosine + torch.stack((-odd, even), dim=-1).flatten(-2) * sine


def _frame_mask(frames: int, per_frame: int, device: torch.device) -> Tensor:
    """Boolean [tokens, tokens]: a token sees its own frame and all earlier ones."""
    mask = torch.zeros(frames * per_frame, frames * per_frame, dtype=torch.bool, device=device)
    for seeing in range(frames):
        rows = slice(seeing * per_frame, (seeing + 1) * per_frame)
        mask[rows, : (seeing + 1) * per_frame] = True
    return mask


def _moved(states: Tensor, actions: Tensor) -> Tensor:
    """States [B, 1, 7] after actions [B, 1, 7], composed on the host."""
    state, action = (t[:, 0].detach().cpu().numpy().astype(np.float64) for t in (states, actions))
    turned = Rotation.from_euler("xyz", action[:, 3:6]) * Rotation.from_euler("xyz", state[:, 3:6])
    moved = np.concatenate(
        [
            state[:, :3] + action[:, :3],
            turned.as_euler("xyz"),
            np.clip(state[:, 6:] + action[:, 6:], 0.0, 1.0),
        ],
        axis=1,
    )
    return torch.from_numpy(moved).to(states)[:, None]
