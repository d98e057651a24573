"""Which numbers of a state or action mean what: named slices in place of `[:3]`.

The layouts are those of V-JEPA 2-AC (Assran et al., 2025, section 3.1): a state holds position [m],
extrinsic xyz Euler angles [rad] and gripper closedness 0..1 in the robot's base frame; an action is
the difference of two states, its rotation the Euler angles of R2 R1^T.
"""

from __future__ import annotations

from dataclasses import dataclass, field

POSITION = slice(0, 3)
"""x, y, z [m] of a state, or their differences in an action."""

ROTATION = slice(3, 6)
"""Extrinsic xyz Euler angles [rad]."""

POSE = slice(0, 6)
"""Position and rotation."""

CLOSEDNESS = 6
"""Of the gripper: 0 open, 1 closed."""

LINEAR, ANGULAR = POSITION, ROTATION
"""Of a twist float [6]: velocity [m/s] and turn rate [rad/s]."""

ROTATION_CONVENTION = "xyz"
"""As `scipy.spatial.transform.Rotation.from_euler` reads it: lower case is extrinsic."""


@dataclass(frozen=True)
class StateLayout:
    """Named slices of a state float [..., size] in the robot's base frame.

    Attributes:
        position: [m]. rotation: Euler angles [rad]. closedness: index, 0 open to 1.
        size: numbers in a state. rotation_convention: of the Euler angles, as scipy names it.
    """

    position: slice = field(default_factory=lambda: POSITION)
    rotation: slice = field(default_factory=lambda: ROTATION)
    closedness: int = CLOSEDNESS
    size: int = 7
    rotation_convention: str = ROTATION_CONVENTION


@dataclass(frozen=True)
class ActionLayout:
    """Named slices of an action float [..., size]: differences of two states.

    Attributes:
        position: [m]. rotation: Euler angles of R2 R1^T [rad]. closedness: index of a difference.
        size: numbers in an action. rotation_convention: of the Euler angles, as scipy names it.
    """

    position: slice = field(default_factory=lambda: POSITION)
    rotation: slice = field(default_factory=lambda: ROTATION)
    closedness: int = CLOSEDNESS
    size: int = 7
    rotation_convention: str = ROTATION_CONVENTION


STATE, ACTION = StateLayout(), ActionLayout()
