"""Promises of the action `calibrate` among the real encoder, predictor and command guard, on ROS.

The world model has random weights: what it sees in the moves is no turn. That a trained one finds
the turn of the simulation's camera is shown by `./run bench calibration`.
"""

import json

import numpy as np
import pytest
from rclpy.action import ActionClient
from std_srvs.srv import Trigger
from vjepa_interfaces.action import Calibrate
from vjepa_planner_pkg.core.calibration.calibration import Calibration
from vjepa_planner_pkg.nodes.command_guard_node import CommandGuardNode
from vjepa_planner_pkg.nodes.encoder_node import EncoderNode
from vjepa_planner_pkg.nodes.mpc_node import MpcNode
from vjepa_planner_pkg.nodes.predictor_node import PredictorNode

BELIEVE_ALL = {"calibration_max_residual": 10.0}
SUCCEEDED, CANCELED, ABORTED = 4, 5, 6


@pytest.fixture
def start(ros, arm, small_model):
    """Starts the nodes up to an MPC with the given further parameters; returns the MPC."""

    def start(**parameters):
        ros.start(CommandGuardNode, cell="panda_sim", rate_hz=25.0)
        ros.start(EncoderNode, model=small_model, device="cpu")
        ros.start(PredictorNode, model=small_model, device="cpu")
        mpc = ros.start(MpcNode, **arm.patient, **parameters)
        arm.wait_for_state("idle")
        return mpc

    return start


class Calibrating:
    """A client of `calibrate` with one goal."""

    def __init__(self, ros, **fields):
        self.ros, self.feedback = ros, []
        client = ActionClient(ros.probe, Calibrate, "calibrate")
        ros.wait_for(client.server_is_ready, "the action server")
        sent = client.send_goal_async(
            Calibrate.Goal(**fields), feedback_callback=lambda m: self.feedback.append(m.feedback)
        )
        ros.wait_for(sent.done, "an answer to the goal")
        self.handle = sent.result()

    def wait_for_move(self):
        self.ros.wait_for(lambda: self.feedback, "the first move")

    def result(self):
        waiting = self.handle.get_result_async()
        self.ros.wait_for(waiting.done, "a result")
        return waiting.result().status, waiting.result().result


def test_a_calibration_moves_out_and_back_through_the_guard_and_is_used_and_stored(
    ros, arm, start, small_model, tmp_path
):
    file = tmp_path / "calibration.json"
    mpc = start(**BELIEVE_ALL, calibration_file=str(file))
    before = arm.state.copy()
    status, result = Calibrating(ros, move_m=0.03).result()
    assert status == SUCCEEDED and result.success, result.reason
    assert result.moves == 8 and result.file == str(file)
    assert len(arm.commands) == len(arm.targets) == 8
    places = np.array([[t.pose.position.x, t.pose.position.y] for t in arm.targets])
    assert np.allclose(np.linalg.norm(places[::2] - before[:2], axis=1), 0.03, atol=2e-3)
    assert np.allclose(arm.state, before, atol=5e-3)
    stored = Calibration.read(file)
    assert (stored.model, stored.camera_frame) == ("small", "camera_optical_frame")
    assert stored.yaw_rad == result.yaw and stored.residual == result.residual
    assert mpc.planner.calibration == stored
    arm.works_again()


def test_a_stored_calibration_is_used_and_one_of_another_model_moves_nothing(
    ros, arm, start, tmp_path
):
    file = tmp_path / "calibration.json"
    Calibration(0.3, (0.5, 0.0), 0.1, 8, 0.05, "large", "camera_optical_frame").write(file)
    start(calibration_file=str(file))
    arm.goals.publish(arm.goal())
    reason = arm.wait_for_state("stopped").reason
    assert "'large'" in reason and "'small'" in reason and "calibrate anew" in reason
    assert not arm.commands


def test_a_damaged_calibration_refuses_the_start(ros, tmp_path):
    file = tmp_path / "calibration.json"
    file.write_text(json.dumps({"format": "something else"}))
    with pytest.raises(Exception, match="no calibration of this kind"):
        ros.start(MpcNode, cell="panda_sim", calibration_file=str(file))


def test_what_the_model_does_not_see_is_refused_and_nothing_is_stored(ros, arm, start, tmp_path):
    file = tmp_path / "calibration.json"
    mpc = start(calibration_max_residual=0.01, calibration_file=str(file))
    status, result = Calibrating(ros).result()
    assert status == ABORTED and not result.success
    assert "unexplained" in result.reason
    assert not file.exists() and mpc.planner.calibration is None
    arm.works_again()


def test_an_emergency_stop_ends_the_calibration(ros, arm, start):
    start(**BELIEVE_ALL)
    arm.speed = 0.01
    calibrating = Calibrating(ros)
    calibrating.wait_for_move()
    ros.call(Trigger, "command_guard/emergency_stop", Trigger.Request())
    status, result = calibrating.result()
    assert status == ABORTED and "command guard" in result.reason
    arm.holds()
    ros.call(Trigger, "command_guard/reset", Trigger.Request())
    arm.works_again()


@pytest.mark.parametrize("how", ["cancel", "goal", "stop"])
def test_whoever_wants_the_arm_elsewhere_ends_the_calibration(ros, arm, start, how):
    start(**BELIEVE_ALL)
    arm.speed = 0.01
    calibrating = Calibrating(ros)
    calibrating.wait_for_move()
    assert not Calibrating(ros).handle.accepted, "one at a time"
    if how == "cancel":
        ros.wait_for(calibrating.handle.cancel_goal_async().done, "an answer")
    elif how == "stop":
        assert ros.call(Trigger, "mpc/stop", Trigger.Request()).message == "stopped"
    else:
        arm.goals.publish(arm.goal())
    status, result = calibrating.result()
    assert status == (CANCELED if how == "cancel" else ABORTED)
    assert {"cancel": "cancelled", "goal": "new goal", "stop": "stop"}[how] in result.reason
    if how == "goal":
        arm.wait_for_state("moving", "timed_out", "stuck")
    else:
        arm.holds()
    arm.works_again()


@pytest.mark.parametrize("move_m", [-0.01, 0.2, np.nan])
def test_moves_that_make_no_sense_are_not_accepted(ros, arm, start, move_m):
    start()
    assert not Calibrating(ros, move_m=move_m).handle.accepted
    assert not arm.commands
