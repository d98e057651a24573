"""Recordings of the work to learn from: a video for each cycle, with its steps where known.

A folder holds either `cycle_*/video.mp4` with `cycle.json`, as `./run station record` writes them,
or any videos, each with or without a JSON file of the same name. The JSON file says
`{"steps": [{"step": NAME, "begin_s": 0.0, "end_s": 2.5}, ...]}`. What the eyes saw lies beside the
video: `results.jsonl` of `./run perceive` (or NAME.eyes.jsonl).
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vjepa_world_model.data.video import FILES

from sop_monitor_pkg.core.procedure.procedure import Procedure
from sop_monitor_pkg.core.recognition.phases import Segment

_OVERLAP_S = 0.05  # of two steps in a row: labels are rounded


class CycleRecordingError(ValueError):
    """A recording that cannot be used; the text names the file and what to do."""


@dataclass(frozen=True)
class CycleRecording:
    """One cycle.

    Attributes:
        name: for people. video: its file.
        segments: steps as labelled; None: nobody did.
        eyes: JSON lines of what the eyes saw; None: there is no such file.
        clean: whether it is known to be correct; None: nobody said.
    """

    name: str
    video: Path
    segments: tuple[Segment, ...] | None = None
    eyes: Path | None = None
    clean: bool | None = None

    def video_digest(self) -> str:
        """Another video of the same name has another one."""
        return hashlib.sha256(self.video.read_bytes()).hexdigest()

    def beside_digest(self) -> str:
        """Of the labels, and of what the eyes saw."""
        seen = b"" if self.eyes is None else self.eyes.read_bytes()
        return hashlib.sha256(repr(self.segments).encode() + seen).hexdigest()


def find(folders: Sequence[Path], procedure: Procedure) -> list[CycleRecording]:
    """All cycles in these folders, in order.

    Raises:
        RecordingError: a folder without videos, or labels that do not fit the procedure.
    """
    found: list[CycleRecording] = []
    for folder in map(Path, folders):
        cycles = [path for path in sorted(folder.glob("cycle_*")) if path.is_dir()]
        videos = [path / "video.mp4" for path in cycles] or sorted(
            path for path in folder.glob("*") if path.suffix.lower() in FILES
        )
        if not videos:
            raise CycleRecordingError(
                f"{folder} holds no cycle: put a video of each cycle there, or record some with "
                "./run station record"
            )
        found += [_recording(video, folder, bool(cycles), procedure) for video in videos]
    return found


def _recording(video: Path, folder: Path, in_folders: bool, procedure: Procedure) -> CycleRecording:
    if not video.is_file():
        raise CycleRecordingError(f"{video} is missing; record the cycle anew or remove its folder")
    if in_folders:
        name = f"{folder.name}/{video.parent.name}"
        labels, eyes = video.with_name("cycle.json"), video.with_name("results.jsonl")
    else:
        name = f"{folder.name}/{video.stem}"
        labels, eyes = video.with_suffix(".json"), video.with_suffix(".eyes.jsonl")
    about = _labels(labels) if labels.is_file() else {}
    segments = _segments(about, labels, procedure)
    return CycleRecording(
        name, video, segments, eyes if eyes.is_file() else None, about.get("clean")
    )


def _labels(path: Path) -> dict:
    try:
        about = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise CycleRecordingError(f"{path} cannot be read: {error}") from None
    if not isinstance(about, dict):
        raise CycleRecordingError(f'{path}: expected an object with "steps"')
    return about


def _segments(about: dict, path: Path, procedure: Procedure) -> tuple[Segment, ...] | None:
    if "steps" not in about:
        return None
    try:
        segments = tuple(
            Segment(str(item["step"]), float(item["begin_s"]), float(item["end_s"]))
            for item in about["steps"]
        )
    except (KeyError, TypeError, ValueError) as error:
        raise CycleRecordingError(
            f"{path}: each step needs step, begin_s and end_s ({error})"
        ) from None
    now_s = 0.0
    for segment in segments:
        if not (math.isfinite(segment.begin_s) and math.isfinite(segment.end_s)):
            raise CycleRecordingError(f"{path}: step {segment.step} has a time that is no number")
        if segment.begin_s < now_s - _OVERLAP_S:
            raise CycleRecordingError(
                f"{path}: step {segment.step} begins at {segment.begin_s:g} s, before the step "
                f"before it ends ({now_s:g} s); list the steps one after the other"
            )
        now_s = segment.end_s
        if segment.step not in procedure.by_name:
            known = ", ".join(procedure.by_name)
            raise CycleRecordingError(
                f"{path}: procedure {procedure.name} has no step {segment.step!r}; it has {known}"
            )
        if segment.end_s <= segment.begin_s:
            raise CycleRecordingError(f"{path}: step {segment.step} ends before it begins")
    return segments
