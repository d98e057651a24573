"""Promises of the parameter files: they list every parameter with the default of its dataclass."""

from pathlib import Path

import pytest
from node_kit.parameters import differences
from vjepa_planner_pkg.nodes.encoder_node import EncoderParameters
from vjepa_planner_pkg.nodes.mpc_node import MpcNodeParameters
from vjepa_planner_pkg.nodes.predictor_node import PredictorParameters

CONFIG = Path(__file__).resolve().parents[1] / "config"


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("encoder", EncoderParameters),
        ("predictor", PredictorParameters),
        ("mpc", MpcNodeParameters),
    ],
)
def test_the_file_agrees_with_the_dataclass(name, parameters):
    assert differences(parameters, CONFIG / f"{name}.yaml", name) == []
