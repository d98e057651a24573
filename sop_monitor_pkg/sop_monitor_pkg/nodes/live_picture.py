"""The newest camera picture with step and alarms on it, made only when somebody looks."""

from __future__ import annotations

import threading
from collections.abc import Callable

import cv2
import numpy as np
from node_kit.images import ImageError, to_array, to_msg
from sensor_msgs.msg import Image

from sop_monitor_pkg.core.alarms.clips import narrowed

_WIDEST_PX = 640
_QUALITY = 80


class LivePicture:
    """Keeps the newest picture. May be used from any thread.

    Args:
        draw: gives a picture, uint8 [H, W, 3] RGB, with what is to be seen on it.
    """

    def __init__(self, draw: Callable[[np.ndarray], np.ndarray]):
        self._draw = draw
        self._message: Image | None = None
        self._lock = threading.Lock()

    def take(self, message: Image) -> None:
        """A picture came."""
        with self._lock:
            self._message = message

    def message(self) -> Image | None:
        """The picture as a message with the stamp of the camera's; None if there is none."""
        newest, drawn = self._drawn()
        if drawn is None:
            return None
        return to_msg(drawn, newest.header.stamp, newest.header.frame_id)

    def jpeg(self) -> bytes | None:
        """The picture as JPEG, at most 640 px wide; None if there is none."""
        _, drawn = self._drawn()
        if drawn is None:
            return None
        small = narrowed(drawn, _WIDEST_PX)
        done, data = cv2.imencode(".jpg", small[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
        return data.tobytes() if done else None

    def _drawn(self) -> tuple[Image | None, np.ndarray | None]:
        """The newest message, and its picture with what is drawn on it; None if unusable."""
        with self._lock:
            newest = self._message
        if newest is None:
            return None, None
        try:
            return newest, self._draw(to_array(newest, "the camera's picture"))
        except ImageError:
            return newest, None  # the encoder says what is wrong with it
