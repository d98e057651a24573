"""`./run bench perception`: detector, defects and texts on stations that a seed names."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from perception_pkg.commands.perceive import MODELS
from perception_pkg.core.defects.finder import DefectFinder
from perception_pkg.core.defects.metrics import DefectScores
from perception_pkg.core.detection.boxes import Found, overlaps
from perception_pkg.core.detection.detector import OnnxDetector
from perception_pkg.core.detection.size_rule import UNKNOWN
from perception_pkg.core.detection.tracking import TrackedPart, Tracker
from perception_pkg.core.labels import counts, crop_truth
from perception_pkg.core.model_folder import ModelError, write_json
from perception_pkg.core.recordings import RecordedFrame, StationRecording, StationRecordingError
from perception_pkg.core.regions import DEFECTS, TEXT, Region
from perception_pkg.core.text.fusing import FusedText, TextFuser
from perception_pkg.core.text.reader import TextReader
from rich.console import Console
from rich.table import Table

from benchmarks import seeds
from benchmarks.filming import record
from benchmarks.progress import ProgressView

WORK = Path("out/bench/perception")
LEVELS = np.linspace(0.5, 0.95, 10)  # of overlap, over which average precision is averaged
TARGETS = {
    "detector.map50_95": ">= 0.85",
    "detector.m3_m4_confusion": "< 0.01",
    "detector.unknown": "<= 0.05",
    "detector.frames_per_second": ">= 15",
    "defects.iou": ">= 0.75",
    "defects.auroc": ">= 0.99",
    "defects.frames_per_second": ">= 20 (regions)",
    "text.accuracy": ">= 0.99",
    "text.flagged": "",
    "text.frames_per_second": ">= 6.7 (regions)",
}


def main(
    seed: Annotated[int, typer.Option(min=0, help="of the station")] = 71000,
    json: Annotated[Path | None, typer.Option(help="write the figures to this file")] = None,
    cycles: Annotated[
        int,
        typer.Option(min=1, help="mixed ones, as many with defects, and as many with bad labels"),
    ] = 9,
    recording: Annotated[
        Path | None, typer.Option(help="measure on this recording, in place of a new one")
    ] = None,
    detector: Annotated[Path, typer.Option(help="model folder")] = MODELS / "station_detector",
    defects: Annotated[Path, typer.Option(help="model folder")] = MODELS / "station_defects",
    threads: Annotated[int, typer.Option(min=0, help="CPU threads; 0: all cores")] = 0,
    out: Annotated[Path, typer.Option(help="folder of the recording")] = WORK,
) -> None:
    """Detector, defects and texts: how well and how fast."""
    console = Console()
    try:
        eyes = (OnnxDetector(detector, threads, 0.01), DefectFinder(defects, threads))
        reader = TextReader(threads)
        if recording:
            source = StationRecording(recording)
            chosen = [(source, cycle) for cycle in source.cycles[:cycles]]
        else:
            chosen = film(out / f"seed_{seed}", seed, cycles)
        tally = Tally(eyes[0].classes, eyes[1].config.kinds)
        with ProgressView(console, "cycles", len(chosen)) as view:
            for source, cycle in chosen:
                _look(tally, source, cycle, *eyes, reader)
                view.advance()
    except (ModelError, StationRecordingError) as error:
        console.print(f"[red]bench perception:[/red] {error}", highlight=False, soft_wrap=True)
        raise typer.Exit(1) from None
    figures = tally.figures()
    used = {take.seed for take in takes(seed, cycles) if take.count}
    show(console, figures)
    if not recording:
        console.print(seeds.said("station", *used), highlight=False)
    if json is not None:
        extra = {
            "seed": seed,
            "seed_use": None if recording else seeds.use_of("station", *used),
            "recording": str(recording) if recording else None,
            "cycles": len(chosen),
            "frames": tally.frames,
            "detector": eyes[0].name,
            "defects": {"model": eyes[1].name, **tally.defects.summary()},
            "cores": os.cpu_count(),
            "threads": threads,
        }
        write_json(json, figures | {"measured": extra})


@dataclass
class Tally:
    """What is counted over all pictures."""

    classes: tuple[str, ...]
    kinds: tuple[str, ...]
    frames: int = 0
    hits: list[np.ndarray] = field(default_factory=list)  # per box found, at each level
    confidences: list[float] = field(default_factory=list)
    found_classes: list[int] = field(default_factory=list)
    true_classes: list[int] = field(default_factory=list)
    named: dict[str, int] = field(default_factory=lambda: {"right": 0, "wrong": 0, UNKNOWN: 0})
    texts: dict[str, int] = field(
        default_factory=lambda: {"right": 0, "wrong": 0, "flagged": 0, "not flagged": 0}
    )
    seconds: dict[str, list[float]] = field(
        default_factory=lambda: {"detector": [], "defects": [], "text": []}
    )

    def __post_init__(self) -> None:
        self.defects = DefectScores(self.kinds)

    def figures(self) -> dict[str, float | None]:
        """The figures under the names that TARGETS lists."""
        sized = sum(self.named.values())
        readable = self.texts["right"] + self.texts["wrong"]
        unreadable = self.texts["flagged"] + self.texts["not flagged"]
        seen = self.defects.summary()
        return {
            "detector.map50_95": self._map(),
            "detector.m3_m4_confusion": self.named["wrong"] / sized if sized else None,
            "detector.unknown": self.named[UNKNOWN] / sized if sized else None,
            "detector.frames_per_second": self._rate("detector"),
            "defects.iou": seen["mean_iou"],
            "defects.auroc": seen["auroc"],
            "defects.frames_per_second": self._rate("defects"),
            "text.accuracy": self.texts["right"] / readable if readable else None,
            "text.flagged": self.texts["flagged"] / unreadable if unreadable else None,
            "text.frames_per_second": self._rate("text"),
        }

    def _map(self) -> float | None:
        from ultralytics.utils.metrics import ap_per_class

        if not self.hits or not self.true_classes:
            return None
        counted = ap_per_class(
            np.stack(self.hits),
            np.array(self.confidences),
            np.array(self.found_classes),
            np.array(self.true_classes),
        )
        return float(counted[5].mean())

    def _rate(self, name: str) -> float | None:
        return 1.0 / float(np.median(self.seconds[name])) if self.seconds[name] else None


def _look(
    tally: Tally,
    source: StationRecording,
    cycle: Path,
    detector: OnnxDetector,
    finder: DefectFinder,
    reader: TextReader,
) -> None:
    config = detector.config
    tracker = Tracker(config.classes, config.pairs, source.layout.mm_per_px)
    fusers = [TextFuser(region) for region in source.layout.of(TEXT)]
    inspected = source.layout.of(DEFECTS)
    shown: dict[tuple[str, str], Shown] = {}
    for frame in source.frames(cycle):
        tally.frames += 1
        with _timed(tally, "detector"):
            found = detector.find(frame.image)
            sure = [f for f in found if f.confidence >= config.least(config.classes[f.best])]
            parts = tracker.update(sure, frame.time_s)
        _count_boxes(tally, frame, found)
        _count_sizes(tally, frame, parts, {n for p in config.pairs for n in (p.first, p.second)})
        if frame.number % 3:
            continue
        for region in inspected:
            _count_defects(tally, frame, region, finder)
        for fuser in fusers:
            texts = _read(tally, frame, fuser, reader)
            _follow_texts(shown, frame, fuser.region.name, texts)
    _count_texts(tally, shown)


def _count_boxes(tally: Tally, frame: RecordedFrame, found: list[Found]) -> None:
    """For average precision. Truth that is hardly visible neither counts nor makes a box wrong."""
    truth = [box for box in frame.truth["boxes"] if box["class"] in tally.classes]
    boxes = np.array([box["xyxy"] for box in truth], float).reshape(-1, 4)
    numbers = np.array([tally.classes.index(box["class"]) for box in truth], int)
    clear = np.array([counts(box) for box in truth], bool)
    tally.true_classes += numbers[clear].tolist()
    taken = np.zeros((len(truth), len(LEVELS)), bool)
    for item in found:
        same = numbers == item.best
        shared = overlaps(item.box[None], boxes)[0] * same if len(truth) else np.zeros(0)
        hit = np.zeros(len(LEVELS), bool)
        for level, least in enumerate(LEVELS):
            free = np.where(clear & ~taken[:, level], shared, 0.0)
            if len(free) and free.max() >= least:
                taken[free.argmax(), level] = hit[level] = True
        if not hit.any() and (shared[~clear] >= LEVELS[0]).any():
            continue
        tally.hits.append(hit)
        tally.confidences.append(item.confidence)
        tally.found_classes.append(item.best)


def _count_sizes(
    tally: Tally, frame: RecordedFrame, parts: list[TrackedPart], sized: set[str]
) -> None:
    """Whether parts of one size are taken for the other, as the node names them."""
    truth = [box for box in frame.truth["boxes"] if box["class"] in sized and counts(box)]
    if not truth or not parts:
        return
    shared = overlaps(
        np.array([box["xyxy"] for box in truth], float), np.stack([part.box for part in parts])
    )
    for row, box in enumerate(truth):
        part = parts[int(shared[row].argmax())]
        if shared[row].max() < 0.5 or not set(part.candidates) <= sized:
            continue
        right = part.name == box["class"]
        tally.named[UNKNOWN if part.name == UNKNOWN else "right" if right else "wrong"] += 1


def _count_defects(
    tally: Tally, frame: RecordedFrame, region: Region, finder: DefectFinder
) -> None:
    """What the node gives for a region: one that is scored below the threshold has no mask."""
    with _timed(tally, "defects"):
        seen = finder.inspect(frame.image, [region])
    kind, mask = crop_truth(frame, region)
    if kind is not None:
        tally.defects.add(kind, mask > 0, region.crop(seen.mask), seen.scores[0])


def _read(
    tally: Tally, frame: RecordedFrame, fuser: TextFuser, reader: TextReader
) -> list[FusedText]:
    """The texts of a region. Its time counts where there is a text: an empty region takes less, and
    most pictures show no label."""
    shows_text = bool(_texts_in(frame, fuser.region.name))
    with _timed(tally, "text") if shows_text else contextlib.nullcontext():
        return fuser.update(reader.read(frame.image, fuser.region), frame.time_s)


def _texts_in(frame: RecordedFrame, region: str) -> list[dict]:
    return [truth for truth in frame.truth["texts"] if truth["region"] == region]


@dataclass
class Shown:
    """One text of a label, while it is held up: `readable` in some picture, `right` in the last of
    these, and `invented` if the region let a text pass that is not on the label."""

    readable: bool = False
    right: bool = False
    invented: bool = False


def _follow_texts(
    shown: dict[tuple[str, str], Shown], frame: RecordedFrame, region: str, texts: list[FusedText]
) -> None:
    """Notes what the reader says in this picture of each text that is there."""
    read = {(text.kind, text.text) for text in texts if text.readable}
    passed = {(text.kind, text.text) for text in texts if text.readable and text.matches}
    here = _texts_in(frame, region)
    for truth in here:
        shown.setdefault((truth["kind"], truth["text"]), Shown())
    for truth in here:
        found = shown[truth["kind"], truth["text"]]
        found.invented |= bool(passed - set(shown))
        if truth["readable"]:
            found.readable = True
            found.right = (truth["kind"], truth["text"]) in read


def _count_texts(tally: Tally, shown: dict[tuple[str, str], Shown]) -> None:
    """At the end of a cycle: what the fused reading came to."""
    for text in shown.values():
        if text.readable:
            tally.texts["right" if text.right else "wrong"] += 1
        else:
            tally.texts["not flagged" if text.invented else "flagged"] += 1


@contextlib.contextmanager
def _timed(tally: Tally, name: str) -> Iterator[None]:
    began = time.perf_counter()
    yield
    tally.seconds[name].append(time.perf_counter() - began)


@dataclass(frozen=True)
class Take:
    """Some cycles of a station: `count` of them from number `first` on, in the folder `name`."""

    name: str
    seed: int
    count: int
    first: int = 0
    options: tuple[str, ...] = ()


def takes(seed: int, cycles: int) -> list[Take]:
    """What is filmed: mixed cycles, and as many each with a defect and with a bad label, which are
    rare among all. The labels of a station have one kind of code: half of the bad ones are of the
    station with the next seed, which has the other."""
    bad_labels = ("--faults", "wrong_label,unreadable_label")
    plan = [
        Take("mixed", seed, cycles),
        Take("defects", seed, cycles, 10_000, ("--faults", "defective_part")),
        Take("labels", seed, cycles - cycles // 2, 20_000, bad_labels),
        Take("other_labels", seed + 1, cycles // 2, 20_000, bad_labels),
    ]
    return [take for take in plan if take.count]


def film(folder: Path, seed: int, cycles: int) -> list[tuple[StationRecording, Path]]:
    """Films what `takes` says; each cycle with its recording."""
    chosen = []
    for take in takes(seed, cycles):
        path = record(folder / take.name, take.seed, take.count, *take.options, first=take.first)
        source = StationRecording(path)
        chosen += [(source, cycle) for cycle in source.cycles[: take.count]]
    return chosen


def show(console: Console, figures: dict[str, float | None]) -> None:
    """Prints the figures beside what is asked for."""
    table = Table(title="perception on the simulated station", title_justify="left")
    for heading in ("figure", "measured", "asked for"):
        table.add_column(heading)
    for name, target in TARGETS.items():
        value = figures[name]
        table.add_row(name, "-" if value is None else f"{value:.4g}", target)
    console.print(table)
