"""Planners: the one door to them. `make_planner` picks one by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from node_kit.parameters import parameter
from torch import Tensor

from vjepa_planner_pkg.core.search.action_space import ActionParameters, ActionSpace
from vjepa_planner_pkg.core.search.cem import CEMParameters, CEMPlanner
from vjepa_planner_pkg.core.search.fast import FastParameters, FastPlanner
from vjepa_planner_pkg.core.search.plan import EnergyFunction, Plan, ScoreError

__all__ = [
    "ActionParameters", "ActionSpace", "CEMParameters", "CEMPlanner", "EnergyFunction",
    "FastParameters", "FastPlanner", "Plan", "Planner", "PlannerConfig", "ScoreError",
    "make_planner", "shifted",
]  # fmt: skip


class Planner(Protocol):
    """What every planner does; see `FastPlanner.plan` for the arguments."""

    def plan(
        self,
        score: EnergyFunction,
        state: Tensor,
        *,
        budget_s: float | None = None,
        warm_start: Tensor | None = None,
        generator: torch.Generator,
    ) -> Plan: ...


@dataclass
class PlannerConfig(FastParameters, CEMParameters, ActionParameters):
    """Everything a planner can be told; `planner` says which part is used."""

    planner: str = parameter("fast", "search method", choices=("fast", "cem"))
    time_budget_ms: float = parameter(
        450.0, "time for one plan; the best so far is taken, at most one batch late; 0: none",
        unit="ms", minimum=0.0,
    )  # fmt: skip
    seed: int = parameter(0, "of the samples; the same seed and inputs give the same plan")

    @property
    def budget_s(self) -> float | None:
        """`time_budget_ms` as planners take it."""
        return self.time_budget_ms / 1000.0 or None

    @property
    def uses_gradients(self) -> bool:
        """Whether plans are refined down the gradient of the energy; see `FastPlanner`."""
        return self.planner == "fast" and self.horizon > 1 and self.fast_gradient_steps > 0


def make_planner(config: PlannerConfig) -> Planner:
    """The planner that `config.planner` names.

    Raises:
        ValueError: settings that do not go together.
    """
    if config.planner == "cem":
        return CEMPlanner(config, config)
    return FastPlanner(config, config)


def shifted(actions: Tensor, limits: Tensor) -> Tensor:
    """A warm start [H, 7] for the plan after `actions` [H, 7], whose first row was executed.

    The last row is new. Where the plan ended at the limit [7] of an axis the goal lies further
    on, so that axis repeats; elsewhere the plan had arrived.
    """
    last = torch.where(actions[-1].abs() >= 0.99 * limits, actions[-1], 0.0)
    return torch.cat([actions[1:], last[None]])
