"""Promises of the MPC among the real encoder, predictor and command guard, all on ROS.

The world model has random weights: it leads somewhere, not to the goal. That it leads to the goal
is shown where a trained one meets the simulation.
"""

import itertools

import numpy as np
import pytest
from node_kit.qos import LATCHED
from rclpy.action import ActionClient
from sensor_msgs.msg import Image
from std_srvs.srv import Trigger
from vjepa_interfaces.action import ReachGoals
from vjepa_interfaces.msg import Goal, PlannerStatus
from vjepa_planner_pkg.nodes.command_guard_node import CommandGuardNode
from vjepa_planner_pkg.nodes.composed_planner_node import DirectMpcNode, SharedEncoderNode
from vjepa_planner_pkg.nodes.encoder_node import EncoderNode
from vjepa_planner_pkg.nodes.mpc_node import MpcNode
from vjepa_planner_pkg.nodes.predictor_node import PredictorNode

ENDS = ("reached", "stuck", "timed_out", "stopped")


@pytest.fixture
def planner(ros, arm, small_model, camera_cell):
    """The nodes up to the MPC, inputs flowing."""
    ros.start(CommandGuardNode, cell="panda_sim", rate_hz=25.0)
    encoder = ros.start(EncoderNode, model=small_model, device="cpu", cell=camera_cell)
    ros.start(PredictorNode, model=small_model, device="cpu")
    ros.start(MpcNode, **arm.patient)
    arm.wait_for_state("idle")
    return encoder


def states_of(history):
    """The names of the states in order, each once while it lasts."""
    return [name for name, _ in itertools.groupby(status.state_name for status in history)]


def start_moving(arm, speed=0.25):
    """Sends the arm on its way, so slowly that it is still there when the test strikes."""
    arm.speed = speed
    arm.follow_until("moving")


def test_a_goal_image_moves_the_arm_step_by_step(ros, arm, planner):
    status = arm.follow_until("timed_out")
    run = arm.history[[s.step for s in arm.history].index(1) :]  # from the first command on
    assert states_of(run) == [
        *["moving", "settled", "planning"] * 3, "timed_out",
    ]  # fmt: skip
    assert status.step == status.max_steps == 3 and status.goal_count == 1
    assert len(arm.commands) == len(arm.targets) == 3
    for command, target in zip(arm.commands, arm.targets):
        assert command.header.frame_id == "base_link"
        assert command.pose == target.pose and command.header.stamp == target.header.stamp
        assert 0.001 < np.linalg.norm(command.action[:3]) < 0.14
        assert not np.any(command.action[3:])
    assert status.energy_start > 0 and status.evaluations > 30 and status.planning_s > 0
    assert np.linalg.norm(arm.state[:3] - arm.target[:3]) < 0.003


def test_a_latched_goal_moves_the_arm_whoever_starts_first(ros, arm, small_model):
    arm.goals.publish(arm.goal())
    ros.start(MpcNode, **arm.patient)
    ros.start(PredictorNode, model=small_model, device="cpu")
    ros.start(EncoderNode, model=small_model, device="cpu")
    ros.start(CommandGuardNode, cell="panda_sim", rate_hz=25.0)
    arm.wait_for_state("timed_out")


def test_a_pose_as_goal_moves_the_arm_there_without_any_picture(ros, arm, planner):
    goals = ros.publisher(Goal, "goal", LATCHED)
    pose = arm.state + [0.06, -0.04, 0.02, 0, 0, 0, 0]
    goals.publish(Goal(pose=[float(v) for v in pose], max_steps=4))
    ros.wait_for(lambda: np.linalg.norm(arm.state[:3] - pose[:3]) < 0.005, "the arm at the pose")


def test_a_goal_that_cannot_be_used_is_refused_with_its_reason(ros, arm, planner):
    goals = ros.publisher(Goal, "goal", LATCHED)
    goals.publish(Goal(pose=[0.5, 0.0]))
    status = arm.wait_for_state("stopped")
    assert "a pose has 7" in status.reason and not arm.commands


def test_one_process_does_the_same_without_a_predictor(ros, arm, small_model):
    ros.start(CommandGuardNode, cell="panda_sim", rate_hz=25.0)
    encoder = ros.start(SharedEncoderNode, model=small_model, device="cpu")
    ros.start(lambda **options: DirectMpcNode(encoder, **options), **arm.patient)
    arm.wait_for_state("idle")
    arm.goals.publish(arm.goal())
    arm.wait_for_state("timed_out")
    assert len(arm.commands) == 3


# The action.


class Reach:
    """A client of `reach_goals` with one goal."""

    def __init__(self, ros, pictures, **fields):
        self.ros = ros
        self.feedback = []
        client = ActionClient(ros.probe, ReachGoals, "reach_goals")
        ros.wait_for(client.server_is_ready, "the action server")
        goal = ReachGoals.Goal(goals=pictures, **fields)
        sent = client.send_goal_async(
            goal, feedback_callback=lambda m: self.feedback.append(m.feedback.status)
        )
        ros.wait_for(sent.done, "an answer to the goal")
        self.handle = sent.result()

    def result(self):
        waiting = self.handle.get_result_async()
        self.ros.wait_for(waiting.done, "a result")
        return waiting.result().status, waiting.result().result


SUCCEEDED, CANCELED, ABORTED = 4, 5, 6


def test_the_action_follows_sub_goals_with_their_own_steps_and_gives_feedback(
    ros, arm, small_model
):
    ros.start(CommandGuardNode, cell="panda_sim", rate_hz=25.0)
    ros.start(EncoderNode, model=small_model, device="cpu")
    ros.start(PredictorNode, model=small_model, device="cpu")
    ros.start(MpcNode, **{**arm.patient, "advance_after_max_steps": True})
    arm.wait_for_state("idle")
    reach = Reach(ros, [arm.goal(), arm.goal((0.45, -0.05))], max_steps=[1, 2], timeout_s=60.0)
    status, result = reach.result()
    assert status == ABORTED and result.outcome == PlannerStatus.TIMED_OUT
    assert result.reason == "not reached within 2 actions" and result.goals_reached == 0
    assert {(s.goal_index, s.max_steps) for s in reach.feedback} == {(0, 1), (1, 2)}
    assert {s.goal_count for s in reach.feedback} == {2}
    assert len(arm.commands) == 3


def test_the_action_succeeds_when_the_goals_are_reached(ros, arm, small_model):
    ros.start(CommandGuardNode, cell="panda_sim", rate_hz=25.0)
    ros.start(EncoderNode, model=small_model, device="cpu")
    ros.start(PredictorNode, model=small_model, device="cpu")
    anywhere = {**arm.patient, "reached_energy": 1e9}  # wherever the arm is, it is close enough
    ros.start(MpcNode, **anywhere)
    arm.wait_for_state("idle")
    status, result = Reach(ros, [arm.goal(), arm.goal()]).result()
    assert status == SUCCEEDED and result.outcome == PlannerStatus.REACHED
    assert result.goals_reached == 2 and result.energy > 0


def test_a_cancelled_action_stops_the_arm(ros, arm, planner):
    arm.speed = 0.01
    reach = Reach(ros, [arm.goal()])
    arm.wait_for_state("moving")
    cancelled = reach.handle.cancel_goal_async()
    ros.wait_for(cancelled.done, "an answer to the cancel request")
    status, result = reach.result()
    assert status == CANCELED and result.outcome == PlannerStatus.STOPPED
    assert result.reason == "reach_goals was cancelled"
    arm.holds()
    arm.works_again()


def test_a_new_goal_pre_empts_the_action(ros, arm, planner):
    first = Reach(ros, [arm.goal()])
    arm.wait_for_state("moving")
    second = Reach(ros, [arm.goal()], max_steps=[1])
    status, result = first.result()
    assert status == ABORTED and result.reason == "pre-empted by a new goal"
    arm.goals.publish(arm.goal())
    assert second.result()[1].reason == "pre-empted by a new goal"
    arm.wait_for_state("timed_out")


@pytest.mark.parametrize(
    ("count", "fields"),
    [(0, {}), (1, {"max_steps": [1, 2]}), (1, {"timeout_s": -1.0}), (1, {"timeout_s": np.nan})],
)
def test_an_action_goal_that_makes_no_sense_is_not_accepted(ros, arm, planner, count, fields):
    assert not Reach(ros, [arm.goal()] * count, **fields).handle.accepted


def test_a_bad_sub_goal_ends_the_action_with_its_reason(ros, arm, planner):
    status, result = Reach(ros, [arm.goal(), Image()], max_steps=[1, 1]).result()
    assert status == ABORTED
    reach = Reach(ros, [Image()])
    status, result = reach.result()
    assert status == ABORTED and result.outcome == PlannerStatus.STOPPED
    assert "subgoal_image is empty" in result.reason
    arm.works_again()


def test_a_sub_goal_that_is_lost_on_its_way_is_sent_again(ros, arm, planner, monkeypatch):
    heard = []
    encode = planner.on_goal

    def lose_the_first(topic, message):
        heard.append(message)
        if len(heard) > 1:
            encode(topic, message)

    monkeypatch.setattr(planner, "on_goal", lose_the_first)
    result = Reach(ros, [arm.goal()], max_steps=[1]).result()[1]
    assert result.reason == "not reached within 1 actions"
    assert heard[0].header == heard[1].header


# Whatever goes wrong: the arm holds, the reason is named, and afterwards a new goal works. More of
# this stands in tests/, with launched nodes.


BAD_GOALS = {
    "empty": (lambda arm: Image(), "goal_image is empty"),
    "wrong size": (lambda arm: arm.goal(size=96), "goal_image is 96x96"),
    "not a number": (
        lambda arm: Image(height=64, width=64, encoding="32FC1", step=256, data=bytes(64 * 256)),
        "32FC1",
    ),
    "foreign frame": (lambda arm: arm.goal(frame="map"), "'map'"),
}


@pytest.mark.parametrize("name", BAD_GOALS)
def test_a_bad_goal_picture_is_named_also_when_nothing_moves(ros, arm, planner, name):
    make, named = BAD_GOALS[name]
    ros.wait_for(lambda: planner.gate._camera_size, "the camera's size")
    arm.goals.publish(make(arm))
    assert named in arm.wait_for_state("stopped").reason
    assert not arm.commands
    arm.works_again()


def test_the_stop_service(ros, arm, planner):
    response = ros.call(Trigger, "mpc/stop", Trigger.Request())
    assert response.success and "nothing to stop" in response.message
    start_moving(arm, speed=0.01)
    assert ros.call(Trigger, "mpc/stop", Trigger.Request()).message == "stopped"
    assert arm.wait_for_state("stopped").reason == "the service stop was called"
    arm.holds()
    arm.works_again()


def test_a_predictor_of_another_model(ros, arm, small_model, tmp_path):
    other = tmp_path / "other"
    other.symlink_to(small_model)
    ros.start(CommandGuardNode, cell="panda_sim", rate_hz=25.0)
    ros.start(EncoderNode, model=small_model, device="cpu")
    ros.start(PredictorNode, model=str(other), device="cpu")
    ros.start(MpcNode, **arm.patient)
    arm.wait_for_state("idle")
    arm.goals.publish(arm.goal())
    status = arm.wait_for_state("stopped")
    assert "'small'" in status.reason and "'other'" in status.reason
    assert not arm.commands


def test_a_node_that_is_stopped_leaves_the_arm_holding(ros, arm, small_model):
    ros.start(CommandGuardNode, cell="panda_sim", rate_hz=25.0)
    ros.start(EncoderNode, model=small_model, device="cpu")
    ros.start(PredictorNode, model=small_model, device="cpu")
    mpc = ros.start(MpcNode, **arm.patient)
    arm.wait_for_state("idle")
    start_moving(arm, speed=0.01)
    mpc.trigger_deactivate()
    arm.wait_for_state("stopped")
    arm.holds()
    assert not arm.commands[-1].action.any()


def test_a_goal_while_the_camera_is_silent_names_it_and_moves_nothing(ros, arm, planner):
    ros.wait_for(lambda: planner.monitor.count, "a picture")
    arm.camera = False
    ros.wait_for(lambda: planner.monitor.age_s() > 1.2, "silence")
    arm.goals.publish(arm.goal())
    assert "no latent" in arm.wait_for_state("stopped").reason
    assert not arm.commands
    arm.camera = True
    arm.works_again()
