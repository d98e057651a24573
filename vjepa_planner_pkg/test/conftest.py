"""What the tests of the planner share: an arm with a camera, and a world for the MPC."""

import sys
import time
from pathlib import Path

import numpy as np
import pytest
from geometry_msgs.msg import PoseStamped
from node_kit.convert import msg_to_pose, state_to_msg
from node_kit.images import to_msg
from node_kit.qos import COMMAND, LATCHED, LATCHED_HISTORY, SENSOR
from node_kit.testing import ros  # noqa: F401
from sensor_msgs.msg import Image
from vjepa_interfaces.msg import EndEffectorCommand, EndEffectorState, PlannerStatus

sys.path.insert(0, str(Path(__file__).parent))  # for `guard_promises` and `mpc_world`
pytest.register_assert_rewrite("guard_promises", "mpc_world")

CAMERA = "camera_optical_frame"
PERIOD_S = 0.04  # of states


class ArmWithCamera:
    """Publishes pictures and states, follows `target_pose`, and hears what the planner says.

    `patient` are parameters of an MPC: random weights see no progress, let no run end early for
    that. And all nodes share a thread; how fast they stop is shown where each has its own process.

    Its picture shows a bright square at the tool's x and y. `camera` and `driver` switch the two
    streams off; `state_frame` and `spoil` make the states wrong.
    """

    patient = {
        "cell": "panda_sim",
        "stuck_steps": 99,
        "reached_step_m": 0.0,
        "max_steps": 3,
        "latent_max_age_s": 1.0,
        "state_max_age_s": 1.0,
        "guard_max_age_s": 1.0,
    }

    def __init__(self, ros):  # noqa: F811
        self.ros, probe = ros, ros.probe
        self.state = np.array([0.5, 0.0, 0.2, 0.0, 0.0, 0.0, 0.0])
        self.target = self.state.copy()
        self.speed = 0.25  # [m/s]
        self.camera = self.driver = True
        self.frame, self.state_frame, self.spoil = CAMERA, "base_link", None
        self.pictures = probe.create_publisher(Image, "camera/image_raw", SENSOR)
        self.states = probe.create_publisher(EndEffectorState, "end_effector_state", SENSOR)
        self.goals = probe.create_publisher(Image, "goal_image", LATCHED)
        self.history: list[PlannerStatus] = []
        self.commands: list[EndEffectorCommand] = []
        self.targets: list[PoseStamped] = []
        probe.create_subscription(
            PlannerStatus, "planner_status", self.history.append, LATCHED_HISTORY
        )
        probe.create_subscription(
            EndEffectorCommand, "end_effector_command", self.commands.append, COMMAND
        )
        probe.create_subscription(PoseStamped, "target_pose", self.on_target, COMMAND)
        probe.create_timer(PERIOD_S, self.move)
        probe.create_timer(0.1, self.show)

    @property
    def status(self):
        return self.history[-1] if self.history else PlannerStatus()

    def now(self):
        return self.ros.probe.get_clock().now().to_msg()

    def picture(self, position, size=64):
        """The picture of the tool at `position`, uint8 [size, size, 3]."""
        image = np.full((size, size, 3), 40, np.uint8)
        row, column = (int(size * (p + 0.25) / 0.5) for p in (position[0] - 0.5, position[1]))
        image[max(row - 6, 0) : row + 6, max(column - 6, 0) : column + 6] = (250, 120, 10)
        return image

    def goal(self, position=(0.55, 0.05), frame=CAMERA, size=64):
        """A goal picture as a message, with a stamp of its own."""
        return to_msg(self.picture(position, size), self.now(), frame)

    def move(self):
        way = self.target[:3] - self.state[:3]
        share = min(1.0, self.speed * PERIOD_S / max(np.linalg.norm(way), 1e-9))
        self.state[:3] += share * way
        if not self.driver:
            return
        message = state_to_msg(self.state, self.now())
        message.header.frame_id = self.state_frame
        if self.spoil is not None:
            self.spoil(message)
        self.states.publish(message)

    def show(self):
        if self.camera:
            self.pictures.publish(to_msg(self.picture(self.state), self.now(), self.frame))

    def on_target(self, message):
        self.targets.append(message)
        self.target[:6] = msg_to_pose(message.pose)

    def follow_until(self, *names):
        """Publishes a goal, and again whenever the planner stopped, until it is in one of these
        states; returns the status. What was in the way may take a moment to be seen gone, and on
        a starved machine an arm holds for good reason."""
        begun, sent_s = len(self.history), 0.0

        def there():
            nonlocal sent_s
            active = self.status.state_name in ("planning", "moving", "settled")
            if not active and time.monotonic() - sent_s > 1.0:
                sent_s = time.monotonic()
                self.goals.publish(self.goal())
            return len(self.history) > begun and self.status.state_name in names

        self.ros.wait_for(there, f"a planner that is {' or '.join(names)}", 60.0)
        return self.status

    def works_again(self):
        """A new goal is followed to its end: of its steps, or at an edge of the workspace."""
        self.speed = 0.25
        before = len(self.commands)
        self.follow_until("timed_out", "reached")
        assert len(self.commands) > before

    def holds(self):
        """The arm comes to rest now, and stays there."""
        self.ros.spin_for(0.3)
        place = self.state.copy()
        self.ros.spin_for(0.3)
        assert np.allclose(self.state, place, atol=1e-4)

    def wait_for_state(self, *names, timeout_s=30.0):
        """Spins until the planner is in one of these states; returns the status."""
        self.ros.wait_for(
            lambda: self.status.state_name in names,
            f"state {' or '.join(names)}, it is {self.status.state_name}: {self.status.reason}",
            timeout_s,
        )
        return self.status


@pytest.fixture
def camera_cell(tmp_path):
    """A cell file of one camera: its frame is known, the size of its pictures is not."""
    file = tmp_path / "camera_cell.yaml"
    file.write_text("cell: 1\nname: test\ncameras: [{name: front}]\n")
    return str(file)


@pytest.fixture
def arm(ros):  # noqa: F811
    return ArmWithCamera(ros)


@pytest.fixture
def world():
    """An MPC without nodes, and what it sees."""
    from mpc_world import MpcWorld

    return MpcWorld()
