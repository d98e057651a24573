"""`./run bench calibration`: reaching goals while the camera stands turned about the scene.

For each turn the camera is calibrated once, as a user would, and then every episode is played
without a calibration, with it, and with the true turn: what a perfect calibration would give.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from perception_pkg.core.model_folder import write_json
from rich.console import Console
from rich.table import Table
from vjepa_planner_pkg.core.calibration.calibration import Calibration
from vjepa_world_model.weights.checkpoints import SHIPPED, choose_device

from benchmarks import seeds, workers
from benchmarks.journal import EpisodeLog
from benchmarks.progress import ProgressView, ending_plainly
from benchmarks.reach import identity, summary
from benchmarks.recipe import (
    CALIBRATE,
    TRUE,
    VARIANTS,
    WITH,
    WITHOUT,
    Key,
    TurnedRecipe,
    turned_method,
)

TURNS_DEG = "-30,-20,-10,0,10,20,30"
CALIBRATION_EPISODE = 1 << 20  # no evaluation has so many episodes
TITLES = {WITHOUT: "without", WITH: "calibrated", TRUE: "true turn"}


def main(
    episodes: Annotated[int, typer.Option(min=1, help="per turn and column")] = 20,
    seed: Annotated[int, typer.Option(min=0, help="another seed, other episodes")] = 70021,
    file: Annotated[Path, typer.Option("--json", help="where the figures go")] = Path(
        "out/bench/calibration.json"
    ),
    turns: Annotated[str, typer.Option(help="of the camera about the scene [degrees]")] = TURNS_DEG,
    variants: Annotated[str, typer.Option(help="some of these")] = ",".join(VARIANTS),
    varied: Annotated[
        bool, typer.Option("--varied", help="goal pictures taken under other light and colours")
    ] = False,
    model: Annotated[Path, typer.Option(help="world model")] = SHIPPED,
    mpc_params: Annotated[
        Path | None, typer.Option(help="parameter file of the MPC node, instead of its defaults")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda ...")] = "auto",
    processes: Annotated[int, typer.Option("--workers", min=1, help="worker processes")] = 2,
) -> None:
    """Reach goals with the camera turned about the scene, without and with a calibration.

    The same command goes on where an interrupted one stopped.
    """
    console = Console()
    with ending_plainly(console, "bench calibration"):
        recipe = TurnedRecipe(
            seed,
            varied,
            {"planner": str(model.resolve())},
            None if mpc_params is None else str(mpc_params.resolve()),
            str(choose_device(device)),
        )
        turns_deg, columns = whole_numbers(turns), chosen(variants)
        figures = evaluate(recipe, turns_deg, columns, episodes, file, console, processes)
    console.print(table(figures, columns))
    console.print(seeds.said("reach", seed), highlight=False)
    console.print(f"written to {file}", highlight=False, soft_wrap=True)


def whole_numbers(text: str) -> list[int]:
    """Turns [degrees] in order, each once; ValueError for anything else."""
    try:
        found = sorted({int(part) for part in text.split(",")})
    except ValueError:
        raise ValueError(f"turns are whole degrees such as {TURNS_DEG}, not {text!r}") from None
    if max(map(abs, found)) > 180:
        raise ValueError(f"a turn of more than 180 degrees in {text!r}")
    return found


def chosen(text: str) -> list[str]:
    """The columns that are asked for, in the order of VARIANTS; ValueError for others."""
    asked = {part.strip() for part in text.split(",")}
    if unknown := asked - set(VARIANTS):
        raise ValueError(f"no variant {sorted(unknown)[0]!r}; choose of {', '.join(VARIANTS)}")
    return [variant for variant in VARIANTS if variant in asked]


def evaluate(
    recipe: TurnedRecipe,
    turns_deg: Sequence[int],
    variants: Sequence[str],
    episodes: int,
    file: Path,
    console: Console,
    processes: int = 2,
) -> dict:
    """Plays what an interrupted run left; returns and writes the figures.

    Raises:
        ValueError: settings or a model that cannot be used.
        RuntimeError: a process died.
    """
    begun = time.monotonic()
    key = identity(recipe)
    first: list[Key] = [(turned_method(CALIBRATE, t), CALIBRATION_EPISODE) for t in turns_deg]
    methods = [turned_method(v, t) for t in turns_deg for v in variants]
    wanted = first + [(method, i) for method in methods for i in range(episodes)]
    journal = EpisodeLog(file.with_suffix(".episodes.jsonl"), key)
    known = sum(_name(k) in journal.records for k in wanted)
    if known:
        console.print(f"{known} episodes are known from an interrupted run")
    with (
        contextlib.closing(journal),
        ProgressView(console, "episodes", len(wanted), known) as progress,
    ):

        def play(keys: Sequence[Key], recipe: TurnedRecipe) -> None:
            todo = [k for k in keys if _name(k) not in journal.records]
            if not todo:
                return
            with contextlib.closing(workers.play(recipe, todo, processes, turned_player)) as played:
                for k, record in played:
                    journal.add(_name(k), record)
                    progress.advance(_how_it_goes(journal))

        play(first, recipe)
        records = {t: journal.records[_name(k)] for t, k in zip(turns_deg, first)}
        play(wanted[len(first) :], _with(recipe, records))
        about = {"task": "reach", "episodes": episodes, **key}
        about["seconds"] = round(time.monotonic() - begun, 1)
        figures = {"evaluation": about, "turns": []}
        for turn in turns_deg:
            row = {"turn_deg": turn, "calibration": records[turn]}
            for variant in variants:
                name = turned_method(variant, turn)
                row[variant] = summary([journal.records[f"{name} {i}"] for i in range(episodes)])
            figures["turns"].append(row)
        figures["evaluation"]["seed_use"] = seeds.use_of("reach", recipe.seed)
        write_json(file, figures)
        journal.remove()
    return figures


def turned_player(recipe: TurnedRecipe) -> Any:
    """The player in each worker."""
    from benchmarks.turned import TurnedPlayer

    return TurnedPlayer(recipe)


def table(figures: dict, variants: Sequence[str]) -> Table:
    """The figures for a terminal."""
    about = figures["evaluation"]
    scenes = "varied" if about["varied"] else "nominal"
    made = Table(
        title=f"{about['episodes']} {scenes} episodes of seed {about['seed']} per turn and column, "
        f"{about['seconds']:.0f} s",
        caption="episodes that end within 3 cm, and their median distance; left: of the motion, "
        "unexplained by the turn that was found",
    )
    for name in ("camera", "found", "left", *(TITLES[variant] for variant in variants)):
        made.add_column(name, justify="right", no_wrap=True)
    for row in figures["turns"]:
        found = row["calibration"].get("found")
        cells = ["refused", ""]
        if found:
            cells = [f"{-np.rad2deg(found['yaw_rad']):.1f}°", f"{100 * found['residual']:.0f} %"]
        for variant in variants:
            f = row[variant]
            cells.append(f"{100 * f['success_3cm']:.0f} % {f['median_error_cm']:.2f} cm")
        made.add_row(f"{row['turn_deg']:+d}°", *cells)
    return made


def _with(recipe: TurnedRecipe, records: Mapping[int, dict]) -> TurnedRecipe:
    """The recipe with the calibrations that were found."""
    found = {
        turn: Calibration(**{**r["found"], "pivot_m": tuple(r["found"]["pivot_m"])})
        if "found" in r
        else None
        for turn, r in records.items()
    }
    return TurnedRecipe(
        recipe.seed, recipe.varied, recipe.models, recipe.mpc_params, recipe.device, found
    )


def _how_it_goes(journal: EpisodeLog) -> str:
    errors = [r["error_cm"] for n, r in journal.records.items() if n.startswith(f"{WITH} ")]
    return f"{WITH}: {sum(e <= 3.0 for e in errors)} of {len(errors)} within 3 cm"


def _name(key: Key) -> str:
    return f"{key[0]} {key[1]}"
