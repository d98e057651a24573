"""The energy around the action that really led from one frame to another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vjepa_world_model.evaluation.energy.moments import Sequence
from vjepa_world_model.model.poses import POSITION
from vjepa_world_model.model.world_model import WorldModel

AXES = ("x", "y", "z")
PLANES = ((0, 1), (0, 2), (1, 2))  # across, up
LEAST_SPAN_M = 0.075  # the largest step of the published planner
BATCH = 32  # actions imagined at once


@dataclass(frozen=True)
class Landscape:
    """Energies of imagined moves toward the later frame.

    All moves have the rotation and the change of closedness of the true action.

    Attributes:
        true_action: float32 [7].
        offsets_m: [G], the moves along each axis.
        planes: [3, G, G], energies over (x, y), (x, z) and (y, z), the third axis as in the true
            action; rows are the second axis of the pair.
        lines: [3, G], energies along x, y and z, the two others as in the true action.
        energy_true, energy_stay: after the true action, and after no action.
        energy_now: of the earlier frame itself.
    """

    true_action: np.ndarray
    offsets_m: np.ndarray
    planes: np.ndarray
    lines: np.ndarray
    energy_true: float
    energy_stay: float
    energy_now: float

    def lowest_m(self, plane: int) -> tuple[float, float]:
        """The move of lowest energy in a plane: across, up [m]."""
        up, across = np.unravel_index(self.planes[plane].argmin(), self.planes[plane].shape)
        return float(self.offsets_m[across]), float(self.offsets_m[up])

    def bias_m(self, axis: int) -> float:
        """Lowest point along an axis less the true action [m]."""
        return minimum(self.offsets_m, self.lines[axis]) - float(self.true_action[axis])

    def to_dict(self) -> dict:
        """For JSON; energies by rows."""
        planes = {}
        for number, (across, up) in enumerate(PLANES):
            planes[AXES[across] + AXES[up]] = {
                "across": AXES[across],
                "up": AXES[up],
                "lowest_m": self.lowest_m(number),
                "energies": self.planes[number].tolist(),
            }
        lines = {
            name: {
                "true_m": float(self.true_action[axis]),
                "lowest_m": minimum(self.offsets_m, self.lines[axis]),
                "bias_m": self.bias_m(axis),
                "energies": self.lines[axis].tolist(),
            }
            for axis, name in enumerate(AXES)
        }
        return {
            "true_action": self.true_action.tolist(),
            "energy_true": self.energy_true,
            "energy_stay": self.energy_stay,
            "energy_now": self.energy_now,
            "offsets_m": self.offsets_m.tolist(),
            "planes": planes,
            "lines": lines,
        }


Progress = Callable[[int], None]


@torch.no_grad()
def landscape(
    model: WorldModel,
    sequence: Sequence,
    first: int,
    second: int,
    points: int,
    span_m: float | None = None,
    progress: Progress = lambda count: None,
) -> Landscape:
    """Energies over a grid of moves from frame `first` toward frame `second`.

    Args:
        points: of the grid along each axis.
        span_m: half its side; None: what holds the true action, at least the planner's step.
        progress: called with the number of actions scored.
    """
    true = sequence.action(first, second)
    span = span_m or max(LEAST_SPAN_M, 1.25 * float(np.abs(true[POSITION]).max()))
    offsets = np.linspace(-span, span, points)
    across, up = np.meshgrid(offsets, offsets)
    candidates = []
    for a, b in PLANES:
        moves = np.tile(true, (points * points, 1))
        moves[:, a], moves[:, b] = across.ravel(), up.ravel()
        candidates.append(moves)
    lines = np.tile(true, (3, points, 1))
    for axis in range(3):
        lines[axis, :, axis] = offsets
    candidates.append(lines.reshape(-1, 7))
    candidates.append(np.stack([true, np.zeros_like(true)]))
    features = model.encode(sequence.frames[[first, second]])
    state = torch.from_numpy(sequence.states[first]).to(model.device)
    energies = score(model, features, state, np.concatenate(candidates), progress)
    area, line = 3 * points * points, 3 * points
    return Landscape(
        true_action=true,
        offsets_m=offsets,
        planes=energies[:area].reshape(3, points, points),
        lines=energies[area : area + line].reshape(3, points),
        energy_true=float(energies[-2]),
        energy_stay=float(energies[-1]),
        energy_now=float(model.energy(features[0], features[1])),
    )


@torch.no_grad()
def score(
    model: WorldModel,
    features: Tensor,
    state: Tensor,
    actions: np.ndarray,
    progress: Progress = lambda count: None,
) -> np.ndarray:
    """Energies [S] of single actions [S, 7] from features[0] toward features[1], both [N, D]."""
    found = []
    for batch in torch.from_numpy(actions.astype(np.float32)).split(BATCH):
        batch = batch[:, None].to(model.device)
        found.append(model.score(features[0], features[1], state, batch)[:, 0].float().cpu())
        progress(len(batch))
    return torch.cat(found).numpy()


def minimum(offsets: np.ndarray, energies: np.ndarray) -> float:
    """Where a line of energies [G] is lowest: that of the parabola through the lowest three."""
    lowest = int(energies.argmin())
    if lowest in (0, len(energies) - 1):
        return float(offsets[lowest])
    before, here, after = energies[lowest - 1 : lowest + 2].astype(np.float64)
    curvature = before - 2 * here + after
    shift = 0.5 * (before - after) / curvature if curvature > 0 else 0.0
    return float(offsets[lowest] + shift * (offsets[1] - offsets[0]))
