"""`./run train detector` and `./run train defects`."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import typer
from vjepa_world_model.training.loop import RunError

from perception_pkg.core.defects.data import DefectDataError
from perception_pkg.core.model_folder import ModelError

app = typer.Typer(
    help="Train what perception runs.", no_args_is_help=True, pretty_exceptions_enable=False
)


@app.command()
def detector(
    data: Path = typer.Argument(help="YOLO data set: a folder with data.yaml"),
    out: Path = typer.Option(Path("out/training/detector"), help="resumes what is there"),
    epochs: int = typer.Option(60, min=1),
    image_px: int = typer.Option(320, min=64, help="side of the square the model is fed [px]"),
    batch: int = typer.Option(16, min=1),
    mosaic: float = typer.Option(
        0.5, min=0.0, max=1.0, help="share of pictures put together from four; 0 for a fixed camera"
    ),
    start: Path | None = typer.Option(
        None, help="model folder whose weights to begin with; without, from scratch"
    ),
    seed: int = typer.Option(0, min=0),
    device: str = typer.Option("auto", help="auto, cpu or cuda"),
    threads: int = typer.Option(0, min=0, help="CPU threads; 0: all cores"),
) -> None:
    """A YOLO detector; writes `out/model`. Uses ultralytics (AGPL-3.0)."""
    from perception_pkg.core.detection.data import DetectorDataError
    from perception_pkg.core.detection.training import DetectorRecipe, train

    recipe = DetectorRecipe(image_px, epochs, batch, mosaic, seed, _device(device, threads), start)
    try:
        folder = train(data, out, recipe, threads)
    except (DetectorDataError, ModelError, RunError) as error:
        _refuse("detector", error)
    typer.echo(f"detector written to {folder}")


@app.command()
def defects(
    data: Path = typer.Argument(help="folder with a subfolder per kind, and `free`"),
    out: Path = typer.Option(Path("out/training/defects"), help="resumes what is there"),
    iterations: int = typer.Option(1200, min=1),
    batch: int = typer.Option(12, min=1, help="crops at once"),
    region_px: int = typer.Option(0, min=0, help="side of what is fed [px]; 0: 286, by area"),
    pretrained: bool = typer.Option(True, help="begin with ImageNet weights of the encoder"),
    start: Path | None = typer.Option(
        None, help="model folder whose weights to begin with instead; halves the learning rate"
    ),
    seed: int = typer.Option(0, min=0),
    device: str = typer.Option("auto", help="auto, cpu or cuda"),
    threads: int = typer.Option(0, min=0, help="CPU threads; 0: all cores"),
) -> None:
    """A U-Net on pictures and masks; writes `out/model`."""
    import torch

    from perception_pkg.core.defects import training as defect_training
    from perception_pkg.core.defects import unet
    from perception_pkg.core.defects.config import DefectConfig
    from perception_pkg.core.defects.data import kinds_of, read_folder

    recipe = defect_training.DefectRecipe(
        iterations=iterations, batch=batch, pretrained=pretrained, seed=seed
    )
    if start is not None:
        recipe = replace(recipe, start=str(start), learning_rate=recipe.learning_rate / 2)
    if region_px:
        recipe = defect_training.sized(recipe, region_px)
    try:
        samples = read_folder(data)
        kinds = kinds_of(samples)
        chosen = torch.device(_device(device, threads))
        model = defect_training.train(samples, kinds, out, recipe, chosen).cpu()
    except (DefectDataError, ModelError, RunError) as error:
        _refuse("defects", error)
    config = DefectConfig(kinds=kinds, area_px=recipe.area_px)
    unet.save(out / "model", model, config)
    unet.export(out / "model")
    typer.echo(f"defect model written to {out / 'model'}")


def _device(name: str, threads: int) -> str:
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_num_threads(threads or os.cpu_count() or 1)
    typer.echo(f"training on {name}")
    return name


def _refuse(command: str, error: Exception) -> None:
    typer.echo(f"train {command}: {error}", err=True)
    raise typer.Exit(1)


if __name__ == "__main__":
    app()
