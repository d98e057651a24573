"""What is saved loads again; what is missing, damaged or dangerous is refused with the reason."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from vjepa_world_model.weights.checkpoints import (
    SHIPPED,
    CheckpointError,
    choose_device,
    load_world_model,
    save_world_model,
)


@pytest.fixture()
def folder(tmp_path, small_parts):
    return save_world_model(tmp_path / "model", *small_parts)


def test_a_saved_model_computes_the_same(folder, small_parts):
    model = load_world_model(folder, "cpu")
    frames = np.zeros((1, 32, 32, 3), dtype=np.uint8)
    again = load_world_model(folder, "cpu")
    assert torch.equal(model.encode(frames), again.encode(frames))
    actions, state = torch.randn(2, 1, 7), torch.zeros(1, 7)
    features = model.encode(frames)
    predicted = small_parts[1].step(
        features.expand(2, -1, -1), actions[:, 0], state.expand(2, -1), _cache()
    )
    imagined, _ = model.rollout(features, state, actions)
    assert torch.allclose(
        imagined[:, 0], torch.nn.functional.layer_norm(predicted, (24,)), atol=1e-6
    )


def _cache():
    from vjepa_world_model.model.predictor import KeyValueCache

    return KeyValueCache()


def test_the_shipped_model_loads_and_is_small():
    model = load_world_model(None, "cpu")
    assert model.name == "sim_panda"
    files = [path for path in SHIPPED.rglob("*") if path.is_file()]
    assert max(path.stat().st_size for path in files) < 25e6
    assert (SHIPPED / "README.md").is_file(), "every shipped model has a card"


def test_a_missing_path_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="no model at"):
        load_world_model(tmp_path / "nothing")


def test_a_foreign_folder_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="no config.json"):
        load_world_model(tmp_path)


def test_a_truncated_file_is_refused(folder):
    path = folder / "predictor.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="damaged"):
        load_world_model(folder)


def test_missing_weights_are_refused(folder):
    (folder / "encoder" / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match="missing"):
        load_world_model(folder)


def test_weights_of_other_sizes_are_refused(folder):
    config = json.loads((folder / "config.json").read_text())
    config["predictor"]["depth"] = 3
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="does not fit"):
        load_world_model(folder)


def test_a_pickle_with_code_is_never_run(tmp_path):
    class Code:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    torch.save({"encoder": Code(), "predictor": {}}, tmp_path / "bad.pt")
    with pytest.raises(CheckpointError, match="never executed"):
        load_world_model(tmp_path / "bad.pt")
    assert not (tmp_path / "ran").exists()


def test_a_device_that_is_not_there_is_refused():
    with pytest.raises(CheckpointError, match="unknown device"):
        choose_device("abacus")
    if not torch.cuda.is_available():
        with pytest.raises(CheckpointError, match="device:=auto"):
            choose_device("cuda")
        assert choose_device("auto").type == "cpu"
