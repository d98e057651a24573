"""`./run station fault`: the station that runs makes a fault on command."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from node_kit.testing import isolated_domain, ros  # noqa: F401 (a fixture)
from typer.testing import CliRunner
from vjepa_bringup.commands.station import app
from vjepa_sim.core.station.faults import KINDS
from vjepa_sim.nodes.station_node import StationNode


def start(*arguments: str) -> subprocess.Popen:
    isolated_domain()
    return subprocess.Popen(
        [sys.executable, "-m", "vjepa_bringup.commands.station", "fault", *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_the_running_station_gets_the_fault_for_its_next_cycle(ros):  # noqa: F811
    station = ros.start(StationNode, seed=4)
    command = start("defective_part", "--detail", "crack", "--wait-s", "30")
    ros.wait_for(lambda: command.poll() is not None, "the end of the command", 60.0)
    output = command.communicate()[0]
    assert command.returncode == 0 and "the fault defective_part crack" in output
    assert (station.p.next_fault, station.p.next_detail) == ("defective_part", "crack")


def test_without_a_station_it_says_so():
    command = start("dropped_part", "--wait-s", "0.5")
    output = command.communicate(timeout=60)[0]
    assert command.returncode == 1, output
    assert "no station runs in namespace /; start one with ./run up station.launch.xml" in output


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["flood"], "there is no fault flood; known: wrong_order"),
        (["skipped_step", "--detail", "lunch"], "cannot have the detail 'lunch'; possible:"),
    ],
)
def test_faults_that_there_are_not_are_refused(arguments, reason):
    result = CliRunner().invoke(app, ["fault", *arguments], env={"COLUMNS": "400"})
    assert result.exit_code == 2 and reason in " ".join(result.output.split())


def test_help_lists_the_kinds():
    output = CliRunner().invoke(app, ["fault", "--help"], env={"COLUMNS": "400"}).output
    assert all(kind in output for kind in KINDS)
