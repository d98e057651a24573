"""The simulated robot on ROS 2: camera, states and clock out, targets in, goals on a service."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import PoseStamped
from node_kit.cells import camera_of, load_arm
from node_kit.convert import msg_to_pose, pose_to_msg, state_to_msg
from node_kit.health import HealthPublisher, StreamMonitor, status
from node_kit.images import to_msg
from node_kit.lifecycle import KitNode, run
from node_kit.qos import COMMAND, RELIABLE, SENSOR
from rclpy.clock import Clock, ClockType
from rclpy.time import Time
from robot_cell import CLOSEDNESS
from rosgraph_msgs.msg import Clock as ClockMsg
from sensor_msgs.msg import CameraInfo, Image, JointState
from std_msgs.msg import Float64
from vjepa_interfaces.msg import EndEffectorState
from vjepa_interfaces.srv import RenderGoal, ResetScene

from vjepa_sim.core.camera import CameraFeed, intrinsics
from vjepa_sim.core.environment import Environment
from vjepa_sim.core.following import LockStep, RealTime
from vjepa_sim.core.tasks import ReachTask
from vjepa_sim.nodes.messages import camera_info, closedness, joint_state, target
from vjepa_sim.nodes.parameters import SimParameters

UNSEEN_MOTION = 1e-5  # [rad, m], in real time; a hundredth of a pixel


class SimNode(KitNode):
    """Follows target_pose and gripper_command; what it cannot follow it refuses, and holds."""

    Parameters = SimParameters

    def __init__(self, **kwargs: Any):
        super().__init__("sim", **kwargs)

    def configure(self) -> None:
        self.frames = load_arm(self.p.cell, "sim")
        self.camera = camera_of(self.p, "sim")
        self.environment = Environment(task=ReachTask(self.p.camera_turn_rad))
        self.environment.reset(self.p.seed, self.p.varied)
        if self.p.mode == "lockstep":
            self.arm = LockStep(self.environment, tick_s=1.0 / self.p.rate_hz)
            self.feed = CameraFeed(self.environment)
        else:
            limits = (self.p.max_speed, self.p.max_turn_rate, self.p.gripper_rate)
            self.arm = RealTime(self.environment, *limits)
            self.feed = CameraFeed(self.environment, UNSEEN_MOTION)
        # From today's date on: stamps of a restarted simulation never run backwards.
        self.started_ns = time.time_ns()
        self.simulated_s = self.next_picture_s = 0.0
        self.refused = 0
        self.refusal = ""

        self.image = self.create_publisher(Image, self.camera.topic, SENSOR)
        self.camera_info = self.create_publisher(CameraInfo, self.camera.info_topic, SENSOR)
        self.state = self.create_publisher(EndEffectorState, "end_effector_state", SENSOR)
        self.joints = self.create_publisher(JointState, "joint_states", RELIABLE)
        self.clock = self.create_publisher(ClockMsg, "/clock", SENSOR)
        # Before target_pose: when both wait, the gripper's target is taken first.
        self.create_subscription(Float64, "gripper_command", self.on_gripper_command, COMMAND)
        self.create_subscription(PoseStamped, "target_pose", self.on_target_pose, COMMAND)
        self.create_service(RenderGoal, "render_goal", self.on_render_goal)
        self.create_service(ResetScene, "reset_scene", self.on_reset_scene)
        self.targets = StreamMonitor("target_pose")
        HealthPublisher(self, [self.targets], self.report)

    def activate(self) -> None:
        self.last_tick = time.monotonic()
        rate_hz = self.p.rate_hz if self.p.mode == "lockstep" else self.p.state_rate_hz
        # A steady timer: with use_sim_time it would wait for the clock that it drives.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.timer = self.create_timer(1.0 / rate_hz, self.tick, clock=steady)
        self.get_logger().info(f"simulating in {self.p.mode} mode, scene {self.p.seed}")

    def deactivate(self) -> None:
        self.destroy_timer(self.timer)
        self.arm.hold()

    def teardown(self) -> None:
        if hasattr(self, "environment"):
            self.environment.close()
            del self.environment

    # Out.

    def tick(self) -> None:
        """Lets time pass and publishes clock, states and, when it is due, a picture."""
        now = time.monotonic()
        self.simulated_s += self.arm.advance(now - self.last_tick)
        self.last_tick = now
        stamp = self.stamp()
        self.clock.publish(ClockMsg(clock=stamp))
        physics = self.environment.physics
        self.state.publish(self.state_message(physics.state(), stamp))
        self.joints.publish(joint_state(physics, stamp))
        if self.simulated_s >= self.next_picture_s - 1e-9:
            self.next_picture_s = max(self.next_picture_s, self.simulated_s) + 1 / self.p.rate_hz
            self.image.publish(to_msg(self.feed.picture(), stamp, self.camera.frame))
            camera = self.environment.episode.layout.camera
            size = (camera.size_px, camera.size_px)
            self.camera_info.publish(
                camera_info(size, intrinsics(camera), stamp, self.camera.frame)
            )

    def stamp(self) -> Any:
        """The simulated time as builtin_interfaces/Time."""
        return Time(nanoseconds=self.started_ns + round(self.simulated_s * 1e9)).to_msg()

    def state_message(self, state: np.ndarray, stamp: Any) -> EndEffectorState:
        """A state [7] in the frames of the cell."""
        return state_to_msg(state, stamp, self.frames.base_frame, self.frames.tool_frame)

    def report(self) -> list[DiagnosticStatus]:
        """The arm on /diagnostics."""
        level = DiagnosticStatus.WARN if self.refusal else DiagnosticStatus.OK
        text = f"holding: {self.refusal}" if self.refusal else "following"
        lost = f"{getattr(self.arm, 'lost_s', 0.0):.2f}"
        return [status("arm", level, text, refused=str(self.refused), lost_s=lost)]

    # In.

    def on_target_pose(self, message: PoseStamped) -> None:
        self.targets.tick(message.header.stamp)
        self.follow(
            "target_pose", lambda: self.arm.move_to(target(message, self.frames.base_frame))
        )

    def on_gripper_command(self, message: Float64) -> None:
        self.follow("gripper_command", lambda: self.arm.grip(closedness(message.data)))

    def follow(self, topic: str, action: Callable[[], None]) -> None:
        """Does `action`, or says on log and diagnostics why not, and holds."""
        try:
            if not self.active:
                raise ValueError("the node is not active")
            action()
            self.refusal = ""
        except ValueError as error:
            self.arm.hold()
            self.refused += 1
            self.refusal = f"{topic} refused: {error}"
            self.get_logger().warning(f"{self.refusal}; the arm holds")

    def on_render_goal(
        self, request: RenderGoal.Request, response: RenderGoal.Response
    ) -> RenderGoal.Response:
        try:
            if request.appearance_seed < -1:
                raise ValueError(f"appearance_seed is {request.appearance_seed}; give -1 or more")
            goal = np.append(msg_to_pose(request.pose), closedness(request.closedness))
            seed = None if request.appearance_seed == -1 else request.appearance_seed
            image, state = self.environment.render_goal(goal, seed)
        except ValueError as error:
            response.message = f"render_goal refused: {error}"
            return response
        response.image = to_msg(image, self.stamp(), self.camera.frame)
        response.state = self.state_message(state, self.stamp())
        response.success = True
        return response

    def on_reset_scene(
        self, request: ResetScene.Request, response: ResetScene.Response
    ) -> ResetScene.Response:
        if request.seed < 0:
            response.message = f"reset_scene refused: seed is {request.seed}; give 0 or more"
            return response
        start = self.environment.reset(request.seed, request.varied)
        self.arm.restart()
        self.feed.restart()
        self.refusal = ""
        self.get_logger().info(f"scene {request.seed}{', varied' if request.varied else ''}")
        response.state = self.state_message(start.state, self.stamp())
        response.goal_pose = pose_to_msg(self.environment.goal_state)
        response.goal_closedness = float(self.environment.goal_state[CLOSEDNESS])
        response.goal_image = to_msg(self.environment.goal_image, self.stamp(), self.camera.frame)
        response.success = True
        return response


def main() -> None:
    run(SimNode)


if __name__ == "__main__":
    main()
