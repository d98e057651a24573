"""The planner with the simulated arm, launched, and a client that gives it scenes and goals.

    with SimPlanner({"seed": 3}) as planner:
        scene = planner.reset_scene(seed=3)
        result = planner.reach([scene.goal_image])

For the demo and for evaluations; use it from one thread.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import rclpy
from node_kit.convert import msg_to_pose, msg_to_state, pose_to_msg
from node_kit.qos import COMMAND, SENSOR
from rclpy.action import ActionClient
from rclpy.executors import SingleThreadedExecutor
from robot_cell import CLOSEDNESS
from sensor_msgs.msg import Image
from vjepa_interfaces.action import ReachGoals
from vjepa_interfaces.msg import EndEffectorState, Latent, PlannerStatus
from vjepa_interfaces.srv import RenderGoal, ResetScene

from vjepa_bringup.xml_launcher import Launch

LAUNCH_FILE = Path(__file__).resolve().parents[1] / "sim_planner.launch.xml"
START_S = 120.0  # until all nodes are there: generous, for slow disks
ANSWER_S = 30.0
REST_S = 0.25  # simulated time after which the planner has seen that the arm is at rest


class PlannerError(RuntimeError):
    """The launch ended, did not answer or refused; the text says which and why."""


@dataclass(frozen=True)
class PlannerScene:
    """A reach task: states float64 [7] (m, rad, closedness) in base_link, and the goal picture."""

    state: np.ndarray
    goal_state: np.ndarray
    goal_image: Image


class SimPlanner:
    """Starts `sim_planner.launch.xml` on entering, ends every node on leaving.

    Attributes:
        node: for further subscriptions.
        state: of the arm, float64 [7], the newest; None before the first.
        launch: the launched processes.
    """

    def __init__(
        self,
        arguments: Mapping[str, object] | None = None,
        echo: Callable[[str], object] | None = None,
    ):
        """`arguments` of the launch file; `echo` takes each line that the nodes print."""
        # Nothing beyond this machine is to hear the commands to the simulated arm.
        os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
        os.environ.setdefault(
            "FASTDDS_DEFAULT_PROFILES_FILE", str(LAUNCH_FILE.parent / "config" / "fastdds.xml")
        )
        self.launch = Launch(LAUNCH_FILE, arguments, echo=echo)
        self.state: np.ndarray | None = None
        self._stamp_ns = self._latent_ns = 0

    def __enter__(self) -> Self:
        self._context = rclpy.Context()
        rclpy.init(context=self._context)
        self.node = rclpy.create_node("sim_planner_client", context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self.node.create_subscription(EndEffectorState, "end_effector_state", self._see, SENSOR)
        self.node.create_subscription(Latent, "latent", self._see_latent, COMMAND)
        self._reset = self.node.create_client(ResetScene, "reset_scene")
        self._render = self.node.create_client(RenderGoal, "render_goal")
        self._reach = ActionClient(self.node, ReachGoals, "reach_goals")
        try:
            self.launch.start()
        except BaseException:
            self._leave()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self.launch.stop()
        self._leave()

    def wait_until_ready(self) -> None:
        """Waits until every node answers.

        Raises:
            PlannerError: a node ended, or others drive or are driven on the same topics.
        """
        self.wait_for(
            lambda: (
                self._reset.service_is_ready()
                and self._render.service_is_ready()
                and self._reach.server_is_ready()
                and self._latent_ns
                and self.state is not None
            ),
            "all nodes",
            START_S,
        )
        for topic, count in (
            ("end_effector_state", self.node.count_publishers),
            ("target_pose", self.node.count_subscribers),
        ):
            if count(topic) > 1:
                raise PlannerError(
                    f"something else uses {topic} in ROS domain {self._context.get_domain_id()}; "
                    "end it, or set ROS_DOMAIN_ID to another number"
                )

    def reset_scene(self, seed: int, varied: bool = False) -> PlannerScene:
        """A new reach task, with the arm at rest and its first picture encoded."""
        answer = self._call(self._reset, ResetScene.Request(seed=seed, varied=varied))
        self._wait_for_rest(_ns(answer.state.header.stamp))
        goal = np.append(msg_to_pose(answer.goal_pose), float(answer.goal_closedness))
        return PlannerScene(msg_to_state(answer.state), goal, answer.goal_image)

    def render_goal(self, state: np.ndarray, appearance_seed: int = -1) -> tuple[Image, np.ndarray]:
        """The picture of the arm at `state` [7], and the state [7] that it really shows."""
        request = RenderGoal.Request(
            pose=pose_to_msg(state),
            closedness=float(state[CLOSEDNESS]),
            appearance_seed=appearance_seed,
        )
        answer = self._call(self._render, request)
        return answer.image, msg_to_state(answer.state)

    def reach(
        self,
        goals: Sequence[Image],
        max_steps: Sequence[int] = (),
        on_status: Callable[[PlannerStatus], None] = lambda status: None,
        timeout_s: float = 0.0,
    ) -> ReachGoals.Result:
        """Sends goal pictures; returns when the planner is done with them and the arm is at rest.

        Raises:
            PlannerError: the goals were refused, or a node ended.
        """
        goal = ReachGoals.Goal(
            goals=list(goals), max_steps=[int(n) for n in max_steps], timeout_s=float(timeout_s)
        )
        accepted = self._reach.send_goal_async(goal, lambda m: on_status(m.feedback.status))
        self.wait_for(accepted.done, "an answer of reach_goals", ANSWER_S)
        if not accepted.result().accepted:
            raise PlannerError("reach_goals refused the goals; the log of the MPC says why")
        finished = accepted.result().get_result_async()
        self.wait_for(finished.done, "the end of reach_goals", None)
        self._wait_for_rest(self._stamp_ns)
        return finished.result().result

    def wait_for(
        self, condition: Callable[[], Any], what: str, timeout_s: float | None = ANSWER_S
    ) -> None:
        """Spins until the condition holds.

        Raises:
            PlannerError: it took longer than `timeout_s`, or the launch ended meanwhile.
        """
        begun_s = time.monotonic()
        while not condition():
            if self.launch.poll() is not None:
                raise PlannerError(f"the launch ended: {self.launch.reason}")
            if timeout_s is not None and time.monotonic() - begun_s > timeout_s:
                raise PlannerError(f"{timeout_s:g} s without {what}")
            self._executor.spin_once(timeout_sec=0.02)

    def _wait_for_rest(self, after_ns: int) -> None:
        """Until a picture was encoded that was taken REST_S of simulated time after `after_ns`."""
        due_ns = after_ns + round(REST_S * 1e9)
        self.wait_for(
            lambda: min(self._latent_ns, self._stamp_ns) >= due_ns, "a picture of the arm at rest"
        )

    def _call(self, client: Any, request: Any) -> Any:
        future = client.call_async(request)
        self.wait_for(future.done, f"an answer of {client.srv_name}")
        if not future.result().success:
            raise PlannerError(future.result().message)
        return future.result()

    def _see(self, message: EndEffectorState) -> None:
        self.state, self._stamp_ns = msg_to_state(message), _ns(message.header.stamp)

    def _see_latent(self, message: Latent) -> None:
        self._latent_ns = _ns(message.header.stamp)

    def _leave(self) -> None:
        self._executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self._context)


def _ns(stamp: Any) -> int:
    return stamp.sec * 1_000_000_000 + stamp.nanosec
