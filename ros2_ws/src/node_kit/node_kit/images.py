"""sensor_msgs/Image to arrays and back, with reasons where an image cannot be used."""

from __future__ import annotations

from typing import Any

import numpy as np
from sensor_msgs.msg import Image

try:
    from cv_bridge import CvBridge
except ImportError:  # no full ROS installation
    CvBridge = None
    from rosbags.image import message_to_cvimage

_CHANNELS = {"rgb8": 3, "bgr8": 3, "rgba8": 4, "bgra8": 4, "mono8": 1}


class ImageError(ValueError):
    """An image that cannot be used; the text names cause and remedy."""


def to_array(message: Image, name: str = "image") -> np.ndarray:
    """The image as uint8 [H, W, 3], RGB. `name` stands for it in errors.

    The array may share the memory of the message; copy it before writing to it.

    Raises:
        ImageError: empty, an encoding other than rgb8, bgr8, rgba8, bgra8 and mono8, or height,
            step and data length that do not fit.
    """
    size = f"{message.width}x{message.height}"
    if message.width == 0 or message.height == 0 or len(message.data) == 0:
        raise ImageError(
            f"{name} is empty ({size}, {len(message.data)} bytes); "
            "publish a picture with width, height and data"
        )
    if message.encoding not in _CHANNELS:
        raise ImageError(
            f"{name} has encoding {message.encoding!r}; convert it to one of {', '.join(_CHANNELS)}"
        )
    row = message.width * _CHANNELS[message.encoding]
    if message.step < row or message.step * message.height != len(message.data):
        raise ImageError(
            f"{name} is {size} {message.encoding} with step {message.step} and "
            f"{len(message.data)} bytes; step must be at least {row} and data step x height bytes"
        )
    if message.step > row:
        message = _without_padding(message, row)
    if CvBridge is not None:
        return CvBridge().imgmsg_to_cv2(message, "rgb8")
    return message_to_cvimage(message, "rgb8")


def to_msg(array: np.ndarray, stamp: Any = None, frame_id: str = "") -> Image:
    """uint8 [H, W, 3] RGB as an rgb8 message; `stamp` is a builtin_interfaces/Time.

    Raises:
        ImageError: another shape or dtype.
    """
    if array.ndim != 3 or array.shape[2] != 3 or array.dtype != np.uint8 or array.size == 0:
        raise ImageError(
            f"the array is {array.dtype} {list(array.shape)}; give uint8 [height, width, 3] RGB"
        )
    message = Image(
        height=array.shape[0], width=array.shape[1], encoding="rgb8", step=array.shape[1] * 3
    )
    message.header.frame_id = frame_id
    if stamp is not None:
        message.header.stamp = stamp
    # Assigning to data costs 150 ms for a large frame, frombytes less than one.
    message.data.frombytes(np.ascontiguousarray(array))
    return message


def _without_padding(message: Image, row: int) -> Image:
    rows = np.frombuffer(message.data, np.uint8).reshape(message.height, message.step)
    packed = Image(
        header=message.header,
        height=message.height,
        width=message.width,
        encoding=message.encoding,
        is_bigendian=message.is_bigendian,
        step=row,
    )
    packed.data.frombytes(np.ascontiguousarray(rows[:, :row]))
    return packed
