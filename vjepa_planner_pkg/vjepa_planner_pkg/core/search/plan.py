"""What planners take and give: the `EnergyFunction` of action sequences, and the `Plan`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


class EnergyFunction(Protocol):
    """Energies of action sequences from where the arm stands, toward one goal.

    Any callable of this form will do. One that has `gradient` as well (see `core.scorer`) saves
    the planner from differentiating through the call.
    """

    def __call__(self, actions: Tensor) -> Tensor:
        """actions float32 [S, H, 7] (metres, radians, closedness) -> energies [S, H]."""


@dataclass(frozen=True)
class Plan:
    """The best action sequence found and what it cost.

    Attributes:
        actions: float32 [H, 7] on the CPU; the first row is to be executed.
        energy: predicted energy after the last action.
        energy_stay: predicted energy after doing nothing for as long.
        evaluations: action sequences scored; one with its gradient counts GRADIENT_COST times.
        seconds: time spent.
        iterations: batches scored.
        spread_m: half-width of what the search had narrowed the first move down to [m].
        ended_by: "converged", "budget" or "iterations".
    """

    actions: Tensor
    energy: float
    energy_stay: float
    evaluations: int
    seconds: float
    iterations: int
    spread_m: float
    ended_by: str


GRADIENT_COST = 3
"""Evaluations that a score with its gradient is worth: forward, and backward at twice its cost."""


class ScoreError(RuntimeError):
    """Candidates could not be scored; the text says why."""


def checked_energies(score: EnergyFunction, actions: Tensor) -> Tensor:
    """Energies [S, H] of `actions` [S, H, 7], float32 on the CPU.

    Raises:
        ScoreError: the energies have another shape or are not finite.
    """
    with torch.no_grad():
        energies = score(actions)
    if energies.shape != actions.shape[:2]:
        raise ScoreError(
            f"energies of shape {list(energies.shape)} for actions {list(actions.shape)}; "
            f"the scorer must return [{actions.shape[0]}, {actions.shape[1]}]"
        )
    energies = energies.detach().to("cpu", torch.float32)
    if not torch.isfinite(energies).all():
        count = int((~torch.isfinite(energies)).sum())
        raise ScoreError(
            f"{count} of {energies.numel()} predicted energies are not finite; "
            "check the latents and the model's weights"
        )
    return energies


def energy_gradient(score: EnergyFunction, actions: Tensor) -> tuple[Tensor, Tensor]:
    """Energies [S, H] and d(energy after the last action)/d(actions) [S, H, 7], on the CPU.

    Uses `score.gradient` where there is one, else differentiates through the call.

    Raises:
        ScoreError: the energies do not depend on the actions differentiably, or are not finite.
    """
    if hasattr(score, "gradient"):
        energies, gradient = score.gradient(actions)
    else:
        with torch.enable_grad():
            leaf = actions.detach().clone().requires_grad_(True)
            energies = score(leaf)
            if not energies.requires_grad:
                raise ScoreError(
                    "the scorer's energies carry no gradient; set fast_gradient_steps to 0 or give "
                    "the scorer a gradient method"
                )
            (gradient,) = torch.autograd.grad(energies[:, -1].sum(), leaf)
    energies = energies.detach().to("cpu", torch.float32)
    gradient = gradient.detach().to("cpu", torch.float32)
    if not (torch.isfinite(energies).all() and torch.isfinite(gradient).all()):
        raise ScoreError("the gradient of the energy is not finite; set fast_gradient_steps to 0")
    return energies, gradient
