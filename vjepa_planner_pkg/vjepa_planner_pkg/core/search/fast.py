"""The default planner: few, well-placed evaluations of a smooth energy in a small box.

It searches the move first, the same action at every step of the horizon. Every scored sequence
is kept, for the energy is deterministic: the elites are the best of all so far, and mean and full
covariance follow them as in CMA-ES. Each batch holds the mean, minima of quadratics fitted to the
scored points nearby, and antithetic samples around the mean. Doing nothing and the warm start are
in the first batch. With more than one action in a plan, gradients through the predictor then free
these actions from each other.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from node_kit.parameters import parameter
from torch import Tensor

from vjepa_planner_pkg.core.search.action_space import ActionParameters, ActionSpace
from vjepa_planner_pkg.core.search.evaluations import Evaluations
from vjepa_planner_pkg.core.search.plan import EnergyFunction, Plan
from vjepa_planner_pkg.core.search.quadratic import coefficients, fitted_minimum
from vjepa_planner_pkg.core.search.refinement import refine

_WARM_DEVIATION = 0.25  # of the samples around the warm start, in shares of the largest step
_COARSE = 10.0  # where refinement follows, the search may end so many times coarser


@dataclass
class FastParameters:
    """Size and end of the search. Samples are meant for x, y, z and grow with the free axes."""

    fast_first_samples: int = parameter(32, "action sequences in the first batch", minimum=8)
    fast_samples: int = parameter(16, "action sequences in each later batch", minimum=4)
    fast_iterations: int = parameter(10, "batches at most", minimum=1)
    fast_resolution_m: float = parameter(
        0.001, "the search ends when the elites lie this close together", unit="m", minimum=1e-5,
        maximum=0.05,
    )  # fmt: skip
    fast_gradient_steps: int = parameter(
        19, "steps down the gradient of the energy at most, where horizon is above 1", minimum=0
    )


class FastPlanner:
    """Warm start, full covariance, elites of all batches, quadratic fits, gradients, early end."""

    def __init__(
        self,
        actions: ActionParameters,
        parameters: FastParameters,
        clock: Callable[[], float] = time.monotonic,
    ):
        """`clock` [s] measures the budget."""
        self._p = parameters
        self._space = ActionSpace(actions)
        self._steps = parameters.fast_gradient_steps if actions.horizon > 1 else 0
        self._clock = clock

    def plan(
        self,
        score: EnergyFunction,
        state: Tensor,
        *,
        budget_s: float | None = None,
        warm_start: Tensor | None = None,
        generator: torch.Generator,
    ) -> Plan:
        """The best sequence scored; never worse than doing nothing or than the warm start.

        Args:
            score: see `EnergyFunction`.
            state: float32 [7], where the arm is (base_link).
            budget_s: no call of the score is started that would end later than this, judged by
                those before; the first one scores 8 sequences in any case.
            warm_start: float32 [H, 7], where to begin.
            generator: on the CPU, so that a seed gives the same draws for every device.

        Raises:
            ScoreError: an energy is not finite.
        """
        state = torch.as_tensor(state, dtype=torch.float32).cpu()
        ledger = Evaluations(self._space, score, state, self._clock, budget_s)
        search = _Distribution(self._space.axes)
        resolution_m = self._p.fast_resolution_m * (_COARSE if self._steps else 1.0)
        batch, converged = self._first_batch(warm_start, generator), False
        for _ in range(self._p.fast_iterations):
            ledger.add(batch)
            tried = self._space.mean(ledger.points)
            search.follow(tried[ledger.energies.argsort(stable=True)[: search.elites]])
            converged = self._space.reach_m(search.spread) < resolution_m
            if converged or ledger.out_of_time:
                break
            batch = self._next_batch(search, tried, ledger.energies, generator)
        if self._steps:
            converged = refine(ledger, self._steps)
        best = ledger.energies.argmin()
        return Plan(
            actions=ledger.actions[best],
            energy=float(ledger.energies[best]),
            energy_stay=float(ledger.energies[0]),
            evaluations=ledger.evaluations,
            seconds=ledger.seconds(),
            iterations=ledger.calls,
            spread_m=self._space.reach_m(search.spread),
            ended_by="converged" if converged else "budget" if ledger.out_of_time else "iterations",
        )

    def _first_batch(self, warm_start: Tensor | None, generator: torch.Generator) -> Tensor:
        """Points [S, H * F]: doing nothing, then the box, half of it around the warm start if any.

        What is drawn takes the same action at every step.
        """
        axes = self._space.axes
        pairs = self._pairs(self._p.fast_first_samples)
        uniform = 2.0 * torch.rand(pairs, axes, generator=generator) - 1.0
        stay = torch.zeros(1, self._space.dimensions)
        if warm_start is None:
            return torch.cat([stay, self._space.repeated(_antithetic(uniform))])
        warm = self._space.points(torch.as_tensor(warm_start, dtype=torch.float32)[None])
        near = _WARM_DEVIATION * torch.randn(pairs // 2, axes, generator=generator)
        around = self._space.mean(warm) + _antithetic(near)
        drawn = torch.cat([around, _antithetic(uniform[pairs // 2 :])])
        return torch.cat([stay, warm, self._space.repeated(drawn)])

    def _next_batch(
        self,
        search: _Distribution,
        tried: Tensor,
        energies: Tensor,
        generator: torch.Generator,
    ) -> Tensor:
        """Points [S, H * F]: the mean, fitted minima, pairs around the mean."""
        normal = torch.randn(
            self._pairs(self._p.fast_samples), self._space.axes, generator=generator
        )
        # A floor under the deviation, so that the last batches still differ from each other.
        floor = 0.3 * self._p.fast_resolution_m / float(self._space.limits[0])
        covariance = search.covariance + floor**2 * torch.eye(self._space.axes)
        offset = normal @ torch.linalg.cholesky(covariance).T
        pairs = search.mean + _antithetic(offset)
        return self._space.repeated(
            torch.cat([search.mean[None], *_fitted_minima(tried, energies), pairs])
        )

    def _pairs(self, samples: int) -> int:
        """Antithetic pairs for `samples`, which are given for three dimensions."""
        return max(2, round(samples * self._space.axes / 6))


def _antithetic(offsets: Tensor) -> Tensor:
    """Offsets [P, F], each followed by its opposite [2 * P, F]."""
    return torch.stack([offsets, -offsets], dim=1).flatten(0, 1)


def _fitted_minima(points: Tensor, energies: Tensor) -> list[Tensor]:
    """Points [1, F] from the scored ones [K, F] nearest to the best.

    One fit is to the energy, which suits a smooth minimum; one to its square above the lowest,
    which suits the cusp that an energy of absolute differences has at a goal that can be met
    exactly.
    """
    best = points[energies.argmin()]
    count = 2 * coefficients(points.shape[1])
    near = (points - best).norm(dim=1).argsort(stable=True)[:count]
    points, energies = points[near], energies[near]
    height = energies - energies.min()
    share = height / height.max().clamp_min(1e-12)
    return [fitted_minimum(points, e, best)[None] for e in (share, share**2)]


class _Distribution:
    """Mean [F], covariance [F, F] and spread [F] of the elites, weighted by rank as in CMA-ES."""

    def __init__(self, axes: int):
        self.elites = 4 * axes
        self.mean: Tensor | None = None

    def follow(self, elites: Tensor) -> None:
        """Takes the elites [K, F], best first.

        The covariance is taken about the previous mean: it stretches along the way the mean
        travels, so that the search does not shrink before it has arrived.
        """
        ranks = torch.arange(1, len(elites) + 1, dtype=torch.float32)
        weights = torch.log(torch.tensor(len(elites) + 0.5)) - torch.log(ranks)
        weights = (weights / weights.sum())[:, None]
        mean = (weights * elites).sum(0)
        offset = elites - (mean if self.mean is None else self.mean)
        self.covariance = (weights * offset).T @ offset
        self.spread = (weights * (elites - mean) ** 2).sum(0).sqrt()
        self.mean = mean
