"""The calibration of a camera: how the axes that the world model knows lie to those of base_link.

A world model has learned its action axes from where its cameras stood. Before a prediction states
and actions are turned into the axes that it knows, and gradients are turned back. The planner stays
in base_link, with its workspace and its limits. `calibration_fit` finds the turn.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import numpy as np
import torch
from robot_cell import CLOSEDNESS, POSITION, ROTATION
from scipy.spatial.transform import Rotation
from torch import Tensor
from vjepa_world_model.model.poses import euler_angles, rotation_matrix

from vjepa_planner_pkg.core.mpc.io import Latent, RequestPlan
from vjepa_planner_pkg.core.search.plan import EnergyFunction, energy_gradient

FORMAT = "vjepa_ros.calibration.v1"


class CalibrationError(ValueError):
    """A calibration that cannot be made, read or used; the text says why and what to do."""


@dataclass(frozen=True)
class Calibration:
    """A turn about the vertical, and what it holds for.

    Attributes:
        yaw_rad: turns vectors of base_link into the axes that the model knows. A camera carried
            around the scene counterclockwise, seen from above, makes it negative.
        pivot_m: x, y of the vertical about which positions turn (base_link).
        residual: root mean square of what the turn leaves unexplained, as a share of the motion.
        moves: how many it was fitted to.
        move_m: their mean length.
        model, camera_frame: the world model and the camera that it was found with.
    """

    yaw_rad: float
    pivot_m: tuple[float, float]
    residual: float
    moves: int
    move_m: float
    model: str
    camera_frame: str

    def check(self, latent: Latent) -> None:
        """Refuses what another model encoded, or another camera took.

        Raises:
            CalibrationError: names both and the remedy.
        """
        for what, here, there in (
            ("model", latent.model, self.model),
            ("camera", latent.frame, self.camera_frame),
        ):
            if here != there:
                raise CalibrationError(
                    f"the calibration was made with {what} {there!r}, the picture is of {what} "
                    f"{here!r}; calibrate anew, or leave the calibration out"
                )

    def state(self, state: np.ndarray) -> np.ndarray:
        """A state [7] of base_link along the axes that the model knows, float64 [7]."""
        turn = Rotation.from_rotvec([0.0, 0.0, self.yaw_rad])
        pivot = np.array([*self.pivot_m, 0.0])
        turned = np.array(state, dtype=float)
        turned[POSITION] = pivot + turn.apply(turned[POSITION] - pivot)
        turned[ROTATION] = (turn * Rotation.from_euler("xyz", turned[ROTATION])).as_euler("xyz")
        return turned

    def actions(self, actions: Tensor) -> Tensor:
        """Actions [..., 7] of base_link along the axes that the model knows; differentiable."""
        matrix = Rotation.from_rotvec([0.0, 0.0, self.yaw_rad]).as_matrix()
        turn = torch.as_tensor(matrix, dtype=actions.dtype, device=actions.device)
        angles = euler_angles(turn @ rotation_matrix(actions[..., ROTATION]) @ turn.mT)
        return torch.cat(
            [actions[..., POSITION] @ turn.mT, angles, actions[..., CLOSEDNESS:]], dim=-1
        )

    def write(self, path: Path) -> None:
        """Writes the file, all or nothing."""
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"{path.name}.part")
        part.write_text(json.dumps({"format": FORMAT, **asdict(self)}, indent=1) + "\n")
        os.replace(part, path)

    @classmethod
    def read(cls, path: Path) -> Calibration:
        """Reads what `write` wrote.

        Raises:
            CalibrationError: the file is missing, damaged or of another kind.
        """
        remedy = "calibrate anew, or name another calibration_file"
        try:
            stored = json.loads(path.read_text())
        except (OSError, ValueError) as error:
            raise CalibrationError(f"{path} cannot be read ({error}); {remedy}") from None
        names = {field.name for field in fields(cls)}
        if not isinstance(stored, dict) or stored.pop("format", None) != FORMAT:
            raise CalibrationError(f"{path} is no calibration of this kind; {remedy}")
        try:
            x_m, y_m = stored.get("pivot_m", ())
            numbers = [float(stored[n]) for n in ("yaw_rad", "residual", "move_m")]
            sound = set(stored) == names and all(map(math.isfinite, (*numbers, x_m, y_m)))
        except (KeyError, TypeError, ValueError):
            sound = False
        if not sound:
            raise CalibrationError(f"{path} is damaged; {remedy}")
        return cls(**{**stored, "pivot_m": (float(x_m), float(y_m))})


class CalibratedScore:
    """An `EnergyFunction` of actions in base_link, by one in the axes that the model knows."""

    def __init__(self, score: EnergyFunction, calibration: Calibration):
        self._score, self._calibration = score, calibration

    def __call__(self, actions: Tensor) -> Tensor:
        """actions float32 [S, H, 7] -> energies [S, H]."""
        return self._score(self._calibration.actions(actions))

    def gradient(self, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Energies [S, H] and d(energy after the last action)/d(actions) [S, H, 7]."""
        with torch.enable_grad():
            leaf = actions.detach().clone().requires_grad_(True)
            turned = self._calibration.actions(leaf)
            energies, gradient = energy_gradient(self._score, turned.detach())
            (gradient,) = torch.autograd.grad(turned, leaf, gradient.to(turned.device))
        return energies, gradient


def calibrated(
    source: Callable[[RequestPlan], EnergyFunction],
    request: RequestPlan,
    calibration: Calibration | None,
) -> EnergyFunction:
    """The score of `source` for `request`, of actions in base_link.

    Raises:
        CalibrationError: the calibration is of another model or camera.
    """
    if calibration is None:
        return source(request)
    calibration.check(request.latent)
    goal = request.goal
    if len(goal.keep_out):
        raise CalibrationError(
            "keep-out boxes of a goal cannot be turned with a calibrated camera; put them into the "
            "cell, whose guard keeps the tool out of them"
        )
    if goal.pose is not None:
        goal = replace(goal, pose=calibration.state(goal.pose))
    turned = replace(request, state=calibration.state(request.state), goal=goal)
    return CalibratedScore(source(turned), calibration)
