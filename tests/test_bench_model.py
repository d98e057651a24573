"""`./run bench model`: ours and the plain predictor agree, and what is counted is computed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from benchmarks import model_speed, model_work
from benchmarks.plain_model import PlainModel
from rich.console import Console
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from vjepa_world_model.model.predictor import ActionConditionedPredictor, PredictorConfig
from vjepa_world_model.model.world_model import WorldModel
from vjepa_world_model.runtime import memory
from vjepa_world_model.weights.checkpoints import SHIPPED, CheckpointError, load_world_model

TIMEOUT_S = 120.0
CPU = torch.device("cpu")
FIXTURES = Path(__file__).resolve().parents[2] / "shared" / "fixtures"


def world_model(config: PredictorConfig, anchored: bool = False) -> WorldModel:
    torch.manual_seed(0)
    predictor = ActionConditionedPredictor(config)
    for parameter in predictor.parameters():  # far from an identity, so that every part counts
        torch.nn.init.normal_(parameter, std=0.3)
    return WorldModel(None, predictor, "small", CPU, anchored)


def scene(config: PredictorConfig) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    features, goal = torch.randn(2, config.tokens, config.embed_dim)
    return features, goal, torch.tensor([0.4, 0.1, 0.3, 3.0, 0.2, -0.4, 0.5])


@pytest.mark.parametrize("anchored", [False, True])
@pytest.mark.parametrize("sizes", [((4, 4), 24, 24, 2, 1), ((3, 5), 20, 44, 2, 2)])
@torch.no_grad()
def test_ours_and_the_plain_predictor_give_the_same_numbers(sizes, anchored):
    model = world_model(PredictorConfig(*sizes), anchored)
    assert model_speed.difference(model, *scene(model.predictor.config), seed=0) < 1e-4


@torch.no_grad()
def test_a_predictor_that_computes_something_else_is_noticed(monkeypatch):
    model = world_model(PredictorConfig((4, 4), 24, 24, 2, 1))
    tables = model.predictor._rotary_tables
    monkeypatch.setattr(
        model.predictor, "_rotary_tables", lambda first, frames, like: tables(0, frames, like)
    )
    assert model_speed.difference(model, *scene(model.predictor.config), seed=0) > 1e-4


@pytest.mark.skipif(not FIXTURES.is_dir(), reason="the parity fixtures are not on this machine")
@torch.no_grad()
def test_the_plain_predictor_gives_the_reference_numbers():
    arrays = np.load(FIXTURES / "planning.npz", allow_pickle=False)
    model = load_world_model(
        FIXTURES / "vjepa2_ac_tiny.pt", "cpu", image_size=64, encoder_heads=3, predictor_heads=3
    )
    latents, poses = PlainModel(model.predictor).rollout(
        torch.tensor(arrays["frame_latent"][0]),
        torch.tensor(arrays["pose"][0]),
        torch.tensor(arrays["actions"]),
    )
    assert np.abs(latents.numpy() - arrays["rollout_latents"][:, 1:]).max() < 1e-4
    assert np.abs(poses.numpy() - arrays["rollout_poses"][:, 1:]).max() < 1e-4


@torch.no_grad()
def test_operations_counted_are_those_that_torch_counts():
    model, horizon = load_world_model(SHIPPED, "cpu"), 3
    config = model.predictor.config
    features, _, state = scene(config)
    actions = torch.randn(1, horizon, 7)
    runs = {
        model_work.imagining_flops(config, horizon): lambda: model.rollout(
            features[None], state[None], actions
        ),
        model_work.plain_flops(config, horizon): lambda: PlainModel(model.predictor).rollout(
            features[None], state[None], actions
        ),
        model_work.encoding_flops(model.encoder.config): lambda: model.encode(
            np.zeros((1, 128, 128, 3), np.uint8)
        ),
    }
    for expected, run in runs.items():
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            run()
        assert counter.get_total_flops() == pytest.approx(expected, rel=0.02)


def test_the_model_of_the_simulation_is_timed_and_the_figures_are_written(command, tmp_path):
    file = tmp_path / "figures" / "model.json"
    options = ("--seconds", 0.2, "--threads", 1, "--device", "cpu", "--json", file)
    run = command("benchmarks.cli", "bench", "model", *options)
    output, _ = run.communicate(timeout=TIMEOUT_S)
    assert run.returncode == 0, output
    assert "ours and the plain predictor: equal" in output
    assert "not measured" in output
    figures = json.loads(file.read_text())
    assert [row["horizon"] for row in figures["rollouts"]] == [1, 1, 2, 2, 4, 4]
    for row in figures["rollouts"]:
        assert row["ratio"] == pytest.approx(row["per_s"] / row["plain_per_s"])
    assert figures["plans"][0]["evaluations"] >= figures["rollouts"][0]["batch"]
    assert [target["measured"] for target in figures["targets"][1:]] == [None] * 3


def test_a_model_that_does_not_fit_is_refused_before_its_weights_are_made(monkeypatch, capsys):
    monkeypatch.setattr(memory, "available_bytes", lambda _: 4 << 30)
    monkeypatch.setattr(model_speed, "make_random_model", lambda *_, **__: pytest.fail("was made"))
    with pytest.raises(memory.MemoryTooSmall, match="GiB"):
        model_speed.prepare("vitg", "cpu", "fp32", "never", None, 0, Console())
    assert "vitg with random weights in fp32 needs" in capsys.readouterr().out


def test_an_unknown_size_is_refused_with_those_there_are():
    with pytest.raises(CheckpointError, match="unknown size 'huge'; use sim, vitl, vith, vitg"):
        model_speed.prepare("huge", "cpu", "fp32", "never", None, 0, Console())
