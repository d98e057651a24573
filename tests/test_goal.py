"""`./run goal` with the launched simulation: pictures are taken, rendered and sent."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from PIL import Image
from vjepa_bringup.xml_launcher import Launch

LAUNCH_FILE = Path(__file__).parents[1] / "launch" / "sim_planner.launch.xml"
GOAL = "vjepa_bringup.commands.goal"
PATIENT = """
/**/mpc:
  ros__parameters:
    latent_max_age_s: 20.0
    state_max_age_s: 20.0
    guard_max_age_s: 20.0
    stuck_steps: 1000
    stuck_moves: 1000
    reached_step_m: 0.0
    timeout_s: 1000.0
"""


@pytest.fixture(scope="module")
def goal(command, small_model, tmp_path_factory):
    """`goal("send", ...)` runs the command beside a launched planner: exit code and output."""
    parameters = tmp_path_factory.mktemp("parameters") / "patient.yaml"
    parameters.write_text(PATIENT)

    def run(*arguments: object) -> tuple[int, str]:
        process = command(GOAL, *arguments, "--wait-s", 60)
        output = process.communicate(timeout=120)[0]
        return process.returncode, output

    arguments = {"model": small_model, "composed": "true", "mpc_params": parameters}
    with Launch(LAUNCH_FILE, arguments):
        yield run


def test_a_picture_is_rendered_and_sent_and_the_way_is_shown(goal, tmp_path):
    code, output = goal("render", tmp_path / "goal.png", 0.5, 0.1, 0.2)
    assert code == 0, output
    with Image.open(tmp_path / "goal.png") as picture:
        assert picture.size == (256, 256)
    code, output = goal("send", tmp_path / "goal.png", "--max-steps", 1)
    # Random weights lead somewhere; one action does not lead to the goal.
    assert code == 1, output
    assert "goal 1 of 1  action 1 of 1" in output
    assert "0 of 1 goals reached; not reached within 1 actions" in output


def test_the_camera_picture_is_taken(goal, tmp_path):
    code, output = goal("take", tmp_path / "now.png")
    assert code == 0, output
    with Image.open(tmp_path / "now.png") as picture:
        assert picture.mode == "RGB" and len(picture.getcolors(1 << 16)) > 50


def test_an_interrupted_send_cancels_the_goals(goal, command, tmp_path):
    assert goal("render", tmp_path / "goal.png", 0.6, -0.1, 0.3)[0] == 0
    process = command(GOAL, "send", tmp_path / "goal.png", "--max-steps", 500, "--wait-s", 60)
    for line in process.stdout:
        if "action 1 of 500" in line:
            break
    process.send_signal(signal.SIGINT)
    output = process.communicate(timeout=60)[0]
    assert process.returncode == 130 and "interrupted" in output
    code, output = goal("send", tmp_path / "goal.png", "--max-steps", 1)
    assert "not reached within 1 actions" in output  # nothing of the old goal is left


def test_what_cannot_be_sent_is_refused(goal, tmp_path):
    (tmp_path / "no.png").write_text("no picture")
    code, output = goal("send", tmp_path / "no.png")
    assert code == 1 and "cannot be read as a picture" in output
    code, output = goal("take", tmp_path / "now.jpg")
    assert code == 1 and "name a .png" in output
    code, output = goal("render", tmp_path / "far.png", 3.0, 0.0, 0.2)
    assert code == 1 and "render_goal refused" in output
    small = tmp_path / "small.png"
    Image.new("RGB", (40, 30)).save(small)
    code, output = goal("send", small)
    assert code == 1 and "40x30" in output


def test_without_a_planner_it_says_so(command, tmp_path, monkeypatch):
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "OFF")  # alone
    Image.new("RGB", (64, 64)).save(tmp_path / "goal.png")
    process = command(GOAL, "send", tmp_path / "goal.png", "--wait-s", 0.5)
    output = process.communicate(timeout=60)[0]
    assert process.returncode == 1 and "no action reach_goals: does the planner run?" in output
