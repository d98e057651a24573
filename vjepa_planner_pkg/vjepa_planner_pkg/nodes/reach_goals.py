"""The action `reach_goals`: goal images in, feedback and outcome out. Deciding is the MPC's."""

from __future__ import annotations

import math
from collections.abc import Callable

from node_kit.lifecycle import KitNode
from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.task import Future
from sensor_msgs.msg import Image
from vjepa_interfaces.action import ReachGoals
from vjepa_interfaces.msg import PlannerStatus

from vjepa_planner_pkg.core.mpc.io import Finished, MpcState, SubGoal


class ReachGoalsServer:
    """One sequence of goal images at a time; a new one pre-empts it."""

    def __init__(
        self,
        node: KitNode,
        next_run: Callable[[], int],
        begin: Callable[[list[SubGoal], float | None], None],
        cancel: Callable[[str], None],
    ):
        """`begin(goals, timeout_s)` starts run `next_run()`, `cancel(reason)` ends the present."""
        self._node, self._next_run, self._begin, self._cancel = node, next_run, begin, cancel
        self._runs: dict[int, tuple[ServerGoalHandle, Future]] = {}
        ActionServer(
            node,
            ReachGoals,
            "reach_goals",
            self._execute,
            goal_callback=self._check,
            handle_accepted_callback=self._accept,
            cancel_callback=self._on_cancel,
        )

    def image(self, run: int, index: int) -> Image:
        """Goal image `index` of a run of this action."""
        return self._runs[run][0].request.goals[index]

    def feedback(self, run: int, status: PlannerStatus) -> None:
        """Tells whoever sent the goals how it goes, if the run is one of this action."""
        if run in self._runs:
            self._runs[run][0].publish_feedback(ReachGoals.Feedback(status=status))

    def finish(self, finished: Finished) -> None:
        """Sends the result of a run, if it is one of this action."""
        handle, done = self._runs.get(finished.run, (None, None))
        if done is not None:
            done.set_result(finished)

    def _check(self, goal: ReachGoals.Goal) -> GoalResponse:
        problem = ""
        if not self._node.active:
            problem = "the node is not active"
        elif not goal.goals:
            problem = "it holds no image"
        elif len(goal.max_steps) not in (0, len(goal.goals)):
            problem = f"{len(goal.max_steps)} max_steps for {len(goal.goals)} images; give one each"
        elif not (math.isfinite(goal.timeout_s) and goal.timeout_s >= 0.0):
            problem = f"timeout_s is {goal.timeout_s}; give 0 or more"
        if problem:
            self._node.get_logger().warning(f"reach_goals refused: {problem}")
            return GoalResponse.REJECT
        return GoalResponse.ACCEPT

    def _accept(self, handle: ServerGoalHandle) -> None:
        request = handle.request
        steps = list(request.max_steps) or [0] * len(request.goals)
        self._runs[self._next_run()] = handle, Future()
        handle.execute()
        self._begin([SubGoal(max_steps=n or None) for n in steps], request.timeout_s or None)

    async def _execute(self, handle: ServerGoalHandle) -> ReachGoals.Result:
        run = self._run_of(handle)
        finished: Finished = await self._runs[run][1]
        del self._runs[run]
        if finished.outcome is MpcState.REACHED:
            handle.succeed()
        elif handle.is_cancel_requested:
            handle.canceled()
        else:
            handle.abort()
        return ReachGoals.Result(
            outcome=int(finished.outcome),
            reason=finished.reason,
            goals_reached=int(finished.goals_reached),
            energy=float(finished.energy),
        )

    def _on_cancel(self, handle: ServerGoalHandle) -> CancelResponse:
        if self._run_of(handle) == self._next_run() - 1:  # else it was pre-empted already
            self._cancel("reach_goals was cancelled")
        return CancelResponse.ACCEPT

    def _run_of(self, handle: ServerGoalHandle) -> int | None:
        return next((run for run, (known, _) in self._runs.items() if known is handle), None)
