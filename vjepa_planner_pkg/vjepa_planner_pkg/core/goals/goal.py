"""Goals: energies of imagined futures. A planner knows no more of a goal than this one face.

A goal sees what the world model imagines, the latents of each camera and the states of the arm, and
says how far that is from what is wanted. Terms add up, like the critics of an MPPI controller.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
from robot_cell import CLOSEDNESS, POSITION, ROTATION
from torch import Tensor
from vjepa_world_model.model.poses import rotation_matrix

from vjepa_planner_pkg.core.goals.terms import GoalTerms

Latents = Mapping[str, Tensor]
"""By camera: imagined features float32 [S, H, N, D] after each action."""


class Goal(Protocol):
    """What is wanted."""

    def energy(self, latents: Latents, states: Tensor) -> Tensor:
        """How far each sample is from the goal after each action.

        Args:
            latents: by camera, float32 [S, H, N, D].
            states: float32 [S, H, 7] in the base frame, m, rad, closedness.

        Returns:
            float32 [S, H], not negative, differentiable in both arguments.
        """
        ...


class PictureGoal:
    """Features of goal pictures: the mean absolute difference (Assran et al., 2025, section 3.2),
    averaged over the cameras."""

    def __init__(self, features: Latents):
        """`features`: by camera, float32 [N, D]."""
        self.features = dict(features)

    def energy(self, latents: Latents, states: Tensor) -> Tensor:
        """As `Goal`; raises ValueError where a camera's latents are missing."""
        missing = [name for name in self.features if name not in latents]
        if missing:
            raise ValueError(f"no latents of camera {missing[0]!r}, of which there is a goal")
        found = [
            (latents[name] - goal).abs().mean(dim=(-2, -1)) for name, goal in self.features.items()
        ]
        return torch.stack(found).mean(0)


class PoseGoal:
    """A pose of the tool: distance [m], plus `METRES_PER_RADIAN` times the turn, plus
    `METRES_PER_CLOSEDNESS` times the difference of closedness."""

    METRES_PER_RADIAN = 0.1
    METRES_PER_CLOSEDNESS = 0.08  # the fingers of a Panda travel so far

    def __init__(self, pose: Tensor):
        """`pose`: float32 [7]."""
        self._pose = pose
        self._rotation = rotation_matrix(pose[ROTATION])

    def energy(self, latents: Latents, states: Tensor) -> Tensor:
        """As `Goal` [m]."""
        distance = _length(states[..., POSITION] - self._pose[POSITION])
        # |R - G|_F = 2 sqrt(2) sin(turn / 2): smooth at 0, unlike the angle itself.
        apart = rotation_matrix(states[..., ROTATION]) - self._rotation
        turn = _length(apart.flatten(-2)) / 2.0**0.5
        grip = (states[..., CLOSEDNESS] - self._pose[CLOSEDNESS]).abs()
        return distance + self.METRES_PER_RADIAN * turn + self.METRES_PER_CLOSEDNESS * grip


class KeepOut:
    """Boxes that the tool avoids: how deep it is inside the deepest one [m]."""

    def __init__(self, boxes: Tensor):
        """`boxes`: float32 [K, 2, 3], lower and upper corners [m]."""
        self._low, self._high = boxes.unbind(1)

    def energy(self, latents: Latents, states: Tensor) -> Tensor:
        """As `Goal` [m]."""
        position = states[..., None, POSITION]
        sides = torch.minimum(position - self._low, self._high - position)
        return sides.amin(-1).clamp(min=0.0).amax(-1)


class Effort:
    """The way of the tool since the first of the states [m]."""

    def energy(self, latents: Latents, states: Tensor) -> Tensor:
        """As `Goal` [m]."""
        moves = _length(states[:, 1:, POSITION] - states[:, :-1, POSITION])
        return torch.cat([moves.new_zeros(len(moves), 1), moves.cumsum(1)], dim=1)


class SumGoal:
    """Several goals at once, each with its weight."""

    def __init__(self, terms: Sequence[tuple[float, Goal]]):
        if not terms:
            raise ValueError("a goal needs at least one term")
        self._terms = tuple(terms)

    def energy(self, latents: Latents, states: Tensor) -> Tensor:
        """As `Goal`."""
        found = [weight * goal.energy(latents, states) for weight, goal in self._terms]
        return torch.stack(found).sum(0)


class GoalSequence:
    """Goals one after the other: the energy is that of the current one."""

    def __init__(self, goals: Sequence[Goal]):
        if not goals:
            raise ValueError("a sequence needs at least one goal")
        self._goals, self.index = tuple(goals), 0

    def advance(self) -> bool:
        """Goes on to the next goal; False: the last one is the current one."""
        if self.index + 1 == len(self._goals):
            return False
        self.index += 1
        return True

    def energy(self, latents: Latents, states: Tensor) -> Tensor:
        """As `Goal`."""
        return self._goals[self.index].energy(latents, states)


def goal_of(terms: GoalTerms, device: torch.device) -> Goal:
    """The goal that these terms add up to.

    Raises:
        ValueError: terms that cannot be used; says which.
    """
    if problem := terms.problem():
        raise ValueError(problem)
    found: list[tuple[float, Goal]] = []
    if terms.pictures:
        features = {
            name: torch.as_tensor(latent.features, dtype=torch.float32, device=device)
            for name, latent in terms.pictures.items()
        }
        found.append((terms.picture_weight, PictureGoal(features)))
    if terms.pose is not None:
        pose = torch.as_tensor(terms.pose, dtype=torch.float32, device=device)
        found.append((terms.pose_weight, PoseGoal(pose)))
    if len(terms.keep_out):
        boxes = torch.as_tensor(terms.keep_out, dtype=torch.float32, device=device)
        found.append((terms.keep_out_weight, KeepOut(boxes)))
    if terms.effort_weight:
        found.append((terms.effort_weight, Effort()))
    return SumGoal(found)


def _length(vectors: Tensor) -> Tensor:
    """Euclidean length over the last axis; its gradient at 0 is 0, not NaN."""
    return (vectors.square().sum(-1) + 1e-12).sqrt() - 1e-6
