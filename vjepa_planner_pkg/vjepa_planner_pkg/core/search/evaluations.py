"""Every action sequence that a plan has scored, and whether its time budget allows another."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from vjepa_planner_pkg.core.search.action_space import ActionSpace
from vjepa_planner_pkg.core.search.plan import (
    GRADIENT_COST,
    EnergyFunction,
    checked_energies,
    energy_gradient,
)

_FIRST_CALL = 8  # sequences in the first call under a budget, before their cost is known


class OutOfTime(Exception):
    """The time budget allows no further call of the score."""


class Evaluations:
    """Scores points of an action space and keeps them; row 0 is doing nothing.

    Under a budget a batch is cut into calls that are expected to end in time, judged by the
    slowest sequence so far: a plan is late by no more than its last call.

    Attributes:
        actions: float32 [K, H, 7], what was scored.
        points: float32 [K, H * F], the same after the cut to the workspace.
        energies: float32 [K], after the last action.
        evaluations: sequences scored; one with its gradient counts GRADIENT_COST times.
        calls: of the score.
        out_of_time: whether something was left out for want of time.
    """

    def __init__(
        self,
        space: ActionSpace,
        score: EnergyFunction,
        state: Tensor,
        clock: Callable[[], float],
        budget_s: float | None,
    ):
        """`state` float32 [7] on the CPU; the budget runs from here on."""
        self._space, self._score, self._state = space, score, state
        self._device = getattr(score, "device", "cpu")
        self._clock, self._budget_s, self._started = clock, budget_s, clock()
        self._sequence_s = self._gradient_s = 0.0  # the slowest so far
        self.actions = torch.zeros(0, 0, 0)
        self.points = torch.zeros(0, space.dimensions)
        self.energies = torch.zeros(0)
        self.evaluations = self.calls = 0
        self.out_of_time = False

    def add(self, points: Tensor) -> None:
        """Scores points [S, H * F], or as many as there is time for, the first ones first.

        The very first point is taken as doing nothing.
        """
        while len(points):
            count = self._sequences_in_time(len(points))
            if count == 0:
                self.out_of_time = True
                return
            self._add_at_once(points[:count])
            points = points[count:]

    def gradient(self, point: Tensor) -> tuple[float, Tensor]:
        """Energy of a point [H * F] and its gradient by the point [H * F].

        Raises:
            OutOfTime: it would not end in time.
        """
        if self.seconds_left() < max(self._gradient_s, GRADIENT_COST * self._sequence_s):
            self.out_of_time = True
            raise OutOfTime
        begun = self._clock()
        leaf = point[None].clone().requires_grad_(True)
        actions = self._space.actions(leaf, self._state)
        energies, slope = energy_gradient(self._score, actions.detach().to(self._device))
        (gradient,) = torch.autograd.grad(actions, leaf, slope)
        self._keep(actions.detach(), energies[:, -1], GRADIENT_COST)
        self._gradient_s = max(self._gradient_s, self._clock() - begun)
        return float(energies[0, -1]), gradient[0]

    def seconds(self) -> float:
        """Since the plan began."""
        return self._clock() - self._started

    def seconds_left(self) -> float:
        """Of the budget; infinite without one."""
        return math.inf if self._budget_s is None else self._budget_s - self.seconds()

    def _sequences_in_time(self, wanted: int) -> int:
        left_s = self.seconds_left()
        if math.isinf(left_s):
            return wanted
        if self._sequence_s == 0.0:
            return min(wanted, _FIRST_CALL)
        return max(0, min(wanted, int(left_s / self._sequence_s)))

    def _add_at_once(self, points: Tensor) -> None:
        begun = self._clock()
        actions = self._space.actions(points, self._state)
        if len(self.points) == 0:
            actions[0] = 0.0  # even where the arm stands outside the box
        energies = checked_energies(self._score, actions.to(self._device))[:, -1]
        self._keep(actions, energies, 1)
        self._sequence_s = max(self._sequence_s, (self._clock() - begun) / len(points))

    def _keep(self, actions: Tensor, energies: Tensor, cost: int) -> None:
        self.actions = torch.cat([self.actions.reshape(-1, *actions.shape[1:]), actions])
        self.points = torch.cat([self.points, self._space.points(actions)])
        self.energies = torch.cat([self.energies, energies])
        self.evaluations += cost * len(actions)
        self.calls += 1
