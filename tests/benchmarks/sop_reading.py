"""Cycles of the simulated station, seen by the eyes and encoded, for `./run bench sop`.

Everything is kept in a folder; what is there is not made again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path

import torch
from perception_pkg.commands.perceive import EYES, Perception, plain
from perception_pkg.core.recordings import StationRecording
from sop_monitor_pkg.core.normal import store as cycle_store
from sop_monitor_pkg.core.normal.learning import RATE_HZ, Example
from sop_monitor_pkg.core.normal.reader import read_cycle, width_of
from sop_monitor_pkg.core.normal.recordings import CycleRecording, find
from sop_monitor_pkg.core.procedure.procedure import Procedure
from sop_monitor_pkg.core.recognition.latents import Latents
from sop_monitor_pkg.core.tracks import sightings
from vjepa_world_model.data.video import VideoReader, thinned
from vjepa_world_model.weights.checkpoints import load_world_model

from benchmarks.journal import fingerprint

# How often each eye looks: every so many pictures of the decoder's rate. The nodes are slower for
# texts, too; see max_rate_hz.
EVERY = {"detections": 1, "defects": 2, "texts": 2}


@dataclass(frozen=True)
class Models:
    """Folders. detector, defects: of the eyes; encoder: of the world model."""

    detector: Path
    defects: Path
    encoder: Path


def unseen(folder: Path, count: int | None) -> list[Path]:
    """Of the first cycles of a recording, or of all, those that the eyes have not looked at."""
    return [
        c for c in StationRecording(folder).cycles[:count] if not (c / "results.jsonl").is_file()
    ]


def perceive(
    folder: Path, models: Models, count: int | None, workers: int, advance: Callable[[], None]
) -> None:
    """Lets the eyes look at the cycles that `unseen` names: `results.jsonl` beside the video."""
    todo = unseen(folder, count)
    if not todo:
        return
    with ProcessPoolExecutor(workers, get_context("spawn"), _one_thread) as pool:
        running = [pool.submit(_perceive_cycle, folder, cycle, models) for cycle in todo]
        for future in as_completed(running):
            future.result()
            advance()


def examples(
    folder: Path, procedure: Procedure, encoder: Path, count: int, advance: Callable[[], None]
) -> list[tuple[CycleRecording, Example]]:
    """The first cycles of a recording, encoded, with what the eyes saw."""
    model = load_world_model(encoder, "cpu", parts="encoder")
    latents = Latents(model)
    found = []
    kept = folder / f"latents_{encoder.name}_{fingerprint(encoder)[:8]}"
    for cycle in find([folder], procedure)[:count]:
        path = kept / f"{cycle.video.parent.name}.npz"
        if path.is_file():
            example, _ = cycle_store.load(path)
        else:
            example = read_cycle(replace(cycle, eyes=None), latents)
            cycle_store.save(path, example, encoder.name)
            example, _ = cycle_store.load(path)
        seen: list[sightings.Sighting] = []
        if cycle.eyes is not None:
            seen = sightings.read(cycle.eyes, width_of(cycle.video))
        found.append((cycle, replace(example, sightings=tuple(seen))))
        advance()
    return found


def truth(cycle: CycleRecording) -> dict:
    """The recording's cycle.json."""
    return json.loads((cycle.video.parent / "cycle.json").read_text())


def forget_other_eyes(folder: Path, models: Models) -> None:
    """What models with other weights saw is seen anew."""
    eyes = {
        f"{name} {file}": fingerprint(part / file)
        for name, part in (("detector", models.detector), ("defects", models.defects))
        for file in ("model.onnx", "config.json")
    }
    known = folder / "eyes.json"
    if known.is_file() and json.loads(known.read_text()) == eyes:
        return
    for results in folder.glob("*/results.jsonl"):
        results.unlink()
    known.write_text(json.dumps(eyes))


def _one_thread() -> None:
    torch.set_num_threads(1)


def _perceive_cycle(folder: Path, cycle: Path, models: Models) -> None:
    eyes = Perception(models.detector, models.defects, StationRecording(folder).layout, threads=1)
    part = cycle / f"results.jsonl.{os.getpid()}.part"  # a killed run's worker may live on
    with VideoReader(cycle / "video.mp4") as video, part.open("w") as lines:
        for line in _lines(eyes, video):
            lines.write(json.dumps(line, default=plain) + "\n")
    part.replace(cycle / "results.jsonl")


def _lines(eyes: Perception, video: VideoReader) -> Iterator[dict]:
    for number, (time_s, picture) in enumerate(thinned(video.frames(), RATE_HZ)):
        looking = [name for name in EYES if number % EVERY[name] == 0]
        results, _ = eyes.look(picture, looking, draw=False, time_s=time_s)
        yield {"t": time_s, **results}
