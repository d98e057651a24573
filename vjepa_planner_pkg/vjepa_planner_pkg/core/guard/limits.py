"""What a pose may be and how far it may be from another: the geometry behind the command guard.

Plain functions of poses of the tool frame in the base frame. `refuse_pose` and `violation` look at
one thing from both ends: the first refuses bad numbers at the entrance, the second judges what is
about to leave.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from robot_cell import ANGULAR, LINEAR
from scipy.spatial.transform import Rotation

from vjepa_planner_pkg.core.guard.space import ROUNDING, AllowedSpace

UNIT_TOLERANCE = 1e-3  # how far the length of an incoming quaternion may be from 1


@dataclass(frozen=True)
class Pose:
    """Position float64 [3] in metres and orientation of the tool frame, both in the base frame."""

    position: np.ndarray
    rotation: Rotation

    @classmethod
    def of(cls, position: Sequence[float], quaternion: Sequence[float]) -> Pose:
        """From x, y, z [m] and qx, qy, qz, qw; call `refuse_pose` first."""
        return cls(np.array(position, dtype=float), Rotation.from_quat(quaternion))

    @property
    def quaternion(self) -> np.ndarray:
        """float64 [4]: x, y, z, w, of length 1."""
        return self.rotation.as_quat()


def refuse_pose(position: Sequence[float], quaternion: Sequence[float]) -> str:
    """Why these numbers are no pose; empty when they are one."""
    if len(position) != 3 or not all(map(math.isfinite, position)):
        return f"position {list(position)} is not three finite numbers"
    if len(quaternion) != 4 or not all(map(math.isfinite, quaternion)):
        return f"orientation {list(quaternion)} is not four finite numbers"
    length = math.hypot(*quaternion)
    if abs(length - 1.0) > UNIT_TOLERANCE:
        return f"orientation has length {length:.4g}; give a unit quaternion"
    return ""


def step_between(start: Pose, end: Pose) -> tuple[float, float]:
    """The way from one pose to another: metres and radians."""
    turn = (end.rotation * start.rotation.inv()).magnitude()
    return math.dist(start.position, end.position), float(turn)


def velocity_between(start: Pose, end: Pose, duration_s: float) -> np.ndarray:
    """Twist [6] from one pose to another: linear [m/s] and angular [rad/s], in the base frame."""
    turn = (end.rotation * start.rotation.inv()).as_rotvec()
    return np.concatenate([end.position - start.position, turn]) / duration_s


def part_way(start: Pose, end: Pose, share: float, turn_share: float) -> Pose:
    """On the straight line and the shortest turn from `start` (shares 0) to `end` (shares 1)."""
    turn = (end.rotation * start.rotation.inv()).as_rotvec()
    position = start.position + share * (end.position - start.position)
    return Pose(position, Rotation.from_rotvec(turn_share * turn) * start.rotation)


def share_within(limit: float, way: float) -> float:
    """The largest part (0..1) of `way` that stays within `limit`."""
    return 1.0 if way <= limit else limit / way


def limit_twist(twist: np.ndarray, linear: float, angular: float) -> np.ndarray:
    """The same direction [6], no faster than `linear` [m/s] and `angular` [rad/s]."""
    speed, turn_rate = math.hypot(*twist[LINEAR]), math.hypot(*twist[ANGULAR])
    return np.concatenate(
        [
            twist[LINEAR] * share_within(linear, speed),
            twist[ANGULAR] * share_within(angular, turn_rate),
        ]
    )


def violation(
    target: Pose, measured: Pose, space: AllowedSpace, max_step_m: float, max_step_rad: float
) -> str:
    """Why `target` must not be sent to an arm that stands at `measured`; empty when it may."""
    reason = refuse_pose(target.position, target.quaternion)
    if reason:
        return reason
    outside = space.distance(target.position)
    if outside > ROUNDING:
        return f"target is {100 * outside:.1f} cm {space.where(target.position)}"
    way, turn = step_between(measured, target)
    if way > max_step_m + ROUNDING or turn > max_step_rad + ROUNDING:
        return (
            f"target is {100 * way:.1f} cm and {turn:.2f} rad away from the arm, "
            f"limits are {100 * max_step_m:g} cm and {max_step_rad:g} rad"
        )
    return ""
