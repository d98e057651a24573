"""Whether a goal is reached or no longer comes nearer, judged without knowing the distance."""

from __future__ import annotations

import numpy as np
from robot_cell import POSITION

from vjepa_planner_pkg.core.mpc.io import PlannedAction
from vjepa_planner_pkg.core.mpc.parameters import MpcParameters

_SEARCHES = 3  # of which none found a move, when their time budget cut them short


class Progress:
    """Energies at the looks toward one sub-goal, and how the arm followed in between.

    Attributes:
        energies: predicted energy of staying at each look, the first one before any move.
        doubts: plans from the present look that would not move, but were cut short.
    """

    def __init__(self, parameters: MpcParameters):
        self._p = parameters
        self.energies: list[float] = []
        self.doubts = 0
        self._unfollowed = 0

    def look(self, plan: PlannedAction) -> None:
        """Takes the plan made at a look, after it was judged by `reached` and before `stuck`."""
        self.energies.append(plan.energy_stay)
        self.doubts = 0

    def doubted(self, plan: PlannedAction) -> bool:
        """Whether another plan from the same look should confirm that the goal is reached.

        A search that ran out of time may just not have found the way.
        """
        self.doubts += 1
        return plan.cut_short and self.doubts < _SEARCHES

    def moved(self, commanded_m: float, covered_m: float) -> None:
        """Takes how far the arm came of a commanded move."""
        followed = commanded_m <= 2.0 * self._p.still_m
        followed = followed or covered_m >= self._p.follow_share * commanded_m
        self._unfollowed = 0 if followed else self._unfollowed + 1

    def reached(self, plan: PlannedAction) -> str:
        """Why the goal counts as reached; empty if it does not."""
        p, now = self._p, plan.energy_stay
        if 0.0 < now <= p.reached_energy:
            return f"energy {now:.4g} is at most {p.reached_energy:g}"
        move_m = float(np.linalg.norm(plan.action[POSITION]))
        if move_m > p.reached_step_m:
            return ""
        short = f"the best move is {1e3 * move_m:.1f} mm"
        if now - plan.energy <= p.reached_gain * abs(now):
            return f"{short} and would hardly lower the energy"
        if self.energies and now >= self.energies[-1] * (1.0 - p.reached_gain):
            return f"{short} and the last one did not lower the energy"
        return ""

    def stuck(self) -> str:
        """Why the arm counts as stuck; empty if it does not."""
        p = self._p
        if self._unfollowed >= p.stuck_moves:
            return (
                f"the arm did not follow the last {self._unfollowed} commands; "
                "check its driver, the command guard and the workspace"
            )
        recent, before = self.energies[-p.stuck_steps :], self.energies[: -p.stuck_steps]
        if before and min(recent) >= min(before):
            return (
                f"{p.stuck_steps} moves brought no energy below {min(before):.4g}; "
                "show the goal from the same camera, or give a nearer sub-goal"
            )
        return ""
