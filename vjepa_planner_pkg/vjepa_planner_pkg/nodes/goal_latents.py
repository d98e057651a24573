"""Goals on their way through the encoder: those of the topic, and sub-goals that the MPC sends."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable

from node_kit.lifecycle import KitNode
from node_kit.qos import RELIABLE
from node_kit.stamps import stamp_ns
from rclpy.clock import Clock, ClockType
from sensor_msgs.msg import Image
from vjepa_interfaces.msg import Goal as GoalMessage
from vjepa_interfaces.msg import Latent

from vjepa_planner_pkg.core.goals.terms import GoalTerms
from vjepa_planner_pkg.core.mpc.io import Latent as LatentValue
from vjepa_planner_pkg.core.mpc.io import SubGoal
from vjepa_planner_pkg.nodes import messages

_REPEAT_S = 3.0  # how soon after its return an encoder repeats the goal that is latched
_ASK_AGAIN_S = 1.0
_TIMES_ASKED = 5


class GoalLatents:
    """Hears `goal_latent` and `goal`; sends pictures on `subgoal_image`, hears `subgoal_latent`."""

    def __init__(
        self,
        node: KitNode,
        on_goal: Callable[[SubGoal | str], None],
        on_sub_goal: Callable[[int, int, LatentValue | str], None],
    ):
        """`on_goal(goal)` and `on_sub_goal(run, index, goal)` get a goal or what is wrong."""
        self._on_goal, self._on_sub_goal = on_goal, on_sub_goal
        self._asked: dict[int, tuple[int, int]] = {}  # by the stamp given to the picture
        self._picture = Image()
        self._times_asked, self._asked_s = 0, 0.0
        self._last_ns: int | None = None
        self._returned_s: float | None = None
        self._pictures = node.create_publisher(Image, "subgoal_image", RELIABLE)
        node.create_latched_subscription(Latent, "goal_latent", self._take_goal)
        node.create_latched_subscription(GoalMessage, "goal", self._take_terms)
        node.create_subscription(Latent, "subgoal_latent", self._take_sub_goal, RELIABLE)
        # The two topics are discovered one by one: a question or its answer may find no reader yet.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        node.create_timer(_ASK_AGAIN_S, self._ask_again, clock=steady)

    def encode(self, run: int, index: int, picture: Image) -> None:
        """Sends a picture to the encoder under a stamp of its own, by which the answer is known."""
        ns = time.time_ns()
        self._asked = {ns: (run, index)}  # an answer to an earlier question is of no use
        self._picture = copy.copy(picture)
        self._picture.header = messages.header(ns, picture.header.frame_id)
        self._times_asked = 0
        self._ask()

    def returned(self, node: str) -> None:
        """A peer is there, or there again."""
        if node == "encoder" and self._last_ns is not None:
            self._returned_s = time.monotonic()

    def _ask(self) -> None:
        self._times_asked += 1
        self._asked_s = time.monotonic()
        self._pictures.publish(self._picture)

    def _ask_again(self) -> None:
        waited_s = time.monotonic() - self._asked_s
        if self._asked and waited_s > 0.5 * _ASK_AGAIN_S and self._times_asked < _TIMES_ASKED:
            self._ask()

    def _take_goal(self, message: Latent) -> None:
        ns = stamp_ns(message.header.stamp)
        returned_s, self._returned_s = self._returned_s, None
        repeated = returned_s is not None and time.monotonic() - returned_s < _REPEAT_S
        if repeated and ns == self._last_ns:
            return  # a restarted encoder found the old goal latched: nobody asked for it anew
        self._last_ns = ns
        latent = _latent(message, "goal_latent")
        self._on_goal(latent if isinstance(latent, str) else SubGoal(GoalTerms.of(latent)))

    def _take_terms(self, message: GoalMessage) -> None:
        try:
            goal: SubGoal | str = messages.to_sub_goal(message)
        except ValueError as error:
            goal = f"goal cannot be used: {error}"
        self._on_goal(goal)

    def _take_sub_goal(self, message: Latent) -> None:
        asked = self._asked.pop(stamp_ns(message.header.stamp), None)
        if asked is not None:
            self._on_sub_goal(*asked, _latent(message, "subgoal_latent"))


def _latent(message: Latent, name: str) -> LatentValue | str:
    try:
        return messages.to_latent(message)
    except ValueError as error:
        return f"{name} cannot be used: {error}"
