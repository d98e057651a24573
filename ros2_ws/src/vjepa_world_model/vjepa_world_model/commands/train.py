"""`./run train encoder|predictor`."""

from __future__ import annotations

import os
from pathlib import Path

import torch
import typer

from vjepa_world_model.weights.stored import SHIPPED

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
    from vjepa_world_model.training.export import load_encoder
    from vjepa_world_model.training.predictor import PredictorRecipe, train_predictor
    from vjepa_world_model.weights.checkpoints import save_world_model

    chosen = _device(device, threads)
    vision = load_encoder(encoder, untrained_encoder, seed).to(chosen)
    recipe = PredictorRecipe(iterations=iterations, seed=seed, start=start)
    model = train_predictor(data, vision.encoder, out, recipe, chosen)
    folder = save_world_model(out / "model", vision, model, anchored=True)
    typer.echo(f"world model written to {folder}")


@app.command()
def probe(
    data: Path = typer.Argument(help="folder with a subfolder of clips for each label"),
    encoder: Path = typer.Option(
        SHIPPED, help="world model folder or Hugging Face V-JEPA 2 folder whose encoder stays as is"
    ),
    out: Path = typer.Option(OUT / "probe", help="folder of this run; resumes what is there"),
    frames: int = typer.Option(8, min=2, help="pictures of a clip, an even number"),
    iterations: int = typer.Option(400, min=1),
    seed: int = typer.Option(0, min=0),
    device: str = typer.Option("auto", help="auto, cpu or cuda"),
    threads: int = typer.Option(0, min=0, help="CPU threads; 0: all cores"),
) -> None:
    """Attentive probe for action classification on any labelled clips; writes `out/model`."""
    from vjepa_world_model.training.loop import RunError
    from vjepa_world_model.training.probe import ProbeDataError, ProbeRecipe, train_probe
    from vjepa_world_model.weights.checkpoints import load_encoder_folder
    from vjepa_world_model.weights.tensor_files import CheckpointError

    if frames % 2:
        raise typer.BadParameter(f"--frames {frames}: the encoder takes pictures in pairs")
    chosen = _device(device, threads)
    inner = encoder / "encoder"
    try:
        vision = load_encoder_folder(inner if inner.is_dir() else encoder)
        recipe = ProbeRecipe(frames=frames, iterations=iterations, seed=seed)
        accuracy = train_probe(data, vision, out, recipe, chosen)
    except (CheckpointError, ProbeDataError, RunError) as error:
        typer.echo(f"train probe: {error}", err=True)
        raise typer.Exit(1) from None
    if accuracy is not None:
        typer.echo(f"accuracy on clips held back: {accuracy:.3f}")
    typer.echo(
        f"classifier written to {out / 'model'}; ./run classify VIDEO --model {out / 'model'}"
    )


def _device(name: str, threads: int) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_num_threads(threads or os.cpu_count() or 1)
    typer.echo(f"training on {name}")
    return torch.device(name)


if __name__ == "__main__":
    app()
