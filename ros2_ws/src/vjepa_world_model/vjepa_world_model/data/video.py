"""Video files: pictures out of one, and annotated pictures into one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType
from typing import Self

import av
import numpy as np
from av.error import FFmpegError

FILES = (".mp4", ".avi", ".mkv", ".mov", ".webm")
"""How the names of video files end, in lower case."""


class VideoError(ValueError):
    """A video that cannot be used; the text names cause and remedy."""


class VideoReader:
    """The pictures of a file in order.

    Attributes:
        fps: pictures per second. count: pictures, as far as the file says; 0: it does not.
        size: width and height [px].
    """

    def __init__(self, path: Path):
        """Opens the file.

        Raises:
            VideoError: it cannot be read or holds no pictures.
        """
        self.path = Path(path)
        try:
            self._container = av.open(str(path))
            stream = self._container.streams.video[0]
        except (FFmpegError, OSError, IndexError) as error:
            raise VideoError(
                f"{path} cannot be read as a video ({' '.join(str(error).split())}); "
                "give an mp4, avi or mkv file"
            ) from None
        self.fps = float(stream.average_rate or 0) or 10.0
        self.count = int(stream.frames)
        self.size = (int(stream.width), int(stream.height))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._container.close()

    def frames(self) -> Iterator[tuple[float, np.ndarray]]:
        """Time [s] and picture, uint8 [H, W, 3] RGB.

        Raises:
            VideoError: the file is damaged; the pictures before come first.
        """
        number = 0
        try:
            for frame in self._container.decode(video=0):
                time_s = number / self.fps if frame.time is None else float(frame.time)
                yield time_s, frame.to_ndarray(format="rgb24")
                number += 1
        except FFmpegError as error:
            reason = " ".join(str(error).split())
            raise VideoError(f"{self.path} is damaged after {number} pictures: {reason}") from None
        if not number:
            raise VideoError(f"{self.path} holds no pictures")


def thinned(
    frames: Iterable[tuple[float, np.ndarray]], rate_hz: float
) -> Iterator[tuple[float, np.ndarray]]:
    """At most `rate_hz` pictures of a second, evenly."""
    due_s = -np.inf
    for time_s, picture in frames:
        if time_s >= due_s - 1e-6:
            yield time_s, picture
            on_time = time_s - due_s < 1.0 / rate_hz
            due_s = (due_s if on_time else time_s) + 1.0 / rate_hz


class VideoWriter:
    """An H.264 file of pictures of one size, complete once the context is left without an error.

    `size` is width and height [px]; an odd side loses its last row or column. `options` are those
    of FFmpeg's libx264.
    """

    def __init__(
        self,
        path: Path,
        size: tuple[int, int],
        fps: float,
        options: Mapping[str, str] = MappingProxyType({"crf": "20"}),
    ):
        self._path = Path(path)
        self._part = self._path.with_name(self._path.name + ".part")
        self._container = av.open(str(self._part), "w", format="mp4")
        rate = Fraction(fps).limit_denominator(1000)
        self._stream = self._container.add_stream("libx264", rate=rate, options=dict(options))
        self._stream.width, self._stream.height = (side - side % 2 for side in size)
        self._stream.pix_fmt = "yuv420p"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, *exception: object) -> None:
        if kind is None:
            self._container.mux(self._stream.encode())
        self._container.close()
        if kind is None:
            self._part.replace(self._path)
        else:
            self._part.unlink(missing_ok=True)

    def add(self, image: np.ndarray) -> None:
        """Appends uint8 [H, W, 3] RGB."""
        even = np.ascontiguousarray(image[: self._stream.height, : self._stream.width])
        self._container.mux(self._stream.encode(av.VideoFrame.from_ndarray(even, format="rgb24")))
