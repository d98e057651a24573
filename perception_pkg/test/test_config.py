"""Promises of the parameter files: they list every parameter with the default of its dataclass."""

from pathlib import Path

import pytest
from node_kit.parameters import differences
from perception_pkg.core.regions import DEFECTS, TEXT, load_layout
from perception_pkg.nodes.action_node import ActionNodeParameters
from perception_pkg.nodes.defect_node import DefectParameters
from perception_pkg.nodes.detector_node import DetectorParameters
from perception_pkg.nodes.text_node import TextParameters

CONFIG = Path(__file__).resolve().parents[1] / "config"
NODES = {
    "action": ActionNodeParameters,
    "defect": DefectParameters,
    "detector": DetectorParameters,
    "text": TextParameters,
}


@pytest.mark.parametrize("name", NODES)
def test_the_file_agrees_with_the_dataclass(name):
    assert differences(NODES[name], CONFIG / f"{name}.yaml", name) == []


def test_the_example_of_regions_can_be_used():
    layout = load_layout(CONFIG / "regions.yaml")
    assert layout.of(TEXT) and layout.of(DEFECTS)
