"""The command guard: nothing reaches the arm that it has not checked; on doubt the arm holds.

Inputs (states, commands, writers, emergency stop) change its mind; only `tick` speaks to the arm.
Time is passed in, so that it can be tested without a clock, and nothing here knows ROS.

Two ways to speak. With `stream: false` each accepted command is passed on once, as an absolute
target near the measured pose: for drivers that make their own trajectory, and for the lock-step
simulation, which runs one whole move per target. With `stream: true` every tick sends a set-point
on the way there, under the speed limits, and a twist: for arms that follow set-points.

To hold is, streaming, to keep sending the measured pose and a zero twist; otherwise to send the
measured pose once if a move may be under way. The gripper then keeps what it was told last: the
measured closedness of a gripper around a part would let go of it.
"""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from robot_cell import ANGULAR, LINEAR

from vjepa_planner_pkg.core.guard.checks import (
    refuse_command,
    refuse_state,
    refuse_times,
    within_reach,
)
from vjepa_planner_pkg.core.guard.config import GuardConfig
from vjepa_planner_pkg.core.guard.io import (
    CommandInput,
    Decision,
    GuardState,
    Now,
    Output,
    StateInput,
    Verdict,
)
from vjepa_planner_pkg.core.guard.limits import (
    Pose,
    limit_twist,
    part_way,
    share_within,
    step_between,
    velocity_between,
    violation,
)
from vjepa_planner_pkg.core.guard.single_writer import SingleWriter
from vjepa_planner_pkg.core.guard.space import ROUNDING, AllowedSpace

ARRIVED_M, ARRIVED_RAD = 0.003, 0.02  # nearer than this, a move passed on is over
TRACKING_S = 0.5  # time constant with which the twist takes back the lag behind the set-point
TWO_DRIVERS = "end_effector_state comes from two writers: stop one"
PLANNER_GONE = "the writer of end_effector_command is gone"
_NS = 1e-9


@dataclass(frozen=True)
class _Target:
    pose: Pose
    closedness: float
    stamp_ns: int


@dataclass(frozen=True)
class _Measured:
    pose: Pose
    closedness: float
    stamp_ns: int
    received_s: float


def _latches_faults(default: Callable[[str], Any]) -> Callable:
    """An exception inside the guard is an emergency stop, never a hole."""

    def decorate(method: Callable) -> Callable:
        @functools.wraps(method)
        def safely(self: CommandGuard, *args: Any) -> Any:
            try:
                return method(self, *args)
            except Exception as error:
                logging.getLogger(__name__).exception("internal fault")
                reason = f"internal fault: {type(error).__name__}: {error}"
                self._latch(reason)
                return default(reason)

        return safely

    return decorate


def _rejected(reason: str) -> Decision:
    return Decision(Verdict.REJECTED, reason)


class CommandGuard:
    """Decides what the arm may be told.

    Feed it with `on_state`, `on_command`, `on_writers`, `on_emergency_stop`, and call `tick` at
    `rate_hz` and after each command; send what `tick` returns. `shut_down` returns the last word.

    Attributes:
        accepted, clipped, rejected: commands so far.
    """

    def __init__(self, config: GuardConfig):
        self.config = config
        self.accepted = self.clipped = self.rejected = 0
        self._space = AllowedSpace.of(config)
        self._command_writer = SingleWriter("end_effector_command")
        self._now: Now | None = None
        self._latest_ros_ns: int | None = None
        self._measured: _Measured | None = None
        self._newest_state_ns: int | None = None  # no state may be stamped before
        self._state_fault = "no end_effector_state yet: start the arm's driver or the simulation"
        self._ignored_state = ""
        self._state_writer: bytes | None = None
        self._intruder_at_s = -math.inf  # when a second writer told the arm's state
        self._stop_reason = ""  # not empty: emergency stop is latched
        self._stop_requested = False  # the topic still asks for it
        self._stopped_at_ns: int | None = None
        self._refusal = ""
        self._refused_at_s = -math.inf
        self._last_stamp_ns: int | None = None  # of the last accepted command
        self._move_ends_ns: int | None = None  # when the last accepted move may be over
        self._target: _Target | None = None  # accepted and, as far as known, not reached yet
        self._target_is_new = False
        self._holding = False  # the arm is to be told to hold
        self._setpoint: Pose | None = None  # streaming: the last one sent
        self._closedness: float | None = None  # the last one sent
        self._ticked_at_s: float | None = None

    # Inputs.

    @_latches_faults(_rejected)
    def on_state(self, state: StateInput, now: Now) -> Decision:
        """Takes a measured state.

        One with bad contents puts the arm in doubt at once; one with a bad time is ignored, and
        if no better one comes, the last good one grows too old.
        """
        self._advance_clocks(now)
        reason = refuse_state(state, self.config)
        if reason:
            self._state_fault = reason
            return _rejected(reason)
        reason = self._refuse_state_times(state, now)
        if reason:
            self._ignored_state = reason
            return _rejected(reason)
        if self._is_intruder(state, now):
            self._intruder_at_s = now.steady_s
            return _rejected(TWO_DRIVERS)
        self._state_writer = state.writer
        self._measured = _Measured(
            Pose.of(state.position, state.quaternion),
            min(max(float(state.closedness), 0.0), 1.0),
            state.stamp_ns,
            state.received_s,
        )
        self._newest_state_ns = state.stamp_ns
        self._state_fault = self._ignored_state = ""
        if not self.config.stream and self._target is not None and not self._target_is_new:
            way, turn = step_between(self._measured.pose, self._target.pose)
            if way <= ARRIVED_M and turn <= ARRIVED_RAD:
                self._target = None
        return Decision(Verdict.ACCEPTED)

    @_latches_faults(_rejected)
    def on_command(self, command: CommandInput, now: Now) -> Decision:
        """Takes a command: a checked target for `tick`, or a reason why the arm holds."""
        self._advance_clocks(now)
        reason = (
            self._stop_reason
            or self._doubt(now)
            or self._command_writer.refuse(command.writer)
            or refuse_command(command, self.config)
            or self._refuse_command_times(command, now)
        )
        if reason:
            return self._refuse(reason, now)
        wanted = Pose.of(command.position, command.quaternion)
        target, clip_reason = within_reach(wanted, self._measured.pose, self._space, self.config)
        closedness = min(max(float(command.closedness), 0.0), 1.0)
        if closedness != command.closedness:
            clip_reason = clip_reason or f"closedness {command.closedness:g} is outside 0..1"
        if target is None or (clip_reason and self.config.policy == "reject"):
            return self._refuse(clip_reason, now)
        haste = self._refuse_haste(now)
        if haste and not self._near(target, ARRIVED_M, ARRIVED_RAD):
            return self._refuse(haste, now)
        self._command_writer.accept(command.writer)
        self._last_stamp_ns = command.stamp_ns
        self._refusal = ""
        if haste:  # a planner that says stop in the middle of a move: nothing but a hold
            self._drop_target()
            self.accepted += 1
            return Decision(Verdict.ACCEPTED)
        self._move_ends_ns = now.ros_ns + self._move_ns(target, closedness)
        self._target = _Target(target, closedness, command.stamp_ns)
        self._target_is_new = True
        self._holding = False
        if self._setpoint and not self._near(
            self._setpoint, self.config.max_lead_m, self.config.max_lead_rad
        ):
            self._setpoint = None  # the arm was moved meanwhile: start from where it is
        if clip_reason:
            self.clipped += 1
            return Decision(Verdict.CLIPPED, clip_reason)
        self.accepted += 1
        return Decision(Verdict.ACCEPTED)

    def on_planners(self, present: frozenset[bytes]) -> None:
        """Takes who writes end_effector_command now, by publisher gid."""
        self._command_writer.present = present

    @_latches_faults(lambda reason: None)
    def on_planner_lost(self, now: Now) -> None:
        """The planner died: the graph may show its publisher for many seconds more."""
        self._advance_clocks(now)
        self._command_writer.lose()
        if self._target is not None:
            self._note_refusal(PLANNER_GONE, now)

    @_latches_faults(lambda reason: None)
    def on_emergency_stop(self, reason: str, now: Now) -> None:
        """Latches the emergency stop; only `reset` ends it."""
        self._advance_clocks(now)
        self._latch(f"emergency stop: {reason}")

    def on_emergency_stop_topic(self, stop: bool, now: Now) -> None:
        """As `on_emergency_stop`; while the topic says true, `reset` is refused."""
        self._stop_requested = bool(stop)
        if stop:
            self.on_emergency_stop("topic emergency_stop is true", now)

    @_latches_faults(lambda reason: (False, reason))
    def reset(self, now: Now) -> tuple[bool, str]:
        """Ends the emergency stop if its cause is gone. Returns whether, and why or why not.

        The arm keeps holding until a command comes that was planned after the stop.
        """
        self._advance_clocks(now)
        if not self._stop_reason:
            return True, "was not stopped"
        cause = self._doubt(now)
        if self._stop_requested:
            cause = "topic emergency_stop is still true: publish false when it is safe"
        if cause:
            return False, f"not reset, {cause}"
        was, self._stop_reason = self._stop_reason, ""
        return True, f"reset after {was}"

    # Outputs.

    @_latches_faults(lambda reason: None)
    def tick(self, now: Now) -> Output | None:
        """What the arm must be told now; None: nothing new."""
        self._advance_clocks(now)
        elapsed_s = self._elapsed_since_tick(now)
        doubt = self._doubt(now)
        if self._stop_reason or doubt:
            self._drop_target()
        elif self._target is not None and self._command_writer.left:
            self._note_refusal(PLANNER_GONE, now)
        if self._target is not None:
            output = self._advance(elapsed_s, now) if self.config.stream else self._pass_on(now)
        else:
            output = self._hold(now)
        return self._checked(output, bool(self._stop_reason or doubt))

    @_latches_faults(lambda reason: None)
    def shut_down(self, now: Now) -> Output | None:
        """The last action: hold, wherever the arm is known to be."""
        self._advance_clocks(now)
        self._drop_target(at_rest=not self._doubt(now))
        return self._checked(self._hold(now), True)

    def status(self, now: Now) -> tuple[GuardState, str]:
        """The guard's state and its reason."""
        if self._stop_reason:
            return GuardState.EMERGENCY_STOPPED, self._stop_reason
        doubt = self._doubt(now)
        if doubt:
            return GuardState.HOLDING, doubt
        if self._refusal and now.steady_s - self._refused_at_s <= self.config.hold_s:
            return GuardState.HOLDING, self._refusal
        return GuardState.READY, f"last refusal: {self._refusal}" if self._refusal else ""

    # Doubt.

    def _doubt(self, now: Now) -> str:
        """Why the arm must hold whatever is commanded; empty when there is no reason."""
        if self._state_fault:
            return self._state_fault
        c, measured = self.config, self._measured
        ignored = f" (last one ignored: {self._ignored_state})" if self._ignored_state else ""
        age_s = now.steady_s - measured.received_s
        if age_s > c.state_max_age_s:
            return f"end_effector_state is silent for more than {c.state_max_age_s:g} s{ignored}"
        if (now.ros_ns - measured.stamp_ns) * _NS > c.state_max_stamp_age_s:
            return (
                f"the stamp of end_effector_state is older than {c.state_max_stamp_age_s:g} s: "
                f"compare clocks and use_sim_time{ignored}"
            )
        outside = self._space.distance(measured.pose.position)
        if outside > c.workspace_margin_m:
            return (
                f"the arm is {100 * outside:.1f} cm {self._space.where(measured.pose.position)}: "
                "move it back by hand or change the workspace of the cell"
            )
        if now.steady_s - self._intruder_at_s <= c.hold_s:
            return TWO_DRIVERS
        return self._command_writer.crowd

    def _is_intruder(self, state: StateInput, now: Now) -> bool:
        """Whether another one tells the state while the first has not fallen silent."""
        if self._state_writer is None or state.writer == self._state_writer:
            return False
        return now.steady_s - self._measured.received_s <= self.config.state_max_age_s

    def _refuse_state_times(self, state: StateInput, now: Now) -> str:
        c = self.config
        reason = refuse_times(
            state, now, c.state_max_age_s, c.state_max_stamp_age_s, c.clock_tolerance_s
        )
        if reason or self._newest_state_ns is None:
            return reason
        back_s = (self._newest_state_ns - state.stamp_ns) * _NS
        # After a silence the driver may have been restarted: what it stamped before is no measure.
        if back_s > 0.0 and now.steady_s - self._measured.received_s <= c.state_max_age_s:
            return f"stamp is {back_s:.3f} s before the last one"
        return ""

    def _refuse_command_times(self, command: CommandInput, now: Now) -> str:
        c = self.config
        reason = refuse_times(
            command, now, c.command_max_age_s, c.command_max_stamp_age_s, c.clock_tolerance_s
        )
        if reason:
            return f"command: {reason}"
        if self._last_stamp_ns is not None and command.stamp_ns <= self._last_stamp_ns:
            back_s = (self._last_stamp_ns - command.stamp_ns) * _NS
            return f"command: stamp is {back_s:.3f} s before, or that of, the last one accepted"
        if self._stopped_at_ns is not None and command.stamp_ns < self._stopped_at_ns:
            return "command: was planned before the emergency stop"
        return ""

    def _refuse_haste(self, now: Now) -> str:
        """Streaming paces itself; otherwise the next move waits until the last can be over."""
        c = self.config
        if c.stream or self._move_ends_ns is None or now.ros_ns >= self._move_ends_ns:
            return ""
        early_s = (self._move_ends_ns - now.ros_ns) * _NS
        return (
            f"command: comes {early_s:.2f} s before the last move can be over at "
            f"{c.max_linear_speed_m_s:g} m/s, {c.max_angular_speed_rad_s:g} rad/s and "
            f"{c.max_closedness_rate_1_s:g} closedness/s; command slower or raise the speeds"
        )

    def _move_ns(self, target: Pose, closedness: float) -> int:
        """How long the move to `target` takes at full speed."""
        c, measured = self.config, self._measured
        way, turn = step_between(measured.pose, target)
        change = abs(closedness - measured.closedness)
        seconds = max(
            way / c.max_linear_speed_m_s,
            turn / c.max_angular_speed_rad_s,
            change / c.max_closedness_rate_1_s,
        )
        return math.ceil(seconds / _NS)

    # What is said.

    def _pass_on(self, now: Now) -> Output | None:
        """The accepted target, once."""
        c, target = self.config, self._target
        if not self._target_is_new:
            return None
        self._target_is_new = False
        here = self._space.nearest(self._measured.pose.position)
        moved = not self._near(target.pose, c.max_step_m, c.max_step_rad)
        if moved or self._space.refuse_way(here, target.pose.position):
            self._note_refusal("command: the arm moved away before it was passed on", now)
            return self._hold(now)
        self._closedness = target.closedness
        return Output(target.stamp_ns, target.pose, target.closedness, None, hold=False)

    def _advance(self, elapsed_s: float, now: Now) -> Output:
        """The next set-point on the way to the target, and the twist that follows it."""
        c, measured, target = self.config, self._measured, self._target
        self._target_is_new = False
        previous = self._setpoint or self._rest_pose()
        if not self._near(previous, c.max_step_m, c.max_step_rad):
            way, turn = step_between(measured.pose, previous)
            self._note_refusal(
                f"the arm does not follow: {100 * way:.1f} cm and {turn:.2f} rad behind", now
            )
            return self._hold(now)
        way, turn = step_between(previous, target.pose)
        share = min(
            share_within(c.max_linear_speed_m_s * elapsed_s, way),
            share_within(c.max_angular_speed_rad_s * elapsed_s, turn),
        )
        setpoint = target.pose if share == 1.0 else part_way(previous, target.pose, share, share)
        if not self._near(setpoint, c.max_lead_m, c.max_lead_rad):
            setpoint = previous  # wait for the arm
        barred = self._space.refuse_way(previous.position, setpoint.position)
        if barred:  # it was not from where the command came in
            self._note_refusal(f"command: {barred}", now)
            return self._hold(now)
        twist = velocity_between(measured.pose, previous, TRACKING_S)
        if elapsed_s > 0.0:
            twist = twist + velocity_between(previous, setpoint, elapsed_s)
        twist = limit_twist(twist, c.max_linear_speed_m_s, c.max_angular_speed_rad_s)
        closedness = measured.closedness if self._closedness is None else self._closedness
        change = target.closedness - closedness
        closedness += change * share_within(c.max_closedness_rate_1_s * elapsed_s, abs(change))
        self._setpoint, self._closedness = setpoint, min(max(closedness, 0.0), 1.0)
        return Output(measured.stamp_ns, setpoint, self._closedness, twist, hold=False)

    def _hold(self, now: Now) -> Output | None:
        """The measured pose: once, or over and over when streaming."""
        if not self._holding or self._measured is None:
            return None
        c, measured = self.config, self._measured
        twist = np.zeros(6) if c.stream else None
        self._holding = c.stream
        # A pose of long ago, or one outside the workspace, is nowhere to send an arm.
        silent_s = now.steady_s - measured.received_s
        if (
            silent_s > c.state_max_age_s + c.hold_s
            or self._space.distance(measured.pose.position) > c.workspace_margin_m
        ):
            return Output(measured.stamp_ns, None, None, twist, hold=True)
        # The first pose is kept, else an arm that sags a little would sink tick by tick.
        if self._setpoint is None or not self._near(self._setpoint, c.max_lead_m, c.max_lead_rad):
            self._setpoint = self._rest_pose()
        return Output(measured.stamp_ns, self._setpoint, None, twist, hold=True)

    def _checked(self, output: Output | None, must_hold: bool) -> Output | None:
        """The last look, independent of how the output was made: a violation is a fault."""
        if output is None:
            return None
        c, reason = self.config, ""
        if must_hold and not output.hold:
            reason = "a move while the arm must hold"
        elif output.pose is not None:
            reason = violation(
                output.pose, self._measured.pose, self._space, c.max_step_m, c.max_step_rad
            )
        if not reason and output.closedness is not None and not 0.0 <= output.closedness <= 1.0:
            reason = f"closedness {output.closedness}"
        if not reason and output.twist is not None:
            linear, angular = math.hypot(*output.twist[LINEAR]), math.hypot(*output.twist[ANGULAR])
            if not (linear <= c.max_linear_speed_m_s + ROUNDING) or not (
                angular <= c.max_angular_speed_rad_s + ROUNDING
            ):
                reason = f"twist of {linear:.3f} m/s and {angular:.3f} rad/s"
        if not reason:
            return output
        self._latch(f"internal fault: refused to send {reason}")
        twist = np.zeros(6) if c.stream else None
        return Output(output.stamp_ns, None, None, twist, hold=True)

    # Small steps.

    def _refuse(self, reason: str, now: Now) -> Decision:
        self.rejected += 1
        self._note_refusal(reason, now)
        return _rejected(reason)

    def _note_refusal(self, reason: str, now: Now) -> None:
        self._refusal, self._refused_at_s = reason, now.steady_s
        self._drop_target()

    def _latch(self, reason: str) -> None:
        """Emergency stop. The first reason stays: what follows is often its consequence."""
        if self._stop_reason:
            return
        self._stop_reason = reason
        self._stopped_at_ns = self._now.ros_ns if self._now else None
        self._drop_target(at_rest=self._now is not None and not self._doubt(self._now))

    def _drop_target(self, at_rest: bool = False) -> None:
        """From now on hold; an arm that was told nothing is only told so with `at_rest`."""
        if self._target is None and not at_rest:
            return
        self._target = self._setpoint = None
        self._holding = True

    def _rest_pose(self) -> Pose:
        """Where the arm is, brought to the edge of the box if it stands in the margin."""
        pose = self._measured.pose
        return Pose(self._space.nearest(pose.position), pose.rotation)

    def _near(self, pose: Pose, metres: float, radians: float) -> bool:
        way, turn = step_between(self._measured.pose, pose)
        return way <= metres + ROUNDING and turn <= radians + ROUNDING

    def _elapsed_since_tick(self, now: Now) -> float:
        """Seconds that a set-point may advance; a tick that comes late does not leap."""
        last, self._ticked_at_s = self._ticked_at_s, now.steady_s
        if last is None:
            return 0.0
        return min(max(now.steady_s - last, 0.0), 2.0 / self.config.rate_hz)

    def _advance_clocks(self, now: Now) -> None:
        """Notices clocks that go back: what was stamped before says nothing about now."""
        last = self._now
        if not math.isfinite(now.steady_s) or (last and now.steady_s < last.steady_s):
            self._latch("internal fault: the steady clock went back")
            raise ValueError(f"steady clock reads {now.steady_s}")
        self._now = now
        if self._latest_ros_ns is None or now.ros_ns > self._latest_ros_ns:
            self._latest_ros_ns = now.ros_ns
        back_s = (self._latest_ros_ns - now.ros_ns) * _NS
        if back_s > self.config.clock_tolerance_s:
            self._state_fault = f"the clock went back by {back_s:.2f} s; waiting for a new state"
            self._last_stamp_ns = self._move_ends_ns = self._stopped_at_ns = None
            self._newest_state_ns, self._latest_ros_ns = None, now.ros_ns
            self._note_refusal(self._state_fault, now)
