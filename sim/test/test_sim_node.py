"""Promises of the sim node, with real messages."""

import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import robot_cell
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseStamped
from node_kit.convert import msg_to_pose, msg_to_state, pose_to_msg
from node_kit.images import to_array
from node_kit.parameters import differences
from node_kit.qos import COMMAND, RELIABLE, SENSOR
from rclpy.time import Time
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image, JointState
from std_msgs.msg import Float64
from vjepa_interfaces.msg import EndEffectorState
from vjepa_interfaces.srv import RenderGoal, ResetScene
from vjepa_sim.core.environment import Environment
from vjepa_sim.nodes.parameters import SimParameters
from vjepa_sim.nodes.sim_node import SimNode

CONFIG = Path(__file__).parent.parent / "config" / "sim.yaml"
RATE = 20.0


class Robot:
    """The other side of the sim node's topics."""

    def __init__(self, ros):
        self.ros = ros
        self.images = ros.collect(Image, "camera/image_raw", SENSOR)
        self.states = ros.collect(EndEffectorState, "end_effector_state", SENSOR)
        self.target = ros.publisher(PoseStamped, "target_pose", COMMAND)
        self.gripper = ros.publisher(Float64, "gripper_command", COMMAND)

    def send(self, pose, frame="base_link"):
        message = PoseStamped(pose=pose_to_msg(pose))
        message.header.frame_id = frame
        self.target.publish(message)

    def state(self):
        """The next state that arrives."""
        count = len(self.states)
        self.ros.wait_for(lambda: len(self.states) > count, "a state")
        return msg_to_state(self.states[-1])

    def image(self):
        """The second next image: the next one may have been on its way."""
        count = len(self.images)
        self.ros.wait_for(lambda: len(self.images) > count + 1, "two images")
        return to_array(self.images[-1])


@pytest.fixture(params=["lockstep", "realtime"])
def mode(request):
    return request.param


def start(ros, **parameters):
    node = ros.start(SimNode, **{"rate_hz": RATE, "seed": 4, **parameters})
    return node, Robot(ros)


def test_the_parameter_file_says_what_the_node_says():
    assert differences(SimParameters, CONFIG, "sim") == []


def test_everything_is_published_with_one_stamp(ros, mode):
    node, robot = start(ros, mode=mode)
    infos = ros.collect(CameraInfo, "camera/camera_info", SENSOR)
    joints = ros.collect(JointState, "joint_states", RELIABLE)
    clocks = ros.collect(Clock, "/clock", SENSOR)
    ros.wait_for(lambda: min(map(len, (robot.images, infos, joints, clocks))) > 2, "all topics")
    image = robot.images[-1]
    assert (image.encoding, image.width, image.height) == ("rgb8", 256, 256)
    assert image.header.frame_id == "camera_optical_frame"
    stamps = {Time.from_msg(m.header.stamp).nanoseconds for m in robot.states}
    assert Time.from_msg(robot.images[-1].header.stamp).nanoseconds in stamps
    assert infos[-1].header.frame_id == image.header.frame_id
    assert infos[-1].k[0] == pytest.approx(128 / np.tan(np.deg2rad(25)))
    assert len(joints[-1].name) == len(joints[-1].position) == len(joints[-1].velocity) == 9
    assert robot.states[-1].header.frame_id == "base_link"
    assert robot.states[-1].child_frame == "tool0"
    np.testing.assert_allclose(robot.state(), node.environment.physics.state(), atol=1e-3)


def test_states_targets_and_pictures_carry_the_frames_and_topics_of_the_cell(ros, tmp_path):
    text = robot_cell.find_cell("panda_sim").read_text()
    for old, new in {
        "base_link": "table",
        "tool0": "grasp",
        "camera/image_raw": "scene/image",
        "camera_optical_frame": "scene_optical",
    }.items():
        assert old in text
        text = text.replace(old, new)
    (tmp_path / "cell.yaml").write_text(text)
    ros.start(SimNode, rate_hz=RATE, seed=4, cell=str(tmp_path / "cell.yaml"))
    images = ros.collect(Image, "scene/image", SENSOR)
    states = ros.collect(EndEffectorState, "end_effector_state", SENSOR)
    ros.wait_for(lambda: images and states, "a picture and a state")
    state, before = states[-1], msg_to_state(states[-1])
    assert (state.header.frame_id, state.child_frame) == ("table", "grasp")
    assert images[-1].header.frame_id == "scene_optical"
    target = PoseStamped(pose=pose_to_msg(before + [0.0, 0.05, 0.0, 0.0, 0.0, 0.0, 0.0]))
    target.header.frame_id = "table"
    ros.publisher(PoseStamped, "target_pose", COMMAND).publish(target)
    ros.wait_for(lambda: abs(msg_to_state(states[-1])[1] - before[1] - 0.05) < 0.005, "the move")


def test_a_simulation_without_an_arm_in_its_cell_does_not_start(ros):
    process = ros.process("vjepa_sim.nodes.sim_node", cell="station")
    assert process.wait() == 1
    assert "describes no arm" in process.output.splitlines()[-1]
    assert "Traceback" not in process.output


def test_stamps_advance_by_one_period_in_lockstep(ros):
    _, robot = start(ros)
    ros.wait_for(lambda: len(robot.states) > 10, "states")
    stamps = [Time.from_msg(m.header.stamp).nanoseconds for m in robot.states]
    steps = np.diff(stamps) * 1e-9 * RATE
    np.testing.assert_allclose(steps, np.round(steps), atol=1e-6)
    assert np.median(steps) == pytest.approx(1.0, abs=1e-6)


def test_realtime_stamps_keep_pace_with_the_wall_clock(ros):
    node, robot = start(ros, mode="realtime")
    robot.state()
    lost = node.arm.lost_s
    begin, wall = Time.from_msg(robot.states[-1].header.stamp), time.monotonic()
    ros.wait_for(lambda: time.monotonic() - wall > 1.0, "a second")
    robot.state()
    passed = (Time.from_msg(robot.states[-1].header.stamp) - begin).nanoseconds * 1e-9
    # A machine under load may lose time; then the node must know how much.
    assert passed + node.arm.lost_s - lost == pytest.approx(time.monotonic() - wall, abs=0.15)


def test_lockstep_pixels_are_those_of_the_environment(ros):
    _, robot = start(ros, varied=True)
    environment = Environment()
    observation = environment.reset(4, varied=True)
    np.testing.assert_array_equal(robot.image(), observation.image)
    rng = np.random.default_rng(0)
    for step in range(6):
        target = observation.state + [*rng.uniform(-0.03, 0.03, 3), 0, 0, 0, 0]
        target[6] = 0.3 * (step % 2)
        robot.gripper.publish(Float64(data=float(target[6])))
        robot.send(target)
        observation = environment.move_to(target)
        np.testing.assert_array_equal(robot.image(), observation.image)
        np.testing.assert_allclose(robot.state(), observation.state, atol=1e-9)
    environment.close()


def test_the_arm_follows_pose_and_gripper(ros, mode):
    _, robot = start(ros, mode=mode)
    target = robot.state() + [0.04, -0.03, 0.02, 0, 0, 0.1, 1.0]
    robot.gripper.publish(Float64(data=1.0))
    robot.send(target)
    ros.wait_for(lambda: np.abs(robot.state() - target).max() < 0.01, "the arm at its target")


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda m: setattr(m.pose.position, "x", float("nan")), "not finite"),
        (lambda m: setattr(m.pose.orientation, "w", float("inf")), "not finite"),
        (lambda m: setattr(m.pose.orientation, "w", 0.0), "unit quaternion"),
        (lambda m: setattr(m.header, "frame_id", "map"), "its frame is 'map'; transform it"),
        (lambda m: setattr(m.header, "frame_id", ""), "its frame is ''"),
        (lambda m: setattr(m.pose.position, "x", 3.0), "outside the workspace"),
    ],
)
def test_a_target_that_cannot_be_followed_is_refused_and_the_arm_holds(ros, mode, spoil, reason):
    node, robot = start(ros, mode=mode)
    reports = ros.collect(DiagnosticArray, "/diagnostics", RELIABLE)
    before = robot.state()
    message = PoseStamped(pose=pose_to_msg(before + [0.05, 0, 0, 0, 0, 0, 0]))
    message.header.frame_id = "base_link"
    spoil(message)
    robot.target.publish(message)
    ros.wait_for(lambda: reason in node.refusal, "the refusal")
    np.testing.assert_allclose(robot.state(), before, atol=1e-3)
    ros.wait_for(lambda: reason in str(reports[-1:]), "the diagnostics", 5.0)
    robot.send(before + [0.03, 0, 0, 0, 0, 0, 0])
    ros.wait_for(lambda: robot.state()[0] - before[0] > 0.025, "a good target afterwards")
    assert node.refusal == ""


@pytest.mark.parametrize("closedness", [float("nan"), -0.2, 7.0])
def test_a_gripper_command_out_of_range_is_refused(ros, mode, closedness):
    node, robot = start(ros, mode=mode)
    robot.gripper.publish(Float64(data=closedness))
    ros.wait_for(lambda: "gripper_command refused: closedness" in node.refusal, "the refusal")
    assert robot.state()[6] < 0.05


def test_a_refused_target_stops_a_moving_arm(ros):
    node, robot = start(ros, mode="realtime", max_speed=0.1)
    begin = robot.state()
    robot.send(begin + [0.1, 0, 0, 0, 0, 0, 0])
    ros.wait_for(lambda: robot.state()[0] - begin[0] > 0.02, "the arm on its way")
    robot.send(begin, frame="world")
    ros.wait_for(lambda: node.refused == 1, "the refusal")
    ros.spin_for(0.3)
    held = robot.state()
    ros.spin_for(0.3)
    np.testing.assert_allclose(robot.state(), held, atol=1e-3)
    assert held[0] - begin[0] < 0.08


def test_reset_gives_the_task_of_the_environment(ros, mode):
    _, robot = start(ros, mode=mode)
    environment = Environment()
    for varied in (False, True):
        expected = environment.reset(11, varied)
        answer = ros.call(ResetScene, "reset_scene", ResetScene.Request(seed=11, varied=varied))
        assert answer.success, answer.message
        np.testing.assert_array_equal(to_array(answer.goal_image), environment.goal_image)
        np.testing.assert_allclose(msg_to_state(answer.state), expected.state, atol=1e-9)
        goal = np.append(msg_to_pose(answer.goal_pose), answer.goal_closedness)
        np.testing.assert_allclose(goal, environment.goal_state, atol=1e-9)
        assert 0.1 <= np.linalg.norm(goal[:3] - expected.state[:3]) <= 0.251
        ros.wait_for(
            lambda e=expected: np.abs(robot.image().astype(int) - e.image).mean() < 1, "the scene"
        )
    environment.close()


def test_a_goal_picture_is_rendered_and_leaves_the_scene_alone(ros):
    node, robot = start(ros)
    before = robot.image()
    target = robot.state()
    target[:3] = 0.5, 0.05, 0.2
    environment = Environment()
    environment.reset(4)
    for seed in (-1, 7):
        request = RenderGoal.Request(pose=pose_to_msg(target), appearance_seed=seed)
        answer = ros.call(RenderGoal, "render_goal", request)
        assert answer.success, answer.message
        image, state = environment.render_goal(np.append(target[:6], 0.0), None if seed < 0 else 7)
        np.testing.assert_array_equal(to_array(answer.image), image)
        np.testing.assert_allclose(msg_to_state(answer.state), state, atol=1e-6)
        np.testing.assert_allclose(state[:3], target[:3], atol=1e-3)
        assert np.abs(to_array(answer.image).astype(int) - before).mean() > 1
    np.testing.assert_array_equal(robot.image(), before)
    environment.close()
    assert node.failure is None


def test_services_refuse_with_a_reason(ros):
    start(ros)
    for request, reason in (
        (RenderGoal.Request(pose=pose_to_msg([9, 0, 0.2, 0, 0, 0])), "outside the workspace"),
        (
            RenderGoal.Request(pose=pose_to_msg([0.5, 0, 0.2, 0, 0, 0]), closedness=2.0),
            "closedness",
        ),
        (
            RenderGoal.Request(pose=pose_to_msg([0.5, 0, 0.2, 0, 0, 0]), appearance_seed=-5),
            "appearance_seed is -5",
        ),
    ):
        answer = ros.call(RenderGoal, "render_goal", request)
        assert not answer.success
        assert reason in answer.message
    answer = ros.call(ResetScene, "reset_scene", ResetScene.Request(seed=-3))
    assert not answer.success
    assert "seed is -3" in answer.message


def test_the_process_starts_with_its_file_and_ends_cleanly(ros, monkeypatch):
    monkeypatch.setattr(sys, "path", [str(CONFIG.parent.parent), *sys.path])
    process = ros.process("vjepa_sim.nodes.sim_node", "--params-file", str(CONFIG), mode="realtime")
    robot = Robot(ros)
    robot.state()
    process.send(signal.SIGSTOP)
    ros.spin_for(0.5)
    silent = len(robot.states)
    process.send(signal.SIGCONT)
    ros.wait_for(lambda: len(robot.states) > silent + 3, "states after the pause")
    assert process.stop() == 0, process.output
    assert "Traceback" not in process.output


def test_a_wrong_parameter_ends_the_process_with_the_reason(ros):
    process = ros.process("vjepa_sim.nodes.sim_node", mode="turbo")
    assert process.wait() == 1
    assert "is 'turbo'; choose one of lockstep | realtime" in process.output.splitlines()[-1]
