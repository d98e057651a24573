"""Promises of the command guard's node, over real topics and services."""

import math
import signal
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import PoseStamped, TwistStamped
from guard_rig import cell_file
from node_kit.convert import msg_to_pose, pose_to_msg, state_to_msg
from node_kit.parameters import ParameterError, differences
from node_kit.qos import COMMAND, LATCHED, RELIABLE, SENSOR
from rclpy.node import Node
from std_msgs.msg import Bool, Float64
from std_srvs.srv import Trigger
from vjepa_interfaces.msg import EndEffectorCommand, EndEffectorState, GuardStatus
from vjepa_planner_pkg.core.guard.config import GuardParameters
from vjepa_planner_pkg.nodes.command_guard_node import CommandGuardNode
from vjepa_planner_pkg.nodes.guard_messages import state_input

HOME = np.array([0.5, 0.0, 0.2, 0.0, 0.0, 0.0, 0.0])
STATE_HZ = 30.0


def a_cell(**limits):
    return cell_file(Path(tempfile.mkdtemp()), **limits)


class ScriptedArm:
    """Tells its state at 30 Hz, goes where target_pose says, and stands in for the planner."""

    def __init__(self, ros, follow=True, guard=True, limits=None, **parameters):
        self.ros, self.follow = ros, follow
        self.state = HOME.copy()
        self.targets, self.grips, self.twists, self.statuses = [], [], [], []
        probe = ros.probe
        self.state_publisher = probe.create_publisher(
            EndEffectorState, "end_effector_state", SENSOR
        )
        self.commands = probe.create_publisher(EndEffectorCommand, "end_effector_command", COMMAND)
        probe.create_subscription(PoseStamped, "target_pose", self.on_target, COMMAND)
        probe.create_subscription(Float64, "gripper_command", self.grips.append, COMMAND)
        probe.create_subscription(TwistStamped, "delta_twist_cmds", self.twists.append, COMMAND)
        probe.create_subscription(GuardStatus, "guard_status", self.statuses.append, LATCHED)
        self.telling = True
        self.told, self.told_s = self.state.copy(), math.nan
        probe.create_timer(1.0 / STATE_HZ, self.tell)
        if guard:
            self.guard = ros.start(CommandGuardNode, cell=a_cell(**(limits or {})), **parameters)
            self.wait_until_ready()

    def wait_until_ready(self):
        self.wait_for_state(GuardStatus.READY)
        # Both ways: a command sent before the topics match would be lost.
        self.ros.wait_for(
            lambda: (
                self.commands.get_subscription_count()
                and self.ros.probe.count_publishers("target_pose")
            ),
            "the guard's topics",
        )

    def on_target(self, message):
        self.targets.append((time.monotonic(), message))
        if self.follow:
            self.state[:6] = msg_to_pose(message.pose)

    def tell(self):
        if self.telling:
            self.state_publisher.publish(state_to_msg(self.state, self.stamp()))
            self.told, self.told_s = self.state.copy(), time.monotonic()

    def stamp(self):
        return self.ros.probe.get_clock().now().to_msg()

    def command(self, publisher=None, **fields):
        """Sends a step of 5 cm, or what `fields` say; returns the message."""
        message = EndEffectorCommand(closedness=0.3)
        message.header.stamp, message.header.frame_id = self.stamp(), "base_link"
        message.pose = pose_to_msg(self.state + [0.05, 0, 0, 0, 0, 0, 0])
        for name, value in fields.items():
            if name == "frame":
                message.header.frame_id = value
            elif name == "x":
                message.pose.position.x = value
            elif name == "sec":
                message.header.stamp.sec = value
            else:
                setattr(message, name, value)
        (publisher or self.commands).publish(message)
        return message

    def move(self):
        """Sends good steps until one is accepted, and returns that.

        Where the machine stalls for longer than a state may be old, the guard is right to refuse.
        """
        for _ in range(5):
            before = self.wait_for_state(GuardStatus.READY)
            message = self.command()

            decisions = before.accepted + before.rejected
            self.ros.wait_for(lambda n=decisions: self.decisions() > n, "a decision")
            if self.statuses[-1].accepted > before.accepted:
                return message
        raise TimeoutError(f"five good commands were refused: {self.statuses[-1].reason}")

    def decisions(self):
        return self.statuses[-1].accepted + self.statuses[-1].rejected

    def wait_for_state(self, state, word=""):
        def matches():
            last = self.statuses[-1] if self.statuses else None
            return last if last and last.state == state and word in last.reason else None

        try:
            return self.ros.wait_for(matches, f"guard state {state} {word!r}")
        except TimeoutError as error:
            raise TimeoutError(f"{error}; last: {self.statuses[-1:]}") from None


def test_a_good_command_reaches_the_arm_once_with_the_stamp_of_its_image(ros):
    arm = ScriptedArm(ros)
    sent = arm.move()
    ros.wait_for(lambda: arm.targets and arm.grips, "target_pose and gripper_command")
    target = arm.targets[0][1]
    assert target.header.stamp == sent.header.stamp
    assert target.header.frame_id == "base_link"
    np.testing.assert_allclose(msg_to_pose(target.pose), HOME[:6] + [0.05, 0, 0, 0, 0, 0])
    assert arm.grips[0].data == 0.3
    ros.spin_for(0.3)
    assert len(arm.targets) == len(arm.grips) == 1
    assert arm.wait_for_state(GuardStatus.READY).accepted == 1


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"x": math.nan}, "finite"),
        ({"x": 500.0}, "too far off"),
        ({"frame": "world"}, "frame 'world'"),
        ({"closedness": math.inf}, "closedness"),
        ({"action": [math.nan] * 7}, "action"),
        ({"sec": 0}, "old"),
        ({"sec": -5}, "old"),
        ({"sec": 2**31 - 1}, "future"),
    ],
    ids=str,
)
def test_a_command_that_is_refused_is_named_in_guard_status_and_the_next_one_works(
    ros, fields, word
):
    arm = ScriptedArm(ros)
    arm.command(**fields)
    status = arm.wait_for_state(GuardStatus.HOLDING, word)
    assert status.rejected == 1
    assert not arm.targets
    arm.move()
    ros.wait_for(lambda: arm.targets, "the next target")
    arm.wait_for_state(GuardStatus.READY)


def test_the_arm_holds_within_300_ms_when_its_state_stops(ros):
    arm = ScriptedArm(ros, stream=True, limits={"linear_speed_m_s": 0.1})
    arm.move()
    ros.wait_for(lambda: len(arm.targets) > 5, "motion")
    arm.telling, arm.follow = False, False
    stopped_s = arm.told_s
    arm.wait_for_state(GuardStatus.HOLDING, "silent")
    ros.spin_for(0.2)
    hold = arm.targets[-1][1].pose
    np.testing.assert_allclose(msg_to_pose(hold), arm.told[:6], atol=1e-6)
    late = [t - stopped_s for t, m in arm.targets if m.pose != hold]
    assert max(late) <= 0.3
    assert arm.twists[-1].twist.linear.x == 0.0
    arm.telling = arm.follow = True
    arm.wait_for_state(GuardStatus.READY)
    count = len(arm.targets)
    arm.move()
    ros.wait_for(lambda: arm.targets[-1][1].pose != hold and len(arm.targets) > count, "motion")


def test_streaming_ends_at_the_target(ros):
    arm = ScriptedArm(ros, stream=True)
    goal = arm.move().pose.position.x
    ros.wait_for(
        lambda: arm.targets and abs(arm.targets[-1][1].pose.position.x - goal) < 1e-9, "arrival"
    )
    assert arm.twists and arm.grips[-1].data == pytest.approx(0.3)


def test_the_arm_holds_while_a_second_planner_is_up(ros):
    arm = ScriptedArm(ros)
    intruder = ros.add(Node("intruder", context=ros.context))
    publisher = intruder.create_publisher(EndEffectorCommand, "end_effector_command", COMMAND)
    arm.wait_for_state(GuardStatus.HOLDING, "end_effector_command has 2 writers")
    for writer in (arm.commands, publisher):
        before = arm.statuses[-1].rejected
        ros.wait_for(lambda w=writer: w.get_subscription_count(), "the guard")
        arm.command(writer)
        ros.wait_for(lambda n=before: arm.statuses[-1].rejected > n, "refusal")
    assert not arm.targets
    intruder.destroy_publisher(publisher)
    arm.wait_for_state(GuardStatus.READY)
    arm.move()
    ros.wait_for(lambda: arm.targets, "the next target")


def test_emergency_stop_by_service_is_latched_until_reset(ros):
    arm = ScriptedArm(ros)
    assert ros.call(Trigger, "command_guard/emergency_stop", Trigger.Request()).success
    arm.wait_for_state(GuardStatus.EMERGENCY_STOPPED, "service")
    ros.wait_for(lambda: arm.targets, "the hold")
    np.testing.assert_allclose(msg_to_pose(arm.targets[0][1].pose), HOME[:6], atol=1e-9)
    arm.command()
    ros.wait_for(lambda: arm.statuses[-1].rejected == 1, "refusal")
    assert len(arm.targets) == 1
    assert ros.call(Trigger, "command_guard/reset", Trigger.Request()).success
    arm.wait_for_state(GuardStatus.READY)
    arm.move()
    ros.wait_for(lambda: len(arm.targets) == 2, "the next target")


def test_reset_is_refused_while_the_arm_is_silent(ros):
    arm = ScriptedArm(ros)
    ros.call(Trigger, "command_guard/emergency_stop", Trigger.Request())
    arm.telling = False
    ros.spin_for(0.3)
    answer = ros.call(Trigger, "command_guard/reset", Trigger.Request())
    assert not answer.success and "silent" in answer.message
    arm.wait_for_state(GuardStatus.EMERGENCY_STOPPED)


@pytest.mark.parametrize("qos", [LATCHED, COMMAND], ids=["latched", "volatile"])
def test_emergency_stop_by_topic_is_latched_and_must_be_taken_back_before_reset(ros, qos):
    arm = ScriptedArm(ros)
    button = ros.publisher(Bool, "emergency_stop", qos)
    button.publish(Bool(data=True))
    arm.wait_for_state(GuardStatus.EMERGENCY_STOPPED, "topic")
    assert not ros.call(Trigger, "command_guard/reset", Trigger.Request()).success
    button.publish(Bool(data=False))

    def reset():
        return ros.call(Trigger, "command_guard/reset", Trigger.Request()).success

    ros.wait_for(reset, "the reset")
    arm.wait_for_state(GuardStatus.READY)


def test_a_guard_that_starts_late_hears_an_emergency_stop_that_is_latched(ros):
    button = ros.publisher(Bool, "emergency_stop", LATCHED, matched=0)
    button.publish(Bool(data=True))
    arm = ScriptedArm(ros, guard=False)
    ros.start(CommandGuardNode, cell="panda_sim")
    arm.wait_for_state(GuardStatus.EMERGENCY_STOPPED, "topic")


def test_an_emergency_stop_outlives_a_reconfigured_node(ros):
    arm = ScriptedArm(ros)
    ros.call(Trigger, "command_guard/emergency_stop", Trigger.Request())
    arm.guard.trigger_deactivate()
    arm.guard.trigger_cleanup()
    arm.statuses.clear()
    arm.guard.start()
    arm.wait_for_state(GuardStatus.EMERGENCY_STOPPED)


def test_the_last_action_of_a_terminated_guard_is_to_hold(ros):
    arm = ScriptedArm(ros, guard=False)
    process = ros.process(
        "vjepa_planner_pkg.nodes.command_guard_node",
        stream=True,
        cell=a_cell(linear_speed_m_s=0.05),
    )
    arm.wait_until_ready()
    arm.move()
    ros.wait_for(lambda: len(arm.targets) > 5, "motion")
    arm.follow = False
    process.send(signal.SIGTERM)
    ros.wait_for(lambda: process.returncode is not None, "the end")
    assert process.returncode == 0, process.describe()
    ros.wait_for(lambda: not arm.twists[-1].twist.linear.x, "the last twist")
    hold = msg_to_pose(arm.targets[-1][1].pose)
    assert abs(hold[0] - arm.state[0]) < 0.01  # where the arm is, not where it was going
    assert hold[0] < HOME[0] + 0.049


def test_the_guard_says_on_diagnostics_why_it_holds(ros):
    arm = ScriptedArm(ros)
    diagnostics = ros.collect(DiagnosticArray, "/diagnostics", RELIABLE)
    arm.telling = False
    arm.wait_for_state(GuardStatus.HOLDING, "silent")

    def told():
        items = [s for message in diagnostics for s in message.status]
        return [s for s in items if s.name == "command_guard: guard" and "silent" in s.message]

    assert ros.wait_for(told, "the diagnosis")[0].level == DiagnosticStatus.WARN


def test_a_state_that_waited_in_a_queue_counts_from_when_it_came():
    waited = {"received_timestamp": time.time_ns() - 400_000_000}
    age_s = time.monotonic() - state_input(EndEffectorState(), waited).received_s
    assert 0.4 <= age_s < 0.5


def test_the_yaml_file_agrees_with_the_parameters():
    config = Path(__file__).parents[1] / "config" / "command_guard.yaml"
    assert differences(GuardParameters, config, "command_guard") == []


def test_a_guard_without_a_cell_does_not_start(ros):
    with pytest.raises(ParameterError, match="needs a cell.*panda_sim"):
        ros.create(CommandGuardNode)
    with pytest.raises(ParameterError, match="describes no arm"):
        ros.create(CommandGuardNode, cell="station")


def test_what_is_wrong_with_a_cell_is_said_in_one_line(ros, tmp_path):
    file = tmp_path / "cell.yaml"
    file.write_text("cell: 1\nname: lab\narm: {}\n")
    with pytest.raises(ParameterError, match="cameras is missing") as error:
        ros.create(CommandGuardNode, cell=str(file))
    assert "\n" not in str(error.value)


def test_the_workspace_of_another_cell_is_enforced(ros, tmp_path):
    file = tmp_path / "cell.yaml"
    text = Path(cell_file(tmp_path)).read_text()
    file.write_text(text.replace("high_m: [0.68,", "high_m: [0.52,"))
    arm = ScriptedArm(ros, guard=False)
    arm.guard = ros.start(CommandGuardNode, cell=str(file))
    arm.wait_until_ready()
    arm.command()
    ros.wait_for(lambda: arm.targets, "a target")
    assert arm.targets[-1][1].pose.position.x <= 0.52 + 1e-9
