"""Promises of the planner about its cell: frames, workspace and steps are those of the file."""

import math

import numpy as np
import pytest
import robot_cell
from node_kit.convert import state_to_msg
from vjepa_planner_pkg.core.guard.config import GuardConfig
from vjepa_planner_pkg.core.mpc.io import Command
from vjepa_planner_pkg.core.search.action_space import ActionParameters, within
from vjepa_planner_pkg.nodes import messages

PANDA = robot_cell.load("panda_sim")
LAB = """\
cell: 1
name: lab
arm: {base_frame: fr3_link0, tool_frame: fr3_hand_tcp}
workspace:
  low_m: [0.2, -0.1, 0.1]
  high_m: [0.4, 0.1, 0.3]
  keep_out:
    - {low_m: [0.2, -0.1, 0.1], high_m: [0.25, 0.1, 0.2]}
limits:
  step_m: 0.06
  turn_rad: 0.1
  linear_speed_m_s: 0.2
  angular_speed_rad_s: 0.5
  closedness_rate_1_s: 1.0
cameras: [{name: front}]
"""
STATE = np.array([0.3, 0.0, 0.2, 0.0, 0.1, 0.0, 0.5])


@pytest.fixture
def lab(tmp_path) -> robot_cell.Cell:
    file = tmp_path / "lab.yaml"
    file.write_text(LAB)
    return robot_cell.load(file)


def test_the_guard_goes_by_the_cell_and_nothing_else(lab):
    found = GuardConfig.of(lab)
    assert (found.workspace_min_m, found.workspace_max_m) == ([0.2, -0.1, 0.1], [0.4, 0.1, 0.3])
    assert found.keep_out_m == [([0.2, -0.1, 0.1], [0.25, 0.1, 0.2])]
    assert (found.max_step_m, found.max_step_rad) == (0.06, 0.1)
    assert (found.max_lead_m, found.max_lead_rad) == (0.05, 0.1)
    assert (found.max_linear_speed_m_s, found.max_angular_speed_rad_s) == (0.2, 0.5)
    assert (found.base_frame, found.tool_frame) == ("fr3_link0", "fr3_hand_tcp")


def test_the_shipped_planner_keeps_its_steps_in_the_cell_of_the_simulated_panda():
    found = within(ActionParameters(), PANDA)
    assert (found.max_step_m, found.max_rotation_rad) == (0.06, 0.2)
    assert within(ActionParameters(max_step_m=0.075), PANDA).max_step_m == 0.075  # V-JEPA 2-AC
    assert found.workspace_min_m == list(PANDA.needs_arm()[1].low_m)


def test_no_step_of_the_planner_is_one_that_the_guard_of_its_cell_cuts(lab):
    found = within(ActionParameters(rotation=True), lab)
    assert math.sqrt(3.0) * found.max_step_m == pytest.approx(0.06)
    assert math.sqrt(3.0) * found.max_rotation_rad == pytest.approx(0.1)
    assert (found.workspace_min_m, found.workspace_max_m) == ([0.2, -0.1, 0.1], [0.4, 0.1, 0.3])


def test_states_and_commands_are_in_the_frames_of_the_cell(lab):
    arm = lab.needs_arm()[0]
    stated = state_to_msg(STATE, base=arm.base_frame, tool=arm.tool_frame)
    np.testing.assert_allclose(messages.to_arm(stated, arm).state, STATE, atol=1e-12)
    command = Command(stamp_ns=5, target=STATE, action=np.zeros(7))
    assert messages.from_command(command, arm.base_frame).header.frame_id == "fr3_link0"


def test_a_state_in_other_frames_is_refused_with_both_names(lab):
    with pytest.raises(ValueError, match="'tool0' in frame 'base_link'.*'fr3_hand_tcp' in 'fr3_"):
        messages.to_arm(state_to_msg(STATE), lab.needs_arm()[0])
