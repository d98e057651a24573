"""Tells when the arm has come to rest, from nothing but its measured states."""

from __future__ import annotations

import numpy as np
from robot_cell import CLOSEDNESS, POSITION, ROTATION
from scipy.spatial.transform import Rotation

from vjepa_planner_pkg.core.mpc.io import ArmState
from vjepa_planner_pkg.core.mpc.parameters import MpcParameters


class Settling:
    """Watches the states; `still_since_ns` is when the arm took the pose that it keeps."""

    def __init__(self, parameters: MpcParameters):
        self._p = parameters
        self._anchor: ArmState | None = None
        self._anchored_s = 0.0
        self._still = False

    def reset(self) -> None:
        """Forgets what it saw: the arm counts as moving."""
        self._anchor, self._still = None, False

    def add(self, arm: ArmState, steady_s: float) -> None:
        """Takes a state that was received at `steady_s`."""
        anchor = self._anchor
        if anchor is None or arm.stamp_ns < anchor.stamp_ns or not self._near(anchor, arm, 1.0):
            self._anchor, self._anchored_s, self._still = arm, steady_s, False
            anchor = arm
        elapsed_s = (arm.stamp_ns - anchor.stamp_ns) * 1e-9
        if elapsed_s == 0.0:  # a simulation that waits stops its clock, and repeats its state
            elapsed_s = steady_s - self._anchored_s
        self._still = elapsed_s >= self._p.still_s

    @property
    def still_since_ns(self) -> int | None:
        """Stamp of the first state of the rest; None while the arm moves."""
        return self._anchor.stamp_ns if self._still else None

    def arrived(self, arm: ArmState, target: np.ndarray, start: np.ndarray) -> bool:
        """Whether the arm is at `target` [7]; the target of a short move from `start` [7] counts
        as reached only when most of that move is done."""
        goal = ArmState(0, target)
        left_m = np.linalg.norm(target[POSITION] - arm.state[POSITION])
        most_done = left_m <= 0.5 * np.linalg.norm(target[POSITION] - start[POSITION])
        return self._near(goal, arm, self._p.arrival_factor if most_done else 1.0)

    def _near(self, a: ArmState, b: ArmState, factor: float) -> bool:
        turn = Rotation.from_euler("xyz", a.state[ROTATION]).inv() * Rotation.from_euler(
            "xyz", b.state[ROTATION]
        )
        return bool(
            np.linalg.norm(a.state[POSITION] - b.state[POSITION]) <= factor * self._p.still_m
            and turn.magnitude() <= factor * self._p.still_rad
            and abs(a.state[CLOSEDNESS] - b.state[CLOSEDNESS]) <= factor * self._p.still_closedness
        )
