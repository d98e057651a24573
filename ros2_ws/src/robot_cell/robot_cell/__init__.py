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
    CLOSEDNESS,
    POSE,
    POSITION,
    ROTATION,
    STATE,
    ActionLayout,
    StateLayout,
)

__all__ = [
    "ACTION", "CLOSEDNESS", "POSE", "POSITION", "ROTATION", "STATE", "ActionLayout", "Arm",
    "Camera", "CameraPose", "Cell", "DescribedError", "Gripper", "Limits", "Problem", "StateLayout",
    "Workspace", "find_cell", "load", "shipped",
]  # fmt: skip
