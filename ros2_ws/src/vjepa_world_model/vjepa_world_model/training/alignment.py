"""The second stage of `./run train encoder`: the energy, on whole pictures.

After the masked-feature prediction (see `encoder`) the mask predictor and the teacher are put away.
Two pictures of each moment, taken on different days, are encoded by the same weights; the energies
between all moments and both pictures of an episode are to be proportional to the arm's motion.
The readouts (see `readouts`) help: motion from the features, geometry from the tokens before the
last layer, so that the features themselves need not keep the picture.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from transformers import VJEPA2Model

from vjepa_world_model.evaluation.probes import judge_encoder
from vjepa_world_model.model.encoder import normalize_features
from vjepa_world_model.training.fast_encoder import encode_with_middle
from vjepa_world_model.training.frames import FrameStore
from vjepa_world_model.training.loop import Run, Schedule, autocast, decay_groups
from vjepa_world_model.training.readouts import Readouts, energy_loss
from vjepa_world_model.training.views import sample_views


def align_encoder(
    model: VJEPA2Model,
    readouts: Readouts,
    store: FrameStore,
    out: Path,
    recipe,
    device: torch.device,
) -> float:
    """Train `model.encoder` in place (recipe: an EncoderRecipe); resumes. Returns the minutes."""
    encoder = model.encoder
    optimizer = torch.optim.AdamW(
        decay_groups([encoder, readouts], recipe.weight_decay), recipe.alignment_rate, (0.9, 0.98)
    )
    run = Run(out, recipe.to_dict(), encoder=encoder, readouts=readouts, optimizer=optimizer)
    schedule = Schedule(recipe.alignment_rate, recipe.alignment_iterations, recipe.warmup)
    for iteration in run.iterations(recipe.alignment_iterations, "alignment"):
        for group in optimizer.param_groups:
            group["lr"] = schedule.cosine(iteration)
        rng = np.random.default_rng((recipe.seed, 1, iteration))
        losses = alignment_losses(encoder, readouts, store, recipe, rng, device)
        optimizer.zero_grad(set_to_none=True)
        losses["total"].backward()
        torch.nn.utils.clip_grad_norm_(encoder.parameters(), 1.0)
        optimizer.step()
        run.log({f"loss/{name}": value.item() for name, value in losses.items()}, iteration)
        if run.due(iteration, recipe.alignment_iterations, every=950):
            run.log(judge_encoder(encoder, store, device), iteration, show=True)
    return run.minutes


def alignment_losses(
    encoder, readouts: Readouts, store: FrameStore, recipe, rng, device
) -> dict[str, torch.Tensor]:
    """All loss terms of one batch; `total` is the weighted sum."""
    views = sample_views(store, recipe, rng, device, stills=True)
    everything = torch.arange(recipe.grid**2, device=device)
    with autocast(device):
        pictures = torch.cat([views.one, views.other])
        middle, features = encode_with_middle(encoder, pictures, everything)
    # Both pictures of an episode stand together: every pair of its moments counts.
    features = normalize_features(features).unflatten(0, (2, recipe.episodes_per_batch, -1))
    features = features.transpose(0, 1).flatten(1, 2)
    places = views.places.repeat(1, 2, 1)
    losses = {
        "energy": energy_loss(features, places, recipe.energy_slope, recipe.energy_floor_m),
        "motion": readouts.motion_loss(features, places),
    }
    losses["total"] = losses["energy"] + recipe.motion_weight * losses["motion"]
    if views.maps is not None:
        losses["geometry"] = readouts.geometry_loss(middle, views.maps.repeat(2, 1, 1))
        losses["total"] = losses["total"] + recipe.geometry_weight * losses["geometry"]
    return losses
