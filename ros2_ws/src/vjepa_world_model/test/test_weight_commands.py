"""`./run convert` and `./run weights`: what they write loads, what they say is so."""

from __future__ import annotations

import json

import pytest
import torch
from typer.testing import CliRunner
from vjepa_world_model.commands.convert import app as convert
from vjepa_world_model.commands.weights import app as weights
from vjepa_world_model.runtime import memory
from vjepa_world_model.weights import official, published
from vjepa_world_model.weights.checkpoints import CheckpointError, load_world_model, open_model

SIZES = {"tiny": (48, 2, 96)}


@pytest.fixture(autouse=True)
def tiny_size(monkeypatch):
    """A size that is written in no time, as if it had been published."""
    monkeypatch.setattr(published, "ENCODERS", published.ENCODERS | SIZES)
    monkeypatch.setattr(official, "ENCODER_HEADS", official.ENCODER_HEADS | {48: 2})


def run(app, *arguments):
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    return result


def tiny_predictor(monkeypatch):
    """The published predictor has 305 million weights: another one for tests."""
    from vjepa_world_model.model.predictor import PredictorConfig

    def sizes(name, image_size=256):
        encoder, predictor = published_sizes(name, image_size)
        return encoder, PredictorConfig(predictor.grid, predictor.embed_dim, 32, 2, 2)

    published_sizes = published.sizes
    monkeypatch.setattr("vjepa_world_model.commands.weights.sizes", sizes)


def test_random_weights_load_and_the_official_layout_holds_the_same(tmp_path, monkeypatch):
    tiny_predictor(monkeypatch)
    folder, file = tmp_path / "folder", tmp_path / "file.pt"
    assert run(weights, "random", "tiny", folder, "--image-size", 32).exit_code == 0
    assert run(weights, "random", "tiny", file, "--official", "--image-size", 32).exit_code == 0
    ours = load_world_model(folder, "cpu")
    theirs = load_world_model(file, "cpu", image_size=32, predictor_heads=2)
    for part in ("_encoder", "_predictor"):
        one, other = (getattr(model, part).state_dict() for model in (ours, theirs))
        assert one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


@pytest.mark.parametrize("size", ["vitl", "vith", "vitg"])
def test_the_published_sizes_are_those_of_the_papers(size):
    encoder, predictor = published.sizes(size)
    count = sum(t.numel() for t in published.blank_encoder(encoder).encoder.state_dict().values())
    assert count / 1e6 == pytest.approx({"vitl": 304, "vith": 632, "vitg": 1012}[size], rel=0.01)
    imagined = published.blank_predictor(predictor).state_dict().values()
    assert sum(t.numel() for t in imagined) / 1e6 == pytest.approx(305, rel=0.01)


def test_a_clip_of_vitg_is_8192_patches_of_width_1408():
    encoder, predictor = published.sizes("vitg")
    tokens = 64 // encoder.tubelet_size * predictor.tokens
    assert (tokens, encoder.hidden_size) == (8192, 1408)


def test_convert_says_what_it_wrote_and_whether_it_fits(tmp_path, monkeypatch):
    tiny_predictor(monkeypatch)
    run(weights, "random", "tiny", tmp_path / "a.pt", "--official", "--image-size", 32)
    given = ("--image-size", 32, "--predictor-heads", 2, "--dtype", "bf16")
    result = run(convert, tmp_path / "a.pt", tmp_path / "b", *given)
    assert result.exit_code == 0, result.output
    assert "encoder 2 blocks of width 48" in result.output and "it fits" in result.output
    kinds = {t.dtype for t in open_model(tmp_path / "b").encoder_tensors.values()}
    assert kinds == {torch.bfloat16}


def test_an_encoder_and_a_predictor_are_joined_if_they_belong_together(tmp_path, monkeypatch):
    tiny_predictor(monkeypatch)
    monkeypatch.setattr(published, "ENCODERS", published.ENCODERS | {"other": (72, 1, 96)})
    monkeypatch.setattr(official, "ENCODER_HEADS", official.ENCODER_HEADS | {72: 2})
    for size in ("tiny", "other"):
        run(weights, "random", size, tmp_path / size, "--image-size", 32)
    run(weights, "random", "tiny", tmp_path / "t.pt", "--official", "--image-size", 64)
    encoder = tmp_path / "tiny" / "encoder"
    given = ("--predictor", tmp_path / "t.pt", "--predictor-heads", 2)
    result = run(convert, encoder, tmp_path / "joined", *given)
    assert result.exit_code == 0, result.output
    assert load_world_model(tmp_path / "joined", "cpu").imagines
    result = run(convert, encoder, tmp_path / "no", "--predictor", tmp_path / "other")
    assert isinstance(result.exception, CheckpointError)
    assert "do not belong together" in str(result.exception)
    assert not (tmp_path / "no").exists()


def test_fit_says_what_is_needed_and_measures_when_asked(tmp_path, monkeypatch):
    tiny_predictor(monkeypatch)
    run(weights, "random", "tiny", tmp_path / "m", "--image-size", 32)
    given = ("--sequences", 2, "--clip-frames", 4)
    result = run(weights, "fit", tmp_path / "m", "--device", "cpu", "--json", "--load", *given)
    assert result.exit_code == 0, result.output
    figures = json.loads(result.output)
    assert figures["fits"] and figures["needed_bytes"] > figures["weights_bytes"] > 0
    assert figures["process_peak_bytes"] > 0 and "load_peak_bytes" in figures


def test_fit_fails_where_it_does_not_fit(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "available_bytes", lambda device: 1000)
    result = run(weights, "fit", "", "--device", "cpu")
    assert result.exit_code == 1 and "it does not fit" in result.output


def test_longer_clips_more_sequences_and_fp32_need_more(tmp_path, monkeypatch):
    stored = open_model(None)
    least = memory.estimate(stored, torch.bfloat16, sequences=1)
    for more in ({"clip_frames": 64}, {"sequences": 900}, {"sequences": 1, "horizon": 300}):
        need = memory.estimate(stored, torch.bfloat16, **{"sequences": 1, **more})
        assert need.activations > least.activations and need.weights == least.weights
    assert memory.estimate(stored, torch.float32, sequences=1).weights > least.weights


def test_an_interrupted_conversion_leaves_no_folder(tmp_path, monkeypatch):
    tiny_predictor(monkeypatch)
    run(weights, "random", "tiny", tmp_path / "m", "--image-size", 32)
    stop = monkeypatch.context()
    with stop as patch:
        patch.setattr("vjepa_world_model.weights.checkpoints._write_config", lambda *_: 1 / 0)
        assert isinstance(run(convert, tmp_path / "m", tmp_path / "o").exception, ZeroDivisionError)
    assert not (tmp_path / "o").exists()
    assert run(convert, tmp_path / "m", tmp_path / "o").exit_code == 0
