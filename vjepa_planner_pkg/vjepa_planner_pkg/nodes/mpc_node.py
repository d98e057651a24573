"""The MPC on ROS 2: goals and inputs in, commands, status and action feedback out.

Callbacks only tell `core.mpc.MPC` what happened and carry out what it answers; planning runs in
a worker thread. Ages go by the steady clock, the order of pictures and moves by their stamps.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from diagnostic_msgs.msg import DiagnosticStatus
from node_kit.cells import load_cell
from node_kit.health import HealthPublisher, status
from node_kit.lifecycle import KitNode, run
from node_kit.parameters import ParameterError, parameter
from node_kit.qos import COMMAND, LATCHED
from rclpy.clock import Clock, ClockType
from std_srvs.srv import Trigger
from vjepa_interfaces.msg import EndEffectorCommand, PlannerStatus

from vjepa_planner_pkg.core.calibration.calibration import Calibration
from vjepa_planner_pkg.core.calibration.fit import CalibrationParameters
from vjepa_planner_pkg.core.mpc.io import (
    CancelPlan,
    Command,
    Effect,
    EncodeGoal,
    Finished,
    Latent,
    MpcState,
    RequestPlan,
    Status,
    SubGoal,
)
from vjepa_planner_pkg.core.mpc.mpc import MPC
from vjepa_planner_pkg.core.mpc.parameters import MpcParameters
from vjepa_planner_pkg.core.search.action_space import BOUNDED, within
from vjepa_planner_pkg.core.search.planner import PlannerConfig
from vjepa_planner_pkg.nodes import messages, presence
from vjepa_planner_pkg.nodes.calibrate import CalibrateServer, stored_calibration
from vjepa_planner_pkg.nodes.goal_latents import GoalLatents
from vjepa_planner_pkg.nodes.mpc_inputs import MpcInputs
from vjepa_planner_pkg.nodes.planner_client import PlanWorker, PredictorClient, ScoreSource
from vjepa_planner_pkg.nodes.reach_goals import ReachGoalsServer

TICK_S = 0.02


@dataclass
class MpcNodeParameters(CalibrationParameters, PlannerConfig, MpcParameters):
    """Parameters of the MPC node."""

    cell: str = parameter(
        "", "cell file, or name of a shipped cell; without one the MPC does not start"
    )
    score_timeout_s: float = parameter(
        2.0, "longest time for one answer of score_actions", unit="s", minimum=0.05
    )


class MpcNode(KitNode):
    """Follows goals; see `core.mpc`. Energies come from the predictor node."""

    Parameters = MpcNodeParameters
    peers = ("encoder", "predictor")

    def __init__(self, **kwargs: Any):
        super().__init__("mpc", **kwargs)
        try:
            cell = load_cell(self.p.cell, "mpc")
            self.arm, _, limits = cell.needs_arm()
            bounded = within(self.p, cell)
        except ValueError as error:
            self.destroy_node()
            raise ParameterError(str(error)) from error
        for name in ("max_step_m", "max_rotation_rad"):
            if getattr(bounded, name) < getattr(self.p, name):
                self.get_logger().info(
                    f"{name} is {getattr(bounded, name):.3g}, so that steps keep to limits.step_m "
                    f"{limits.step_m:g} and limits.turn_rad {limits.turn_rad:g} of the cell"
                )
        for name in BOUNDED:  # not `bounded` itself: `p` follows runtime changes
            setattr(self.p, name, getattr(bounded, name))

    def score_source(self) -> ScoreSource:
        """Where energies come from; a composed planner has its own."""
        torch.set_num_threads(1)  # what is left here is too small to share out
        return PredictorClient(self, self.p.score_timeout_s)

    def configure(self) -> None:
        self.mpc = MPC(self.p, self.p.seed, self.peers, self.on_change)
        source = self.score_source()
        calibration = stored_calibration(self.p.calibration_file)
        self.planner = PlanWorker(
            self, self.p, source, self.on_plan, self.on_plan_failed, calibration
        )
        self.command = self.create_publisher(EndEffectorCommand, "end_effector_command", COMMAND)
        self.status = self.create_publisher(PlannerStatus, "planner_status", LATCHED)
        self.goals = GoalLatents(self, self.on_goal, self.on_sub_goal)
        self.reach = ReachGoalsServer(
            self, lambda: self.mpc.run + 1, self.begin, lambda reason: self.stop(reason)
        )
        self.inputs = MpcInputs(
            self, self.mpc, self.p, self.arm, self.peers, self.carry_out, self.goals.returned
        )
        self.calibrate = CalibrateServer(
            self,
            self.mpc,
            source,
            self.inputs.now,
            lambda command: self.carry_out([command]),
            lambda: self.stop("pre-empted by a calibration"),
            self.on_calibration,
        )
        self.create_service(Trigger, "~/stop", self.on_stop)
        presence.announce(self, "planner_alive", "mpc")  # the guard holds when it dies
        HealthPublisher(self, self.inputs.monitors, self.report)
        self.on_change(self.mpc.status)

    def activate(self) -> None:
        # Steady: it must go on when a simulation stops its clock.
        self.timer = self.create_timer(
            TICK_S, self.tick, clock=Clock(clock_type=ClockType.STEADY_TIME)
        )

    def deactivate(self) -> None:
        self.destroy_timer(self.timer)
        self.stop("the node mpc was stopped")

    # In.

    def on_goal(self, goal: SubGoal | str) -> None:
        """A goal of the topic, or why it cannot be used."""
        if isinstance(goal, str):
            self.carry_out(self.mpc.on_goal_rejected(goal, self.inputs.now()))
        elif self.active:
            self.begin([goal], None)

    def on_sub_goal(self, run: int, index: int, goal: Latent | str) -> None:
        """A goal of the action is encoded, or why it cannot be."""
        if isinstance(goal, str):
            self.carry_out(self.mpc.on_goal_rejected(goal, self.inputs.now()))
        else:
            self.carry_out(self.mpc.on_goal_encoded(run, index, goal, self.inputs.now()))

    def on_plan(self, *planned: Any) -> None:
        self.carry_out(self.mpc.on_plan(*planned, self.inputs.now()))

    def on_plan_failed(self, *failed: Any) -> None:
        self.carry_out(self.mpc.on_plan_failed(*failed, self.inputs.now()))

    def on_stop(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.success, response.message = True, "stopped"
        if not (self.mpc.status.state.active or self.calibrate.active):
            response.message = f"nothing to stop: {self.mpc.status.state.name.lower()}"
        self.stop("the service stop was called")
        return response

    def on_calibration(self, calibration: Calibration) -> None:
        self.planner.calibration = calibration

    def tick(self) -> None:
        self.carry_out(self.mpc.tick(self.inputs.now()))
        self.calibrate.tick()

    # Out.

    def begin(self, goals: list[SubGoal], timeout_s: float | None) -> None:
        """Starts a run."""
        self.calibrate.stop("pre-empted by a new goal")
        self.carry_out(self.mpc.on_goals(goals, self.inputs.now(), timeout_s))

    def stop(self, reason: str) -> None:
        """Ends the run or the calibration, if there is one; the arm holds."""
        self.calibrate.stop(reason)
        self.carry_out(self.mpc.stop(reason, self.inputs.now()))

    def carry_out(self, effects: Iterable[Effect]) -> None:
        """Does what the MPC decided."""
        for effect in effects:
            match effect:
                case RequestPlan():
                    self.planner.request(effect)
                case CancelPlan(id):
                    self.planner.cancel(id)
                case Command():
                    self.command.publish(messages.from_command(effect, self.arm.base_frame))
                case EncodeGoal(number, index):
                    self.goals.encode(number, index, self.reach.image(number, index))
                case Finished():
                    self.reach.finish(effect)

    def on_change(self, changed: Status) -> None:
        """Publishes every change of the status."""
        message = messages.from_status(
            changed, self.get_clock().now().nanoseconds, self.arm.base_frame
        )
        self.status.publish(message)
        self.reach.feedback(self.mpc.run, message)
        self.get_logger().info(f"{changed.state.name.lower()}: {changed.reason}")

    def report(self) -> list[DiagnosticStatus]:
        """The MPC on /diagnostics."""
        now = self.mpc.status
        bad = (MpcState.STUCK, MpcState.TIMED_OUT, MpcState.STOPPED)
        level = DiagnosticStatus.WARN if now.state in bad else DiagnosticStatus.OK
        return [status("mpc", level, f"{now.state.name.lower()}: {now.reason}")]


def main() -> None:
    run(MpcNode)


if __name__ == "__main__":
    main()
