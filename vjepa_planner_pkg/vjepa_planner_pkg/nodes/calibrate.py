"""The action `calibrate`: makes the moves, has them explained, and hands the planner the result."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from node_kit.lifecycle import KitNode
from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.task import Future
from vjepa_interfaces.action import Calibrate

from vjepa_planner_pkg.core.calibration.calibration import Calibration, CalibrationError
from vjepa_planner_pkg.core.calibration.fit import fit, targets
from vjepa_planner_pkg.core.calibration.run import (
    Aborted,
    CalibrationEffect,
    CalibrationRun,
    RecordedMove,
)
from vjepa_planner_pkg.core.mpc.io import Command, Now
from vjepa_planner_pkg.core.mpc.mpc import MPC
from vjepa_planner_pkg.core.search.plan import ScoreError
from vjepa_planner_pkg.nodes.planner_client import PlanCancelled, ScoreSource


def stored_calibration(file: str) -> Calibration | None:
    """The calibration in `file`; None where no file is named or there is none yet.

    Raises:
        CalibrationError: the file cannot be used.
    """
    return Calibration.read(Path(file)) if file and Path(file).exists() else None


class CalibrateServer:
    """One calibration at a time; a goal for the planner ends it.

    Attributes:
        active: whether a calibration moves the arm or is being fitted.
    """

    def __init__(
        self,
        node: KitNode,
        mpc: MPC,
        source: ScoreSource,
        now: Callable[[], Now],
        send: Callable[[Command], None],
        begin: Callable[[], None],
        use: Callable[[Calibration], None],
    ):
        """`begin()` ends what the MPC does; `send` publishes a command; `use` takes the result.

        Parameters come from `node.p`.
        """
        self._node, self._source, self._now = node, source, now
        self._send, self._begin, self._use = send, begin, use
        self._goal: tuple[ServerGoalHandle, Future] | None = None
        self._p = node.p
        self._run = CalibrationRun(
            node.p, mpc.inputs, mpc.settling, lambda state: targets(state, self._move_m(), node.p)
        )
        self._worker = node.create_worker(self._fit, "calibration")
        ActionServer(
            node,
            Calibrate,
            "calibrate",
            self._execute,
            goal_callback=self._check,
            handle_accepted_callback=self._accept,
            cancel_callback=self._on_cancel,
        )

    @property
    def active(self) -> bool:
        return self._goal is not None

    def tick(self) -> None:
        """Call it often: an arm that must hold waits for it."""
        self._carry_out(self._run.tick(self._now()))

    def stop(self, reason: str) -> None:
        """Ends the calibration, if there is one; the arm holds."""
        self._carry_out(self._run.stop(reason, self._now()))
        self._finish(False, reason)

    # The action.

    def _check(self, goal: Calibrate.Goal) -> GoalResponse:
        problem = ""
        if not self._node.active:
            problem = "the node is not active"
        elif self.active:
            problem = "a calibration is going on"
        elif not (math.isfinite(goal.move_m) and 0.0 <= goal.move_m <= self._p.max_step_m):
            problem = f"move_m is {goal.move_m:g}; give 0 to {self._p.max_step_m:g} m"
        if problem:
            self._node.get_logger().warning(f"calibrate refused: {problem}")
            return GoalResponse.REJECT
        return GoalResponse.ACCEPT

    def _accept(self, handle: ServerGoalHandle) -> None:
        self._begin()
        self._goal = handle, Future()
        handle.execute()
        self._carry_out(self._run.begin(self._now()))

    async def _execute(self, handle: ServerGoalHandle) -> Calibrate.Result:
        result: Calibrate.Result = await self._goal[1]
        self._goal = None
        if result.success:
            handle.succeed()
        elif handle.is_cancel_requested:
            handle.canceled()
        else:
            handle.abort()
        return result

    def _on_cancel(self, handle: ServerGoalHandle) -> CancelResponse:
        self.stop("calibrate was cancelled")
        return CancelResponse.ACCEPT

    def _finish(self, success: bool, reason: str, **fields: Any) -> None:
        if self.active and not self._goal[1].done():
            self._node.get_logger().info(f"calibration: {reason}")
            self._goal[1].set_result(Calibrate.Result(success=success, reason=reason, **fields))

    # The moves and the fit.

    def _move_m(self) -> float:
        return self._goal[0].request.move_m or self._p.calibration_move_m

    def _carry_out(self, effects: Iterable[CalibrationEffect]) -> None:
        for effect in effects:
            match effect:
                case Command():
                    self._send(effect)
                    self._tell(f"move {self._run.done + 1} of {self._run.count}")
                case RecordedMove(moves):
                    self._tell("explaining the moves")
                    self._worker.offer((self._goal, moves))
                case Aborted(reason):
                    self._finish(False, reason)

    def _tell(self, doing: str) -> None:
        if self.active:
            self._goal[0].publish_feedback(
                Calibrate.Feedback(move=self._run.done, moves=self._run.count, doing=doing)
            )

    def _fit(self, work: tuple) -> None:
        """In the worker's thread."""
        goal, moves = work
        try:
            found = fit(
                moves,
                lambda request: self._source.score(request, lambda: self._goal is goal),
                self._p,
                self._p,
            )
        except PlanCancelled:
            return
        except (CalibrationError, ScoreError, ValueError) as error:
            reason = str(error)
            self._node.call_soon(lambda: self._fitted(goal, reason))
            return
        self._node.call_soon(lambda: self._fitted(goal, found))

    def _fitted(self, goal: tuple, found: Calibration | str) -> None:
        if self._goal is not goal or goal[1].done():
            return
        if isinstance(found, str):
            self._finish(False, found)
            return
        file = self._p.calibration_file
        if file:
            try:
                found.write(Path(file))
            except OSError as error:
                self._finish(False, f"{file} cannot be written: {error}")
                return
        self._use(found)
        self._finish(
            True,
            f"the axes are turned by {np.rad2deg(found.yaw_rad):.1f} degrees, "
            f"{100 * found.residual:.0f} % of the motion stays unexplained",
            yaw=found.yaw_rad,
            residual=found.residual,
            moves=found.moves,
            file=file,
        )
