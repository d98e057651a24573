"""Promises of the attentive probe: it learns from clips, and its folder is transformers'."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import VJEPA2ForVideoClassification
from typer import Typer
from typer.testing import CliRunner
from vjepa_world_model.commands.classify import classify
from vjepa_world_model.commands.train import app
from vjepa_world_model.data.video import VideoWriter
from vjepa_world_model.model.classifier import load_classifier, spread
from vjepa_world_model.model.encoder import preprocess
from vjepa_world_model.weights.checkpoints import load_encoder_folder
from vjepa_world_model.weights.tensor_files import CheckpointError

CPU = torch.device("cpu")


def clip(kind: str, seed: int) -> np.ndarray:
    """A bright bar that moves down or right."""
    rng = np.random.default_rng(seed)
    frames = rng.integers(30, 60, (12, 64, 64, 3)).astype(np.uint8)
    for i, frame in enumerate(frames):
        place = 4 + 4 * i + int(rng.integers(0, 3))
        if kind == "down":
            frame[place : place + 10] = 220
        else:
            frame[:, place : place + 10] = 220
    return frames


def write(path: Path, frames: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with VideoWriter(path, (64, 64), 10.0) as film:
        for frame in frames:
            film.add(frame)
    return path


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    for kind in ("down", "right"):
        for i in range(16):
            write(folder / kind / f"{i}.mp4", clip(kind, i))
    return folder


def train(clips, model, out, *more):
    options = ("--encoder", model, "--out", out, "--iterations", 200, "--threads", 1)
    words = ["probe", clips, *options, "--device", "cpu", *more]
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture(scope="module")
def probe(clips, small_model, tmp_path_factory):
    out = tmp_path_factory.mktemp("probe")
    result = train(clips, small_model, out)
    assert result.exit_code == 0, result.output
    assert "accuracy on clips held back: 1.000" in result.output
    return out / "model"


def test_it_labels_new_clips(probe, tmp_path):
    classifier = load_classifier(probe, CPU)
    assert classifier.labels == ("down", "right") and classifier.frames == 8
    for kind in ("down", "right"):
        found = classifier.classify(clip(kind, 99))
        assert found.labels[0] == kind and found.probabilities[0] > 0.5
        assert sum(found.probabilities) == pytest.approx(1.0)
        command = Typer()
        command.command()(classify)
        video = write(tmp_path / f"{kind}.mp4", clip(kind, 98))
        words = [str(video), "--model", str(probe), "--device", "cpu", "--seconds", "0.6"]
        result = CliRunner().invoke(command, words)
        assert result.exit_code == 0, result.output
        assert "0.0 to 0.6 s: " in result.output and kind in result.output


def test_the_folder_is_that_of_transformers_and_the_encoder_is_unchanged(probe, small_model):
    model = VJEPA2ForVideoClassification.from_pretrained(probe, use_safetensors=True)
    classifier = load_classifier(probe, CPU)
    frames = clip("down", 5)
    pixels = preprocess(frames[spread(12, 8)], 64)[None]
    with torch.no_grad():
        expected = model.eval()(pixel_values_videos=pixels).logits[0].softmax(0)
    found = dict(zip(*vars(classifier.classify(frames)).values()))
    assert found["down"] == pytest.approx(float(expected[0]), abs=1e-5)
    before = load_encoder_folder(Path(small_model) / "encoder").encoder.state_dict()
    after = model.vjepa2.encoder.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_training_again_changes_nothing_and_another_recipe_is_refused(clips, small_model, probe):
    weights = (probe / "model.safetensors").read_bytes()
    assert train(clips, small_model, probe.parent).exit_code == 0
    assert (probe / "model.safetensors").read_bytes() == weights
    result = train(clips, small_model, probe.parent, "--seed", 1)
    assert result.exit_code == 1 and "another recipe" in result.output


def test_what_cannot_be_used_is_said(clips, small_model, probe, tmp_path):
    (tmp_path / "one" / "label").mkdir(parents=True)
    result = train(tmp_path / "one", small_model, tmp_path / "out")
    assert result.exit_code == 1 and "at least two" in result.output
    damaged = tmp_path / "damaged"
    shutil.copytree(clips, damaged)
    (damaged / "down" / "0.mp4").write_text("no video")
    result = train(damaged, small_model, tmp_path / "out")
    assert result.exit_code == 1 and "cannot be read as a video" in result.output
    with pytest.raises(CheckpointError, match="make one with ./run train probe"):
        load_classifier(tmp_path / "nothing", CPU)
    with pytest.raises(CheckpointError, match="is no VJEPA2ForVideoClassification"):
        load_classifier(Path(small_model) / "encoder", CPU)
    shutil.copytree(probe, tmp_path / "other")
    about = json.loads((probe / "config.json").read_text())
    (tmp_path / "other" / "config.json").write_text(json.dumps({**about, "hidden_size": 48}))
    with pytest.raises(CheckpointError, match="does not hold the weights"):
        load_classifier(tmp_path / "other", CPU)
