"""What the demo keeps of a run: the goals, and for every look of the planner all that it saw."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from node_kit.cells import CAMERA_TOPIC
from node_kit.convert import msg_to_state
from node_kit.images import to_array
from node_kit.qos import COMMAND, RELIABLE, SENSOR
from robot_cell import POSITION
from sensor_msgs.msg import Image, JointState
from vjepa_interfaces.msg import EndEffectorCommand, EndEffectorState, PlannerStatus

from vjepa_bringup.sim_planner import SimPlanner

ENDED = (
    PlannerStatus.REACHED, PlannerStatus.STUCK, PlannerStatus.TIMED_OUT, PlannerStatus.STOPPED
)  # fmt: skip
_KEPT = 100  # newest messages of each stream that wait for a look to refer to them


@dataclass(frozen=True)
class DemoGoal:
    """A goal picture uint8 [H, W, 3] and the state [7] that it shows."""

    image: np.ndarray
    state: np.ndarray


@dataclass(frozen=True)
class DemoLook:
    """One turn of the receding horizon: what the planner saw, and what it did about it.

    Attributes:
        stamp_ns: of the picture.
        goal, step: which goal (from 0), and how many actions were made for it before.
        state: of the arm, float64 [7]; joints: [9], [rad] and [m]; image: uint8 [H, W, 3].
        energy, predicted_energy: now, and after the action as the planner expects it.
        planning_s: time it took to choose [s].
        action: float64 [7]; None where the planner ended the goal instead.
    """

    stamp_ns: int
    goal: int
    step: int
    state: np.ndarray
    joints: np.ndarray
    image: np.ndarray
    energy: float
    predicted_energy: float
    planning_s: float
    action: np.ndarray | None


@dataclass
class DemoRecording:
    """A run of the demo.

    Attributes:
        seed, varied: of the scene.
        first_command_s: from the start of the demo to the first command; None if none came.
        outcome, reason: of the planner, at last.
        held: why it stopped before that, and went on.
    """

    seed: int
    varied: bool
    goals: list[DemoGoal] = field(default_factory=list)
    looks: list[DemoLook] = field(default_factory=list)
    first_command_s: float | None = None
    outcome: str = ""
    reason: str = ""
    goals_reached: int = 0
    held: list[str] = field(default_factory=list)

    def distance_m(self, look: DemoLook) -> float:
        """How far the arm was from the goal that it followed [m]."""
        return float(np.linalg.norm(look.state[POSITION] - self.goals[look.goal].state[POSITION]))

    def of_goal(self, index: int) -> list[DemoLook]:
        """The looks toward one goal."""
        return [look for look in self.looks if look.goal == index]


class Recorder:
    """Fills a `DemoRecording` from the topics; give every status of the run to `on_status`."""

    def __init__(self, planner: SimPlanner, recording: DemoRecording, begun_s: float):
        """`begun_s`: when the demo began, by the monotonic clock."""
        self._recording, self._begun_s = recording, begun_s
        self._states: dict[int, np.ndarray] = {}
        self._joints: dict[int, np.ndarray] = {}
        self._images: dict[int, np.ndarray] = {}
        self._last: PlannerStatus | None = None
        self._planned = (0.0, 0.0, 0.0)
        subscribe = planner.node.create_subscription
        subscribe(EndEffectorState, "end_effector_state", self._on_state, SENSOR)
        subscribe(JointState, "joint_states", self._on_joints, RELIABLE)
        subscribe(Image, CAMERA_TOPIC, self._on_image, SENSOR)
        subscribe(EndEffectorCommand, "end_effector_command", self._on_command, COMMAND)

    def on_status(self, status: PlannerStatus) -> DemoLook | None:
        """Returns the look that the status tells of, if it does."""
        last, self._last = self._last, status
        if status.state == PlannerStatus.MOVING:
            return self._add(status, status.goal_index, status.step - 1, np.array(status.action))
        next_goal = last is not None and status.goal_index > last.goal_index
        if last is not None and (next_goal or status.state in ENDED):
            return self._add(status, last.goal_index, last.step, None)
        return None

    def _add(
        self, status: PlannerStatus, goal: int, step: int, action: np.ndarray | None
    ) -> DemoLook | None:
        stamp = _ns(status.header.stamp)
        found = [kept.get(stamp) for kept in (self._states, self._joints, self._images)]
        if any(item is None for item in found):
            return None  # ended before or without a picture
        looks = self._recording.looks
        planned = (status.energy, status.predicted_energy, status.planning_s)
        if planned == self._planned:
            return None  # ended before a new plan was made
        self._planned = planned
        look = DemoLook(stamp, goal, step, *found, *planned, action)
        looks.append(look)
        return look

    def _on_command(self, message: EndEffectorCommand) -> None:
        if self._recording.first_command_s is None:
            self._recording.first_command_s = time.monotonic() - self._begun_s

    def _on_state(self, message: EndEffectorState) -> None:
        _keep(self._states, message, msg_to_state(message))

    def _on_joints(self, message: JointState) -> None:
        _keep(self._joints, message, np.array(message.position))

    def _on_image(self, message: Image) -> None:
        _keep(self._images, message, to_array(message).copy())


def _keep(kept: dict[int, np.ndarray], message: Any, item: np.ndarray) -> None:
    kept[_ns(message.header.stamp)] = item
    while len(kept) > _KEPT:
        del kept[next(iter(kept))]


def _ns(stamp: Any) -> int:
    return stamp.sec * 1_000_000_000 + stamp.nanosec
