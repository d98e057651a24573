"""The command guard on ROS 2: the only node that talks to the arm. All judgement is in core."""

from __future__ import annotations

import time
from typing import Any

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import PoseStamped, TwistStamped
from node_kit.cells import load_cell
from node_kit.health import HealthPublisher, StreamMonitor, status
from node_kit.lifecycle import KitNode, run
from node_kit.parameters import ParameterError
from node_kit.qos import COMMAND, LATCHED, SENSOR
from node_kit.stamps import stamp_ns
from rclpy.clock import Clock, ClockType
from std_msgs.msg import Bool, Float64
from std_srvs.srv import Trigger
from vjepa_interfaces.msg import EndEffectorCommand, EndEffectorState, GuardStatus

from vjepa_planner_pkg.core.guard.config import GuardConfig, GuardParameters
from vjepa_planner_pkg.core.guard.guard import CommandGuard
from vjepa_planner_pkg.core.guard.io import GuardState, Now, Output
from vjepa_planner_pkg.nodes import presence
from vjepa_planner_pkg.nodes.guard_messages import (
    command_input,
    state_input,
    target_message,
    twist_message,
)

STATUS_PERIOD_S = 0.05  # guard_status is the guard's sign of life as well
GRAPH_PERIOD_S = 0.1  # how often it looks who writes


class CommandGuardNode(KitNode):
    """Passes checked commands on to the arm; on doubt the arm holds."""

    Parameters = GuardParameters

    def __init__(self, **kwargs: Any):
        super().__init__("command_guard", **kwargs)
        try:
            self.limits = GuardConfig.of(load_cell(self.p.cell, "command_guard"), self.p)
        except ValueError as error:
            self.destroy_node()
            raise ParameterError(str(error)) from error
        # Made once: an emergency stop outlives a deactivated or reconfigured node.
        self.guard = CommandGuard(self.limits)

    def configure(self) -> None:
        self.target = self.create_publisher(PoseStamped, "target_pose", COMMAND)
        self.gripper = self.create_publisher(Float64, "gripper_command", COMMAND)
        self.status = self.create_publisher(GuardStatus, "guard_status", LATCHED)
        self.twist = None
        if self.p.stream:
            self.twist = self.create_publisher(TwistStamped, "delta_twist_cmds", COMMAND)
        self.states = StreamMonitor("end_effector_state", stale_after_s=self.p.state_max_age_s)
        self.commands = StreamMonitor("end_effector_command")
        self.last_status: tuple | None = None
        self.create_subscription(EndEffectorState, "end_effector_state", self.on_state, SENSOR)
        self.create_subscription(
            EndEffectorCommand, "end_effector_command", self.on_command, COMMAND
        )
        presence.watch(self, "planner_alive", lambda name: None, self.on_planner_lost)
        self.create_latched_subscription(Bool, "emergency_stop", self.on_emergency_stop_topic)
        self.create_service(Trigger, "~/emergency_stop", self.on_emergency_stop)
        self.create_service(Trigger, "~/reset", self.on_reset)
        HealthPublisher(self, [self.states, self.commands], self.report)

    def activate(self) -> None:
        # Steady timers: the watch must go on when a simulation stops its clock.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.look_who_writes()
        self.timers_while_active = [
            self.create_timer(1.0 / self.p.rate_hz, self.tick, clock=steady),
            self.create_timer(GRAPH_PERIOD_S, self.look_who_writes, clock=steady),
            self.create_timer(STATUS_PERIOD_S, self.publish_status, clock=steady),
        ]

    def deactivate(self) -> None:
        for timer in self.timers_while_active:
            self.destroy_timer(timer)
        self.say(self.guard.shut_down(self.now()))
        self.publish_status()

    # In.

    def on_state(self, message: EndEffectorState, info: dict) -> None:
        self.states.tick(_readable(message.header.stamp))
        self.guard.on_state(state_input(message, info), self.now())

    def on_command(self, message: EndEffectorCommand, info: dict) -> None:
        self.commands.tick(_readable(message.header.stamp))
        if not self.active:
            return
        self.look_who_writes()
        decision = self.guard.on_command(command_input(message, info), self.now())
        if decision.reason:
            text = f"command {decision.verdict.value}: {decision.reason}"
            self.get_logger().warning(text, throttle_duration_sec=1.0)
        self.tick()

    def on_emergency_stop_topic(self, message: Bool) -> None:
        self.guard.on_emergency_stop_topic(message.data, self.now())
        self.tick()

    def on_emergency_stop(
        self, request: Trigger.Request, response: Trigger.Response
    ) -> Trigger.Response:
        self.guard.on_emergency_stop("service emergency_stop was called", self.now())
        self.tick()
        response.success, response.message = True, "stopped until reset"
        return response

    def on_reset(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.success, response.message = self.guard.reset(self.now())
        self.tick()
        return response

    def look_who_writes(self) -> None:
        """Asks the ROS graph for the publishers of commands."""
        planners = self.get_publishers_info_by_topic("end_effector_command")
        self.guard.on_planners(frozenset(bytes(p.endpoint_gid) for p in planners))

    def on_planner_lost(self, reason: str) -> None:
        self.guard.on_planner_lost(self.now())
        self.tick()

    # Out.

    def tick(self) -> None:
        """Lets the guard look at the time, and says what it says."""
        if not self.active:
            return
        self.say(self.guard.tick(self.now()))
        state, reason = self.guard.status(self.now())
        if self.last_status is None or (state, reason) != self.last_status[:2]:
            if state is not GuardState.READY:
                self.get_logger().warning(f"{state.name.lower()}: {reason}")
            self.publish_status()

    def say(self, output: Output | None) -> None:
        """Publishes an output of the guard."""
        if output is None:
            return
        if output.closedness is not None:  # first: a lock-step arm moves with the pose
            self.gripper.publish(Float64(data=float(output.closedness)))
        if output.pose is not None:
            self.target.publish(target_message(output, self.limits.base_frame))
        if output.twist is not None:
            self.twist.publish(twist_message(output, self.limits.base_frame))

    def publish_status(self) -> None:
        """guard_status: at once when it changes, and regularly."""
        guard = self.guard
        self.last_status = guard.status(self.now())
        message = GuardStatus(
            state=int(self.last_status[0]),
            reason=self.last_status[1],
            accepted=guard.accepted,
            clipped=guard.clipped,
            rejected=guard.rejected,
        )
        message.header.stamp = self.get_clock().now().to_msg()
        message.header.frame_id = self.limits.base_frame
        self.status.publish(message)

    def report(self) -> list[DiagnosticStatus]:
        """The guard on /diagnostics."""
        state, reason = self.guard.status(self.now())
        level = (DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR)[state]
        counts = {n: str(getattr(self.guard, n)) for n in ("accepted", "clipped", "rejected")}
        return [status("guard", level, f"{state.name.lower()} {reason}".strip(), **counts)]

    def now(self) -> Now:
        """This moment by the steady clock and by the node's."""
        return Now(time.monotonic(), self.get_clock().now().nanoseconds)


def _readable(stamp: Time) -> Time | None:
    """For the monitors, which cannot take a negative stamp; the guard refuses those itself."""
    return stamp if stamp_ns(stamp) >= 0 else None


def main() -> None:
    run(CommandGuardNode)


if __name__ == "__main__":
    main()
