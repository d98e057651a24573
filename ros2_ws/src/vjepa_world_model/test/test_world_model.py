"""The three verbs, on random weights and against the reference implementation."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from vjepa_world_model.model.encoder import Encoder, FrameError, normalize_features, preprocess
from vjepa_world_model.model.world_model import WorldModel
from vjepa_world_model.runtime.memory import imagining_bytes
from vjepa_world_model.weights.checkpoints import load_world_model


@pytest.fixture()
def small(small_parts) -> WorldModel:
    encoder, predictor = small_parts
    return WorldModel(Encoder(encoder), predictor, "small", torch.device("cpu"))


def random_frames(count=1, height=48, width=64):
    return np.random.default_rng(0).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


def test_features_keep_the_patch_grid_and_are_layer_normed(small):
    features = small.encode(random_frames(3))
    assert features.shape == (3, 4, 24) and features.dtype == torch.float32
    assert torch.allclose(features.mean(-1), torch.zeros(3, 4), atol=1e-5)
    assert torch.allclose(features.var(-1, correction=0), torch.ones(3, 4), atol=1e-2)


def test_only_the_largest_centre_square_is_seen(small):
    frames = random_frames()
    changed = frames.copy()
    changed[:, :, :8] = 0
    changed[:, :, -8:] = 0
    assert torch.equal(small.encode(frames), small.encode(changed))


@pytest.mark.parametrize(
    "frames",
    [
        random_frames().astype(np.float32),
        random_frames()[0],
        random_frames()[..., :1],
        random_frames(height=4),
        random_frames(count=0),
    ],
)
def test_frames_of_another_form_are_refused(small, frames):
    with pytest.raises(FrameError, match="frames are"):
        small.encode(frames)


def test_halving_averages_two_by_two_pixels():
    frames = random_frames(height=64, width=64)
    half = preprocess(frames, 32)
    mean = frames.reshape(1, 32, 2, 32, 2, 3).mean(axis=(2, 4))
    std = np.array([0.229, 0.224, 0.225]) * 255.0
    expected = (mean - np.array([0.485, 0.456, 0.406]) * 255.0) / std
    assert np.allclose(half.permute(0, 2, 3, 1).numpy(), expected, atol=1e-4)


def test_energy_is_zero_at_the_goal_and_positive_elsewhere(small):
    features = small.encode(np.concatenate([random_frames(), 255 - random_frames()]))
    energies = small.energy(features, features[0])
    assert energies[0] == 0.0 and energies[1] > 0.1


def test_score_is_the_energy_along_the_rollout(small):
    features = small.encode(random_frames())
    goal, state, actions = torch.randn(4, 24), torch.zeros(7), torch.randn(5, 3, 7)
    imagined, states = small.rollout(features, state[None], actions)
    assert imagined.shape == (5, 3, 4, 24) and states.shape == (5, 3, 7)
    scores = small.score(features[0], goal, state, actions)
    assert torch.equal(scores, small.energy(imagined, goal))


def test_an_anchored_model_scores_doing_nothing_as_the_frame_itself(small_parts):
    encoder, predictor = small_parts
    model = WorldModel(Encoder(encoder), predictor, "small", torch.device("cpu"), anchored=True)
    features = model.encode(random_frames())[0]
    goal, actions = torch.randn(4, 24), torch.randn(3, 2, 7)
    actions[0] = 0.0
    scores = model.score(features, goal, torch.zeros(7), actions)
    assert torch.allclose(scores[0], model.energy(features, goal).expand(2), atol=1e-4)
    assert not torch.allclose(scores[1], scores[0], atol=1e-3)
    stay = model.imagine_stay(features, torch.zeros(7), 2)
    assert torch.equal(model.score(features, goal, torch.zeros(7), actions, stay), scores)


def test_only_an_anchored_model_imagines_doing_nothing(small):
    assert small.imagine_stay(small.encode(random_frames())[0], torch.zeros(7), 2) is None


@pytest.mark.parametrize("anchored", [False, True])
def test_a_memory_limit_is_held_in_chunks_and_changes_no_energy(small_parts, anchored, monkeypatch):
    encoder, predictor = small_parts
    parts = Encoder(encoder), predictor, "small", torch.device("cpu"), anchored
    whole = WorldModel(*parts)
    features, goal, actions = torch.randn(4, 24), torch.randn(4, 24), torch.randn(7, 3, 7)
    limit = 2 * imagining_bytes(predictor.config, 1, 3, torch.float32)
    limited = WorldModel(*parts, memory_limit_bytes=limit)
    expected = whole.score(features, goal, torch.zeros(7), actions)
    sizes, step = [], predictor.step
    monkeypatch.setattr(
        predictor, "step", lambda *a, **k: (sizes.append(len(a[1])), step(*a, **k))[1]
    )
    energies = limited.score(features, goal, torch.zeros(7), actions)
    assert max(sizes) == limited.sequences_at_once(3) == 2
    assert energies.shape == (7, 3) and torch.allclose(energies, expected, atol=1e-5)


CORES = """
import os, torch
from vjepa_world_model.weights.checkpoints import load_world_model
model = load_world_model(None, "cpu", parts="predictor")
features, goal, actions = *torch.randn(2, model.tokens, model.width), 0.05 * torch.randn(5, 2, 7)
state, step, sizes = torch.zeros(7), model.predictor.step, []

def counted(features, actions, *rest, **options):
    sizes.append((len(actions), torch.get_num_threads()))
    return step(features, actions, *rest, **options)

def scores(threads):
    torch.set_num_threads(threads)
    with torch.no_grad():
        return model.score(features, goal, state, actions, stay)

stay = model.imagine_stay(features, state, 2)
alone = scores(1)
model.predictor.step = counted
assert torch.allclose(scores(3), alone, atol=1e-6)
assert sorted(sizes) == [(1, 1)] * 2 + [(2, 1)] * 4, sizes
assert torch.get_num_threads() == 3
sizes.clear()
actions.requires_grad_()
energies = model.score(features, goal, state, actions, stay)  # a gradient needs one graph
torch.autograd.grad(energies.sum(), actions)
assert sizes == [(5, 3)] * 2, sizes
child = os.fork()
if not child:
    os._exit(0 if torch.allclose(scores(3), alone, atol=1e-6) else 1)
assert os.waitpid(child, 0)[1] == 0
"""


def test_several_steps_are_imagined_on_every_core_apart_with_equal_energies():
    subprocess.run([sys.executable, "-c", CORES], check=True, timeout=120)


def test_pictures_beyond_the_memory_limit_are_encoded_one_by_one(small_parts, monkeypatch):
    encoder = Encoder(small_parts[0])
    parts = encoder, None, "small", torch.device("cpu")
    frames = np.concatenate([random_frames(), 255 - random_frames(), random_frames() // 2])
    expected = WorldModel(*parts).encode(frames)
    sizes, raw = [], encoder.raw_features
    monkeypatch.setattr(encoder, "raw_features", lambda c: (sizes.append(len(c)), raw(c))[1])
    limited = WorldModel(*parts, memory_limit_bytes=1)
    assert torch.allclose(limited.encode(frames), expected, atol=1e-5)
    assert sizes == [1, 1, 1]


def test_gradients_of_the_score_reach_the_actions(small):
    features = small.encode(random_frames())
    actions = torch.randn(2, 2, 7, requires_grad=True)
    small.score(features[0], torch.randn(4, 24), torch.zeros(7), actions)[:, -1].sum().backward()
    assert (actions.grad.abs().amax(dim=(0, 2)) > 0).all()


def test_parts_that_do_not_belong_together_are_refused(small_parts):
    from vjepa_world_model.model.predictor import ActionConditionedPredictor, PredictorConfig

    other = ActionConditionedPredictor(PredictorConfig((4, 4), 24, 36, 1, 2))
    with pytest.raises(ValueError, match="do not belong together"):
        WorldModel(Encoder(small_parts[0]), other, "mixed", torch.device("cpu"))


@torch.no_grad()
def test_the_reference_checkpoint_gives_the_reference_numbers(fixtures):
    arrays = np.load(fixtures / "planning.npz", allow_pickle=False)
    model = load_world_model(
        fixtures / "vjepa2_ac_tiny.pt", "cpu", image_size=64, encoder_heads=3, predictor_heads=3
    )
    for name in ("frame", "goal"):
        clip = torch.tensor(arrays[name])[None, None].expand(1, 2, -1, -1, -1)
        features = normalize_features(model._encoder.encoder(clip).last_hidden_state)
        assert np.abs(features.numpy() - arrays[f"{name}_latent"][0]).max() < 1e-4
    latents, poses = model.rollout(
        torch.tensor(arrays["frame_latent"][0]),
        torch.tensor(arrays["pose"][0]),
        torch.tensor(arrays["actions"]),
    )
    energies = model.energy(latents, torch.tensor(arrays["goal_latent"][0, 0]))
    assert np.abs(latents.numpy() - arrays["rollout_latents"][:, 1:]).max() < 1e-4
    assert np.abs(poses.numpy() - arrays["rollout_poses"][:, 1:]).max() < 1e-4
    assert np.abs(energies.numpy() - arrays["energies"]).max() < 1e-4


GRADIENT = """
import sys
import torch
from vjepa_world_model.runtime import memory
from vjepa_world_model.weights.checkpoints import load_world_model
torch.set_num_threads(1)
model = load_world_model(None, "cpu", parts="predictor")
features, goal = torch.randn(2, model.tokens, model.width)

def gradient(sequences, horizon):
    actions = torch.zeros(sequences, horizon, 7, requires_grad=True)
    energies = model.score(features, goal, torch.zeros(7), actions, stay[:horizon])
    torch.autograd.grad(energies[:, -1].sum(), actions)

sequences, horizon = map(int, sys.argv[1:])
stay = model.imagine_stay(features, torch.zeros(7), horizon)
gradient(1, 1)  # what every gradient needs once
memory.restart_peak()
before = memory.peak_bytes()
gradient(sequences, horizon)
need = memory.gradient_bytes(model.predictor.config, sequences, horizon, torch.float32)
print(memory.peak_bytes() - before, need)
"""


@pytest.mark.parametrize(("sequences", "horizon"), [(16, 1), (8, 4)])
def test_the_memory_of_gradients_is_announced_as_it_is_measured(sequences, horizon):
    command = [sys.executable, "-c", GRADIENT, str(sequences), str(horizon)]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    peak, announced = map(int, run.stdout.split())
    assert 0.75 * peak < announced < 1.35 * peak
