"""What both stages of `./run train encoder` see: the same moments in two pictures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from vjepa_world_model.model.encoder import normalize_pixels
from vjepa_world_model.training.readouts import patch_maps, places_of


@dataclass(frozen=True)
class Views:
    """The same moments in two pictures.

    Attributes:
        one, other: normalised pixels, float32 [B, T, 3, S, S]; B = episodes x pictures of each; T
            is 2 for stills (the frame repeated), `clip_frames` for clips.
        places: of the arm in the (last) frame, [E, F, 4], see `places_of`.
        maps: geometry of the (last) frame by patches, [B, N, K]; None where it was not recorded.
    """

    one: torch.Tensor
    other: torch.Tensor
    places: torch.Tensor
    maps: torch.Tensor | None


def sample_views(store, recipe, rng, device, stills: bool = False) -> Views:
    """Random moments of random training episodes."""
    length = store.frames.shape[2]
    moving = not stills and rng.random() < recipe.clip_share
    clip = recipe.clip_frames if moving else 1
    episodes = rng.choice(store.training, recipe.episodes_per_batch, replace=False)
    starts = np.stack(
        [rng.permutation(length - clip + 1)[: recipe.frames_per_episode] for _ in episodes]
    )
    times = starts[:, :, None] + np.arange(clip)
    views = []
    # With one camera only, the second picture is the first under another photometric jitter.
    order = rng.permuted(np.arange(max(len(store.cameras), 1)))
    for view in (order[0], order[-1]):
        pixels = np.stack([store.frames[view][e][t] for e, t in zip(episodes, times)])
        pixels = torch.from_numpy(pixels.reshape(-1, clip, *pixels.shape[-3:])).to(device)
        pixels = normalize_pixels(jitter(pixels.permute(0, 1, 4, 2, 3).float(), rng))
        views.append(pixels.expand(-1, 2, -1, -1, -1) if clip == 1 else pixels)

    def of_last_frame(values: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(
            np.stack([values[e][t[:, -1]] for e, t in zip(episodes, times)])
        ).to(device)

    maps = None
    if "geometry" in store.extra:
        maps = patch_maps(of_last_frame(store.extra["geometry"]).flatten(0, 1), recipe.grid)
    places = places_of(of_last_frame(store.states), recipe.energy_gripper_m)
    return Views(*views, places, maps)


def jitter(pixels: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Random gain per channel and offset per sample; [B, T, 3, S, S] in 0..255."""
    count = len(pixels)

    def per_sample(values: np.ndarray) -> torch.Tensor:
        values = torch.from_numpy(values.astype(np.float32))
        return values.to(pixels.device).view(count, 1, -1, 1, 1)

    gain = per_sample(rng.uniform(0.8, 1.2, (count, 1)) * rng.uniform(0.9, 1.1, (count, 3)))
    offset = per_sample(rng.uniform(-20.0, 20.0, (count, 1)))
    return (pixels * gain).add_(offset)
