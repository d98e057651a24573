"""Which actions a planner may choose: the step per axis, what stays fixed, the workspace box."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from node_kit.parameters import from_cell, parameter
from robot_cell import ACTION, STATE, Cell
from torch import Tensor

BOUNDED = ("max_step_m", "max_rotation_rad", "workspace_min_m", "workspace_max_m")
"""Parameters that `within` takes from a cell, or lowers for it."""

_MARGIN_M = 1e-5
A = TypeVar("A", bound="ActionParameters")


@dataclass
class ActionParameters:
    """Limits of one action. Positions are of the tool frame in the base frame.

    workspace_min_m, workspace_max_m: corners of the box that targets are clipped into [m]; empty:
    none. See `within`.
    """

    horizon: int = parameter(1, "actions in a plan; only the first is executed", minimum=1)
    max_step_m: float = parameter(
        0.06,
        "largest step along each of x, y, z; 0.075 for the published V-JEPA 2-AC",
        unit="m",
        minimum=0.001,
        maximum=0.5,
    )
    rotation: bool = parameter(False, "plan rotations as well")
    max_rotation_rad: float = parameter(
        0.2, "largest rotation about each axis, if rotation is on", unit="rad", minimum=0.001,
        maximum=1.5,
    )  # fmt: skip
    gripper: bool = parameter(False, "plan the gripper as well; off keeps its closedness")
    max_closedness_step: float = parameter(
        0.75, "largest change of closedness, if gripper is on", minimum=0.01, maximum=1.0
    )
    workspace_min_m: list[float] = from_cell([])
    workspace_max_m: list[float] = from_cell([])

    def __post_init__(self) -> None:
        low, high = self.workspace_min_m, self.workspace_max_m
        if len(low) != len(high) or len(low) not in (0, 3):
            raise ValueError(
                f"workspace_min_m {low} and workspace_max_m {high} must both hold x, y, z or none"
            )
        if any(a >= b for a, b in zip(low, high, strict=True)):
            raise ValueError(
                f"workspace_min_m {low} is not below workspace_max_m {high} on each axis"
            )


def within(parameters: A, cell: Cell) -> A:
    """The parameters, with the workspace of the cell and no steps that its guard would cut.

    A step goes up to `max_step_m` along each of three axes: its diagonal must keep to the cell's
    limit. The same holds for turns. Only what `BOUNDED` names can differ.

    Raises:
        ValueError: the cell has no arm.
    """
    _, workspace, limits = cell.needs_arm()
    return replace(
        parameters,
        max_step_m=min(parameters.max_step_m, limits.step_m / math.sqrt(3.0)),
        max_rotation_rad=min(parameters.max_rotation_rad, limits.turn_rad / math.sqrt(3.0)),
        workspace_min_m=list(workspace.low_m),
        workspace_max_m=list(workspace.high_m),
    )


class ActionSpace:
    """The box of allowed actions, spanned by its free axes only.

    A point is float32 [..., H * F] with elements in [-1, 1]: the share of the largest step on
    each of the F free axes, for each of the H actions.

    Attributes:
        limits: float32 [7], the largest step of every axis, 0 where an axis is fixed.
        horizon: H.
        axes: F.
        dimensions: H * F.
    """

    def __init__(self, parameters: ActionParameters):
        self.horizon = parameters.horizon
        self._box = None
        if parameters.workspace_min_m:
            self._box = torch.tensor([parameters.workspace_min_m, parameters.workspace_max_m])
            # float32 must not round a target out of the box, where the command guard would clip it.
            self._box += torch.tensor([[_MARGIN_M], [-_MARGIN_M]])
        rotation = parameters.max_rotation_rad if parameters.rotation else 0.0
        closedness = parameters.max_closedness_step if parameters.gripper else 0.0
        self.limits = torch.tensor([parameters.max_step_m] * 3 + [rotation] * 3 + [closedness])
        self._free = torch.nonzero(self.limits).flatten()
        self._scale = self.limits[self._free]
        self.axes = len(self._free)
        self.dimensions = self.horizon * self.axes

    def actions(self, points: Tensor, state: Tensor) -> Tensor:
        """Points [S, H * F] as allowed actions [S, H, 7] of an arm in `state` [7]."""
        free = points.reshape(len(points), self.horizon, -1).clamp(-1.0, 1.0) * self._scale
        actions = points.new_zeros(len(points), self.horizon, 7)
        actions[..., self._free] = free
        return self.clip(actions, state)

    def points(self, actions: Tensor) -> Tensor:
        """Actions [S, H, 7] as points [S, H * F]; what lies on fixed axes is dropped."""
        return (actions[..., self._free] / self._scale).reshape(len(actions), -1).clamp(-1.0, 1.0)

    def repeated(self, shares: Tensor) -> Tensor:
        """Points [S, H * F] that take the same share [S, F] of the largest step H times."""
        return shares.repeat(1, self.horizon)

    def mean(self, points: Tensor) -> Tensor:
        """The mean over the H actions [S, F] of points [S, H * F]."""
        return points.reshape(len(points), self.horizon, -1).mean(1)

    def clip(self, actions: Tensor, state: Tensor) -> Tensor:
        """Actions [S, H, 7] cut down so that every target lies in the workspace box.

        An arm outside the box may come back by at most the largest step of each axis.
        """
        if self._box is None:
            return actions
        low, high = self._box
        position = state[STATE.position].expand(len(actions), 3)
        steps = []  # nothing is cut in place, so that gradients pass
        for step in actions.unbind(1):
            move = (
                torch.minimum(torch.maximum(position + step[:, ACTION.position], low), high)
                - position
            )
            most = self.limits[ACTION.position]
            move = torch.clamp(move, -most, most)
            steps.append(torch.cat([move, step[:, ACTION.position.stop :]], dim=1))
            position = position + move
        return torch.stack(steps, dim=1)

    def reach_m(self, spread: Tensor) -> float:
        """The largest extent on the position axes [m] of a spread [F]."""
        return float((spread * self._scale)[ACTION.position].max())
