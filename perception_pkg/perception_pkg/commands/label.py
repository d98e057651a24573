"""`./run label RECORDING ... --out DATA`: station recordings become training data."""

from __future__ import annotations

from pathlib import Path

import typer
from rich.console import Console
from rich.progress import Progress

from perception_pkg.core.labels import to_defects, to_yolo
from perception_pkg.core.recordings import StationRecording, StationRecordingError


def label(
    recordings: list[Path] = typer.Argument(help="folders that ./run station record wrote"),
    out: Path = typer.Option(help="new folder for the data set"),
    defects: bool = typer.Option(
        False, "--defects", help="crops and masks for ./run train defects, in place of boxes"
    ),
    every: int = typer.Option(5, min=1, help="take every so many pictures"),
    faults_only: bool = typer.Option(
        False, "--faults-only", help="of cycles with faults, only the pictures that show one"
    ),
) -> None:
    """Write a YOLO data set for ./run train detector, or folders for ./run train defects."""
    convert = to_defects if defects else to_yolo
    try:
        sources = [StationRecording(folder) for folder in recordings]
        written = 0
        with Progress(console=Console(stderr=True)) as progress:
            bar = progress.add_task(
                "labelling", total=sum(len(source.cycles) for source in sources)
            )
            for written in convert(sources, out, every, faults_only):  # noqa: B007
                progress.advance(bar)
    except StationRecordingError as error:
        typer.echo(f"label: {error}", err=True)
        raise typer.Exit(1) from None
    typer.echo(f"{written} pictures in {out}")


if __name__ == "__main__":
    typer.run(label)
