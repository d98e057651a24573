"""`./run demo`: the arm reaches goals through the launched nodes, and pictures of it are made."""

from __future__ import annotations

import json
import time

import av
import psutil
import pytest
from PIL import Image

pytestmark = pytest.mark.alone

TIMEOUT_S = 400.0  # generous, for machines under load


def demo(command, out, *options: object) -> tuple[int, str]:
    """Exit code and output."""
    run = command("vjepa_bringup.demo", "--out", out, *options)
    output, _ = run.communicate(timeout=TIMEOUT_S)
    return run.returncode, output


def check_pictures(out) -> None:
    with av.open(str(out / "demo.mp4")) as video:
        stream = video.streams.video[0]
        assert (stream.width, stream.height) == (1280, 720)
        assert stream.frames > 24
    for name, least in (("energy.png", (900, 600)), ("landscape.png", (1200, 500))):
        with Image.open(out / name) as picture:
            assert picture.size >= least
    with Image.open(out / "demo.gif") as picture:
        assert picture.size == (640, 360) and picture.n_frames > 1
    assert (out / "demo.gif").stat().st_size <= 2_000_000


def test_two_goals_are_reached_with_the_shipped_model(command, tmp_path):
    code, output = demo(command, tmp_path, "--goals", 2)
    assert code == 0, output
    check_pictures(tmp_path)
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["ok"] and summary["outcome"] == "reached" and summary["goals_reached"] == 2
    for goal in summary["goals"]:
        assert goal["distance_cm"][0] >= 9.0 and goal["distance_cm"][-1] <= 3.0
        assert goal["energy"][-1] < goal["energy"][0]
    assert summary["first_command_s"] < 60.0
    for word in ("goal 1/2", "goal 2/2", "energy", "distance", "reached"):
        assert word in output  # plain lines where there is no terminal


def test_an_arm_that_was_silent_for_a_moment_is_held_and_the_demo_goes_on(command, tmp_path):
    run = command("vjepa_bringup.demo", "--out", tmp_path, "--goals", 1)
    for line in run.stdout:
        if "action 1" in line:
            break
    nodes = psutil.Process(run.pid).children()
    (arm,) = (node for node in nodes if "sim_node" in " ".join(node.cmdline()))
    arm.suspend()
    time.sleep(1.0)  # not a wait: so long is the arm silent, four times what is allowed
    arm.resume()
    output, _ = run.communicate(timeout=TIMEOUT_S)
    assert run.returncode == 0, output
    assert "the arm was held: " in output and "going on with goal 1" in output
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["ok"] and summary["held"]


def test_a_planner_that_does_not_reach_the_pose_fails_with_the_reason(
    command, small_model, tmp_path
):
    code, output = demo(command, tmp_path, "--goals", 1, "--model", small_model)
    assert code == 1
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert not summary["ok"] and "goal 1" in summary["failure"]
    assert "goal 1" in output.splitlines()[-1]
    check_pictures(tmp_path)


def test_a_node_that_cannot_start_is_named(command, tmp_path):
    code, output = demo(command, tmp_path, "--model", tmp_path / "nothing")
    assert code == 1
    assert "no model at" in output and "Traceback" not in output
    assert (tmp_path / "nodes.log").read_text()
    assert not json.loads((tmp_path / "summary.json").read_text())["ok"]
