"""What goes into the MPC and what comes out of it: plain values, no ROS, no torch."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

import numpy as np

from vjepa_planner_pkg.core.goals.latent import Latent
from vjepa_planner_pkg.core.goals.terms import GoalTerms
from vjepa_planner_pkg.core.guard.io import Now

__all__ = [
    "ArmState", "CancelPlan", "Command", "Effect", "EncodeGoal", "Finished", "Latent",
    "MpcState", "Now", "PlannedAction", "RequestPlan", "Status", "SubGoal",
]  # fmt: skip


class MpcState(enum.IntEnum):
    """As in vjepa_interfaces/msg/PlannerStatus."""

    IDLE = 0
    PLANNING = 1
    MOVING = 2
    SETTLED = 3
    REACHED = 4
    STUCK = 5
    TIMED_OUT = 6
    STOPPED = 7

    @property
    def active(self) -> bool:
        """Whether a goal is being followed."""
        return self in (MpcState.PLANNING, MpcState.MOVING, MpcState.SETTLED)


@dataclass(frozen=True)
class ArmState:
    """A measured state: `state` float64 [7], m, rad, closedness, of tool0 in base_link."""

    stamp_ns: int
    state: np.ndarray


@dataclass(frozen=True)
class SubGoal:
    """One goal of a run. Without terms the MPC asks for its picture to be encoded."""

    terms: GoalTerms | None = None
    max_steps: int | None = None


@dataclass(frozen=True)
class PlannedAction:
    """What the MPC needs of a `core.plan.Plan`.

    action, warm_start: float64 [7] the first action, float64 [H, 7] where the next plan begins.
    cut_short: the time budget ended the search.
    """

    action: np.ndarray
    warm_start: np.ndarray
    energy: float
    energy_stay: float
    evaluations: int
    seconds: float
    cut_short: bool = False


@dataclass(frozen=True)
class RequestPlan:
    """Plan from here; answer with `MPC.on_plan` or `MPC.on_plan_failed` and this `id`."""

    id: int
    latent: Latent
    goal: GoalTerms
    state: np.ndarray
    warm_start: np.ndarray | None
    seed: int


@dataclass(frozen=True)
class CancelPlan:
    """Nobody waits for the plan of this `id` any more."""

    id: int


@dataclass(frozen=True)
class EncodeGoal:
    """Encode goal image `index` of run `run`; answer with `MPC.on_goal_encoded`."""

    run: int
    index: int


@dataclass(frozen=True)
class Command:
    """Send the arm to `target` [7], which `action` [7] leads to. Stamp of the image or state."""

    stamp_ns: int
    target: np.ndarray
    action: np.ndarray


@dataclass(frozen=True)
class Finished:
    """Run `run` is over."""

    run: int
    outcome: MpcState
    reason: str
    goals_reached: int
    energy: float


Effect = RequestPlan | CancelPlan | EncodeGoal | Command | Finished


@dataclass
class Status:
    """What `planner_status` shows."""

    state: MpcState = MpcState.IDLE
    reason: str = "no goal yet"
    stamp_ns: int = 0
    goal_index: int = 0
    goal_count: int = 0
    step: int = 0
    max_steps: int = 0
    energy: float = 0.0
    energy_start: float = 0.0
    predicted_energy: float = 0.0
    planning_s: float = 0.0
    evaluations: int = 0
    action: np.ndarray = field(default_factory=lambda: np.zeros(7))
