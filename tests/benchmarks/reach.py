"""`./run eval reach`: how near a goal picture brings the arm, on episodes that no training saw.

The planner is measured in process, or with `--ros` through the launched nodes, beside the same
planner on an untrained encoder, random actions, doing nothing, and an oracle that knows the pose.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
import vjepa_planner_pkg.core
import vjepa_sim.core
import vjepa_world_model
from perception_pkg.core.model_folder import write_json
from rich.console import Console
from rich.table import Table
from vjepa_world_model.weights.checkpoints import MODELS, SHIPPED, choose_device

import benchmarks
from benchmarks import seeds, workers
from benchmarks.journal import EpisodeLog, fingerprint, source_fingerprint
from benchmarks.progress import ProgressView, ending_plainly
from benchmarks.recipe import METHODS, WITH_MODEL, Key, ReachRecipe

UNTRAINED = MODELS / "sim_panda_untrained_encoder"
EPISODES, EPISODES_THROUGH_NODES = 100, 20
SOURCES = (vjepa_planner_pkg.core, vjepa_sim.core, vjepa_world_model, benchmarks)


def main(
    episodes: Annotated[
        int | None, typer.Option(min=1, help="how many; 100, or 20 with --ros")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="another seed, other episodes")] = 70011,
    file: Annotated[Path, typer.Option("--json", help="where the figures go")] = Path(
        "out/eval/reach.json"
    ),
    varied: Annotated[
        bool, typer.Option("--varied", help="goal pictures taken under other light and colours")
    ] = False,
    ros: Annotated[
        bool, typer.Option("--ros", help="the planner alone, through the launched nodes")
    ] = False,
    methods: Annotated[str, typer.Option(help=f"some of {','.join(METHODS)}")] = "",
    model: Annotated[Path, typer.Option(help="world model of the planner")] = SHIPPED,
    untrained: Annotated[Path, typer.Option(help="world model of random_encoder")] = UNTRAINED,
    mpc_params: Annotated[
        Path | None, typer.Option(help="parameter file of the MPC node, instead of its defaults")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda ...")] = "auto",
    processes: Annotated[
        int, typer.Option("--workers", min=1, help="worker processes, without --ros")
    ] = 2,
    composed: Annotated[
        bool, typer.Option("--composed", help="with --ros: encoder and MPC in one process")
    ] = False,
) -> None:
    """Reach poses shown in goal pictures and count how often it works.

    The same command goes on where an interrupted one stopped.
    """
    console = Console()
    with ending_plainly(console, "eval reach"):
        chosen = choose_methods(methods, ros)
        recipe = ReachRecipe(
            seed,
            varied,
            {m: str(p.resolve()) for m, p in zip(WITH_MODEL, (model, untrained)) if m in chosen},
            None if mpc_params is None else str(mpc_params.resolve()),
            str(choose_device(device)),
        )
        count = episodes or (EPISODES_THROUGH_NODES if ros else EPISODES)
        figures = evaluate(recipe, chosen, count, file, console, ros, processes, composed)
    console.print(table(figures, chosen))
    console.print(seeds.said("reach", seed), highlight=False)
    console.print(f"written to {file}", highlight=False, soft_wrap=True)


def choose_methods(names: str, ros: bool) -> tuple[str, ...]:
    """The methods that a comma-separated list asks for; all that are possible if it is empty.

    Raises:
        ValueError: a name that is none, or one that nodes do not play.
    """
    possible = METHODS[:1] if ros else METHODS
    chosen = tuple(dict.fromkeys(filter(None, names.split(",")))) or possible
    for name in chosen:
        if name not in possible:
            where = "through the nodes" if ros else "here"
            raise ValueError(f"no method {name!r} {where}; choose of {', '.join(possible)}")
    return chosen


def evaluate(
    recipe: ReachRecipe,
    methods: Sequence[str],
    episodes: int,
    file: Path,
    console: Console,
    ros: bool = False,
    processes: int = 2,
    composed: bool = False,
) -> dict:
    """Plays all episodes, or those that an interrupted run left; returns and writes the figures.

    Raises:
        ValueError: settings or a model that cannot be used.
        RuntimeError: a process died.
    """
    begun = time.monotonic()
    through = ("composed nodes" if composed else "nodes") if ros else "process"
    key = {**identity(recipe), "through": through}
    journal = EpisodeLog(file.with_suffix(".episodes.jsonl"), key)
    wanted: list[Key] = [(method, i) for i in range(episodes) for method in methods]
    todo = [k for k in wanted if _name(k) not in journal.records]
    if len(todo) < len(wanted):
        console.print(f"{len(wanted) - len(todo)} episodes are known from an interrupted run")
    with (
        contextlib.closing(journal),
        contextlib.closing(_play(recipe, todo, ros, processes, composed)) as played,
        ProgressView(console, "episodes", len(wanted), len(wanted) - len(todo)) as progress,
    ):
        for k, record in played:
            journal.add(_name(k), {"index": k[1], **record})
            progress.advance(_how_it_goes(journal, methods[0]))
        about = {"task": "reach", "episodes": episodes, **key, "max_steps": key["mpc"]["max_steps"]}
        about["seconds"] = round(time.monotonic() - begun, 1)
        about["planning_s"] = _what_is_timed(ros, processes, recipe.device)
        figures = {"evaluation": about}
        for method in methods:
            figures[method] = summary([journal.records[_name(k)] for k in wanted if k[0] == method])
        figures["evaluation"]["seed_use"] = seeds.use_of("reach", recipe.seed)
        write_json(file, figures)
        journal.remove()
    return figures


def identity(recipe: ReachRecipe) -> dict:
    """All that the episodes of a recipe depend on, for a journal.

    Raises:
        ValueError: settings or a model that cannot be used.
    """
    planner, mpc = recipe.settings()
    return {
        **asdict(recipe),
        "weights": {m: fingerprint(_existing(m, Path(p))) for m, p in recipe.models.items()},
        "planner": asdict(planner),
        "mpc": asdict(mpc),
        "sources": source_fingerprint(SOURCES),
    }


def summary(records: Sequence[dict]) -> dict:
    """The figures of one method over its episodes; an error is the final distance to the goal."""
    error_cm = np.array([r["error_cm"] for r in records])
    planning_s = np.array([s for r in records for s in r["planning_s"]] or [0.0])
    outcomes = [r["outcome"] for r in records]
    return {
        "success_2cm": float(np.mean(error_cm <= 2.0)),
        "success_3cm": float(np.mean(error_cm <= 3.0)),
        "median_error_cm": round(float(np.median(error_cm)), 3),
        "mean_error_cm": round(float(np.mean(error_cm)), 3),
        "p95_error_cm": round(float(np.percentile(error_cm, 95)), 3),
        "planning_s_median": round(float(np.median(planning_s)), 5),
        "planning_s_mean": round(float(np.mean(planning_s)), 5),
        "planning_s_p95": round(float(np.percentile(planning_s, 95)), 5),
        "plans_ended_by_budget": round(sum(r["cut"] for r in records) / len(planning_s), 3),
        "steps_mean": round(float(np.mean([r["steps"] for r in records])), 2),
        "outcomes": {name: outcomes.count(name) for name in sorted(set(outcomes))},
        "episodes": list(records),
    }


def table(figures: dict, methods: Sequence[str]) -> Table:
    """The figures for a terminal."""
    about = figures["evaluation"]
    scenes = "varied" if about["varied"] else "nominal"
    made = Table(
        title=f"{about['episodes']} {scenes} episodes of seed {about['seed']}, "
        f"{about['seconds']:.0f} s",
        caption=f"planning: {about['planning_s']}",
    )
    made.add_column("method", no_wrap=True)
    for name in ("within 2 cm", "within 3 cm", "median [cm]", "p95 [cm]", "steps", "planning [s]"):
        made.add_column(name, justify="right")
    for method in methods:
        f = figures[method]
        made.add_row(
            method,
            f"{100 * f['success_2cm']:.0f} %",
            f"{100 * f['success_3cm']:.0f} %",
            f"{f['median_error_cm']:.2f}",
            f"{f['p95_error_cm']:.2f}",
            f"{f['steps_mean']:.1f}",
            f"{f['planning_s_median']:.3f}",
        )
    return made


def _play(
    recipe: ReachRecipe, todo: Sequence[Key], ros: bool, processes: int, composed: bool
) -> Iterator[tuple[Key, dict]]:
    if not todo:
        return
    if not ros:
        yield from workers.play(recipe, todo, processes)
        return
    from benchmarks import through_nodes

    yield from through_nodes.play(recipe, todo, composed)


def _what_is_timed(ros: bool, processes: int, device: str) -> str:
    if ros:
        return (
            f"one action through the nodes on {device}, {os.cpu_count()} cores: planning and "
            "scoring, without the encoding of the picture, which the encoder node does meanwhile"
        )
    return (
        f"one action on {device}: encoding the picture and planning, with {processes} workers of "
        f"{workers.threads(processes)} threads at work at once on {os.cpu_count()} cores"
    )


def _how_it_goes(journal: EpisodeLog, method: str) -> str:
    errors = [r["error_cm"] for n, r in journal.records.items() if n.startswith(f"{method} ")]
    return f"{method}: {sum(e <= 2.0 for e in errors)} of {len(errors)} within 2 cm"


def _name(key: Key) -> str:
    return f"{key[0]} {key[1]}"


def _existing(method: str, path: Path) -> Path:
    if not path.exists():
        option = "--model" if method == "planner" else "--untrained"
        raise ValueError(
            f"{method}: no world model at {path}; give one with {option}, or leave it out with "
            "--methods"
        )
    return path
