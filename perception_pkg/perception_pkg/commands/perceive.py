"""`./run perceive VIDEO --out FOLDER`: detector, defects and texts over a video file.

FOLDER gets `annotated.mp4` and `results.jsonl`, a line per picture.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import typer
from rich.console import Console
from rich.progress import Progress
from vjepa_world_model.data.video import VideoError, VideoReader, VideoWriter, thinned

from perception_pkg.core import annotate
from perception_pkg.core.defects.finder import DefectFinder
from perception_pkg.core.detection.detector import OnnxDetector
from perception_pkg.core.detection.pauses import FORGET_S, forget_after
from perception_pkg.core.detection.tracking import Tracker
from perception_pkg.core.model_folder import ModelError
from perception_pkg.core.regions import DEFECTS, TEXT, RegionError, RegionLayout, load_layout
from perception_pkg.core.text.fusing import TextFuser
from perception_pkg.core.text.reader import TextReader

EYES = ("detections", "defects", "texts")
MODELS = Path(__file__).resolve().parents[2] / "models"


class Perception:
    """The three of them on one picture after the other, as the nodes run them.

    Args:
        detector, defects: model folders; None: without.
        layout: regions and scale. Defects and texts are looked for where it says so.
        forget_s: a longer gap between two pictures ends tracks and readings [s].
    """

    def __init__(
        self,
        detector: Path | None,
        defects: Path | None,
        layout: RegionLayout,
        threads: int = 0,
        forget_s: float = FORGET_S,
    ):
        self.layout = layout
        self.detector = self.finder = self.reader = None
        if detector is not None:
            self.detector = OnnxDetector(detector, threads)
            config = self.detector.config
            self.tracker = Tracker(
                config.classes, config.pairs, layout.mm_per_px, forget_s=forget_s
            )
        self.inspected = layout.of(DEFECTS)
        if defects is not None and self.inspected:
            self.finder = DefectFinder(defects, threads)
        if layout.of(TEXT):
            self.reader = TextReader(threads)
            self.fusers = [TextFuser(region, forget_s=forget_s) for region in layout.of(TEXT)]

    def look(
        self,
        image: np.ndarray,
        eyes: Collection[str] = EYES,
        draw: bool = True,
        time_s: float | None = None,
    ) -> tuple[dict[str, Any], np.ndarray]:
        """What is in uint8 [H, W, 3] RGB, as JSON can hold it, and the annotated picture.

        Args:
            eyes: which of them look. draw: else the picture comes back as it is.
            time_s: when it was taken [s]; None: unknown, no gap before it is noticed.

        Raises:
            RegionError: the regions are for other pictures.
        """
        self.layout.check(image)
        results: dict[str, Any] = {}
        drawn = image
        if self.finder is not None and "defects" in eyes:
            seen = self.finder.inspect(image, self.inspected)
            regions = zip(seen.regions, seen.scores, seen.defective)
            results["regions"] = [
                {"region": name, "score": score, "defective": bad} for name, score, bad in regions
            ]
            results["defects"] = [asdict(spot) for spot in seen.spots]
            drawn = annotate.draw_defects(drawn, seen, self.inspected) if draw else drawn
        if self.reader is not None and "texts" in eyes:
            texts = [
                text
                for fuser in self.fusers
                for text in fuser.update(self.reader.read(image, fuser.region), time_s)
            ]
            results["texts"] = [asdict(text) for text in texts]
            drawn = annotate.draw_texts(drawn, texts) if draw else drawn
        if self.detector is not None and "detections" in eyes:
            parts = self.tracker.update(self.detector.find(image), time_s)
            results["detections"] = [asdict(part) for part in parts]
            drawn = annotate.draw_parts(drawn, parts) if draw else drawn
        return results, drawn


def perceive(
    video: Path = typer.Argument(help="video file"),
    out: Path = typer.Option(Path("out/perceive"), help="folder to write"),
    regions: Path | None = typer.Option(
        None, help="YAML file of regions, or station.json; without, parts only"
    ),
    detector: Path = typer.Option(MODELS / "station_detector", help="model folder"),
    defects: Path = typer.Option(MODELS / "station_defects", help="model folder"),
    rate: float = typer.Option(0.0, min=0.0, help="pictures a second to look at; 0: all"),
    threads: int = typer.Option(0, min=0, help="CPU threads; 0: all cores"),
) -> None:
    """Look at every picture of a video; writes an annotated video and JSON lines."""
    try:
        layout = RegionLayout() if regions is None else load_layout(regions)
        with VideoReader(video) as reader:
            rate = min(rate, reader.fps) or reader.fps
            eyes = Perception(detector, defects, layout, threads, forget_after(rate))
            out.mkdir(parents=True, exist_ok=True)
            count = _write(eyes, reader, out, rate)
    except (VideoError, RegionError, ModelError) as error:
        typer.echo(f"perceive: {error}", err=True)
        raise typer.Exit(1) from None
    typer.echo(f"{count} pictures: {out / 'annotated.mp4'}, {out / 'results.jsonl'}")


def _write(eyes: Perception, reader: VideoReader, out: Path, rate: float) -> int:
    part = out / "results.jsonl.part"
    count = 0
    with (
        part.open("w") as lines,
        VideoWriter(out / "annotated.mp4", reader.size, rate) as film,
    ):
        for number, time_s, image in _progress(reader, rate):
            results, drawn = eyes.look(image, time_s=time_s)
            lines.write(json.dumps({"frame": number, "t": time_s, **results}, default=plain) + "\n")
            film.add(drawn)
            count += 1
    part.replace(out / "results.jsonl")
    return count


def _progress(reader: VideoReader, rate: float) -> Iterator[tuple[int, float, np.ndarray]]:
    console = Console(stderr=True)
    with Progress(console=console) as progress:
        bar = progress.add_task("looking", total=reader.count * rate / reader.fps or None)
        frames = reader.frames() if rate == reader.fps else thinned(reader.frames(), rate)
        for number, (time_s, image) in enumerate(frames):
            yield number, time_s, image
            progress.advance(bar)


def plain(value: Any) -> Any:
    """numpy arrays and numbers for JSON."""
    return value.tolist()


if __name__ == "__main__":
    typer.run(perceive)
