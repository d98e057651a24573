"""The launched planner and simulation under faults: the arm holds, the reason is named, and when
the cause is gone a new goal works.

All nodes run as `sim_planner.launch.xml` starts them, each a process of its own, in real time and
with a slow arm, so that every fault strikes in the middle of a move. The world model has random
weights: where the arm goes does not matter here, that it stops does.
"""

from __future__ import annotations

import functools
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from geometry_msgs.msg import PoseStamped
from node_kit.convert import BASE_FRAME, latent_to_msg, msg_to_pose, msg_to_state, state_to_msg
from node_kit.images import to_msg
from node_kit.qos import COMMAND, LATCHED, LATCHED_HISTORY, SENSOR
from node_kit.testing import RosSession
from sensor_msgs.msg import Image
from std_msgs.msg import Bool, Header
from std_srvs.srv import Trigger
from vjepa_bringup.xml_launcher import Launch
from vjepa_interfaces.msg import (
    EndEffectorCommand,
    EndEffectorState,
    GuardStatus,
    Latent,
    PlannerStatus,
)
from vjepa_interfaces.srv import ResetScene

LAUNCH_FILE = Path(__file__).parents[1] / "launch" / "sim_planner.launch.xml"
CAMERA = "camera_optical_frame"
HOLD_S = 0.3  # the promise
WATCH_S = 0.5  # how long it is watched after that
LATE_S = 2.0  # within which even nodes that a busy machine kept waiting must hold
ATTEMPTS = 3  # at the promise, see `in_time`
START_S = 120.0  # for all nodes to be up, on a slow machine
RETRY_S = 3.0  # after which a service is asked again: its node may have been killed
STILL_M = 0.003  # how far an arm that holds may settle

PARAMETERS = """
/**/sim:
  ros__parameters:
    max_speed: 0.05
/**/mpc:
  ros__parameters:
    reached_step_m: 0.0
    stuck_steps: 1000
    max_steps: 1000
"""


class Late(AssertionError):
    """The arm held, but only after `HOLD_S`."""


def in_time(test: Callable[..., None]) -> Callable[..., None]:
    """The promise is of nodes that get their share of the machine. A test machine may give a core
    away for half a second, which nothing here can tell from a slow node; so an arm that held too
    late gets the fault again, and is too slow when it was late each time. One that goes on beyond
    `LATE_S` fails at once."""

    @functools.wraps(test)
    def attempt(*args: object, **kwargs: object) -> None:
        for _ in range(ATTEMPTS - 1):
            try:
                return test(*args, **kwargs)
            except Late as late:
                print(f"again, for the machine may have been busy: {late}")
        return test(*args, **kwargs)

    return attempt


class Stack:
    """The launched nodes, and a probe that gives goals and records what becomes of the arm."""

    def __init__(self, ros: RosSession, launch: Launch):
        self.ros, self.launch = ros, launch
        self.seed = 0
        self.status = PlannerStatus()
        self.guard = GuardStatus()
        self.arm: list[tuple[float, np.ndarray]] = []  # when received, position [m]
        self.targets: list[tuple[float, np.ndarray, np.ndarray]] = []  # and where the arm was
        probe = ros.probe
        probe.create_subscription(PlannerStatus, "planner_status", self.on_status, LATCHED_HISTORY)
        probe.create_subscription(GuardStatus, "guard_status", self.on_guard, LATCHED)
        probe.create_subscription(EndEffectorState, "end_effector_state", self.on_state, SENSOR)
        probe.create_subscription(PoseStamped, "target_pose", self.on_target, COMMAND)
        self.goals = probe.create_publisher(Image, "goal_image", LATCHED)

    def on_status(self, message):
        self.status = message

    def on_guard(self, message):
        self.guard = message

    def on_state(self, message):
        if message.header.frame_id == BASE_FRAME and np.isfinite(message.pose.position.y):
            self.arm.append((time.monotonic(), np.array(msg_to_state(message)[:3])))

    def on_target(self, message):
        position = msg_to_pose(message.pose)[:3]
        self.targets.append((time.monotonic(), position, self.arm[-1][1]))

    def stamp(self) -> Time:
        return self.ros.probe.get_clock().now().to_msg()

    def wait(self, condition, what, timeout_s=30.0):
        try:
            return self.ros.wait_for(condition, what, timeout_s)
        except TimeoutError as error:
            raise TimeoutError(
                f"{error}; planner {self.status.state_name}: {self.status.reason}; "
                f"guard {self.guard.state}: {self.guard.reason}"
            ) from None

    def speed(self) -> float:
        """Of the arm over its last states [m/s]."""
        if len(self.arm) < 6:
            return 0.0
        (begin_s, begin), (end_s, end) = self.arm[-6], self.arm[-1]
        return float(np.linalg.norm(end - begin)) / max(end_s - begin_s, 1e-3)

    def running(self) -> bool:
        """Whether the planner follows a goal."""
        active = PlannerStatus.PLANNING, PlannerStatus.MOVING, PlannerStatus.SETTLED
        return self.status.state in active

    def get_going(self, timeout_s=30.0) -> None:
        """From a new scene toward its goal picture, until the arm is in the middle of a move.

        The goal is repeated: what was in the way may take a moment to be seen gone.
        """
        if self.running():
            self.ros.call(Trigger, "mpc/stop", Trigger.Request(), timeout_s, RETRY_S)
            self.wait(lambda: not self.running(), "the end of the last goal")
        self.seed += 1
        request = ResetScene.Request(seed=self.seed)
        scene = self.ros.call(ResetScene, "reset_scene", request, timeout_s, RETRY_S)
        assert scene.success, scene.message
        self.arm.clear()
        sent_s = 0.0

        def moving():
            nonlocal sent_s
            ready = self.arm and self.guard.state == GuardStatus.READY and not self.running()
            if ready and time.monotonic() - sent_s > 0.5:
                sent_s = time.monotonic()
                scene.goal_image.header.stamp = self.stamp()
                self.goals.publish(scene.goal_image)
            return self.status.state == PlannerStatus.MOVING and self.speed() > 0.02

        self.wait(moving, "a move", timeout_s)

    def expect_hold(self, since_s: float, *words: str, arm_listens: bool = True) -> None:
        """Nothing but holding is asked of the arm once HOLD_S have passed since the fault, and the
        planner says why. `arm_listens`: the arm itself is there to be watched and to be told."""
        self.ros.spin_for(max(0.0, since_s + HOLD_S + WATCH_S - time.monotonic()))
        if late := self.motion(since_s + HOLD_S, arm_listens):
            self.ros.spin_for(max(0.0, since_s + LATE_S + WATCH_S - time.monotonic()))
            assert not (motion := self.motion(since_s + LATE_S, arm_listens)), motion
            raise Late(late)
        if words:
            self.expect_stopped(*words)

    def expect_stopped(self, *words: str) -> None:
        """The planner has stopped, and its reason holds one of the words."""
        self.wait(lambda: self.status.state == PlannerStatus.STOPPED, "a stopped planner")
        assert self.status.state_name == "stopped"
        assert any(word in self.status.reason for word in words), self.status.reason

    def motion(self, due_s: float, arm_listens: bool) -> str:
        """What was seen since `due_s` that is no holding; empty: nothing."""
        for received_s, target, arm in self.targets:
            if received_s > due_s and np.linalg.norm(target - arm) > 0.01:
                return "a target that is no hold"
        if arm_listens:
            later = [position for received_s, position in self.arm if received_s > due_s]
            if not later:
                return "nothing was seen of the arm"
            moved_m = max(np.linalg.norm(position - later[0]) for position in later)
            if moved_m > STILL_M:
                return f"the arm went on for {1e3 * moved_m:.0f} mm"
        return ""

    @contextmanager
    def speaking(self, *args: object, **kwargs: object) -> Iterator[object]:
        """A publisher of the probe's own, see `RosSession.publisher`, gone afterwards."""
        publisher = self.ros.publisher(*args, **kwargs)
        try:
            yield publisher
        finally:
            self.ros.probe.destroy_publisher(publisher)


@pytest.fixture(scope="module")
def stack(small_model, tmp_path_factory):
    parameters = tmp_path_factory.mktemp("parameters") / "faults.yaml"
    parameters.write_text(PARAMETERS)
    arguments = {
        "mode": "realtime",
        "model": small_model,
        "device": "cpu",
        "sim_params": parameters,
        "mpc_params": parameters,
    }
    with RosSession() as ros:
        launch = Launch(LAUNCH_FILE, arguments, outlive_nodes=True)
        stack = Stack(ros, launch)
        with launch:
            stack.wait(lambda: stack.status.state_name == "idle", "the planner", START_S)
            stack.get_going(START_S)
            yield stack


@contextmanager
def killed(stack: Stack, name: str) -> Iterator[float]:
    """Kills a node, and starts a new one afterwards, as whoever supervises the nodes would."""
    killed_s = time.monotonic()
    stack.launch.processes[name].signal(signal.SIGKILL)
    try:
        yield killed_s
    finally:
        stack.launch.restart(name)
        if name == "mpc":
            stack.status = PlannerStatus()  # what the dead one said last
            stack.wait(lambda: stack.status.state_name, "the new planner", START_S)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("encoder", ("encoder",)),
        ("predictor", ("predictor",)),
        ("sim", ("end_effector_state", "camera")),
    ],
)
@in_time
def test_the_arm_holds_when_a_node_is_killed_and_works_again_with_a_new_one(stack, name, words):
    stack.get_going()
    with killed(stack, name) as killed_s:
        stack.expect_hold(killed_s, *words, arm_listens=name != "sim")
    stack.get_going(START_S)


@in_time
def test_the_arm_holds_when_the_planner_is_killed_and_works_again_with_a_new_one(stack):
    stack.get_going()
    with killed(stack, "mpc") as killed_s:
        stack.wait(lambda: stack.guard.state == GuardStatus.HOLDING, "a guard that noticed")
        assert "end_effector_command is gone" in stack.guard.reason
        stack.expect_hold(killed_s)
    stack.get_going(START_S)


@in_time
def test_nothing_reaches_the_arm_any_more_when_the_guard_is_killed(stack):
    """An arm under way ends the one checked move that it was given: nobody is left to tell it."""
    stack.get_going()
    with killed(stack, "command_guard") as killed_s:
        stack.expect_hold(killed_s, "guard", arm_listens=False)
        if any(received_s > killed_s + HOLD_S for received_s, *_ in stack.targets):
            raise Late("a target came after the guard was killed")
    stack.get_going(START_S)


@pytest.mark.parametrize(
    ("name", "words"),
    [("sim", ("end_effector_state", "camera")), ("encoder", ("encoder",))],
    ids=["camera", "encoder"],
)
@in_time
def test_the_arm_holds_when_a_stream_stops_and_works_again_when_it_flows(stack, name, words):
    stack.get_going()
    stopped_s = time.monotonic()
    stack.launch.processes[name].signal(signal.SIGSTOP)
    try:
        stack.expect_hold(stopped_s, *words, arm_listens=name != "sim")
    finally:
        stack.launch.processes[name].signal(signal.SIGCONT)
    stack.get_going()


def picture(size=256, frame=CAMERA, stamp=None) -> Image:
    return to_msg(np.full((size, size, 3), 90, np.uint8), stamp or Time(), frame)


def cut_short(stack: Stack) -> Image:
    image = picture(stamp=stack.stamp())
    del image.data[1000:]
    return image


BAD_GOALS = {
    "empty": lambda stack: Image(header=Header(stamp=stack.stamp(), frame_id=CAMERA)),
    "cut_short": cut_short,
    "too_small": lambda stack: picture(16, stamp=stack.stamp()),
    "of_another_size": lambda stack: picture(200, stamp=stack.stamp()),
    "of_a_foreign_frame": lambda stack: picture(frame="world", stamp=stack.stamp()),
}


@pytest.mark.parametrize("goal", BAD_GOALS)
@in_time
def test_the_arm_holds_when_a_new_goal_picture_is_useless(stack, goal):
    stack.get_going()
    image = BAD_GOALS[goal](stack)
    sent_s = time.monotonic()
    stack.goals.publish(image)
    stack.expect_hold(sent_s, "goal_image")
    stack.get_going()


@in_time
def test_the_arm_holds_when_a_goal_is_not_a_number(stack):
    stack.get_going()
    with stack.speaking(Latent, "goal_latent", LATCHED) as publisher:
        message = latent_to_msg(np.zeros((16, 24), np.float32), (4, 4))
        message.header.stamp, message.header.frame_id = stack.stamp(), CAMERA
        message.data[7] = float("nan")
        sent_s = time.monotonic()
        publisher.publish(message)
        stack.expect_hold(sent_s, "goal_latent")
    stack.get_going()


@in_time
def test_the_arm_holds_when_a_camera_of_a_foreign_frame_speaks(stack):
    stack.get_going()
    with stack.speaking(Image, "camera/image_raw", SENSOR) as publisher:
        sent_s = time.monotonic()
        while time.monotonic() < sent_s + 0.2:  # the encoder takes only some of the pictures
            publisher.publish(picture(frame="world", stamp=stack.stamp()))
            stack.ros.spin_for(0.02)
        stack.expect_hold(sent_s + 0.2, "camera/image_raw is in frame 'world'")
    stack.get_going()


@pytest.mark.parametrize("fault", ["nan", "foreign_frame"])
@in_time
def test_the_arm_holds_when_its_state_is_nonsense(stack, fault):
    stack.get_going()
    with stack.speaking(EndEffectorState, "end_effector_state", SENSOR, matched=3) as publisher:
        state = np.append(stack.arm[-1][1], np.zeros(4))
        message = state_to_msg(state, stack.stamp())
        if fault == "nan":
            message.pose.position.y = float("nan")
        else:
            message.header.frame_id = "world"
        sent_s = time.monotonic()
        while time.monotonic() < sent_s + 0.2:  # best effort: a reader may not know this writer yet
            publisher.publish(message)
            stack.ros.spin_for(0.02)
        stack.expect_hold(sent_s + 0.2, "end_effector_state")
    stack.get_going()


@in_time
def test_the_arm_holds_while_a_second_planner_commands(stack):
    stack.get_going()
    begun_s = time.monotonic()
    with stack.speaking(EndEffectorCommand, "end_effector_command", COMMAND) as publisher:
        matched_s = time.monotonic()
        message = EndEffectorCommand()
        message.header.stamp, message.header.frame_id = stack.stamp(), "base_link"
        message.pose.position.x = float("nan")
        publisher.publish(message)
        stack.expect_hold(matched_s, "end_effector_command has 2 writers")
        assert matched_s - begun_s < 5.0
    stack.get_going()


@in_time
def test_the_arm_holds_on_emergency_stop_until_reset(stack):
    stack.get_going()
    with stack.speaking(Bool, "emergency_stop", LATCHED) as button:
        pressed_s = time.monotonic()
        button.publish(Bool(data=True))
        stack.expect_hold(pressed_s, "emergency_stop")
        assert not stack.ros.call(Trigger, "command_guard/reset", Trigger.Request()).success
        button.publish(Bool(data=False))

        def reset():
            return stack.ros.call(Trigger, "command_guard/reset", Trigger.Request()).success

        stack.wait(reset, "the reset")
    stack.get_going()
