"""The sim node's messages, made from and checked into plain arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
from geometry_msgs.msg import PoseStamped
from node_kit.convert import finite, msg_to_pose
from sensor_msgs.msg import CameraInfo, JointState

from vjepa_sim.core.physics import PandaPhysics


def camera_info(size: tuple[int, int], k: np.ndarray, stamp: Any, frame: str) -> CameraInfo:
    """Calibration of a camera without distortion.

    Args:
        size: width and height [px].
        k: the pinhole matrix [3, 3].
        stamp: that of the image. frame: of the camera.
    """
    info = CameraInfo(width=size[0], height=size[1])
    info.header.stamp, info.header.frame_id = stamp, frame
    info.distortion_model, info.d = "plumb_bob", [0.0] * 5
    info.k, info.r = k.ravel().tolist(), np.eye(3).ravel().tolist()
    info.p = np.hstack([k, np.zeros((3, 1))]).ravel().tolist()
    return info


def joint_state(physics: PandaPhysics, stamp: Any) -> JointState:
    """Positions and velocities of arm [rad] and fingers [m]."""
    message = JointState(name=physics.joint_names)
    message.header.stamp = stamp
    positions, velocities = physics.joint_state()
    message.position, message.velocity = positions.tolist(), velocities.tolist()
    return message


def target(message: PoseStamped, base_frame: str) -> np.ndarray:
    """The pose [6] (m, rad) that a target asks for.

    Raises:
        ValueError: another frame than `base_frame`, or numbers that are no pose.
    """
    frame = message.header.frame_id
    if frame != base_frame:
        raise ValueError(f"its frame is {frame!r}; transform it to {base_frame!r}")
    return msg_to_pose(message.pose)


def closedness(value: float) -> float:
    """The gripper target; raises ValueError outside 0..1."""
    value = float(finite([value], "closedness")[0])
    if not 0.0 <= value <= 1.0:
        raise ValueError(f"closedness is {value:g}; it goes from 0 (open) to 1 (closed)")
    return value
