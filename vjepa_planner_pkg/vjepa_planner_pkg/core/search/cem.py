"""The cross-entropy method in the form of the public V-JEPA 2-AC code, sample for sample."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from node_kit.parameters import parameter
from robot_cell import CLOSEDNESS, POSITION
from torch import Tensor

from vjepa_planner_pkg.core.search.action_space import ActionParameters, ActionSpace
from vjepa_planner_pkg.core.search.plan import EnergyFunction, Plan, checked_energies

GRIPPER_DEAD_ZONE = 0.25  # a smaller mean change of closedness becomes none


@dataclass
class CEMParameters:
    """Sampling and update. The defaults are the paper's; `cem_momentum_*` are the public code's."""

    cem_samples: int = parameter(800, "action sequences drawn per iteration", minimum=2)
    cem_elites: int = parameter(10, "best sequences that mean and deviation follow", minimum=2)
    cem_iterations: int = parameter(10, "iterations", minimum=1)
    cem_momentum_mean: float = parameter(
        0.15, "share of the previous mean that is kept", minimum=0.0, maximum=1.0
    )
    cem_momentum_std: float = parameter(
        0.75, "share of the previous deviation that is kept", minimum=0.0, maximum=1.0
    )
    cem_momentum_mean_gripper: float = parameter(
        0.15, "the same for the mean of the gripper", minimum=0.0, maximum=1.0
    )
    cem_momentum_std_gripper: float = parameter(
        0.15, "the same for the deviation of the gripper", minimum=0.0, maximum=1.0
    )


class CEMPlanner:
    """Draws x, y, z and gripper; rotation is zero. Without a workspace box it is the reference."""

    def __init__(
        self,
        actions: ActionParameters,
        parameters: CEMParameters,
        clock: Callable[[], float] = time.monotonic,
    ):
        """`clock` [s] measures the budget.

        Raises:
            ValueError: more elites than samples, or a rotation is asked for.
        """
        if parameters.cem_elites > parameters.cem_samples:
            raise ValueError(
                f"cem_elites {parameters.cem_elites} is above cem_samples {parameters.cem_samples}"
            )
        if actions.rotation:
            raise ValueError("the reference CEM plans no rotation; use planner fast for it")
        self._p = parameters
        self._space = ActionSpace(actions)
        self._horizon = actions.horizon
        self._max_step_m = actions.max_step_m
        self._max_closedness_step = actions.max_closedness_step if actions.gripper else 0.0
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
        """The final mean after all iterations; the best sample if the budget ends them before.

        Args:
            score: see `EnergyFunction`.
            state: float32 [7], where the arm is (base_link).
            budget_s: no iteration is started that would end later than this, except the first.
            warm_start: not used; the reference starts from zero.
            generator: on the CPU, so that a seed gives the same draws for every device.

        Raises:
            ScoreError: an energy is not finite.
        """
        p, started = self._p, self._clock()
        device = getattr(score, "device", "cpu")
        state = torch.as_tensor(state, dtype=torch.float32).cpu()
        mean = torch.zeros(self._horizon, 4)
        deviation = torch.ones(self._horizon, 4)
        deviation[:, POSITION] = self._max_step_m
        keep_mean = torch.tensor([p.cem_momentum_mean] * 3 + [p.cem_momentum_mean_gripper])
        keep_deviation = torch.tensor([p.cem_momentum_std] * 3 + [p.cem_momentum_std_gripper])
        stay = torch.zeros(1, self._horizon, 7)
        chosen, energy, energy_stay = stay[0], 0.0, 0.0
        done, slowest_s, in_time = 0, 0.0, True

        for _ in range(p.cem_iterations):
            begun = self._clock()
            samples = self._draw(mean, deviation, generator)
            actions = self._space.clip(_with_rotation(samples), state)
            scored = actions if done else torch.cat([actions, stay])
            energies = checked_energies(score, scored.to(device))[:, -1]
            if not done:
                energy = energy_stay = float(energies[-1])
            energies = energies[: p.cem_samples]
            if energies.min() < energy:
                chosen, energy = actions[energies.argmin()], float(energies.min())
            elites = _without_rotation(actions)[energies.topk(p.cem_elites, largest=False).indices]
            mean = elites.mean(0) * (1.0 - keep_mean) + mean * keep_mean
            deviation = elites.std(0) * (1.0 - keep_deviation) + deviation * keep_deviation
            slowest_s = max(slowest_s, self._clock() - begun)
            done += 1
            next_s = slowest_s if done < p.cem_iterations else slowest_s / p.cem_samples
            in_time = budget_s is None or self._clock() - started + next_s <= budget_s
            if not in_time:
                break

        if in_time:
            mean[mean[:, 3].abs() < GRIPPER_DEAD_ZONE, 3] = 0.0
            chosen = _with_rotation(mean)
            energy = float(checked_energies(score, chosen[None].to(device))[0, -1])
        return Plan(
            actions=chosen,
            energy=energy,
            energy_stay=energy_stay,
            evaluations=done * p.cem_samples + 1 + in_time,
            seconds=self._clock() - started,
            iterations=done,
            spread_m=float(deviation[0, :3].max()),
            ended_by="iterations" if in_time else "budget",
        )

    def _draw(self, mean: Tensor, deviation: Tensor, generator: torch.Generator) -> Tensor:
        """Samples [S, H, 4]; one draw per horizon step, in the reference's order."""
        steps = []
        for step_mean, step_deviation in zip(mean, deviation, strict=True):
            normal = torch.randn(self._p.cem_samples, 4, generator=generator)
            step = normal * step_deviation + step_mean
            step[:, POSITION] = step[:, POSITION].clamp(-self._max_step_m, self._max_step_m)
            step[:, 3] = step[:, 3].clamp(-self._max_closedness_step, self._max_closedness_step)
            steps.append(step)
        return torch.stack(steps, dim=1)


def _with_rotation(samples: Tensor) -> Tensor:
    """[..., 4] (x, y, z, closedness) -> [..., 7] with zero rotation."""
    zeros = torch.zeros(*samples.shape[:-1], 3)
    return torch.cat([samples[..., POSITION], zeros, samples[..., 3:]], dim=-1)


def _without_rotation(actions: Tensor) -> Tensor:
    return torch.cat([actions[..., POSITION], actions[..., CLOSEDNESS:]], dim=-1)
