"""The described cell: what an arm, its gripper, cameras and workspace are, read from one YAML file.

Nothing here needs torch or rclpy. `load` reads a file of the user's or a shipped cell by its name.
"""

from robot_cell.cell import (
    Arm,
    Camera,
    CameraPose,
    Cell,
    Gripper,
    Limits,
    Workspace,
)
from robot_cell.described import DescribedError, Problem
from robot_cell.files import find_cell, load, shipped
from robot_cell.layout import (
    ACTION,
    ANGULAR,
    CLOSEDNESS,
    LINEAR,
    POSE,
    POSITION,
    ROTATION,
    ROTATION_CONVENTION,
    STATE,
    ActionLayout,
    StateLayout,
)

__all__ = [
    "ACTION",
    "ANGULAR",
    "ActionLayout",
    "Arm",
    "CLOSEDNESS",
    "Camera",
    "CameraPose",
    "Cell",
    "DescribedError",
    "Gripper",
    "LINEAR",
    "Limits",
    "POSE",
    "POSITION",
    "Problem",
    "ROTATION",
    "ROTATION_CONVENTION",
    "STATE",
    "StateLayout",
    "Workspace",
    "find_cell",
    "load",
    "shipped",
]
