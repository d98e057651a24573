"""The two ways in which the arm follows targets that come from outside, one at a time.

Both have the same face: `move_to` and `grip` take a target or refuse it, `hold` stops, `advance`
is called again and again with the wall time that went by and says how much simulated time passed.
"""

from __future__ import annotations

import numpy as np
from robot_cell import CLOSEDNESS, POSE, POSITION, ROTATION
from scipy.spatial.transform import Rotation

from vjepa_sim.core.environment import Environment
from vjepa_sim.core.physics import TIME_STEP

SMOOTH_PEAK = 1.5  # highest speed of the smooth ramp, relative to its mean
MAX_CATCH_UP_S = 0.25  # after a longer pause simulated time falls behind instead of jumping
GRIPPER_PATIENCE = 2  # calls of `advance` that a gripper target waits for its pose target


class LockStep:
    """Physics advances only when a target comes, by one environment step each.

    The same seed and targets give the same pixels as `Environment.move_to`, however slow or
    loaded the machine is: nothing depends on when a target comes.

    Args:
        environment: already reset; call `restart` after each further reset.
        tick_s: simulated time that each `advance` lets pass.
    """

    def __init__(self, environment: Environment, tick_s: float) -> None:
        self._environment = environment
        self._tick_s = tick_s
        self.restart()

    def restart(self) -> None:
        """Forget the targets: the environment was reset."""
        self._closedness = float(self._environment.episode.start[CLOSEDNESS])
        self._pose = self._environment.physics.state()[POSE]
        self._gripper_waits = 0

    def move_to(self, pose: np.ndarray) -> None:
        """Move to `pose` [6] now; raises UnreachableError and holds."""
        self._environment.physics.move_to(np.append(pose, self._closedness))
        self._pose = np.array(pose)
        self._gripper_waits = 0

    def grip(self, closedness: float) -> None:
        """Close the gripper with the next `move_to`, or soon if none comes."""
        if closedness != self._closedness:
            self._closedness = closedness
            self._gripper_waits = GRIPPER_PATIENCE

    def hold(self) -> None:
        """Nothing to do: without a target nothing moves."""

    def advance(self, wall_s: float) -> float:
        """Returns the simulated time that passed [s]; `wall_s` does not matter here."""
        if self._gripper_waits:
            self._gripper_waits -= 1
            if not self._gripper_waits:
                self.move_to(self._pose)
        return self._tick_s


class RealTime:
    """Physics follows the wall clock; the arm travels to the last target at limited speed.

    Args:
        environment: already reset; call `restart` after each further reset.
        max_speed: of tool0 [m/s].
        max_turn_rate: of tool0 [rad/s].
        gripper_rate: closedness per second.
    """

    def __init__(
        self,
        environment: Environment,
        max_speed: float,
        max_turn_rate: float,
        gripper_rate: float,
    ) -> None:
        self._physics = environment.physics
        self._max_speed = max_speed
        self._max_turn_rate = max_turn_rate
        self._gripper_rate = gripper_rate
        self._left_over_s = 0.0
        self.lost_s = 0.0
        self.restart()

    def restart(self) -> None:
        """Forget the targets: the environment was reset."""
        self._setpoint = self._physics.joint_state()[0][:7]
        self._closedness = self._closedness_target = float(self._physics.state()[CLOSEDNESS])
        self.hold()

    def move_to(self, pose: np.ndarray) -> None:
        """Travel to `pose` [6] from now on; raises UnreachableError and keeps the old target."""
        goal = self._physics.solve(np.append(pose, self._closedness_target))
        state = self._physics.state()
        distance = np.linalg.norm(pose[POSITION] - state[POSITION])
        turn = (
            Rotation.from_euler("xyz", pose[ROTATION])
            * Rotation.from_euler("xyz", state[ROTATION]).inv()
        )
        self._start, self._goal = self._setpoint, goal
        self._travelled_s = 0.0
        self._duration_s = SMOOTH_PEAK * max(
            distance / self._max_speed, turn.magnitude() / self._max_turn_rate, TIME_STEP
        )

    def grip(self, closedness: float) -> None:
        """Close or open the gripper to `closedness` from now on."""
        self._closedness_target = closedness

    def hold(self) -> None:
        """Stop where the arm is."""
        self._start = self._goal = self._setpoint
        self._travelled_s = self._duration_s = TIME_STEP
        self._closedness_target = self._closedness

    def advance(self, wall_s: float) -> float:
        """Catches up with `wall_s` of wall time; returns the simulated time that passed [s].

        What is beyond MAX_CATCH_UP_S (a stopped or overloaded process) is added to `lost_s`.
        """
        pending_s = self._left_over_s + wall_s
        self.lost_s += max(0.0, pending_s - MAX_CATCH_UP_S)
        substeps = int(min(pending_s, MAX_CATCH_UP_S) / TIME_STEP)
        self._left_over_s = min(pending_s, MAX_CATCH_UP_S) - substeps * TIME_STEP
        for _ in range(substeps):
            self._substep()
        return substeps * TIME_STEP

    def _substep(self) -> None:
        self._travelled_s += TIME_STEP
        share = min(self._travelled_s / self._duration_s, 1.0)
        share = share * share * (3.0 - 2.0 * share)  # smooth start and stop
        self._setpoint = self._start + share * (self._goal - self._start)
        largest = self._gripper_rate * TIME_STEP
        self._closedness += float(
            np.clip(self._closedness_target - self._closedness, -largest, largest)
        )
        self._physics.command(self._setpoint, self._closedness)
        self._physics.advance(1)
