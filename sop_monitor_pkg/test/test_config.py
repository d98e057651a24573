"""Promises of the parameter file and the README: they show what the dataclass says."""

from pathlib import Path

from node_kit.parameters import differences, markdown
from sop_monitor_pkg.nodes.parameters import SopMonitorParameters

PACKAGE = Path(__file__).resolve().parents[1]


def test_the_file_agrees_with_the_dataclass():
    file = PACKAGE / "config" / "sop_monitor.yaml"
    assert differences(SopMonitorParameters, file, "sop_monitor") == []


def test_the_readme_shows_the_table_of_the_dataclass():
    assert markdown(SopMonitorParameters) in (PACKAGE / "README.md").read_text()
