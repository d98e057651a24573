"""What an encoder knows, measured on held-out episodes: never trust the loss alone.

The masked loss can fall while the features collapse; these figures cannot.
"""

from __future__ import annotations

import numpy as np
import torch

from vjepa_world_model.model.encoder import normalize_features, normalize_pixels
from vjepa_world_model.model.poses import CLOSEDNESS, POSITION
from vjepa_world_model.training.fast_encoder import encode_visible
from vjepa_world_model.training.frames import FrameStore

NEAR_M = 0.10  # pairs of moments nearer than this judge the energy as a distance
HELD_OUT_EPISODES = 40  # at most so many judge
PROBE_EPISODES = 80  # training episodes that fit the linear probes


def judge_encoder(encoder, store: FrameStore, device: torch.device) -> dict[str, float]:
    """Figures of `encoder` (a VJEPA2Encoder) on the held-out episodes of `store`.

    - `participation`: participation ratio of the features' covariance, 1 (collapsed) .. width.
    - `probe_arm_cm`, `probe_gripper`, `probe_objects_cm`: median error of ridge probes; fitted on
      the first camera, judged on the last (another light and other colours).
    - `match_cm`: a picture of another day as the goal: how far the arm is, in the frame of the same
      episode with the lowest energy, from where the goal shows it (mean; chance is about 9 cm).
    - `match_top1`: share of goals whose own moment has the lowest energy.
    - `distance_cm`, `distance_days_cm`: median error of the energy as a measure of distance, for
      moments of an episode within NEAR_M of each other; in one look, and across days.
    """
    fit = np.linspace(0, len(store.training) - 1, min(PROBE_EPISODES, len(store.training)))
    fit = np.unique(fit.astype(int))
    known = features_of(encoder, store.frames[0][fit], device)
    held_out = store.held_out[:HELD_OUT_EPISODES]
    other = features_of(encoder, store.frames[-1][held_out], device)
    same = features_of(encoder, store.frames[0][held_out], device)

    figures = {"participation": participation_ratio(known)}
    targets = {
        "probe_arm_cm": store.states[..., POSITION] * 100.0,
        "probe_gripper": store.states[..., CLOSEDNESS],
    }
    if "objects" in store.extra:
        targets["probe_objects_cm"] = store.extra["objects"] * 100.0
    names, values = list(targets), list(targets.values())
    widths = [value.shape[-1] for value in values]
    labels = torch.from_numpy(np.concatenate(values, axis=-1)).to(device)
    guess = ridge(
        known.flatten(0, 1).flatten(1), labels[fit].flatten(0, 1), other.flatten(0, 1).flatten(1)
    )
    wrong = (guess - labels[list(held_out)].flatten(0, 1)).split(widths, dim=-1)
    for name, error in zip(names, wrong):
        parts = error.unflatten(-1, (-1, min(3, error.shape[-1])))
        figures[name] = parts.norm(dim=-1).median().item()
    places = torch.from_numpy(store.states[held_out][..., POSITION]).to(device)
    figures.update(match_across_days(same, other, places))
    figures["distance_cm"] = distance_error(same, same, places)
    figures["distance_days_cm"] = distance_error(same, other, places)
    return {f"probe/{name}": value for name, value in figures.items()}


@torch.no_grad()
def features_of(
    encoder, frames: np.ndarray, device: torch.device, dtype: torch.dtype = torch.float32
) -> torch.Tensor:
    """uint8 [E, T, S, S, 3] -> layer-normed features of stills, `dtype` [E, T, N, D]."""
    rows = []
    for episode in frames:
        pixels = torch.from_numpy(np.array(episode)).to(device)  # a copy: the map is read-only
        pixels = normalize_pixels(pixels.permute(0, 3, 1, 2).float())
        clip = pixels[:, None].expand(-1, encoder.config.tubelet_size, -1, -1, -1)
        patches = torch.arange((clip.shape[-1] // encoder.config.patch_size) ** 2, device=device)
        rows.append(normalize_features(encode_visible(encoder, clip, patches)).to(dtype))
    return torch.stack(rows)


def participation_ratio(features: torch.Tensor) -> float:
    """(sum of eigenvalues)^2 / sum of their squares of the feature covariance, per position."""
    flat = features.flatten(0, 1)
    flat = (flat - flat.mean(dim=0)).flatten(0, 1)
    values = torch.linalg.eigvalsh(flat.T @ flat / len(flat)).clamp(min=0)
    return (values.sum() ** 2 / values.square().sum()).item()


def ridge(inputs: torch.Tensor, labels: torch.Tensor, queries: torch.Tensor) -> torch.Tensor:
    """Ridge regression in its dual form (more features than samples); returns the guesses."""
    mean, label_mean = inputs.mean(dim=0), labels.mean(dim=0)
    inputs, queries = inputs - mean, queries - mean
    gram = inputs @ inputs.T
    strength = 1e-3 * gram.diagonal().mean()
    weights = torch.linalg.solve(
        gram + strength * torch.eye(len(gram), device=gram.device), labels - label_mean
    )
    return queries @ inputs.T @ weights + label_mean


def distance_error(now: torch.Tensor, goals: torch.Tensor, places: torch.Tensor) -> float:
    """Median error [cm] of energy / slope as a distance, the slope being fitted to these pairs.

    Args:
        now, goals: features [E, T, N, D]; places: [E, T, 3] [m].
    """
    energy = torch.stack(
        [torch.cdist(a.flatten(1), b.flatten(1), p=1) / a[0].numel() for a, b in zip(now, goals)]
    )
    moved = torch.cdist(places, places)
    near = moved < NEAR_M
    if now is goals:
        near &= ~torch.eye(len(moved[0]), dtype=torch.bool, device=near.device)
    energy, moved = energy[near], moved[near]
    slope = (energy * moved).sum() / moved.square().sum().clamp_min(1e-12)
    return 100.0 * (energy / slope - moved).abs().median().item()


def match_across_days(now: torch.Tensor, goals: torch.Tensor, position: torch.Tensor) -> dict:
    """Energy of every goal [E, T, N, D] to every frame of its episode; see `judge_encoder`."""
    errors, hits = [], []
    for frames, wanted, place in zip(now, goals, position):
        energy = (wanted[:, None] - frames[None]).abs().mean(dim=(2, 3))
        best = energy.argmin(dim=1)
        errors.append((place[best] - place).norm(dim=-1) * 100.0)
        hits.append((best == torch.arange(len(place), device=best.device)).float())
    return {
        "match_cm": torch.cat(errors).mean().item(),
        "match_top1": torch.cat(hits).mean().item(),
    }
