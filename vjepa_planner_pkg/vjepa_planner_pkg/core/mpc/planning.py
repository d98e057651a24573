"""Carries out a plan request of the MPC with a planner and a scorer."""

from __future__ import annotations

import numpy as np
import torch

from vjepa_planner_pkg.core.mpc.io import PlannedAction, RequestPlan
from vjepa_planner_pkg.core.search.action_space import ActionSpace
from vjepa_planner_pkg.core.search.plan import EnergyFunction, Plan
from vjepa_planner_pkg.core.search.planner import PlannerConfig, make_planner, shifted


class Planning:
    """A planner with its settings, from request to planned action.

    Attributes:
        last: the plan behind the last answer, None before.
    """

    def __init__(self, config: PlannerConfig):
        self._planner = make_planner(config)
        self._limits = ActionSpace(config).limits
        self._budget_s = config.budget_s
        self.last: Plan | None = None

    def answer(self, request: RequestPlan, score: EnergyFunction) -> PlannedAction:
        """Plans within the budget.

        Raises:
            ScoreError: the candidates could not be scored.
        """
        warm = request.warm_start
        plan = self._planner.plan(
            score,
            torch.from_numpy(np.asarray(request.state, dtype=np.float32)),
            budget_s=self._budget_s,
            warm_start=None if warm is None else torch.from_numpy(warm.astype(np.float32)),
            generator=torch.Generator().manual_seed(request.seed),
        )
        self.last = plan
        return PlannedAction(
            action=plan.actions[0].double().numpy(),
            warm_start=shifted(plan.actions, self._limits).double().numpy(),
            energy=plan.energy,
            energy_stay=plan.energy_stay,
            evaluations=plan.evaluations,
            seconds=plan.seconds,
            cut_short=plan.ended_by == "budget",
        )
