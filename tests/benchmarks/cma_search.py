"""CMA-ES of the package `cma`: what a standard search reaches with the same evaluations.

It spans the same box of actions as ours, with all actions of a plan free from each other. It begins
at doing nothing and uses no gradients. Its population and learning rates are those of the package.
"""

from __future__ import annotations

import time

import cma
import numpy as np
import torch
from torch import Tensor
from vjepa_planner_pkg.core.search.action_space import ActionParameters, ActionSpace
from vjepa_planner_pkg.core.search.evaluations import Evaluations
from vjepa_planner_pkg.core.search.plan import EnergyFunction, Plan

DEVIATION = 0.5  # at the beginning, in shares of the largest step: the box is two deviations wide
RESOLUTION = 1e-3  # the search ends when it is narrower, in shares of the largest step


class CMAPlanner:
    """The best sequence that CMA-ES scores within a number of evaluations."""

    def __init__(self, actions: ActionParameters, evaluations: int):
        """`evaluations` at most, doing nothing included; at least 2."""
        self._space = ActionSpace(actions)
        self._most = evaluations

    def plan(
        self,
        score: EnergyFunction,
        state: Tensor,
        *,
        budget_s: float | None = None,
        warm_start: Tensor | None = None,
        generator: torch.Generator,
    ) -> Plan:
        """See `FastPlanner.plan`; what is drawn comes from the generator's seed.

        Raises:
            ScoreError: an energy is not finite.
        """
        state = torch.as_tensor(state, dtype=torch.float32).cpu()
        tried = Evaluations(self._space, score, state, time.monotonic, budget_s)
        tried.add(torch.zeros(1, self._space.dimensions))
        begin = np.zeros(self._space.dimensions)
        if warm_start is not None:
            begin = self._space.points(warm_start[None])[0].numpy().astype(float)
        search = cma.CMAEvolutionStrategy(begin, DEVIATION, self._options(generator))
        while not search.stop() and tried.evaluations < self._most and not tried.out_of_time:
            drawn = search.ask()
            batch = torch.from_numpy(np.stack(drawn)).float()[: self._most - tried.evaluations]
            before = len(tried.energies)
            tried.add(batch)
            if len(tried.energies) - before < len(drawn):
                break  # no evaluations or no time are left for the rest
            search.tell(drawn, tried.energies[before:].double().tolist())
        best = tried.energies.argmin()
        spent = tried.out_of_time or tried.evaluations >= self._most
        spread = torch.from_numpy(search.result.stds)
        return Plan(
            actions=tried.actions[best],
            energy=float(tried.energies[best]),
            energy_stay=float(tried.energies[0]),
            evaluations=tried.evaluations,
            seconds=tried.seconds(),
            iterations=tried.calls,
            spread_m=self._space.reach_m(spread.reshape(self._space.horizon, -1)[0]),
            ended_by="budget" if spent else "converged",
        )

    def _options(self, generator: torch.Generator) -> dict:
        """Of the package: bounds, the end, silence, and draws that leave numpy's own seed alone."""
        draws = np.random.default_rng(generator.initial_seed())
        return {
            "bounds": [-1.0, 1.0],
            "tolx": RESOLUTION,
            "verbose": -9,
            "seed": np.nan,
            "randn": lambda *shape: draws.standard_normal(shape),
        }
