"""What the encoder's features are held to besides predicting each other, and the readouts for it.

Three things that a recording knows without labels: how far the arm moved between two moments (its
own joints), where in the picture the robot stands (`geometry`, which a simulation's renderer knows;
optional), and what another camera or day shows of the same moment. The readouts are linear, trained
along with the encoder and then put away.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from vjepa_world_model.model.poses import CLOSEDNESS, POSITION

GEOMETRY_CHANNELS = 3  # robot, hand, nearness: see `PandaPhysics.render_with_geometry`
MOTION_SCALE_M = 0.05  # the motion readout answers in this unit


class Readouts(nn.Module):
    """Linear maps from features to the arm's motion and to the robot's place in the picture."""

    def __init__(self, patches: int, width: int, cells_per_patch: int) -> None:
        """`cells_per_patch`: squares of the geometry map in a patch; 0 without such a map."""
        super().__init__()
        self.motion = nn.Linear(patches * width, 4)
        self.geometry = nn.Linear(width, cells_per_patch * GEOMETRY_CHANNELS)

    def motion_loss(self, features: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """L1 of the arm's place within its episode, in units of MOTION_SCALE_M.

        Only differences inside an episode count: where the camera stands need not be known.

        Args:
            features: [E, F, N, D], F pictures of each of E episodes.
            places: [E, F, 4], see `places_of`.
        """
        error = self.motion(features.flatten(2)) - places / MOTION_SCALE_M
        return (error - error.mean(dim=1, keepdim=True)).abs().mean()

    def geometry_loss(self, tokens: torch.Tensor, maps: torch.Tensor) -> torch.Tensor:
        """Cross-entropy of the robot's place in the picture; tokens [B, N, D], maps [B, N, K]."""
        return F.binary_cross_entropy_with_logits(self.geometry(tokens.float()), maps)


def places_of(states: torch.Tensor, gripper_m: float) -> torch.Tensor:
    """States [..., 7] -> [..., 4] [m]: position, and closing counted as `gripper_m` of motion."""
    return torch.cat([states[..., POSITION], gripper_m * states[..., CLOSEDNESS]], dim=-1)


def energy_loss(
    features: torch.Tensor, places: torch.Tensor, slope: float, floor_m: float
) -> torch.Tensor:
    """Mean relative error of the energies to `slope` times the motion, over all pairs.

    Args:
        features: [E, F, N, D] layer-normed; all pairs of the F pictures of an episode count.
        places: [E, F, 4].
        slope: energy per metre of motion.
        floor_m: errors are relative to the motion plus this.
    """
    size = features[0, 0].numel()
    energy = torch.cdist(features.flatten(2), features.flatten(2), p=1) / size
    moved = torch.cdist(places, places)
    error = (energy - slope * moved).abs() / (slope * (moved + floor_m))
    off_diagonal = ~torch.eye(len(error[0]), dtype=torch.bool, device=error.device)
    return error[:, off_diagonal].mean()


def patch_maps(geometry: torch.Tensor, grid: int) -> torch.Tensor:
    """Geometry maps [B, cells * cells * 3] -> their part in each patch, [B, grid * grid, K]."""
    cells = round((geometry.shape[-1] / GEOMETRY_CHANNELS) ** 0.5)
    maps = geometry.unflatten(-1, (grid, cells // grid, grid, cells // grid, GEOMETRY_CHANNELS))
    return maps.permute(0, 1, 3, 2, 4, 5).flatten(3).flatten(1, 2)
