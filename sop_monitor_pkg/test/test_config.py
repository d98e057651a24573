"""Promises of the parameter files and the README: they show what the dataclasses say."""

from pathlib import Path

import pytest
from node_kit.parameters import differences
from sop_monitor_pkg.nodes.parameters import SopMonitorParameters
from sop_monitor_pkg.nodes.sop_follower_node import SopFollowerParameters

PACKAGE = Path(__file__).resolve().parents[1]
NODES = {"sop_monitor": SopMonitorParameters, "sop_follower": SopFollowerParameters}


@pytest.mark.parametrize("node", NODES)
def test_the_file_agrees_with_the_dataclass(node):
    file = PACKAGE / "config" / f"{node}.yaml"
    assert differences(NODES[node], file, node) == []
