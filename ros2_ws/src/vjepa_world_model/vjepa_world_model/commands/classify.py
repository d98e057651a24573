"""`./run classify VIDEO --model FOLDER`: what is done in a video, clip after clip."""

from __future__ import annotations

from collections import deque
from pathlib import Path

import numpy as np
import typer

from vjepa_world_model.data.video import VideoError, VideoReader
from vjepa_world_model.model.classifier import load_classifier
from vjepa_world_model.weights.checkpoints import choose_device
from vjepa_world_model.weights.tensor_files import CheckpointError


def classify(
    video: Path = typer.Argument(help="video file"),
    model: Path = typer.Option(help="VJEPA2ForVideoClassification folder"),
    seconds: float = typer.Option(0.0, min=0.0, help="length of a clip [s]; 0: the whole video"),
    top: int = typer.Option(3, min=1, help="labels to show"),
    device: str = typer.Option("auto", help="auto, cpu, cuda ..."),
) -> None:
    """Print the most likely labels of each clip."""
    try:
        classifier = load_classifier(model, choose_device(device))
        with VideoReader(video) as reader:
            window: deque[np.ndarray] = deque()
            begin_s = last_s = 0.0
            for last_s, picture in reader.frames():
                if seconds and window and last_s - begin_s >= seconds:
                    _tell(classifier, window, begin_s, last_s, top)
                    window.clear()
                    begin_s = last_s
                window.append(picture)
            _tell(classifier, window, begin_s, last_s, top)
    except (CheckpointError, VideoError, ValueError) as error:
        typer.echo(f"classify: {error}", err=True)
        raise typer.Exit(1) from None


def _tell(classifier, window: deque, begin_s: float, end_s: float, top: int) -> None:
    found = classifier.classify(np.stack(window), top)
    labels = ", ".join(f"{label} {p:.2f}" for label, p in zip(found.labels, found.probabilities))
    typer.echo(f"{begin_s:.1f} to {end_s:.1f} s: {labels}")


if __name__ == "__main__":
    typer.run(classify)
