"""`./run train encoder`: V-JEPA masked-feature prediction with an EMA target, then alignment.

The student sees some patches of a clip, an exponential moving average of it (the teacher) sees all
of another picture of the same moment: another light, other colours, other distractors. The student
predicts the teacher's layer-normed features, of masked patches (V-JEPA 2) and of visible ones
(the dense loss of V-JEPA 2.1). What the recording itself knows keeps the features from collapsing
and makes them useful as an energy: see `readouts`. The second stage is `alignment`.
"""

from __future__ import annotations

import copy
import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from transformers import VJEPA2Config, VJEPA2Model

from vjepa_world_model.evaluation.probes import judge_encoder
from vjepa_world_model.model.encoder import normalize_features
from vjepa_world_model.training.alignment import align_encoder
from vjepa_world_model.training.fast_encoder import encode_visible, rotary_of, run_layers
from vjepa_world_model.training.frames import FrameStore
from vjepa_world_model.training.loop import Run, Schedule, autocast, decay_groups, start_from
from vjepa_world_model.training.readouts import GEOMETRY_CHANNELS, Readouts, energy_loss
from vjepa_world_model.training.views import sample_views
from vjepa_world_model.weights.stored import open_model


@dataclass
class EncoderRecipe:
    """What determines an encoder training; stored with the weights."""

    image_size: int = 128
    patch_size: int = 16
    width: int = 128
    layers: int = 6
    heads: int = 4
    predictor_width: int = 96
    predictor_layers: int = 2
    predictor_heads: int = 3
    iterations: int = 800
    episodes_per_batch: int = 16
    frames_per_episode: int = 4
    clip_share: float = 0.1  # iterations on moving clips, the rest on still pictures
    clip_frames: int = 4
    learning_rate: float = 1e-3
    weight_decay: float = 0.04
    warmup: float = 0.05
    ema: tuple[float, float] = (0.99, 0.998)
    visible_weight: float = 0.5
    energy_weight: float = 1.0
    energy_slope: float = 2.5  # energy per metre of motion
    energy_gripper_m: float = 0.04  # closing the gripper counts as much as this motion
    energy_floor_m: float = 0.03  # errors are relative to the motion plus this
    geometry_weight: float = 1.0
    motion_weight: float = 0.5
    full_view_share: float = 0.5  # iterations without a mask, as at run time
    alignment_iterations: int = 3800  # of the second stage, see `alignment`
    alignment_rate: float = 1e-3
    seed: int = 0
    start: str = ""  # world model folder whose encoder goes on with the second stage alone

    def to_dict(self) -> dict:
        """For JSON; runs without `start` are described as before there was one."""
        return {name: value for name, value in asdict(self).items() if name != "start" or value}

    @property
    def grid(self) -> int:
        """Patches along a side."""
        return self.image_size // self.patch_size


def train_encoder(
    data: Path, out: Path, recipe: EncoderRecipe, device: torch.device
) -> VJEPA2Model:
    """Train on the episode folder `data`; checkpoints, log and result go to `out`. Resumes."""
    torch.manual_seed(recipe.seed)
    store = FrameStore.open(data, recipe.image_size)
    model = new_model(recipe).to(device)
    readouts = new_readouts(recipe, store).to(device)
    if recipe.start:
        start_from(model.encoder, open_model(recipe.start, parts="encoder").encoder_tensors)
        return _finish(model, readouts, store, out, recipe, device, 0.0)
    teacher = copy.deepcopy(model.encoder).requires_grad_(False)
    optimizer = torch.optim.AdamW(
        decay_groups([model, readouts], recipe.weight_decay), recipe.learning_rate, (0.9, 0.95)
    )
    parts = {"model": model, "readouts": readouts, "teacher": teacher, "optimizer": optimizer}
    run = Run(out, recipe.to_dict(), **parts)
    schedule = Schedule(recipe.learning_rate, recipe.iterations, recipe.warmup)

    for iteration in run.iterations(recipe.iterations, "encoder"):
        for group in optimizer.param_groups:
            group["lr"] = schedule.cosine(iteration)
        rng = np.random.default_rng((recipe.seed, iteration))
        losses = encoder_losses(model, readouts, teacher, store, recipe, rng, device)
        optimizer.zero_grad(set_to_none=True)
        losses["total"].backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        _follow(teacher, model.encoder, _momentum(recipe.ema, iteration / recipe.iterations))
        run.log({f"loss/{name}": value.item() for name, value in losses.items()}, iteration)
        if run.due(iteration, recipe.iterations, every=500):
            run.log(judge_encoder(teacher, store, device), iteration, show=True)

    model.encoder.load_state_dict(teacher.state_dict())  # the average is the better encoder
    return _finish(model, readouts, store, out, recipe, device, run.minutes)


def _finish(model, readouts, store, out, recipe, device, minutes: float) -> VJEPA2Model:
    """The second stage, then `out/encoder` with its figures."""
    minutes += align_encoder(model, readouts, store, out / "alignment", recipe, device)
    figures = judge_encoder(model.encoder, store, device)
    model.save_pretrained(out / "encoder", safe_serialization=True)
    (out / "encoder" / "training.json").write_text(
        json.dumps({"recipe": recipe.to_dict(), "minutes": minutes, "figures": figures}, indent=1)
        + "\n"
    )
    return model


def new_model(recipe: EncoderRecipe) -> VJEPA2Model:
    """An untrained V-JEPA 2 of the recipe's sizes."""
    config = VJEPA2Config(
        patch_size=recipe.patch_size,
        crop_size=recipe.image_size,
        frames_per_clip=recipe.clip_frames,
        tubelet_size=2,
        hidden_size=recipe.width,
        num_attention_heads=recipe.heads,
        num_hidden_layers=recipe.layers,
        pred_hidden_size=recipe.predictor_width,
        pred_num_attention_heads=recipe.predictor_heads,
        pred_num_hidden_layers=recipe.predictor_layers,
        pred_num_mask_tokens=1,
        pred_zero_init_mask_tokens=False,
    )
    return VJEPA2Model(config)


def new_readouts(recipe: EncoderRecipe, store: FrameStore) -> Readouts:
    """Untrained readouts that fit the recipe and what the recording knows."""
    cells = 0
    if "geometry" in store.extra:
        cells = store.extra["geometry"].shape[-1] // (GEOMETRY_CHANNELS * recipe.grid**2)
    return Readouts(recipe.grid**2, recipe.width, cells)


def encoder_losses(model, readouts, teacher, store, recipe, rng, device) -> dict[str, torch.Tensor]:
    """All loss terms of one batch; `total` is the weighted sum."""
    views = sample_views(store, recipe, rng, device)
    depth = views.one.shape[1] // 2
    patches = recipe.grid**2
    visible = torch.from_numpy(sample_visible(recipe.grid, recipe.full_view_share, rng))
    visible = torch.cat([visible + d * patches for d in range(depth)]).to(device)
    everything = torch.arange(depth * patches, device=device)
    hidden = torch.ones(len(everything), dtype=torch.bool, device=device)
    hidden[visible] = False

    with autocast(device):
        context = encode_visible(model.encoder, views.one, visible)
        predicted = predict_features(model.predictor, context, visible, everything)
        with torch.no_grad():
            wanted = encode_visible(teacher, views.other, everything)
    error = (predicted.float() - normalize_features(wanted)).abs().mean(dim=(0, 2))
    features = normalize_features(context).unflatten(0, (recipe.episodes_per_batch, -1))
    losses = {
        # Where everything is visible there is nothing to guess.
        "masked": error[hidden].mean() if hidden.any() else error.new_zeros(()),
        "visible": error[visible].mean(),
        "energy": energy_loss(features, views.places, recipe.energy_slope, recipe.energy_floor_m),
    }
    losses["total"] = (
        losses["masked"]
        + recipe.visible_weight * losses["visible"]
        + recipe.energy_weight * losses["energy"]
    )
    if views.maps is not None and depth == 1:
        losses["geometry"] = readouts.geometry_loss(context, views.maps[:, visible])
        losses["total"] = losses["total"] + recipe.geometry_weight * losses["geometry"]
    return losses


def sample_visible(grid: int, full_share: float, rng: np.random.Generator) -> np.ndarray:
    """Indices of the visible patches: what two to four random blocks leave, V-JEPA style.

    A share of the draws leaves everything visible, as at run time.
    """
    shown = np.ones((grid, grid), dtype=bool)
    if rng.random() >= full_share:
        for _ in range(rng.integers(2, 5)):
            area, aspect = rng.uniform(0.12, 0.25) * grid * grid, rng.uniform(0.75, 1.5)
            height = int(np.clip(round(math.sqrt(area * aspect)), 1, grid))
            width = int(np.clip(round(math.sqrt(area / aspect)), 1, grid))
            top, left = rng.integers(grid - height + 1), rng.integers(grid - width + 1)
            shown[top : top + height, left : left + width] = False
    return np.flatnonzero(shown)


def predict_features(predictor, context, visible, wanted) -> torch.Tensor:
    """The Hugging Face mask predictor with one mask for the whole batch; [B, len(wanted), D]."""
    known = predictor.embeddings.predictor_embeddings(context)
    queries = predictor.embeddings.mask_tokens[0].expand(len(known), len(wanted), -1)
    tokens = torch.cat([known, queries.to(known.dtype)], dim=1)
    positions = torch.cat([visible, wanted])
    tokens = run_layers(predictor.layer, tokens, rotary_of(predictor.layer, positions))
    return predictor.proj(predictor.layernorm(tokens[:, len(visible) :]))


def _momentum(ema: tuple[float, float], progress: float) -> float:
    start, end = ema
    return end - (end - start) * (1.0 + math.cos(math.pi * progress)) / 2.0


@torch.no_grad()
def _follow(teacher, student, momentum: float) -> None:
    for slow, fast in zip(teacher.parameters(), student.parameters()):
        slow.lerp_(fast, 1.0 - momentum)
