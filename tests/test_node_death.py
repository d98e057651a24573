"""A node that dies brings the launch down, with its name and reason, and no other is left."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from node_kit.testing import RosSession
from vjepa_bringup.xml_launcher import Launch

LAUNCH_FILE = Path(__file__).parents[1] / "launch" / "sim_planner.launch.xml"


@pytest.mark.parametrize("victim", ["sim", "mpc"])
def test_a_node_that_dies_brings_the_launch_down_with_its_name_and_reason(victim, small_model):
    arguments = {"device": "cpu", "model": small_model}
    with RosSession() as ros, Launch(LAUNCH_FILE, arguments, echo=None) as launch:
        process = launch.processes[victim]

        def up() -> bool:  # it has logged something
            assert launch.poll() is None, launch.reason
            return any(f"[{victim}]" in line for line in process.lines)

        ros.wait_for(up, f"the node {victim}", timeout_s=120.0)
        process.signal(signal.SIGKILL)
        ros.wait_for(lambda: launch.poll() is not None, "the end of the launch")
        assert launch.poll() == 1
        assert launch.reason.startswith(f"{victim} ended: killed by SIGKILL")
        assert all(other.returncode is not None for other in launch.processes.values())
