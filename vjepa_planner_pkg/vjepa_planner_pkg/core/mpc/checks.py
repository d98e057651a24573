"""What the MPC checks before it compares or acts, seeds of its plans, and where actions lead."""

from __future__ import annotations

import numpy as np
from robot_cell import CLOSEDNESS, POSITION, ROTATION
from scipy.spatial.transform import Rotation

from vjepa_planner_pkg.core.mpc.io import Latent, PlannedAction, Status


def mismatch(latent: Latent, goal: Latent) -> str:
    """Why the two cannot be compared; empty if they can."""
    if latent.model != goal.model:
        return (
            f"the goal was encoded by model {goal.model!r}, the image by {latent.model!r}; "
            "send the goal image again"
        )
    if latent.features.shape != goal.features.shape:
        return (
            f"the goal's features are {list(goal.features.shape)}, the image's "
            f"{list(latent.features.shape)}; use one encoder for both"
        )
    return ""


def unusable(plan: PlannedAction) -> str:
    values = [*plan.action, plan.energy, plan.energy_stay]
    if not np.isfinite(values).all():
        return f"planner: action {plan.action.tolist()} or its energies are not finite"
    return ""


def seed_of(seed: int, status: Status, doubts: int) -> int:
    """A seed for every plan of a run, the same in every run."""
    number = status.goal_index * 1_009 + status.step + doubts * 500_009
    return (seed * 1_000_003 + number) % 2**63


def target_of(state: np.ndarray, action: np.ndarray, rest: np.ndarray) -> np.ndarray:
    """State [7] that `action` leads to; axes without action keep those of `rest` [7],
    what the run began with. What is turned or gripped on purpose is noted in `rest`.

    Adding a zero rotation to the measured one would let the tool drift with every step.
    """
    target = state.copy()
    target[POSITION] += action[POSITION]
    if np.any(action[ROTATION]):
        turned = Rotation.from_euler("xyz", action[ROTATION]) * Rotation.from_euler(
            "xyz", state[ROTATION]
        )
        rest[ROTATION] = turned.as_euler("xyz")
    if action[CLOSEDNESS]:
        rest[CLOSEDNESS] = np.clip(state[CLOSEDNESS] + action[CLOSEDNESS], 0.0, 1.0)
    target[ROTATION], target[CLOSEDNESS] = rest[ROTATION], rest[CLOSEDNESS]
    return target
