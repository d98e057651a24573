"""The golden pairs: six real starts and goals through the shipped predictor and both planners.

`./run bench golden` makes them again. Floors and ceilings on energy and evaluations: a planner that
gives up early is caught as well as one that spends too much.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import robot_cell
import torch
from benchmarks.golden import GOLDEN
from vjepa_planner_pkg.core.search.action_space import within
from vjepa_planner_pkg.core.search.plan import Plan
from vjepa_planner_pkg.core.search.planner import PlannerConfig, make_planner
from vjepa_planner_pkg.core.search.scorer import DirectScorer
from vjepa_world_model.weights.checkpoints import load_world_model

PAIRS = 6
MIN_DROP = 0.2  # the least of the six; measured 0.25 to 0.61
MIN_EVALUATIONS, MAX_EVALUATIONS = 60, 200  # measured 90 to 166
REFERENCE = {"planner": "cem", "cem_samples": 100, "cem_iterations": 5}


@cache
def plans(name: str) -> list[Plan]:
    stored = np.load(GOLDEN / "planner.npz", allow_pickle=False)
    model = load_world_model(None, "cpu")
    options = REFERENCE if name == "cem" else {}
    config = within(PlannerConfig(time_budget_ms=0.0, **options), robot_cell.load("panda_sim"))
    found = []
    for features, goal, state in zip(
        stored["features"], stored["goals"], stored["states"], strict=True
    ):
        scorer = DirectScorer(
            model,
            torch.from_numpy(features.astype(np.float32)),
            torch.from_numpy(goal.astype(np.float32)),
            torch.from_numpy(state),
        )
        generator = torch.Generator().manual_seed(0)
        found.append(
            make_planner(config).plan(scorer, torch.from_numpy(state), generator=generator)
        )
    return found


def dropped(name: str) -> np.ndarray:
    """Share of the energy at the start that the plan takes away, float64 [PAIRS]."""
    return np.array([1.0 - plan.energy / plan.energy_stay for plan in plans(name)])


def test_a_plan_comes_nearer_to_every_goal() -> None:
    assert len(plans("fast")) == PAIRS
    assert dropped("fast").min() > MIN_DROP and dropped("fast").max() < 1.0, dropped("fast")


def test_the_search_reaches_what_the_reference_reaches() -> None:
    behind = dropped("cem") - dropped("fast")
    assert np.abs(behind).max() < 0.02, behind


def test_the_search_spends_neither_too_little_nor_too_much() -> None:
    evaluations = [plan.evaluations for plan in plans("fast")]
    assert min(evaluations) >= MIN_EVALUATIONS, evaluations
    assert max(evaluations) <= MAX_EVALUATIONS, evaluations


@pytest.mark.parametrize("name", ["fast", "cem"])
def test_no_action_leaves_its_limits(name: str) -> None:
    actions = torch.stack([plan.actions[0] for plan in plans(name)])
    assert actions[:, :3].abs().max() <= PlannerConfig().max_step_m + 1e-6
    assert actions[:, 3:].abs().max() == 0.0
