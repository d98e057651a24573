"""Station recordings become training data: a YOLO data set, or folders of defects.

Whole cycles go to training or validation, never pictures of one cycle to both.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import yaml

from perception_pkg.core.defects.data import FREE, SMALLEST_PX
from perception_pkg.core.detection.size_rule import size_pairs
from perception_pkg.core.recordings import (
    DEFECT_KINDS,
    RecordedFrame,
    StationRecording,
    StationRecordingError,
)
from perception_pkg.core.regions import DEFECTS, Region

VISIBLE = 0.35  # share of a part that must be seen for it to be labelled
REACH_IN = {"hand": 0.1, "tool": 0.1}  # of what reaches in from outside, most is never in view
VALIDATION = 5  # every fifth cycle
MOST = 0.5  # of what can be seen of a defect must be inside


def to_yolo(
    recordings: Sequence[StationRecording], out: Path, every: int, faults_only: bool = False
) -> Iterator[int]:
    """Writes pictures, boxes and `data.yaml`; yields the pictures written, after each cycle.

    `faults_only`: of a cycle with faults, only the pictures in which one can be seen: otherwise
    what is rare in a cycle is rare in the data set.

    Raises:
        RecordingError: the folder holds other things, recordings have different classes, or a
            class is not in station.json.
    """
    classes = recordings[0].classes
    for recording in recordings:
        if recording.classes != classes:
            raise StationRecordingError(
                f"{recording.folder} has other classes than {recordings[0].folder}"
            )
    _new_folder(out)
    numbers = {name: index for index, name in enumerate(classes)}
    written = 0
    cycles = _cycles(recordings)
    for index, (prefix, recording, cycle) in enumerate(cycles):
        part = _part(index, len(cycles))
        for kind in ("images", "labels"):
            (out / kind / part).mkdir(parents=True, exist_ok=True)
        for frame in _frames(recording, cycle, every, faults_only):
            name = f"{prefix}{frame.cycle}_{frame.number:06d}"
            lines = [_line(box, numbers, frame) for box in frame.truth["boxes"] if counts(box)]
            _write(out / "images" / part / f"{name}.jpg", frame.image)
            (out / "labels" / part / f"{name}.txt").write_text("".join(lines))
            written += 1
        yield written
    description = {
        "train": "images/train",
        "val": "images/train" if len(cycles) == 1 else "images/val",
        "names": dict(enumerate(classes)),
        "pairs": size_pairs(classes),
        "mm_per_px": float(np.mean([recording.layout.mm_per_px for recording in recordings])),
    }
    (out / "data.yaml").write_text(yaml.safe_dump(description, sort_keys=False))


def to_defects(
    recordings: Sequence[StationRecording], out: Path, every: int, faults_only: bool = False
) -> Iterator[int]:
    """Writes crops of the inspected regions in one folder per kind; yields the crops written,
    after each cycle. Crops that show two kinds, or the smaller part of a defect, are left out.
    `faults_only`: as in `to_yolo`.

    Raises:
        RecordingError: no region is inspected, or the folder holds other things.
    """
    for recording in recordings:
        if not recording.layout.of(DEFECTS):
            raise StationRecordingError(
                f"{recording.folder} names no region to look for defects in"
            )
    _new_folder(out)
    written = 0
    for prefix, recording, cycle in _cycles(recordings):
        for frame in _frames(recording, cycle, every, faults_only):
            for region in recording.layout.of(DEFECTS):
                written += _write_crop(out, prefix, frame, region)
        yield written


def counts(box: dict) -> bool:
    """Whether enough can be seen of what a box of the truth is around, to be labelled."""
    return box.get("visible", 1.0) >= REACH_IN.get(box["class"], VISIBLE)


def crop_truth(frame: RecordedFrame, region: Region) -> tuple[str | None, np.ndarray]:
    """Kind of the defect in a region, and its mask, uint8, 0 or 255.

    `free`: none. None: several, or one that lies mostly outside, which is for another region to
    tell.
    """
    mask = region.crop(frame.mask)
    sizes = {v: int((mask == v).sum()) for v in range(1, len(DEFECT_KINDS) + 1)}
    values = [v for v, size in sizes.items() if size >= SMALLEST_PX]
    shown = np.isin(mask, values).astype(np.uint8) * 255
    if not values:
        return FREE, shown
    inside = len(values) == 1 and sizes[values[0]] >= MOST * (frame.mask == values[0]).sum()
    return DEFECT_KINDS[values[0] - 1] if inside else None, shown


def _cycles(recordings: Sequence[StationRecording]) -> list[tuple[str, StationRecording, Path]]:
    """Every cycle with its recording, and what goes before its name to tell recordings apart."""
    several = len(recordings) > 1
    return [
        (f"{recording.folder.name}_" if several else "", recording, cycle)
        for recording in recordings
        for cycle in recording.cycles
    ]


def _frames(
    recording: StationRecording, cycle: Path, every: int, faults_only: bool
) -> Iterator[RecordedFrame]:
    spans = recording.faults(cycle) if faults_only else []
    for frame in recording.frames(cycle, every):
        if not spans or any(begin_s <= frame.time_s <= end_s for begin_s, end_s in spans):
            yield frame


def _write_crop(out: Path, prefix: str, frame: RecordedFrame, region: Region) -> int:
    kind, mask = crop_truth(frame, region)
    if kind is None:
        return 0
    (out / kind).mkdir(parents=True, exist_ok=True)
    path = out / kind / f"{prefix}{frame.cycle}_{frame.number:06d}_{region.name}.jpg"
    _write(path, region.crop(frame.image))
    cv2.imwrite(str(path.with_suffix(".png")), mask)
    return 1


def _line(box: dict, numbers: dict[str, int], frame: RecordedFrame) -> str:
    if box["class"] not in numbers:
        raise StationRecordingError(
            f"{frame.cycle} has a {box['class']!r}, which station.json lacks"
        )
    height, width = frame.image.shape[:2]
    x0, y0, x1, y1 = np.clip(box["xyxy"], 0, (width, height, width, height))
    centre = ((x0 + x1) / 2 / width, (y0 + y1) / 2 / height)
    sides = ((x1 - x0) / width, (y1 - y0) / height)
    return " ".join([str(numbers[box["class"]]), *(f"{v:.6f}" for v in centre + sides)]) + "\n"


def _part(index: int, cycles: int) -> str:
    return "val" if cycles > 1 and index % VALIDATION == min(VALIDATION, cycles) - 1 else "train"


def _write(path: Path, image: np.ndarray) -> None:
    cv2.imwrite(str(path), image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])


def _new_folder(out: Path) -> None:
    if out.exists() and any(out.iterdir()):
        raise StationRecordingError(f"{out} is not empty; give a new folder with --out")
    out.mkdir(parents=True, exist_ok=True)
