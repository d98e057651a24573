"""Makes the clip of each alarm's moment, beside the node's work."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from node_kit.images import ImageError, to_array
from node_kit.stamps import stamp_ns
from sensor_msgs.msg import Image

from sop_monitor_pkg.core.alarms.clips import AFTER_S, ClipFolder, RecentPictures
from sop_monitor_pkg.core.alarms.journal import Entry

_WAITING = 20  # alarms whose clip may be outstanding


class Moments:
    """Looks back at the camera's last seconds when an alarm is raised.

    Args:
        clips: where they go.
        warn: told, in whatever thread, why a clip could not be written.
    """

    def __init__(self, clips: ClipFolder, warn: Callable[[str], object]):
        self._clips, self._warn = clips, warn
        self._recent = RecentPictures()
        self._wanted: dict[int, int] = {}  # alarms whose moment [ns] is not over yet
        self._lock = threading.Lock()
        self._writer = ThreadPoolExecutor(1, "sop_clips")

    def note(self, entry: Entry) -> None:
        """Looks at an entry of the journal; may be called from any thread."""
        if entry.kind == "raised":
            with self._lock:
                self._wanted[int(entry.body["alarm"])] = int(entry.body["seen_ns"])
                while len(self._wanted) > _WAITING:  # no camera, or one with another clock
                    self._wanted.pop(next(iter(self._wanted)))

    def take(self, message: Image) -> None:
        """A picture came."""
        now_ns = stamp_ns(message.header.stamp)
        if not self._recent.wants(now_ns):
            return
        try:
            self._recent.take(now_ns, to_array(message, "the camera's picture"))
        except ImageError:
            return  # whoever looks at pictures says what is wrong with it
        with self._lock:
            over = [n for n, at in self._wanted.items() if now_ns - at > AFTER_S * 1e9]
            due = {number: self._wanted.pop(number) for number in over}
        for number, moment_ns in due.items():
            pictures = self._recent.around(moment_ns)
            if pictures:
                self._writer.submit(self._write, number, pictures)

    def stop(self) -> None:
        """Waits for the clips that are being written."""
        self._writer.shutdown()

    def _write(self, number: int, pictures: list[np.ndarray]) -> None:
        try:
            self._clips.keep(number, pictures)
        except OSError as error:
            self._warn(f"clip of alarm {number} not written: {error}")
