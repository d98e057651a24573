"""`./run train predictor`: V-JEPA 2-AC's recipe on the features of a frozen encoder.

L1 teacher forcing over all frames of a window plus L1 of a two-step rollout that is fed its own
first prediction (the published checkpoint was trained with the wrong frame there; this is not).
The encoder runs once over all pictures; its features are kept in memory.

Besides the recorded transitions it learns from others of the same episode: any two moments in which
the objects stand alike and which one action could join are a transition as well, because the arm
comes to rest between frames. They hold examples of doing nothing.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from vjepa_world_model.evaluation.probes import features_of
from vjepa_world_model.model.encoder import normalize_features
from vjepa_world_model.model.poses import action_between
from vjepa_world_model.model.predictor import (
    ActionConditionedPredictor,
    KeyValueCache,
    PredictorConfig,
)
from vjepa_world_model.training.frames import FrameStore
from vjepa_world_model.training.loop import Run, Schedule, autocast, start_from
from vjepa_world_model.weights.stored import open_model

OBJECT_MOVED_M = 0.005  # an object that moved less stands as it did
WINDOW = 3  # frames: two predictions by teacher forcing, one two-step rollout


@dataclass
class PredictorRecipe:
    """What determines a predictor training; stored with the weights."""

    width: int = 128
    depth: int = 4
    heads: int = 4
    iterations: int = 3200
    batch: int = 64
    relabelled_share: float = 0.6  # windows whose moments are joined by actions not recorded
    learning_rate: float = 1e-3
    weight_decay: float = 0.04
    warmup: float = 0.05
    decay: float = 0.5  # share of the run over which the learning rate falls
    rollout_weight: float = 0.5
    seed: int = 0
    start: str = ""  # world model folder whose predictor goes on

    def to_dict(self) -> dict:
        """For JSON; runs without `start` are described as before there was one."""
        return {name: value for name, value in asdict(self).items() if name != "start" or value}


def train_predictor(
    data: Path, encoder, out: Path, recipe: PredictorRecipe, device: torch.device
) -> ActionConditionedPredictor:
    """Train on the episode folder `data` with the frozen `encoder` (a VJEPA2Encoder). Resumes."""
    torch.manual_seed(recipe.seed)
    store = FrameStore.open(data, encoder.config.crop_size)
    features = encode_all(encoder, store, device)
    states, actions = (torch.from_numpy(v).to(device) for v in (store.states, store.actions))
    units = Units.measure(states[list(store.training)], actions[list(store.training)])
    side = encoder.config.crop_size // encoder.config.patch_size
    config = PredictorConfig(
        (side, side), encoder.config.hidden_size, recipe.width, recipe.depth, recipe.heads
    )
    model = ActionConditionedPredictor(config).to(device)
    if recipe.start:
        start_from(model, open_model(recipe.start, parts="predictor").predictor_tensors)
        units.unfold_from(model)
    else:
        start_as_copy(model)
    optimizer = torch.optim.AdamW(
        model.parameters(), recipe.learning_rate, (0.9, 0.99), weight_decay=recipe.weight_decay
    )
    run = Run(out, recipe.to_dict(), model=model, optimizer=optimizer)
    schedule = Schedule(recipe.learning_rate, recipe.iterations, recipe.warmup)
    joinable = joinable_moments(store)
    for iteration in run.iterations(recipe.iterations, "predictor"):
        for group in optimizer.param_groups:
            group["lr"] = schedule.constant_then_decay(iteration, recipe.decay)
        rng = np.random.default_rng((recipe.seed, iteration))
        window = sample_windows(store, joinable, recipe, rng)
        z, s = gather(features, *window), gather(states, *window)
        batch = (z, s, relative_actions(s))
        # The backward pass of torch's fused CPU attention is slow at these sizes.
        with autocast(device), sdpa_kernel(SDPBackend.MATH):
            forced, rolled = predictor_losses(model, *batch, units)
        loss = forced + recipe.rollout_weight * rolled
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        run.log({"loss/forced": forced.item(), "loss/rollout": rolled.item()}, iteration)
        if run.due(iteration, recipe.iterations, every=500):
            figures = judge_predictor(model, features, states, actions, store, units)
            run.log(figures, iteration, show=True)

    figures = judge_predictor(model, features, states, actions, store, units)
    units.fold_into(model)
    model.eval()
    report = {"recipe": recipe.to_dict(), "minutes": run.minutes, "figures": figures}
    (out / "training.json").write_text(json.dumps(report, indent=1) + "\n")
    return model


@dataclass
class Units:
    """Scales under which actions and states are of order one while training.

    The published predictor takes metres and radians; the scales are folded into its two input
    layers when the training ends.
    """

    action_scale: torch.Tensor  # [7]
    state_mean: torch.Tensor  # [7]
    state_scale: torch.Tensor  # [7]

    @classmethod
    def measure(cls, states: torch.Tensor, actions: torch.Tensor) -> Units:
        """From data [E, T, 7]; axes that hardly move (under 0.01) keep the scale 1."""
        action_scale, state_scale = actions.flatten(0, 1).std(0), states.flatten(0, 1).std(0)
        return cls(
            torch.where(action_scale > 0.01, action_scale, 1.0),
            states.flatten(0, 1).mean(0),
            torch.where(state_scale > 0.01, state_scale, 1.0),
        )

    def actions(self, actions: torch.Tensor) -> torch.Tensor:
        """Actions of order one."""
        return actions / self.action_scale

    def states(self, states: torch.Tensor) -> torch.Tensor:
        """States of order one."""
        return (states - self.state_mean) / self.state_scale

    @torch.no_grad()
    def fold_into(self, model: ActionConditionedPredictor) -> None:
        """Make `model` take metres and radians: W (x - m) / s + b = (W / s) x + (b - (W / s) m)."""
        _fold(model.action_encoder, torch.zeros_like(self.action_scale), self.action_scale)
        _fold(model.state_encoder, self.state_mean, self.state_scale)

    @torch.no_grad()
    def unfold_from(self, model: ActionConditionedPredictor) -> None:
        """The inverse of `fold_into`: a finished `model` computes the same from scaled values."""
        for layer, mean, scale in (
            (model.action_encoder, torch.zeros_like(self.action_scale), self.action_scale),
            (model.state_encoder, self.state_mean, self.state_scale),
        ):
            layer.bias.add_(layer.weight @ mean)
            layer.weight.mul_(scale)


def _fold(layer: nn.Linear, mean: torch.Tensor, scale: torch.Tensor) -> None:
    layer.weight.div_(scale)
    layer.bias.sub_(layer.weight @ mean)


@torch.no_grad()
def start_as_copy(model: ActionConditionedPredictor) -> None:
    """Initialise so that the first prediction is the last frame: silent blocks, inverse ends.

    The features are layer-normed, so that the final norm hardly changes them.
    """
    for block in model.predictor_blocks:
        for layer in (block.attn.proj, block.mlp.fc2):
            layer.weight.zero_()
            layer.bias.zero_()
    if model.config.width >= model.config.embed_dim:
        scale = (model.config.embed_dim / model.config.width) ** 0.5
        nn.init.orthogonal_(model.predictor_embed.weight)
        model.predictor_proj.weight.copy_(model.predictor_embed.weight.T * scale)
        model.predictor_embed.bias.zero_()
        model.predictor_proj.bias.zero_()


def predictor_losses(model, features, states, actions, units) -> tuple[torch.Tensor, torch.Tensor]:
    """Teacher-forcing and rollout losses of windows [B, 3, N, D], [B, 3, 7], [B, 3, 7].

    In the second step half of the batch goes on from the true second frame (teacher forcing), the
    other half from its own prediction of it (rollout).
    """
    states, actions = units.states(states), units.actions(actions)
    cache = KeyValueCache()
    first = normalize_features(model.step(features[:, 0], actions[:, 0], states[:, 0], cache))
    half = len(features) // 2
    middle = torch.cat([features[:half, 1], first[half:]])
    second = normalize_features(model.step(middle, actions[:, 1], states[:, 1], cache))
    after_first = (first - features[:, 1]).abs().mean()
    after_second = (second - features[:, 2]).abs().mean(dim=(1, 2))
    return (after_first + after_second[:half].mean()) / 2, after_second[half:].mean()


def joinable_moments(store: FrameStore) -> np.ndarray:
    """Which moments of an episode one action could join, bool [E, T, T]; a moment joins itself.

    The action is no larger than the recorded ones, and the objects stand alike in both (where they
    were recorded; otherwise only neighbouring frames are joined).
    """
    largest = np.abs(store.actions).max(axis=(0, 1))
    steps = store.states[:, None] - store.states[:, :, None]
    small = (np.abs(steps) <= largest + 1e-6).all(axis=-1)
    if "objects" not in store.extra:
        following = np.eye(small.shape[1], k=1, dtype=bool) | np.eye(small.shape[1], dtype=bool)
        return small & following
    objects = store.extra["objects"]
    moved = np.abs(objects[:, None] - objects[:, :, None]).max(axis=-1)
    return small & (moved < OBJECT_MOVED_M)


def sample_windows(
    store: FrameStore, joinable: np.ndarray, recipe: PredictorRecipe, rng: np.random.Generator
) -> tuple:
    """Camera, episode and frame indices [count, WINDOW] of random windows."""
    count, length = recipe.batch, store.states.shape[1]
    cameras = rng.integers(len(store.steady_cameras), size=count)
    episodes = rng.choice(store.training, count)
    starts = rng.integers(length - WINDOW + 1, size=count)
    recorded = starts[:, None] + np.arange(WINDOW)
    joined = [rng.integers(length, size=count)]
    for _ in range(WINDOW - 1):
        chance = joinable[episodes, joined[-1]] * rng.random((count, length))
        joined.append(chance.argmax(axis=1))
    relabelled = rng.random(count) < recipe.relabelled_share
    return cameras, episodes, np.where(relabelled[:, None], np.stack(joined, axis=1), recorded)


def relative_actions(states: torch.Tensor) -> torch.Tensor:
    """Actions [B, T, 7] that lead through states [B, T, 7]; the last row is zero.

    The turns of an action are Euler angles of R2 R1^T, as in V-JEPA 2-AC.
    """
    actions = torch.zeros_like(states)
    actions[:, :-1] = action_between(states[:, :-1], states[:, 1:])
    return actions


def gather(values: torch.Tensor, cameras, episodes, times) -> torch.Tensor:
    """Windows [B, WINDOW, ...] of features [C, E, T, N, D] or of states and actions [E, T, 7]."""
    cameras, episodes, times = (
        torch.from_numpy(v).to(values.device) for v in (cameras, episodes, times)
    )
    if values.ndim == 3:
        return values[episodes[:, None], times]
    return values[cameras[:, None], episodes[:, None], times].float()


def encode_all(encoder, store: FrameStore, device: torch.device) -> torch.Tensor:
    """Features of every picture of the steady cameras, float16 [C, E, T, N, D]."""
    pictures = [store.frames[camera] for camera in store.steady_cameras]
    return torch.stack([features_of(encoder, p, device, torch.float16) for p in pictures])


@torch.no_grad()
def judge_predictor(model, features, states, actions, store, units) -> dict[str, float]:
    """L1 on held-out episodes: one step, two steps, copying the last frame, a stranger's action.

    The last two say what the first is worth: losses of different encoders do not compare.
    """
    held_out = list(store.held_out)
    z, s, a = features[0, held_out].float(), states[held_out], actions[held_out]
    z, s, a = (v.unfold(1, WINDOW, WINDOW).movedim(-1, 2).flatten(0, 1) for v in (z, s, a))
    scaled_states, scaled_actions = units.states(s), units.actions(a)
    cache = KeyValueCache()
    one = normalize_features(model.step(z[:, 0], scaled_actions[:, 0], scaled_states[:, 0], cache))
    two = normalize_features(model.step(one, scaled_actions[:, 1], scaled_states[:, 1], cache))
    other = scaled_actions[:, 0].roll(1, dims=0)
    wrong = normalize_features(model.step(z[:, 0], other, scaled_states[:, 0], KeyValueCache()))
    error = lambda guess, frame: (guess - z[:, frame]).abs().mean().item()  # noqa: E731
    return {
        "held_out/one_step": error(one, 1),
        "held_out/two_steps": error(two, 2),
        "held_out/copy_last": error(z[:, 0], 1),
        "held_out/shuffled_action": error(wrong, 1),
    }
