"""Short moving pictures for people: the moment of an alarm, and the same step done right.

Animated WebP, which every browser plays in an `<img>`.
"""

from __future__ import annotations

import io
import itertools
import time
from collections import deque
from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from vjepa_world_model.data.video import VideoReader, thinned

from sop_monitor_pkg.core.normal.recordings import CycleRecording
from sop_monitor_pkg.core.recognition.phases import Segment

RATE_HZ = 5.0
BEFORE_S, AFTER_S = 4.0, 1.5  # of a moment
WIDTH_PX = 320
KEPT = 200  # moments on disk; the oldest go
_QUALITY = 60
_LONGEST_S = 12.0  # of a step that is shown


def write(path: Path, pictures: Iterable[np.ndarray]) -> None:
    """Writes pictures, uint8 [H, W, 3] RGB, at least one, RATE_HZ of them a second, as a clip that
    plays again and again."""
    first, *rest = (Image.fromarray(picture) for picture in pictures)
    data = io.BytesIO()
    first.save(
        data, "WEBP", save_all=True, append_images=rest, duration=round(1000 / RATE_HZ), loop=0,
        quality=_QUALITY, method=0,
    )  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_bytes(data.getvalue())
    part.replace(path)


class RecentPictures:
    """The last seconds of the camera, small and few, to look back at."""

    def __init__(self) -> None:
        self._kept: deque[tuple[int, np.ndarray]] = deque()

    def wants(self, stamp_ns: int) -> bool:
        """Whether a picture of this time is to be kept; not all are."""
        return not self._kept or not 0 <= stamp_ns - self._kept[-1][0] < 1e9 / RATE_HZ

    def take(self, stamp_ns: int, picture: np.ndarray) -> None:
        """Keeps uint8 [H, W, 3] RGB; after a jump back in time, nothing from before it."""
        if self._kept and stamp_ns < self._kept[-1][0]:
            self._kept.clear()
        self._kept.append((stamp_ns, narrowed(picture, WIDTH_PX)))
        while stamp_ns - self._kept[0][0] > (BEFORE_S + AFTER_S) * 1e9:
            self._kept.popleft()

    def around(self, moment_ns: int) -> list[np.ndarray]:
        """What was seen from BEFORE_S before a moment on."""
        return [p for stamp_ns, p in self._kept if stamp_ns >= moment_ns - BEFORE_S * 1e9]


class ClipFolder:
    """The clips of alarms, by their number, and of steps done right, by their name.

    Args:
        moments: folder for those of alarms.
        normal: folder that `./run sop learn` wrote; None: there are no clips of steps.
    """

    def __init__(self, moments: Path, normal: Path | None = None):
        self._moments, self._normal = moments, normal

    def moment(self, alarm: int) -> Path | None:
        """The file of an alarm's moment; None: there is none."""
        return _existing(self._moments / f"{alarm:08d}.webp")

    def step(self, name: str) -> Path | None:
        """The file of a step of this procedure; None: there is none."""
        return None if self._normal is None else _existing(step_clip(self._normal, name))

    def begin_anew(self) -> None:
        """Alarms are numbered from 1 again, as in a new journal: the clips of others are put aside,
        into a folder beside this one."""
        if self._moments.is_dir():
            self._moments.rename(self._moments.with_name(f"{self._moments.name}.{time.time_ns()}"))

    def keep(self, alarm: int, pictures: Sequence[np.ndarray]) -> None:
        """Writes the clip of an alarm, and removes the oldest beyond KEPT."""
        write(self._moments / f"{alarm:08d}.webp", pictures)
        for old in sorted(self._moments.glob("*.webp"))[:-KEPT]:
            old.unlink(missing_ok=True)


def step_clip(normal: Path, step: str) -> Path:
    """Where the clip of a step is in a folder that `./run sop learn` wrote."""
    return normal / "clips" / f"{step}.webp"


def write_steps(cycles: Sequence[CycleRecording], normal: Path) -> None:
    """A clip of each step that is labelled somewhere: of the execution of median length.

    Raises:
        VideoError: a video cannot be read.
    """
    done: dict[str, list[tuple[Segment, CycleRecording]]] = {}
    for cycle in cycles:
        for segment in cycle.segments or ():
            done.setdefault(segment.step, []).append((segment, cycle))
    for step, found in done.items():
        found.sort(key=lambda item: item[0].length_s)
        segment, cycle = found[len(found) // 2]
        pictures = _between(cycle.video, segment)
        if pictures:
            write(step_clip(normal, step), pictures)


def _between(video: Path, segment: Segment) -> list[np.ndarray]:
    end_s = min(segment.end_s, segment.begin_s + _LONGEST_S)
    with VideoReader(video) as reader:
        until = itertools.takewhile(lambda frame: frame[0] <= end_s, reader.frames())
        shown = ((time_s, picture) for time_s, picture in until if time_s >= segment.begin_s)
        return [narrowed(picture, WIDTH_PX) for _, picture in thinned(shown, RATE_HZ)]


def narrowed(picture: np.ndarray, width_px: int) -> np.ndarray:
    """The picture, at most so wide."""
    height, width = picture.shape[:2]
    if width <= width_px:
        return picture
    size = width_px, max(1, round(height * width_px / width))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA)


def _existing(path: Path) -> Path | None:
    return path if path.is_file() else None
