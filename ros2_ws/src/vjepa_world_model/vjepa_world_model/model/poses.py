"""Pose algebra of V-JEPA 2-AC, batched in torch and differentiable.

A state is [..., 7]: position [m], extrinsic xyz Euler angles [rad], gripper closedness 0..1, all in
the robot's base frame. An action is [..., 7]: difference of position, Euler angles of R2 R1^T,
difference of closedness. Source: the public V-JEPA 2 code, `notebooks/utils/mpc_utils.py`.
"""

from __future__ import annotations

import torch

# Of states and actions [..., 7]; those who may import `robot_cell` take its layouts.
POSITION = slice(0, 3)
ROTATION = slice(3, 6)
CLOSEDNESS = slice(6, 7)


def apply_action(states: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
    """The states [..., 7] after `actions` [..., 7]; closedness is clipped to 0..1."""
    position = states[..., POSITION] + actions[..., POSITION]
    rotation = rotation_matrix(actions[..., ROTATION]) @ rotation_matrix(states[..., ROTATION])
    closedness = (states[..., CLOSEDNESS] + actions[..., CLOSEDNESS]).clamp(0.0, 1.0)
    return torch.cat([position, euler_angles(rotation), closedness], dim=-1)


def action_between(states: torch.Tensor, later: torch.Tensor) -> torch.Tensor:
    """The actions [..., 7] that lead from `states` [..., 7] to `later` [..., 7]."""
    rotation = rotation_matrix(later[..., ROTATION]) @ rotation_matrix(states[..., ROTATION]).mT
    return torch.cat(
        [
            later[..., POSITION] - states[..., POSITION],
            euler_angles(rotation),
            later[..., CLOSEDNESS] - states[..., CLOSEDNESS],
        ],
        dim=-1,
    )


def rotation_matrix(angles: torch.Tensor) -> torch.Tensor:
    """Extrinsic xyz Euler angles [..., 3] [rad] -> R = Rz(yaw) Ry(pitch) Rx(roll), [..., 3, 3]."""
    cr, cp, cy = angles.cos().unbind(-1)
    sr, sp, sy = angles.sin().unbind(-1)
    rows = [
        [cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr],
        [sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr],
        [-sp, cp * sr, cp * cr],
    ]
    return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)


def euler_angles(rotation: torch.Tensor) -> torch.Tensor:
    """Rotation matrices [..., 3, 3] -> extrinsic xyz Euler angles [..., 3] [rad].

    In gimbal lock (pitch of +-90 degrees) the yaw is set to zero, as scipy does.
    """
    cos_pitch = torch.hypot(rotation[..., 0, 0], rotation[..., 1, 0])
    locked = cos_pitch < 1e-6
    roll = torch.where(
        locked,
        torch.atan2(-rotation[..., 1, 2], rotation[..., 1, 1]),
        torch.atan2(rotation[..., 2, 1], rotation[..., 2, 2]),
    )
    pitch = torch.atan2(-rotation[..., 2, 0], cos_pitch)
    yaw = torch.where(
        locked,
        torch.zeros_like(pitch),
        torch.atan2(rotation[..., 1, 0], rotation[..., 0, 0]),
    )
    return torch.stack([roll, pitch, yaw], dim=-1)
