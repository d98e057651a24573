"""Both trainings on a small data set: they learn, resume to the same weights, refuse a mix-up."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from vjepa_world_model.data.episode_writing import finish, write_shard
from vjepa_world_model.data.episodes import Episode
from vjepa_world_model.training.encoder import (
    EncoderRecipe,
    new_model,
    train_encoder,
)
from vjepa_world_model.training.export import load_encoder
from vjepa_world_model.training.fast_encoder import encode_visible
from vjepa_world_model.training.frames import FrameStore
from vjepa_world_model.training.loop import Run, RunError
from vjepa_world_model.training.predictor import (
    PredictorRecipe,
    Units,
    start_as_copy,
    train_predictor,
)
from vjepa_world_model.weights.checkpoints import load_world_model, save_world_model

CPU = torch.device("cpu")
SMALL = EncoderRecipe(
    image_size=32,
    width=24,
    layers=1,
    heads=2,
    predictor_width=24,
    predictor_layers=1,
    predictor_heads=2,
    iterations=6,
    episodes_per_batch=2,
    frames_per_episode=4,
    alignment_iterations=3,
)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Eight episodes in which a bright square moves as the state says, seen on two days."""
    folder = tmp_path_factory.mktemp("episodes")
    episodes = []
    for index in range(8):
        rng = np.random.default_rng(index)
        states = np.zeros((8, 7), dtype=np.float32)
        states[:, :2] = rng.uniform(0.0, 0.3, (8, 2))
        images = {}
        for camera in ("camera", "restyled"):
            frames = np.full((8, 64, 64, 3), rng.integers(0, 120), dtype=np.uint8)
            for frame, (x, y) in zip(frames, states[:, :2]):
                column, row = int(x * 150), int(y * 150)
                frame[row : row + 16, column : column + 16] = 255
            images[camera] = frames
        actions = np.diff(states, axis=0, append=states[-1:])
        episodes.append(Episode(index, images, states, actions, {}, "move"))
    write_shard(folder, 0, episodes, 4)
    finish(folder, 4, "test")
    return folder


def weights(model) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def interrupt_after(monkeypatch, iterations: int) -> None:
    """Ctrl-C in the given iteration of the next run."""
    original = Run.iterations

    def broken(self, total, title):
        for number, iteration in enumerate(original(self, total, title)):
            if number == iterations:
                raise KeyboardInterrupt
            yield iteration

    monkeypatch.setattr(Run, "iterations", broken)


def test_an_interrupted_encoder_training_resumes_to_the_same_weights(data, tmp_path, monkeypatch):
    whole = train_encoder(data, tmp_path / "whole", SMALL, CPU)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt_after(patch, 3)
        train_encoder(data, tmp_path / "parts", SMALL, CPU)
    resumed = train_encoder(data, tmp_path / "parts", SMALL, CPU)
    assert torch.allclose(weights(whole), weights(resumed), atol=1e-6)
    untrained = load_encoder(tmp_path / "whole", True, 0)
    assert not torch.allclose(weights(whole.encoder), weights(untrained.encoder))


def test_an_interrupted_predictor_training_resumes_to_the_same_weights(data, tmp_path, monkeypatch):
    torch.manual_seed(0)
    encoder = new_model(SMALL).encoder.eval()
    recipe = PredictorRecipe(width=24, depth=1, heads=2, iterations=6, batch=4)
    whole = train_predictor(data, encoder, tmp_path / "whole", recipe, CPU)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt_after(patch, 3)
        train_predictor(data, encoder, tmp_path / "parts", recipe, CPU)
    resumed = train_predictor(data, encoder, tmp_path / "parts", recipe, CPU)
    assert torch.allclose(weights(whole), weights(resumed), atol=1e-5)


def test_trained_parts_make_a_loadable_world_model(data, tmp_path):
    encoder = train_encoder(data, tmp_path / "encoder", SMALL, CPU)
    recipe = PredictorRecipe(width=24, depth=1, heads=2, iterations=3, batch=4)
    predictor = train_predictor(data, encoder.encoder, tmp_path / "predictor", recipe, CPU)
    folder = save_world_model(
        tmp_path / "model", load_encoder(tmp_path / "encoder", False, 0), predictor
    )
    model = load_world_model(folder, "cpu")
    features = model.encode(np.zeros((1, 64, 64, 3), dtype=np.uint8))
    assert torch.isfinite(model.rollout(features, torch.zeros(1, 7), torch.zeros(1, 1, 7))[0]).all()


def test_trainings_go_on_from_a_finished_model(data, tmp_path):
    torch.manual_seed(1)
    encoder = new_model(SMALL)
    recipe = PredictorRecipe(width=24, depth=1, heads=2, iterations=1, batch=4)
    predictor = train_predictor(data, encoder.encoder.eval(), tmp_path / "first", recipe, CPU)
    folder = str(save_world_model(tmp_path / "model", encoder, predictor))
    # Steps too small to change anything: what comes out is what the training started from.
    on = {"start": folder, "learning_rate": 1e-12, "iterations": 2}
    again = train_predictor(data, encoder.encoder, tmp_path / "again", replace(recipe, **on), CPU)
    assert torch.allclose(weights(again), weights(predictor), atol=1e-4)
    small = replace(SMALL, start=folder, alignment_rate=1e-12)
    aligned = train_encoder(data, tmp_path / "aligned", small, CPU)
    assert torch.allclose(weights(aligned.encoder), weights(encoder.encoder), atol=1e-6)
    assert not (tmp_path / "aligned" / "checkpoint.pt").exists(), "the first stage is left out"


def test_a_model_of_other_sizes_is_no_start(data, tmp_path, small_parts):
    folder = str(save_world_model(tmp_path / "model", *small_parts))
    encoder = new_model(SMALL).encoder.eval()
    recipe = PredictorRecipe(width=32, depth=1, heads=2, iterations=1, batch=4, start=folder)
    with pytest.raises(RunError, match="does not fit"):
        train_predictor(data, encoder, tmp_path / "run", recipe, CPU)


def test_another_recipe_in_the_same_folder_is_refused(data, tmp_path):
    recipe = PredictorRecipe(width=24, depth=1, heads=2, iterations=1, batch=4)
    encoder = new_model(SMALL).encoder.eval()
    train_predictor(data, encoder, tmp_path, recipe, CPU)
    other = PredictorRecipe(width=24, depth=1, heads=2, iterations=2, batch=4)
    with pytest.raises(RunError, match="another recipe"):
        train_predictor(data, encoder, tmp_path, other, CPU)


def test_a_damaged_training_checkpoint_is_refused(tmp_path):
    (tmp_path / "checkpoint.pt").write_bytes(b"not a checkpoint")
    with pytest.raises(RunError, match="cannot be read"):
        Run(tmp_path, {})


@torch.no_grad()
def test_the_fast_layers_compute_what_hugging_face_does():
    model = new_model(EncoderRecipe())
    clip = torch.randn(2, 4, 3, 128, 128)
    everything = torch.arange(2 * 64)
    ours = encode_visible(model.encoder, clip, everything)
    assert torch.allclose(ours, model.encoder(clip).last_hidden_state, atol=1e-4)


@torch.no_grad()
def test_the_predictor_starts_by_copying_the_last_frame(small_parts):
    from vjepa_world_model.model.encoder import normalize_features
    from vjepa_world_model.model.predictor import KeyValueCache

    _, model = small_parts
    start_as_copy(model)
    frame = normalize_features(torch.randn(2, 4, 24))
    guess = model.step(frame, torch.randn(2, 7), torch.randn(2, 7), KeyValueCache())
    # Not exact: the final norm takes a little of the mean away.
    stranger = (frame[0] - frame[1]).abs().mean()
    assert (normalize_features(guess) - frame).abs().mean() < 0.15 * stranger


@torch.no_grad()
def test_folding_the_units_changes_nothing(small_parts):
    from vjepa_world_model.model.predictor import KeyValueCache

    _, model = small_parts
    states, actions = torch.rand(6, 5, 7), torch.rand(6, 5, 7) * 0.05
    units = Units.measure(states, actions)
    features, state, action = torch.randn(2, 4, 24), states[:2, 0], actions[:2, 0]
    before = model.step(features, units.actions(action), units.states(state), KeyValueCache())
    units.fold_into(model)
    assert torch.allclose(before, model.step(features, action, state, KeyValueCache()), atol=1e-4)


def test_held_out_episodes_never_train(data):
    store = FrameStore.open(data, 32)
    assert set(store.training).isdisjoint(store.held_out)
    assert len(store.training) + len(store.held_out) == 8
