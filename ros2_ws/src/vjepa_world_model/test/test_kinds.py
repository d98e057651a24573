"""The three kinds of weights load alike, need little memory, and are refused with the reason."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from transformers import VJEPA2Config, VJEPA2Model
from vjepa_world_model.model.predictor import ActionConditionedPredictor, PredictorConfig
from vjepa_world_model.runtime import memory
from vjepa_world_model.weights import tensor_files
from vjepa_world_model.weights.checkpoints import (
    CheckpointError,
    load_world_model,
    open_model,
    save_world_model,
    write_model,
)

GIVEN = {"image_size": 32, "encoder_heads": 2, "predictor_heads": 2}
FRAMES = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)


def official_names(encoder) -> dict[str, torch.Tensor]:
    """The names that the official file gives to the weights of a `VJEPA2Model`."""
    state, renamed = encoder.encoder.state_dict(), {}
    for name, tensor in state.items():
        name = name.replace("embeddings.patch_embeddings", "patch_embed")
        name = name.replace("layernorm", "norm") if name.startswith("layernorm") else name
        name = name.replace("layer.", "blocks.", 1) if name.startswith("layer.") else name
        name = name.replace(".attention.", ".attn.")
        if ".query." in name:
            pieces = [
                state[
                    name.replace("blocks.", "layer.", 1)
                    .replace(".attn.", ".attention.")
                    .replace("query", part)
                ]
                for part in ("query", "key", "value")
            ]
            renamed[name.replace("query", "qkv")] = torch.cat(pieces)
        elif ".key." not in name and ".value." not in name:
            renamed[name] = tensor
    return renamed


@pytest.fixture()
def official(tmp_path, small_parts):
    """A file as the official one, with what else a training leaves in it."""
    encoder, predictor = small_parts
    prefix = "module.backbone."
    content = {
        "encoder": {prefix + k: v for k, v in official_names(encoder).items()},
        "predictor": {prefix + k: v for k, v in predictor.state_dict().items()},
        "target_encoder": {prefix + "blocks.0.norm1.weight": torch.zeros(3)},
        "opt": {"state": {0: {"exp_avg": torch.zeros(5)}}, "param_groups": [{"lr": 1e-3}]},
        "epoch": 315,
    }
    path = tmp_path / "vjepa2-ac-small.pt"
    torch.save(content, path)
    return path, content


@pytest.fixture()
def hugging_face(tmp_path, small_parts):
    small_parts[0].save_pretrained(tmp_path / "hf")
    return tmp_path / "hf"


@pytest.fixture()
def folder(tmp_path, small_parts):
    return save_world_model(tmp_path / "ours", *small_parts)


def test_all_kinds_give_the_same_features_and_rollouts(official, hugging_face, folder):
    ours = load_world_model(folder, "cpu")
    theirs = load_world_model(official[0], "cpu", **GIVEN)
    library = load_world_model(hugging_face, "cpu")
    features, actions, state = ours.encode(FRAMES), torch.randn(3, 2, 7), torch.zeros(1, 7)
    assert torch.equal(theirs.encode(FRAMES), features)
    assert torch.equal(library.encode(FRAMES), features)
    imagined = ours.rollout(features[:1], state, actions)[0]
    assert torch.equal(theirs.rollout(features[:1], state, actions)[0], imagined)


def test_a_hugging_face_folder_encodes_and_says_that_it_cannot_imagine(hugging_face):
    model = load_world_model(hugging_face, "cpu")
    assert not model.imagines
    with pytest.raises(ValueError, match="no action-conditioned predictor"):
        model.rollout(torch.zeros(1, 4, 24), torch.zeros(1, 7), torch.zeros(1, 1, 7))
    with pytest.raises(CheckpointError, match="--predictor FILE"):
        load_world_model(hugging_face, "cpu", parts="predictor")


def test_only_the_part_that_is_needed_is_loaded(folder):
    eye, mind = (load_world_model(folder, "cpu", parts=p) for p in ("encoder", "predictor"))
    assert eye.encode(FRAMES).shape == (2, 4, 24) and not eye.imagines
    assert mind.imagines and (mind.grid, mind.tokens, mind.width) == ((2, 2), 4, 24)
    with pytest.raises(ValueError, match="without its encoder"):
        mind.encode(FRAMES)


def test_a_sharded_hugging_face_folder_loads(hugging_face, small_parts):
    small_parts[0].save_pretrained(hugging_face.with_name("shards"), max_shard_size="20KB")
    shards = hugging_face.with_name("shards")
    assert len(list(shards.glob("*.safetensors"))) > 1
    whole, parts = (load_world_model(f, "cpu").encode(FRAMES) for f in (hugging_face, shards))
    assert torch.equal(whole, parts)
    next(shards.glob("*-00001-of-*")).unlink()
    with pytest.raises(CheckpointError, match="is missing"):
        load_world_model(shards, "cpu")


def test_bf16_is_cast_while_loading_and_close(official):
    exact = load_world_model(official[0], "cpu", **GIVEN)
    short = load_world_model(official[0], "cpu", dtype="bf16", **GIVEN)
    kinds = {p.dtype for p in short._encoder.parameters()}
    assert kinds == {torch.bfloat16}
    assert short._predictor.action_encoder.weight.dtype == torch.float32
    features = exact.encode(FRAMES)
    rounded = short.encode(FRAMES)
    assert rounded.dtype == torch.float32
    assert (rounded - features).abs().mean() < 0.02
    actions, state = 0.05 * torch.randn(3, 2, 7), torch.zeros(1, 7)
    one, other = (m.rollout(features[:1], state, actions)[0] for m in (exact, short))
    assert other.dtype == torch.float32 and (one - other).abs().mean() < 0.02


def test_heads_that_are_not_known_must_be_given(official):
    with pytest.raises(CheckpointError, match="give encoder_heads.*or to ./run convert"):
        load_world_model(official[0], "cpu", image_size=32)
    with pytest.raises(CheckpointError, match="give predictor_heads"):
        load_world_model(official[0], "cpu", image_size=32, encoder_heads=2)
    with pytest.raises(CheckpointError, match="encoder_heads 5 does not divide the width 24"):
        load_world_model(official[0], "cpu", **GIVEN | {"encoder_heads": 5})
    with pytest.raises(CheckpointError, match="no multiple of the patch size 16"):
        load_world_model(official[0], "cpu", **GIVEN | {"image_size": 40})


def test_what_a_folder_knows_cannot_be_given_otherwise(folder):
    load_world_model(folder, "cpu", image_size=32)
    with pytest.raises(CheckpointError, match="says image_size 32, 64 was given"):
        load_world_model(folder, "cpu", image_size=64)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda c: c.pop("predictor"), "has no predictor dictionary; it holds: encoder"),
        (lambda c: c["predictor"].pop("module.backbone.predictor_norm.bias"), "missing predictor_"),
        (lambda c: c["encoder"].update({"module.extra": torch.zeros(1)}), "unknown extra"),
        (lambda c: c["encoder"].update({"module.step": 3}), "step is a int, no tensor"),
        (
            lambda c: c["predictor"].update(
                {"module.backbone.state_encoder.weight": torch.zeros(36, 8)}
            ),
            "state_encoder.weight is torch.float32 \\[36, 8\\], not \\[36, 7\\]",
        ),
        (
            lambda c: c["predictor"].update(
                {
                    "module.backbone.predictor_embed.weight": torch.zeros(36, 48),
                    "module.backbone.predictor_proj.weight": torch.zeros(48, 36),
                    "module.backbone.predictor_proj.bias": torch.zeros(48),
                }
            ),
            "do not belong together",
        ),
    ],
    ids=["no predictor", "missing", "extra", "no tensor", "shape", "not together"],
)
def test_an_official_file_with_faults_is_refused(official, change, reason):
    path, content = official
    change(content)
    torch.save(content, path)
    with pytest.raises(CheckpointError, match=reason):
        load_world_model(path, "cpu", **GIVEN)


def test_a_truncated_official_file_is_refused(official):
    path, _ = official
    path.write_bytes(path.read_bytes()[:-4000])
    with pytest.raises(CheckpointError, match="truncated or damaged"):
        load_world_model(path, "cpu", **GIVEN)


def test_a_file_of_another_format_is_refused(tmp_path):
    (tmp_path / "weights.pt").write_text("hello")
    with pytest.raises(CheckpointError, match="zip format"):
        load_world_model(tmp_path / "weights.pt", "cpu")


def test_a_checkpoint_of_the_pretraining_is_refused_by_name(official):
    path, content = official
    for name in ("action_encoder", "state_encoder", "extrinsics_encoder"):
        for kind in ("weight", "bias"):
            del content["predictor"][f"module.backbone.{name}.{kind}"]
    content["predictor"]["module.backbone.mask_tokens.0"] = torch.zeros(1, 1, 36)
    torch.save(content, path)
    with pytest.raises(CheckpointError, match="takes no actions"):
        load_world_model(path, "cpu", **GIVEN)
    model = load_world_model(path, "cpu", parts="encoder", image_size=32, encoder_heads=2)
    assert model.encode(FRAMES).shape == (2, 4, 24)


def test_encoder_and_predictor_of_two_models_are_refused(folder, tmp_path, small_parts):
    other = ActionConditionedPredictor(PredictorConfig((4, 4), 24, 36, 2, 2))
    mixed = save_world_model(tmp_path / "mixed", small_parts[0], other)
    with pytest.raises(CheckpointError, match="do not belong together"):
        load_world_model(mixed, "cpu")


@pytest.mark.parametrize("kind", ["folder", "hugging_face", "official"])
@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
def test_every_kind_becomes_our_folder(kind, dtype, request, tmp_path):
    source = request.getfixturevalue(kind)
    given = GIVEN if kind == "official" else {}
    stored = open_model(source[0] if kind == "official" else source, **given)
    out = write_model(tmp_path / "out", stored, dtype)
    assert open_model(out).kind == "folder"
    name = {None: "auto", torch.bfloat16: "bf16"}[dtype]
    before = load_world_model(stored.path, "cpu", dtype=name, **given)
    after = load_world_model(out, "cpu")
    features = before.encode(FRAMES)
    assert torch.equal(after.encode(FRAMES), features)
    assert after.imagines == before.imagines == (kind != "hugging_face")
    if after.imagines:
        state, actions = torch.zeros(1, 7), torch.randn(2, 1, 7)
        imagined = [m.rollout(features[:1], state, actions)[0] for m in (before, after)]
        assert torch.equal(*imagined)


def test_the_library_reads_the_encoder_of_our_folder(official, tmp_path, small_parts):
    out = write_model(tmp_path / "out", open_model(official[0], **GIVEN))
    library = VJEPA2Model.from_pretrained(out / "encoder").encoder.state_dict()
    ours = small_parts[0].encoder.state_dict()
    assert library.keys() == ours.keys() and all(torch.equal(library[k], ours[k]) for k in ours)


def test_a_large_model_is_written_in_shards_that_load(official, tmp_path, monkeypatch):
    monkeypatch.setattr(tensor_files, "SHARD_BYTES", 20_000)
    out = write_model(tmp_path / "out", open_model(official[0], **GIVEN))
    assert len(list(out.rglob("*-of-*.safetensors"))) > 3
    index = json.loads((out / "encoder/model.safetensors.index.json").read_text())
    assert all((out / "encoder" / name).is_file() for name in index["weight_map"].values())
    again, first = load_world_model(out, "cpu"), load_world_model(official[0], "cpu", **GIVEN)
    assert torch.equal(again.encode(FRAMES), first.encode(FRAMES))


def test_an_existing_folder_is_not_overwritten(folder):
    with pytest.raises(CheckpointError, match="exists"):
        write_model(folder, open_model(folder))


def test_what_cannot_fit_is_refused_before_it_is_loaded(folder, monkeypatch):
    monkeypatch.setattr(memory, "available_bytes", lambda device: 50_000)
    monkeypatch.setattr(
        "vjepa_world_model.weights.checkpoints.take", lambda *_, **__: pytest.fail("was loaded")
    )
    with pytest.raises(CheckpointError, match=r"does not fit: it needs .* are left; dtype bf16"):
        load_world_model(folder, "cpu")


def test_weights_are_estimated_to_the_byte(official):
    stored = open_model(official[0], **GIVEN)
    for name, dtype in (("auto", None), ("bf16", torch.bfloat16)):
        model = load_world_model(official[0], "cpu", dtype=name, **GIVEN)
        parts = (model._encoder, model._predictor)
        held = sum(p.nbytes for part in parts for p in part.parameters())
        assert memory.estimate(stored, dtype).weights == held


LOAD = """
import sys
from vjepa_world_model.runtime import memory
from vjepa_world_model.weights.checkpoints import load_world_model, open_model, DTYPES
load_world_model(None, "cpu")  # what every load needs once
path, dtype = sys.argv[1:]
given = dict(image_size=64, encoder_heads=8, predictor_heads=8)
open("/proc/self/clear_refs", "w").write("5")  # the peak begins anew
before = memory.peak_bytes()
need = memory.estimate(open_model(path, **given), DTYPES[dtype])
model = load_world_model(path, "cpu", dtype=dtype, **given)
print(memory.peak_bytes() - before, need.weights + need.loading)
"""


@pytest.mark.parametrize("dtype", ["auto", "bf16"])
def test_a_load_needs_no_more_memory_than_its_weights(tmp_path, dtype):
    path = tmp_path / "moderate.pt"
    _write_moderate(path)
    size = path.stat().st_size
    run = subprocess.run(
        [sys.executable, "-c", LOAD, str(path), dtype], capture_output=True, text=True, check=True
    )
    peak, expected = map(int, run.stdout.split())
    assert peak < 1.15 * expected + 20e6
    assert peak < (0.6 if dtype == "auto" else 0.35) * size


def _write_moderate(path):
    """An official file of 300 MB of which a training state is more than half."""
    encoder = VJEPA2Model(
        VJEPA2Config(
            crop_size=64,
            hidden_size=512,
            num_attention_heads=8,
            num_hidden_layers=6,
            pred_hidden_size=24,
            pred_num_attention_heads=1,
            pred_num_hidden_layers=1,
        )
    )
    predictor = ActionConditionedPredictor(PredictorConfig((4, 4), 512, 512, 4, 8))
    encoder_state = official_names(encoder)
    content = {
        "encoder": encoder_state,
        "predictor": predictor.state_dict(),
        "target_encoder": {k: v.clone() for k, v in encoder_state.items()},
        "opt": {"exp_avg": [v.clone() for v in predictor.state_dict().values()]},
    }
    torch.save(content, path)
