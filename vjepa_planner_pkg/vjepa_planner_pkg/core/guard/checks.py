"""The checks at the entrance of the command guard: each gives a reason, empty when all is well."""

from __future__ import annotations

import math

from vjepa_planner_pkg.core.guard.config import GuardConfig
from vjepa_planner_pkg.core.guard.io import CommandInput, Now, StateInput
from vjepa_planner_pkg.core.guard.limits import (
    Pose,
    part_way,
    refuse_pose,
    share_within,
    step_between,
)
from vjepa_planner_pkg.core.guard.space import AllowedSpace

CLOSEDNESS_SLACK = 0.1  # how far closedness may be outside 0..1: sensors are not exact


def refuse_state(state: StateInput, config: GuardConfig) -> str:
    """Why the contents of a state are not to be believed."""
    if state.frame != config.base_frame or state.child_frame != config.tool_frame:
        return (
            f"end_effector_state is of {state.child_frame!r} in {state.frame!r}; "
            f"expected {config.tool_frame!r} in {config.base_frame!r}"
        )
    reason = refuse_pose(state.position, state.quaternion)
    reason = reason or _refuse_closedness(state.closedness)
    return f"end_effector_state: {reason}" if reason else ""


def refuse_command(command: CommandInput, config: GuardConfig) -> str:
    """Why the contents of a command are no target, wherever the arm is."""
    if command.frame != config.base_frame:
        return f"command: is in frame {command.frame!r}; expected {config.base_frame!r}"
    reason = refuse_pose(command.position, command.quaternion)
    reason = reason or _refuse_closedness(command.closedness)
    if not reason and not all(map(math.isfinite, command.action)):
        reason = f"action {list(command.action)} is not finite"
    return f"command: {reason}" if reason else ""


def refuse_times(
    message: StateInput | CommandInput,
    now: Now,
    max_age_s: float,
    max_stamp_age_s: float,
    tolerance_s: float,
) -> str:
    """Why a message is not of now, by the time it was received and by its stamp."""
    age_s = now.steady_s - message.received_s
    if not -tolerance_s <= age_s <= max_age_s:
        return f"received {age_s:.2f} s ago, limit {max_age_s:g} s"
    stamp_age_s = (now.ros_ns - message.stamp_ns) * 1e-9
    if stamp_age_s > max_stamp_age_s:
        return f"stamp is {stamp_age_s:.2f} s old, limit {max_stamp_age_s:g} s"
    if stamp_age_s < -tolerance_s:
        return f"stamp is {-stamp_age_s:.2f} s in the future: compare clocks and use_sim_time"
    return ""


def within_reach(
    wanted: Pose, arm: Pose, space: AllowedSpace, config: GuardConfig
) -> tuple[Pose | None, str]:
    """The target in the allowed space and the step limits of an arm at `arm`, and what was clipped.

    No target where clipping would move it by more than a whole step: such a command is a fault
    (metres for millimetres, say), and half of its direction is no better. None, either, where a
    keep-out box lies on the way.
    """
    # From the edge when the arm stands in the margin: from there the way is inside.
    start = Pose(space.nearest(arm.position), arm.rotation)
    reach_m = config.max_step_m - math.dist(start.position, arm.position)
    boxed = Pose(space.nearest(wanted.position), wanted.rotation)
    cut_m = math.dist(wanted.position, boxed.position)
    way, turn = step_between(start, boxed)
    share, turn_share = share_within(reach_m, way), share_within(config.max_step_rad, turn)
    target = boxed if share == turn_share == 1.0 else part_way(start, boxed, share, turn_share)
    reasons = []
    if cut_m > 0.0:
        reasons.append(f"target is {100 * cut_m:.1f} cm {space.where(wanted.position)}")
    if share < 1.0:
        reasons.append(f"step is {100 * way:.1f} cm, limit {100 * config.max_step_m:g} cm")
    if turn_share < 1.0:
        reasons.append(f"turn is {turn:.2f} rad, limit {config.max_step_rad:g} rad")
    reason = ", ".join(reasons)
    lost_m, lost_rad = step_between(wanted, target)
    if lost_m > config.max_step_m or lost_rad > config.max_step_rad:
        return None, f"{reason}: too far off to be clipped"
    barred = space.refuse_way(start.position, target.position)
    if barred:
        return None, ", ".join([*reasons, barred])
    return target, reason


def _refuse_closedness(closedness: float) -> str:
    if -CLOSEDNESS_SLACK <= closedness <= 1.0 + CLOSEDNESS_SLACK:
        return ""
    return f"closedness is {closedness:g}; it goes from 0 to 1"
