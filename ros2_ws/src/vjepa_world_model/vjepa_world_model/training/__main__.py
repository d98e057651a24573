"""`./run train encoder|predictor`."""

from __future__ import annotations

import os
from pathlib import Path

import torch
import typer

app = typer.Typer(help="Train the shipped world model's parts.", no_args_is_help=True)

OUT = Path("out/training")
START = "world model folder; the training goes on from its"


@app.command()
def encoder(
    data: Path = typer.Argument(Path("out/episodes"), help="LeRobotDataset v3 folder"),
    out: Path = typer.Option(OUT / "encoder", help="folder of this run; resumes what is there"),
    iterations: int = typer.Option(800, min=1),
    alignment_iterations: int = typer.Option(3800, min=1, help="of the second stage"),
    start: str = typer.Option("", help=f"{START} encoder; only the second stage follows"),
    seed: int = typer.Option(0, min=0),
    device: str = typer.Option("auto", help="auto, cpu or cuda"),
    threads: int = typer.Option(0, min=0, help="CPU threads; 0: all cores"),
) -> None:
    """V-JEPA masked-feature prediction with an EMA target."""
    from vjepa_world_model.training.encoder import EncoderRecipe, train_encoder

    recipe = EncoderRecipe(
        iterations=iterations, alignment_iterations=alignment_iterations, seed=seed, start=start
    )
    train_encoder(data, out, recipe, _device(device, threads))


@app.command()
def predictor(
    data: Path = typer.Argument(Path("out/episodes"), help="LeRobotDataset v3 folder"),
    encoder: Path = typer.Option(OUT / "encoder", help="run folder of the encoder"),
    untrained_encoder: bool = typer.Option(
        False, help="random weights of the encoder's sizes instead: the baseline"
    ),
    out: Path = typer.Option(OUT / "predictor", help="folder of this run; resumes what is there"),
    iterations: int = typer.Option(3200, min=1),
    start: str = typer.Option("", help=f"{START} predictor"),
    seed: int = typer.Option(0, min=0),
    device: str = typer.Option("auto", help="auto, cpu or cuda"),
    threads: int = typer.Option(0, min=0, help="CPU threads; 0: all cores"),
) -> None:
    """V-JEPA 2-AC: teacher forcing plus two-step rollout on frozen features; writes `out/model`."""
    from vjepa_world_model.checkpoints import save_world_model
    from vjepa_world_model.training.export import load_encoder
    from vjepa_world_model.training.predictor import PredictorRecipe, train_predictor

    chosen = _device(device, threads)
    vision = load_encoder(encoder, untrained_encoder, seed).to(chosen)
    recipe = PredictorRecipe(iterations=iterations, seed=seed, start=start)
    model = train_predictor(data, vision.encoder, out, recipe, chosen)
    folder = save_world_model(out / "model", vision, model, anchored=True)
    typer.echo(f"world model written to {folder}")


def _device(name: str, threads: int) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_num_threads(threads or os.cpu_count() or 1)
    typer.echo(f"training on {name}")
    return torch.device(name)


if __name__ == "__main__":
    app()
