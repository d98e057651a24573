"""The predictor computes what the published one computes, with and without its cache."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from vjepa_world_model.model.predictor import (
    ActionConditionedPredictor,
    KeyValueCache,
    PredictorConfig,
)

FIXTURES = ("ac_predictor", "ac_predictor_extrinsics", "ac_predictor_wide")
TOLERANCE = 1e-4


def reference(folder, name):
    """The fixture's arrays, and a predictor with its sizes and weights."""
    arrays = np.load(folder / f"{name}.npz", allow_pickle=False)
    config = json.loads(str(arrays["config"]))
    model = ActionConditionedPredictor(
        PredictorConfig(
            grid=tuple(side // config["patch_size"] for side in config["img_size"]),
            embed_dim=config["embed_dim"],
            width=config["predictor_embed_dim"],
            depth=config["depth"],
            heads=config["num_heads"],
            extrinsics=config.get("use_extrinsics", False),
        )
    )
    prefix = "weights/"
    model.load_state_dict(
        {k.removeprefix(prefix): torch.tensor(arrays[k]) for k in arrays.files if prefix in k}
    )
    return arrays, model.eval()


def inputs(arrays, frames):
    names = ("features", "actions", "states", "extrinsics")
    keys = [f"T{frames}/{name}" for name in names]
    return [torch.tensor(arrays[key]) if key in arrays.files else None for key in keys]


@pytest.mark.parametrize("frames", [1, 2, 4])
@pytest.mark.parametrize("name", FIXTURES)
@torch.no_grad()
def test_teacher_forcing_matches_the_reference(fixtures, name, frames):
    arrays, model = reference(fixtures, name)
    output = model(*inputs(arrays, frames)).numpy()
    assert np.abs(output - arrays[f"T{frames}/output"]).max() < TOLERANCE


@pytest.mark.parametrize("frames", [1, 2, 4])
@pytest.mark.parametrize("name", FIXTURES)
@torch.no_grad()
def test_frame_by_frame_with_the_cache_matches_the_reference(fixtures, name, frames):
    arrays, model = reference(fixtures, name)
    features, actions, states, extrinsics = inputs(arrays, frames)
    cache = KeyValueCache()
    steps = [
        model.step(
            frame,
            actions[:, t],
            states[:, t],
            cache,
            None if extrinsics is None else extrinsics[:, t],
        )
        for t, frame in enumerate(features.chunk(frames, dim=1))
    ]
    output = torch.cat(steps, dim=1).numpy()
    assert np.abs(output - arrays[f"T{frames}/output"]).max() < TOLERANCE


@torch.no_grad()
def test_cache_and_teacher_forcing_agree_without_fixtures(small_parts):
    _, model = small_parts
    features, actions, states = (
        torch.randn(3, 3 * 4, 24),
        torch.randn(3, 3, 7),
        torch.randn(3, 3, 7),
    )
    cache = KeyValueCache()
    steps = [
        model.step(frame, actions[:, t], states[:, t], cache)
        for t, frame in enumerate(features.chunk(3, dim=1))
    ]
    assert torch.allclose(torch.cat(steps, 1), model(features, actions, states), atol=1e-5)


@torch.no_grad()
def test_the_last_step_keeps_nothing_and_predicts_the_same(small_parts):
    _, model = small_parts
    features, actions, states = torch.randn(2, 3, 4, 24), torch.randn(3, 7), torch.randn(3, 7)
    kept, spared = KeyValueCache(), KeyValueCache()
    model.step(features[0], actions, states, kept)
    model.step(features[0], actions, states, spared)
    held = kept.blocks[0][0].untyped_storage().nbytes()
    assert held == 4 * kept.blocks[0][0].numel()  # no queries beside the keys
    longer = model.step(features[1], actions, states, kept)
    last = model.step(features[1], actions, states, spared, last=True)
    assert torch.equal(longer, last)
    assert (kept.frames, spared.frames) == (2, 1)
    for seen in kept.blocks[0]:  # B, heads, tokens, head width
        assert seen.shape == (3, 2, 2 * 6, 18) and seen.is_contiguous()


@torch.no_grad()
def test_one_frame_is_shared_by_all_actions(small_parts):
    _, model = small_parts
    frame, actions, state = torch.randn(1, 4, 24), torch.randn(5, 7), torch.randn(1, 7)
    copies = frame.expand(5, -1, -1), actions, state.expand(5, -1)
    caches = KeyValueCache(), KeyValueCache()
    shared, apart = model.step(frame, actions, state, caches[0]), model.step(*copies, caches[1])
    assert torch.allclose(shared, apart, atol=1e-6)
    assert torch.equal(shared, model.step(frame, actions, state, KeyValueCache(), last=True))
    later = [model.step(apart, actions, copies[2], cache) for cache in caches]
    assert torch.allclose(*later, atol=1e-6)


def test_a_predictor_that_has_planned_can_be_trained(small_parts):
    _, model = small_parts
    frame, numbers = torch.randn(1, 4, 24), torch.randn(1, 7)
    with torch.inference_mode():
        model.step(frame, numbers, numbers, KeyValueCache())
    model.step(frame, numbers, numbers, KeyValueCache()).sum().backward()
    assert model.predictor_embed.weight.grad.abs().max() > 0


@torch.no_grad()
def test_no_frame_sees_a_later_one(small_parts):
    _, model = small_parts
    features, actions, states = (
        torch.randn(1, 2 * 4, 24),
        torch.randn(1, 2, 7),
        torch.randn(1, 2, 7),
    )
    before = model(features, actions, states)[:, :4]
    features[:, 4:] += 1.0
    actions[:, 1] += 1.0
    assert torch.equal(before, model(features, actions, states)[:, :4])


def test_features_of_another_grid_are_refused(small_parts):
    _, model = small_parts
    with pytest.raises(ValueError, match="9 tokens a frame, the predictor expects 4"):
        model(torch.randn(1, 9, 24), torch.randn(1, 1, 7), torch.randn(1, 1, 7))


def test_missing_extrinsics_are_refused():
    model = ActionConditionedPredictor(PredictorConfig((2, 2), 24, 36, 1, 2, extrinsics=True))
    with pytest.raises(ValueError, match="extrinsics"):
        model(torch.randn(1, 4, 24), torch.randn(1, 1, 7), torch.randn(1, 1, 7))
