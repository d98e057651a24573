"""`./run energy IMAGES`: a landscape between two frames, and how well a model ranks actions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

from vjepa_world_model.data.episodes import EpisodeError, EpisodeFolder
from vjepa_world_model.evaluation.energy.landscape import AXES, LEAST_SPAN_M, landscape
from vjepa_world_model.evaluation.energy.moments import (
    MomentError,
    Sequence,
    read_arrays,
    read_episodes,
)
from vjepa_world_model.evaluation.energy.ranking import RankingRecipe, evaluate
from vjepa_world_model.model.encoder import FrameError
from vjepa_world_model.model.poses import POSITION
from vjepa_world_model.weights.checkpoints import CheckpointError, load_world_model

console = Console(highlight=False, soft_wrap=True)
_COLUMNS = ("{task.description}", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())


def energy(
    images: Annotated[Path, typer.Argument(help=".npz with observations and states, or episodes")],
    out: Annotated[Path, typer.Option(help="folder for pictures and JSON")] = Path("out/energy"),
    model: Annotated[str, typer.Option(help="world model; empty: the shipped one")] = "",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda ...")] = "auto",
    dtype: Annotated[str, typer.Option(help="auto (as stored), fp32 or bf16")] = "auto",
    frames: Annotated[tuple[int, int], typer.Option(help="the two frames of the landscape")] = (
        0,
        1,
    ),
    grid: Annotated[int, typer.Option(min=3, help="points of the landscape per axis")] = 21,
    span_m: Annotated[
        float, typer.Option(min=0.0, help="half its side [m]; 0: as the actions need it")
    ] = 0.0,
    camera: Annotated[str, typer.Option(help="of the episodes; empty: the first")] = "",
    episodes: Annotated[
        int, typer.Option(min=1, help="episodes evaluated: the last, which training holds out")
    ] = 10,
    others: Annotated[int, typer.Option(min=8, help="actions the true one is ranked among")] = 63,
    horizon: Annotated[int, typer.Option(min=1, help="steps ahead that are predicted")] = 3,
    seed: Annotated[int, typer.Option(min=0, help="of the other actions")] = 0,
) -> None:
    """Draw the energy of imagined actions between two frames with known poses.

    Given an episode folder, also evaluate the model on it: how it ranks the true action among
    others, how its predictions compare with copying the last frame, and where its energy is lowest.
    """
    try:
        world_model = load_world_model(model, device, dtype=dtype)
        if not world_model.imagines:
            raise CheckpointError(
                f"{model} has no action-conditioned predictor: it has no energies"
            )
        out.mkdir(parents=True, exist_ok=True)
        if images.is_dir():
            folder = EpisodeFolder.open(images)
            chosen = camera or folder.cameras[0]
            recorded = list(read_episodes(folder, chosen, episodes))
            if not recorded:
                raise MomentError(f"{images} has no episodes")
            sequence = recorded[0]
        else:
            recorded, sequence = [], read_arrays(images)
        _landscape(world_model, sequence, frames, grid, span_m or None, out)
        if recorded:
            span = span_m or _span(recorded)
            recipe = RankingRecipe(others=others, span_m=span, horizon=horizon, seed=seed)
            _evaluation(world_model, recorded, images, recipe, out)
    except (CheckpointError, EpisodeError, FrameError, MomentError) as error:
        console.print(f"[red]energy:[/red] {error}")
        raise typer.Exit(1) from None


def _landscape(
    model, sequence: Sequence, frames: tuple[int, int], grid: int, span_m: float | None, out: Path
) -> None:
    from vjepa_world_model.evaluation.energy.pictures import draw_landscape

    first, second = frames
    if not 0 <= first < len(sequence.frames) or not 0 <= second < len(sequence.frames):
        raise MomentError(
            f"{sequence.name} has frames 0 to {len(sequence.frames) - 1}, not {first} and {second}"
        )
    with Progress(*_COLUMNS, console=console, disable=not console.is_terminal) as progress:
        bar = progress.add_task("landscape", total=3 * grid * grid + 3 * grid + 2)
        found = landscape(
            model, sequence, first, second, grid, span_m, lambda n: progress.advance(bar, n)
        )
    title = f"Energy of imagined moves, {model.name}, {sequence.name}"
    draw_landscape(found, sequence, first, second, title, out / "landscape.png")
    content = {"model": model.name, "source": sequence.name, "frames": [first, second]}
    content["states"] = sequence.states[[first, second]].tolist()
    _write(out / "landscape.json", content | found.to_dict())
    console.print(
        f"energy {found.energy_now:.4f} now, {found.energy_stay:.4f} imagined without an action, "
        f"{found.energy_true:.4f} with the true one; lowest along the axes, from the true action: "
        + ", ".join(f"{name} {100 * found.bias_m(i):+.1f} cm" for i, name in enumerate(AXES))
    )
    console.print(f"{out / 'landscape.png'}, {out / 'landscape.json'}")


def _evaluation(
    model, recorded: list[Sequence], source: Path, recipe: RankingRecipe, out: Path
) -> None:
    from vjepa_world_model.evaluation.energy.pictures import draw_evaluation

    with Progress(*_COLUMNS, console=console, disable=not console.is_terminal) as progress:
        bar = progress.add_task("episodes", total=len(recorded))
        found = evaluate(model, recorded, recipe, lambda n: progress.advance(bar, n))
    figures = found.summary()
    title = f"{model.name} on {len(recorded)} episodes of {source.name}, {figures['steps']} steps"
    draw_evaluation(found, title, out / "evaluation.png")
    head = {"model": model.name, "source": str(source), "episodes": len(recorded)}
    _write(out / "evaluation.json", head | figures)
    ranking = figures["ranking"]
    console.print(
        f"{figures['steps']} steps: the true action beats {ranking['ranked_above']:.0%} of "
        f"{recipe.others} others (chance 50%), is first in {ranking['first']:.0%} "
        f"(chance {ranking['first_by_chance']:.1%}), among the first five in "
        f"{ranking['among_first_five']:.0%}"
    )
    for row in figures["prediction"]:
        console.print(
            f"{row['steps_ahead']} ahead: error {row['error']:.4f}, of copying the frame "
            f"{row['error_of_copying']:.4f}, ratio {row['ratio']:.2f}"
        )
    for name, row in figures["lowest"].items():
        console.print(
            f"{name}: the lowest energy is {100 * row['bias_m']:+.1f} cm from the true action on "
            f"average, deviation {100 * row['deviation_m']:.1f} cm, "
            f"median distance {100 * row['median_absolute_m']:.1f} cm"
        )
    console.print(f"{out / 'evaluation.png'}, {out / 'evaluation.json'}")


def _span(recorded: list[Sequence]) -> float:
    """Half the side of a box that holds nearly all moves that were made [m]."""
    moves = [np.abs(np.diff(sequence.states[:, POSITION], axis=0)) for sequence in recorded]
    return max(LEAST_SPAN_M, float(np.quantile(np.concatenate(moves), 0.99)))


def _write(path: Path, content: dict) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    typer.run(energy)
