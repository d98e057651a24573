"""States, poses and latents between arrays and messages.

Every number passes through float(): with field checks off, an int or a numpy scalar in a message
is serialised as garbage without a word. Every number is checked to be finite: NaN always passes.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from geometry_msgs.msg import Pose
from robot_cell import CLOSEDNESS, POSE, Arm
from scipy.spatial.transform import Rotation
from vjepa_interfaces.msg import EndEffectorState, Latent

BASE_FRAME, TOOL_FRAME = Arm().base_frame, Arm().tool_frame
"""The frames of an arm whose cell names no others."""


def pose_to_msg(pose: np.ndarray) -> Pose:
    """[x, y, z, roll, pitch, yaw] (m, rad, extrinsic xyz) as a Pose. More numbers are ignored.

    Raises:
        ValueError: fewer than 6 numbers, or one that is not finite.
    """
    x, y, z, roll, pitch, yaw = (float(v) for v in finite(pose, "pose", at_least=6)[POSE])
    message = Pose()
    message.position.x, message.position.y, message.position.z = x, y, z
    qx, qy, qz, qw = Rotation.from_euler("xyz", [roll, pitch, yaw]).as_quat()
    message.orientation.x, message.orientation.y = float(qx), float(qy)
    message.orientation.z, message.orientation.w = float(qz), float(qw)
    return message


def msg_to_pose(message: Pose) -> np.ndarray:
    """A Pose as float64 [6]: x, y, z, roll, pitch, yaw (m, rad, extrinsic xyz).

    Raises:
        ValueError: a number that is not finite, or a quaternion that is not of length 1.
    """
    p, q = message.position, message.orientation
    position = finite([p.x, p.y, p.z], "position")
    quaternion = finite([q.x, q.y, q.z, q.w], "orientation")
    length = float(np.linalg.norm(quaternion))
    if not math.isclose(length, 1.0, abs_tol=1e-3):
        raise ValueError(f"orientation has length {length:.4g}; give a unit quaternion")
    return np.concatenate([position, Rotation.from_quat(quaternion).as_euler("xyz")])


def state_to_msg(
    state: np.ndarray, stamp: Any = None, base: str = BASE_FRAME, tool: str = TOOL_FRAME
) -> EndEffectorState:
    """State [7] as a message in frame `base`, of frame `tool`.

    `stamp` is a builtin_interfaces/Time.

    Raises:
        ValueError: not 7 finite numbers.
    """
    state = finite(state, "state", exactly=7)
    message = EndEffectorState(
        child_frame=tool, pose=pose_to_msg(state), closedness=float(state[CLOSEDNESS])
    )
    message.header.frame_id = base
    if stamp is not None:
        message.header.stamp = stamp
    return message


def msg_to_state(message: EndEffectorState) -> np.ndarray:
    """An EndEffectorState as float64 [7].

    Raises:
        ValueError: not finite, not a unit quaternion, or closedness outside 0..1.
    """
    closedness = float(finite([message.closedness], "closedness")[0])
    if not 0.0 <= closedness <= 1.0:
        raise ValueError(f"closedness is {closedness:g}; it goes from 0 (open) to 1 (closed)")
    return np.append(msg_to_pose(message.pose), closedness)


def latent_to_msg(
    features: np.ndarray, grid: tuple[int, int], header: Any = None, model: str = ""
) -> Latent:
    """Features [N, D] or [frames, gh, gw, D] (any float dtype) as a Latent.

    N is a multiple of gh * gw, row-major in each frame; `header` is that of the image.

    Raises:
        ValueError: the shape does not fit the grid, or a number is not finite.
    """
    features = np.ascontiguousarray(features, dtype=np.float32)
    height, width = (int(n) for n in grid)
    frames, rest = divmod(features.size // features.shape[-1], height * width)
    if rest or frames == 0:
        raise ValueError(f"features {list(features.shape)} do not fit a {height}x{width} grid")
    finite(features, "latent")
    message = Latent(
        model=model,
        frames=frames,
        grid_height=height,
        grid_width=width,
        width=int(features.shape[-1]),
    )
    if header is not None:
        message.header = header
    message.data.frombytes(features.reshape(-1).view(np.uint8))
    return message


def msg_to_latent(message: Latent) -> np.ndarray:
    """A Latent as float32 [N, D], N = frames * grid_height * grid_width. Read-only view.

    Raises:
        ValueError: data length that does not fit the sizes, or a number that is not finite.
    """
    tokens = message.frames * message.grid_height * message.grid_width
    if tokens * message.width != len(message.data) or not len(message.data):
        raise ValueError(
            f"latent holds {len(message.data)} numbers, its header says {message.frames} frames of "
            f"{message.grid_height}x{message.grid_width} patches of width {message.width}"
        )
    features = np.frombuffer(message.data, np.float32).reshape(tokens, message.width)
    features.flags.writeable = False
    finite(features, "latent")
    return features


def finite(
    values: Any, name: str, exactly: int | None = None, at_least: int | None = None
) -> np.ndarray:
    """The values as an array of floats.

    Raises:
        ValueError: another count, or a number that is not finite.
    """
    array = np.asarray(values)
    if array.dtype.kind != "f":
        array = array.astype(np.float64)
    if exactly is not None and array.shape != (exactly,):
        raise ValueError(f"{name} has shape {list(array.shape)}; give {exactly} numbers")
    if at_least is not None and (array.ndim != 1 or len(array) < at_least):
        raise ValueError(f"{name} has shape {list(array.shape)}; give {at_least} numbers")
    if not np.isfinite(array).all():
        shown = f" {array.tolist()}" if array.size <= 8 else ""
        raise ValueError(f"{name}{shown} holds a number that is not finite")
    return array
