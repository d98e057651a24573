"""The planners that `./run bench planner` compares, on one pair of start and goal.

All of them plan with one model, in the same set of actions: at most `max_step_m` along each axis
and step, cut to the workspace. The reference draws Gaussian samples, clamps them to that box and
cuts them; ours and CMA-ES span the box and are cut in the same way.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from vjepa_planner_pkg.core.search.planner import Plan, Planner, PlannerConfig, make_planner
from vjepa_planner_pkg.core.search.scorer import DirectScorer
from vjepa_sim.core.environment import Environment
from vjepa_world_model.model.world_model import WorldModel

from benchmarks.cma_search import CMAPlanner

REFERENCE, OURS, CMA = "reference", "ours", "cma"
CMA_AS_OURS = f"{CMA} as ours"
REFERENCE_BUDGETS = ((800, 10), (100, 5), (30, 4))  # samples x iterations; first: the paper's
TIME_BUDGETS_MS = (50.0, 100.0, 200.0, 400.0)
GRADIENT_COST = "against_batches"  # which of the measured costs counts, the dearest
_BATCH, _REPEATS = 16, 3  # sequences and calls by which the cost of a gradient is measured


@dataclass(frozen=True)
class Pair:
    """Features of start and goal float32 [N, D], state float32 [7] at the start, their distance."""

    features: Tensor
    goal: Tensor
    state: Tensor
    distance_m: float


def draw_pair(model: WorldModel, environment: Environment, seed: int) -> Pair:
    """Start and goal of episode `seed` of the reach task, 10 to 25 cm apart."""
    seen = environment.reset(seed)
    features, goal = model.encode(np.stack([seen.image, environment.goal_image]))
    state = torch.from_numpy(seen.state.astype(np.float32))
    return Pair(features, goal, state, environment.distance())


def name_of(samples: int, iterations: int) -> str:
    """Of the reference with this budget."""
    first = (samples, iterations) == REFERENCE_BUDGETS[0]
    return REFERENCE if first else f"{REFERENCE} {samples}x{iterations}"


def contenders(config: PlannerConfig) -> dict[str, PlannerConfig]:
    """By name, what plans without a time budget; `config` gives horizon and allowed actions."""
    config = replace(config, time_budget_ms=0.0)
    found = {
        name_of(samples, iterations): replace(
            config,
            planner="cem",
            cem_samples=samples,
            cem_iterations=iterations,
            cem_elites=min(config.cem_elites, samples // 2),
        )
        for samples, iterations in REFERENCE_BUDGETS
    }
    return {**found, OURS: replace(config, planner="fast")}


def cma_contenders(config: PlannerConfig, evaluations_of_ours: int) -> dict[str, CMAPlanner]:
    """By name, CMA-ES with as many evaluations as each of the others."""
    budgets = {f"{CMA} {s * i}": s * i + 2 for s, i in REFERENCE_BUDGETS}
    budgets[CMA_AS_OURS] = evaluations_of_ours
    return {name: CMAPlanner(config, most) for name, most in budgets.items()}


def play(model: WorldModel, pair: Pair, config: PlannerConfig, seed: int) -> dict:
    """Every contender on one pair.

    Returns:
        `runs` by name, `time_budgets` of ours by milliseconds, `gradient_cost` in evaluations and
        `start_distance_cm`; see `_run` for a run.
    """
    DirectScorer(model, pair.features, pair.goal, pair.state)(
        torch.zeros(_BATCH, config.horizon, 7)
    )
    gradient_cost = _gradient_cost(model, pair, config, seed)
    runs = {
        name: _run(model, pair, make_planner(c), seed) for name, c in contenders(config).items()
    }
    ours = runs[OURS]
    spent = round(ours["sequences"] + gradient_cost[GRADIENT_COST] * ours["gradients"])
    for name, planner in cma_contenders(config, spent).items():
        runs[name] = _run(model, pair, planner, seed)
    time_budgets = {}
    for budget_ms in TIME_BUDGETS_MS:
        fast = make_planner(replace(config, planner="fast"))
        run = _run(model, pair, fast, seed, budget_ms / 1000.0)
        del run["curve"]
        time_budgets[f"{budget_ms:g}"] = run
    return {
        "start_distance_cm": round(100 * pair.distance_m, 3),
        "runs": runs,
        "time_budgets": time_budgets,
        "gradient_cost": gradient_cost,
    }


class MeasuredScore:
    """A score that notes each call: when it began and ended, what it scored, the best so far.

    Attributes:
        calls: (begun [s], ended [s], sequences, sequences with gradient, lowest energy so far).
    """

    def __init__(self, model: WorldModel, pair: Pair):
        self.device = model.device
        self._score = DirectScorer(model, pair.features, pair.goal, pair.state)
        self.calls: list[tuple[float, float, int, int, float]] = []

    def __call__(self, actions: Tensor) -> Tensor:
        """actions float32 [S, H, 7] -> energies [S, H]."""
        begun = time.perf_counter()
        energies = self._score(actions).cpu()
        self._note(begun, energies, len(actions), 0)
        return energies

    def gradient(self, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Energies [S, H] and d(energy after the last action)/d(actions) [S, H, 7]."""
        begun = time.perf_counter()
        energies, gradient = (part.cpu() for part in self._score.gradient(actions))
        self._note(begun, energies, 0, len(actions))
        return energies, gradient

    def _note(self, begun: float, energies: Tensor, sequences: int, gradients: int) -> None:
        best = min(float(energies[:, -1].min()), self.calls[-1][-1] if self.calls else np.inf)
        self.calls.append((begun, time.perf_counter(), sequences, gradients, best))


def _run(
    model: WorldModel, pair: Pair, planner: Planner, seed: int, budget_s: float | None = None
) -> dict:
    """One plan.

    Returns:
        wall_s, sequences, gradients (sequences scored without and with gradient), energy_start
        and energy_final (after doing nothing and after the plan, scored apart from it), ended_by,
        late_ms (behind the time budget), longest_call_ms (of the score) and curve: [sequences,
        gradients, seconds, lowest energy] per call.
    """
    score = MeasuredScore(model, pair)
    begun = time.perf_counter()
    plan = planner.plan(
        score,
        pair.state,
        budget_s=budget_s,
        generator=torch.Generator().manual_seed(seed),
    )
    wall_s = time.perf_counter() - begun
    starts, ends, sequences, gradients, best = map(np.array, zip(*score.calls))
    energy_start, energy_final = _energies(model, pair, plan)
    return {
        "wall_s": round(wall_s, 5),
        "sequences": int(sequences.sum()),
        "gradients": int(gradients.sum()),
        "energy_start": energy_start,
        "energy_final": energy_final,
        "ended_by": plan.ended_by,
        "late_ms": round(1e3 * max(0.0, wall_s - (budget_s or np.inf)), 3),
        "longest_call_ms": round(1e3 * float((ends - starts).max()), 3),
        "curve": [
            [int(n), int(g), round(s, 5), round(e, 6)]
            for n, g, s, e in zip(sequences.cumsum(), gradients.cumsum(), ends - begun, best)
        ],
    }


@torch.no_grad()
def _energies(model: WorldModel, pair: Pair, plan: Plan) -> tuple[float, float]:
    """After doing nothing, and after the plan."""
    both = torch.stack([torch.zeros_like(plan.actions), plan.actions])
    energies = DirectScorer(model, pair.features, pair.goal, pair.state)(both)[:, -1]
    start, final = energies.tolist()
    return start, final


def _gradient_cost(model: WorldModel, pair: Pair, config: PlannerConfig, seed: int) -> dict:
    """How many evaluations one with gradient is worth, by time.

    Returns:
        like_for_like: against the same number of sequences without gradient, one at a time as
        ours asks for them; in_batches: the same with _BATCH sequences; against_batches: one
        gradient alone against a share of a batch without.
    """
    score = DirectScorer(model, pair.features, pair.goal, pair.state)
    draw = torch.rand(_BATCH, config.horizon, 3, generator=torch.Generator().manual_seed(seed))
    actions = torch.zeros(len(draw), config.horizon, 7)
    actions[..., :3] = (2.0 * draw - 1.0) * config.max_step_m

    def seconds(call, batch: Tensor) -> float:
        taken = []
        for _ in range(_REPEATS):
            begun = time.perf_counter()
            result = call(batch)
            (result[0] if isinstance(result, tuple) else result).cpu()  # waits for the device
            taken.append(time.perf_counter() - begun)
        return float(np.median(taken))

    with torch.no_grad():
        alone_s, batch_s = seconds(score, actions[:1]), seconds(score, actions)
    gradient_s, gradients_s = (seconds(score.gradient, a) for a in (actions[:1], actions))
    return {
        "like_for_like": gradient_s / alone_s,
        "in_batches": gradients_s / batch_s,
        "against_batches": gradient_s / (batch_s / len(actions)),
    }
