"""Recordings of an assembly station, as `./run station record` writes them (schema 1).

station.json                  size, fps, classes, regions, mm_per_px
cycle_0000/video.mp4          one cycle of the procedure
cycle_0000/frames.jsonl       per picture: boxes, texts, defects
cycle_0000/masks/000123.png   defects of pictures that show one: 0 none, 1 scratch ...
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from vjepa_world_model.data.video import VideoError, VideoReader

from perception_pkg.core.regions import RegionError, RegionLayout, load_layout

DEFECT_KINDS = ("scratch", "crack", "missing_corner")  # mask values 1, 2, 3


class StationRecordingError(ValueError):
    """A recording that cannot be used; the text names cause and remedy."""


@dataclass(frozen=True)
class RecordedFrame:
    """One picture and the truth about it.

    image: uint8 [H, W, 3] RGB. truth: its line of frames.jsonl. mask: uint8 [H, W].
    """

    cycle: str
    number: int
    time_s: float
    image: np.ndarray
    truth: dict
    mask: np.ndarray


class StationRecording:
    """A folder written by the station.

    Attributes:
        classes: of parts. layout: regions and scale. fps: pictures per second.
        cycles: folders, in order.
    """

    def __init__(self, folder: Path):
        """Reads what describes the recording; pictures come later.

        Raises:
            RecordingError: missing or unusable files.
        """
        self.folder = Path(folder)
        path = self.folder / "station.json"
        try:
            station = json.loads(path.read_text())
            self.layout: RegionLayout = load_layout(path)
            self.classes = tuple(station["classes"])
            self.fps = float(station["fps"])
        except (OSError, ValueError, KeyError, TypeError, RegionError) as error:
            raise StationRecordingError(
                f"{folder} is no recording of a station ({error}); "
                "./run station record --out FOLDER makes one"
            ) from None
        self.cycles = sorted(path for path in self.folder.glob("cycle_*") if path.is_dir())
        if not self.cycles:
            raise StationRecordingError(f"{folder} holds no cycle; record at least one")

    def faults(self, cycle: Path) -> list[tuple[float, float]]:
        """From when to when each fault of a cycle can be seen [s].

        Raises:
            RecordingError: `cycle.json` cannot be read.
        """
        try:
            found = json.loads((cycle / "cycle.json").read_text())["faults"]
            return [
                (float(fault["visible_s"]), float(fault["end_s"]))
                for fault in found
                if fault["visible_s"] is not None
            ]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StationRecordingError(f"{cycle}/cycle.json cannot be read: {error!r}") from None

    def frames(self, cycle: Path, every: int = 1) -> Iterator[RecordedFrame]:
        """Every `every`-th picture of a cycle.

        Raises:
            RecordingError: video, truth and masks do not go together.
        """
        try:
            lines = [json.loads(line) for line in (cycle / "frames.jsonl").read_text().splitlines()]
        except (OSError, json.JSONDecodeError) as error:
            raise StationRecordingError(f"{cycle}/frames.jsonl cannot be read: {error}") from None
        number = -1
        try:
            with VideoReader(cycle / "video.mp4") as video:
                for number, (_, image) in enumerate(video.frames()):
                    if number < len(lines) and number % every == 0:
                        yield self._frame(cycle, number, image, lines[number])
        except VideoError as error:
            raise StationRecordingError(str(error)) from None
        if number + 1 != len(lines):
            raise StationRecordingError(
                f"{cycle} has {number + 1} pictures and {len(lines)} lines in frames.jsonl; "
                "record it anew"
            )

    def _frame(self, cycle: Path, number: int, image: np.ndarray, truth: dict) -> RecordedFrame:
        path = cycle / "masks" / f"{number:06d}.png"
        mask = np.zeros(image.shape[:2], np.uint8)
        if path.is_file():
            stored = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
            if stored is None or stored.shape != mask.shape:
                raise StationRecordingError(f"{path} does not fit its picture; record it anew")
            mask = stored
        return RecordedFrame(cycle.name, number, float(truth["t"]), image, truth, mask)
