"""The cell of the simulated Panda, and what the simulation builds from it."""

from __future__ import annotations

import numpy as np
import robot_cell

CELL = robot_cell.load("panda_sim")
ARM, WORKSPACE, LIMITS = CELL.needs_arm()
WORKSPACE_LOW, WORKSPACE_HIGH = np.array(WORKSPACE.low_m), np.array(WORKSPACE.high_m)  # [m]
HOME_JOINTS = ARM.home_rad  # gripper down
CAMERA = CELL.camera("scene")

if CELL.gripper is None or CELL.gripper.opening_m is None:
    raise ValueError(f"cell {CELL.name!r} has no gripper with fingers; describe the Panda's")
if CAMERA.pose is None or CAMERA.size_px is None or CAMERA.size_px[0] != CAMERA.size_px[1]:
    raise ValueError(f"camera scene of cell {CELL.name!r} needs a pose and a square size_px")
if len(HOME_JOINTS) != 7:
    raise ValueError(f"home_rad of cell {CELL.name!r} has {len(HOME_JOINTS)} angles; the Panda: 7")
FINGER_OPEN = 0.5 * CELL.gripper.opening_m  # travel of a finger [m]
CAMERA_EYE, CAMERA_TARGET = CAMERA.pose.position_m, CAMERA.pose.looks_at_m  # [m]
CAMERA_SIZE_PX = CAMERA.size_px[0]
