"""The moves of a calibration: rest, look, move, rest, look ... and the pairs of pictures they give.

A state machine as `core.mpc`, beside it: it shares the MPC's inputs and its sense of rest, so what
stops a run stops it as well, and the arm holds. What the pictures mean is for `calibration_fit`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from robot_cell import CLOSEDNESS, POSITION

from vjepa_planner_pkg.core.calibration.calibration import CalibrationError
from vjepa_planner_pkg.core.calibration.fit import Move
from vjepa_planner_pkg.core.mpc.inputs import Inputs
from vjepa_planner_pkg.core.mpc.io import ArmState, Command, Latent, Now
from vjepa_planner_pkg.core.mpc.parameters import MpcParameters
from vjepa_planner_pkg.core.mpc.settling import Settling


@dataclass(frozen=True)
class RecordedMove:
    """All moves are made."""

    moves: list[Move]


@dataclass(frozen=True)
class Aborted:
    """The calibration ended early; the arm holds."""

    reason: str


CalibrationEffect = Command | RecordedMove | Aborted


class CalibrationRun:
    """Makes the moves, one at a time.

    Attributes:
        active: whether it moves the arm now.
        done, count: moves made, and moves to make; `count` is 0 until the first picture.
    """

    def __init__(
        self,
        parameters: MpcParameters,
        inputs: Inputs,
        settling: Settling,
        targets: Callable[[np.ndarray], list[np.ndarray]],
    ):
        """`targets(state)` says where to go from the first rest; it may raise CalibrationError.

        `inputs` and `settling` are the MPC's, which must be idle meanwhile.
        """
        self._p, self._inputs, self._settling = parameters, inputs, settling
        self._targets_from = targets
        self.active = False
        self.done = self.count = 0

    def begin(self, now: Now) -> list[CalibrationEffect]:
        """Starts; the arm moves as soon as every input is there and it is at rest."""
        self.active = True
        self.done = self.count = 0
        self._began_s = self._changed_s = now.steady_s
        self._targets: list[np.ndarray] | None = None
        self._target: np.ndarray | None = None  # where the arm is on its way to
        self._last: tuple[Latent, np.ndarray] | None = None
        self._moves: list[Move] = []
        return self.tick(now)

    def tick(self, now: Now) -> list[CalibrationEffect]:
        """Looks at the inputs and the time; call it often."""
        if not self.active:
            return []
        if fault := self._inputs.fault(now):
            limit_s = self._p.recover_wait_s if self._inputs.seen else self._p.start_wait_s
            if self._last is None and now.steady_s - self._began_s < limit_s:
                self._changed_s = now.steady_s
                return []
            return self.stop(fault, now)
        if now.steady_s - self._changed_s > self._p.settle_timeout_s + self._p.stamp_max_age_s:
            return self.stop("the arm does not come to rest, or no picture of it comes", now)
        rest_ns = self._settling.still_since_ns
        latent, arm = self._inputs.latent.latest, self._inputs.arm.latest
        if rest_ns is None:
            return []
        if self._target is not None:
            if not self._settling.arrived(arm, self._target, self._last[1]):
                if now.steady_s - self._changed_s < self._p.no_motion_s:
                    return []
                left_m = float(np.linalg.norm(arm.state[POSITION] - self._target[POSITION]))
                return self.stop(
                    f"the arm came to rest {1e3 * left_m:.0f} mm from the target of move "
                    f"{self.done + 1}; check its driver, the command guard and the workspace",
                    now,
                )
            self._target = None
        if latent.stamp_ns < rest_ns:
            return []
        return self._look(latent, arm, now)

    def stop(self, reason: str, now: Now) -> list[CalibrationEffect]:
        """Ends it early; an arm under way is sent to where it is."""
        if not self.active:
            return []
        self.active = False
        hold: list[CalibrationEffect] = []
        if self._target is not None and not self._inputs.arm.fault(now):
            arm = self._inputs.arm.latest
            hold = [Command(arm.stamp_ns, _keeping(arm.state, self._target), np.zeros(7))]
        return [*hold, Aborted(reason)]

    def _look(self, latent: Latent, arm: ArmState, now: Now) -> list[CalibrationEffect]:
        """Takes the picture of an arm at rest, and sends it on."""
        state = arm.state.copy()
        if self._targets is None:
            try:
                self._targets = self._targets_from(state)
            except CalibrationError as error:
                return self.stop(str(error), now)
            self.count = len(self._targets)
        if self._last is not None:
            before, start = self._last
            if (before.model, before.frame) != (latent.model, latent.frame):
                return self.stop(
                    f"the pictures changed from {before.model!r}, {before.frame!r} to "
                    f"{latent.model!r}, {latent.frame!r} during the moves",
                    now,
                )
            self._moves.append(Move(before, latent, start, state))
            self.done += 1
        if self.done == self.count:
            self.active = False
            return [RecordedMove(self._moves)]
        self._last = latent, state
        self._target = self._targets[self.done]
        self._changed_s = now.steady_s
        self._settling.reset()
        action = np.zeros(7)
        action[POSITION] = self._target[POSITION] - state[POSITION]
        return [Command(latent.stamp_ns, self._target, action)]


def _keeping(state: np.ndarray, target: np.ndarray) -> np.ndarray:
    """`state` [7] with the gripper of `target` [7]: one around a part must not let go."""
    held = state.copy()
    held[CLOSEDNESS] = target[CLOSEDNESS]
    return held
