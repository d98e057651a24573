"""Marks the tests that talk to ROS, so that `./run test` can repeat them with field checks on; and
a small world model for all.

A test with nodes that fails is tried again, at most twice, and the summary shows it (`R`):
discovery and deadlines are at the mercy of the machine. ROS's own builds do the same
(`--retest-until-pass 2`).
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
import torch

import perception_pkg  # noqa: F401

# With --import-mode=importlib, a package not imported yet would be made from the folder of the
# same name around it, `x/test/test_y.py` being module `x.test.test_y`, and hide `x/x/`.
import sop_monitor_pkg  # noqa: F401
import vjepa_planner_pkg  # noqa: F401

_TRACES = ("rclpy", "_msgs", "vjepa_interfaces", "Launch(")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "ros" in getattr(item, "fixturenames", ()) or _talks_to_ros(item.path):
            item.add_marker("ros")
        if {"ros", "alone"} & {mark.name for mark in item.iter_markers()}:
            item.add_marker(pytest.mark.flaky(reruns=2))


@cache
def _talks_to_ros(path: Path) -> bool:
    text = path.read_text()
    return any(trace in text for trace in _TRACES)


@pytest.fixture(scope="session")
def small_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Folder of a world model with random weights: 64 px, 4x4 patches of width 24."""
    from transformers import VJEPA2Config, VJEPA2Model
    from vjepa_world_model.model.predictor import ActionConditionedPredictor, PredictorConfig
    from vjepa_world_model.weights.checkpoints import save_world_model

    torch.manual_seed(0)
    encoder = VJEPA2Model(
        VJEPA2Config(
            patch_size=16,
            crop_size=64,
            tubelet_size=2,
            hidden_size=24,
            num_attention_heads=2,
            num_hidden_layers=1,
            pred_hidden_size=24,
            pred_num_attention_heads=1,
            pred_num_hidden_layers=1,
        )
    )
    sizes = PredictorConfig(grid=(4, 4), embed_dim=24, width=24, depth=1, heads=1)
    folder = tmp_path_factory.mktemp("models") / "small"
    return str(save_world_model(folder, encoder, ActionConditionedPredictor(sizes)))
