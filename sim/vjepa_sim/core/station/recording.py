"""Recordings of a station: videos, truth of every frame, masks; docs/reference/station.md."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import cv2
from vjepa_world_model.data.video import VideoWriter

from vjepa_sim.core.station.cycle import FilmedCycle
from vjepa_sim.core.station.frame import StationFrame
from vjepa_sim.core.station.station import Station

# Thin scratches and small print survive. Neither the number of cores nor, as with mbtree, chance
# decides on the bytes.
VIDEO_OPTIONS = {"crf": "16", "preset": "veryfast", "x264-params": "mbtree=0", "threads": "1"}


class FilmingError(ValueError):
    """A folder that cannot be recorded into; the text says why and what to do."""


def begin(out: Path, station: Station) -> None:
    """Make the folder with its station.json, or check that it is one of this station.

    Raises:
        RecordingError: it belongs to another recording, or holds other things.
    """
    recipe = {"faults": list(station.kinds), "faulty_share": station.faulty_share}
    if station.restock_share:
        recipe["restock_share"] = station.restock_share
    text = json.dumps(station.describe() | {"recipe": recipe}, indent=1) + "\n"
    path = out / "station.json"
    if path.exists():
        _check_same(path, json.loads(text))
        _remove_leftovers(out)
        return
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise FilmingError(f"{out} exists and is no recording of a station; choose another folder")
    out.mkdir(parents=True, exist_ok=True)
    _write(path, text)


def missing(out: Path, cycles: int, first: int = 0) -> list[int]:
    """Which of `cycles` cycles from number `first` on are not recorded yet."""
    return [i for i in range(first, first + cycles) if not folder(out, i).is_dir()]


def folder(out: Path, index: int) -> Path:
    """Where cycle `index` is, once it is finished."""
    return out / f"cycle_{index:04d}"


def record_cycle(out: Path, station: Station, index: int) -> None:
    """Film cycle `index` into its folder, which appears when it is complete."""
    cv2.setNumThreads(1)
    part = out / f".cycle_{index:04d}.{os.getpid()}.part"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    try:
        cycle = station.cycle(index)
        _film(part, cycle)
        truth = cycle_truth(cycle, station, index)
        (part / "cycle.json").write_text(json.dumps(truth, indent=1) + "\n")
        part.rename(folder(out, index))
    finally:
        shutil.rmtree(part, ignore_errors=True)


def frame_truth(frame: StationFrame, cycle: FilmedCycle) -> dict[str, Any]:
    """A line of frames.jsonl."""
    defect = frame.defect
    return {
        "frame": frame.index,
        "t": round(frame.t, 3),
        "boxes": [
            {
                "id": cycle.names.index(box.name),
                "class": box.kind,
                "xyxy": list(box.xyxy),
                "visible": box.visible,
            }
            for box in frame.boxes
        ],
        "texts": [
            {
                "region": "label",
                "text": text.text,
                "readable": text.readable,
                "kind": text.kind,
                "polygon": text.polygon,
            }
            for text in frame.texts
        ],
        "defects": []
        if defect is None
        else [
            {
                "id": 0,
                "kind": defect.kind,
                "xyxy": list(defect.xyxy),
                "area_mm2": defect.area_mm2,
                "visible": defect.visible,
            }
        ],
    }


def cycle_truth(cycle: FilmedCycle, station: Station, index: int) -> dict[str, Any]:
    """cycle.json, once the cycle is filmed."""
    label, restock = cycle.plan.label, cycle.plan.restock
    truth = {
        "seed": station.cycle_seed(index),
        "clean": not cycle.plan.faults,
        "steps": [
            {"step": s.step, "begin_s": round(s.begin_s, 3), "end_s": round(s.end_s, 3)}
            for s in cycle.segments
        ],
        "faults": [
            {
                "kind": event.kind,
                "visible_s": None if event.visible_s is None else round(event.visible_s, 3),
                "begin_s": round(event.begin_s, 3),
                "end_s": round(event.end_s, 3),
                "step": event.step,
                "detail": event.detail,
            }
            for event in cycle.events()
        ],
        "label": {
            "product": label.product,
            "lot": label.lot,
            "code": label.code,
            "code_kind": label.code_kind,
            "readable": not label.smear,
        },
    }
    if restock is not None:
        end_s = round(cycle.script.restocked_s, 3)
        truth["restock"] = {
            "part": restock.kind, "into": restock.into, "begin_s": 0.0, "end_s": end_s
        }  # fmt: skip
    return truth


def _film(part: Path, cycle: FilmedCycle) -> None:
    width, height = cycle.camera.width_px, cycle.camera.height_px
    with (
        VideoWriter(part / "video.mp4", (width, height), cycle.fps, VIDEO_OPTIONS) as video,
        (part / "frames.jsonl").open("w") as lines,
    ):
        for frame in cycle.frames():
            video.add(frame.image)
            lines.write(json.dumps(frame_truth(frame, cycle)) + "\n")
            if frame.mask is not None:
                (part / "masks").mkdir(exist_ok=True)
                cv2.imwrite(str(part / "masks" / f"{frame.index:06d}.png"), frame.mask)


def _write(path: Path, text: str) -> None:
    part = path.with_suffix(".part")
    part.write_text(text)
    part.rename(path)


def _check_same(path: Path, description: dict[str, Any]) -> None:
    try:
        stored = json.loads(path.read_text())
    except ValueError:
        raise FilmingError(f"{path} is not JSON; remove it or choose another folder") from None
    differ = [name for name, value in description.items() if stored.get(name) != value]
    if differ:
        raise FilmingError(
            f"{path.parent} holds another recording: its {', '.join(differ)} differ; give the "
            "options with which it was begun, or choose another folder"
        )


def _remove_leftovers(out: Path) -> None:
    """What killed workers left; the folders of those that still run stay."""
    for part in out.glob(".cycle_*.part"):
        worker = part.name.split(".")[2]
        if not Path("/proc", worker).exists():
            shutil.rmtree(part, ignore_errors=True)
