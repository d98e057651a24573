"""What the MPC checks before it compares or acts, and the seeds of its plans."""

from __future__ import annotations

import numpy as np

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
