"""`./run bench planner`: energy reached against evaluations and time: reference, CMA-ES, ours.

One run plays every planner on the same pairs of start and goal, drawn from the simulation; see
`contenders` for who plans and how it is measured.
"""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
import vjepa_planner_pkg.core
import vjepa_sim.core
import vjepa_world_model
from perception_pkg.core.model_folder import write_json
from rich import box
from rich.console import Console
from rich.table import Table
from vjepa_bringup.quiet import quiet
from vjepa_planner_pkg.core.search.action_space import within
from vjepa_planner_pkg.core.search.planner import PlannerConfig
from vjepa_world_model.weights.checkpoints import SHIPPED, load_world_model

from benchmarks import cma_search, contenders, energy_curves, seeds
from benchmarks.contenders import CMA, GRADIENT_COST, OURS, REFERENCE, TIME_BUDGETS_MS
from benchmarks.journal import EpisodeLog, fingerprint, source_fingerprint
from benchmarks.progress import ProgressView, ending_plainly
from benchmarks.recipe import CELL, ReachRecipe

HORIZONS = "1,2,4"
SOURCES = (vjepa_planner_pkg.core, vjepa_sim.core, vjepa_world_model)
BARS = {"evaluations": 30.0, "wall_s": 15.0}  # times fewer than the reference
BAR_GAP = 0.01  # of the drop from start that ours may stay above the reference


def main(
    pairs: Annotated[int, typer.Option(min=1, help="of start and goal, per horizon")] = 20,
    seed: Annotated[int, typer.Option(min=0, help="another seed, other pairs")] = 70031,
    file: Annotated[Path, typer.Option("--json", help="where the figures go")] = Path(
        "out/bench/planner.json"
    ),
    plot: Annotated[
        Path | None, typer.Option(help="picture; beside the JSON file if not given")
    ] = None,
    model: Annotated[Path, typer.Option(help="world model")] = SHIPPED,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda ...")] = "auto",
    horizons: Annotated[str, typer.Option(help="actions in a plan, with commas")] = HORIZONS,
) -> None:
    """Compare our planner with the reference CEM and CMA-ES: energy, evaluations, time, budgets.

    The same command goes on where an interrupted one stopped.
    """
    console = Console()
    with ending_plainly(console, "bench planner"):
        figures = evaluate(pairs, seed, model, device, _numbers(horizons), file, console)
        plot = plot or file.with_suffix(".png")
        energy_curves.draw(figures, plot)
    console.print(energy_table(figures))
    console.print(budget_table(figures))
    console.print(seeds.said("reach", seed), highlight=False)
    console.print(f"written to {file} and {plot}", highlight=False, soft_wrap=True)


def evaluate(
    pairs: int,
    seed: int,
    model: Path,
    device: str,
    horizons: Sequence[int],
    file: Path,
    console: Console,
) -> dict:
    """Plays all pairs, or those that an interrupted run left; returns and writes the figures.

    Raises:
        ValueError: a model that cannot be used.
    """
    begun = time.monotonic()
    world_model = load_world_model(model, device)
    config = within(PlannerConfig(seed=seed), CELL)
    key = {
        "seed": seed,
        "model": world_model.name,
        "weights": fingerprint(model),
        "device": str(world_model.device),
        "threads": torch.get_num_threads(),
        "planner": asdict(config),
        "sources": [
            source_fingerprint(SOURCES),
            *(fingerprint(Path(module.__file__)) for module in (contenders, cma_search)),
        ],
    }
    journal = EpisodeLog(file.with_suffix(".pairs.jsonl"), key)
    wanted = list(itertools.product(range(pairs), horizons))
    todo = [(i, h) for i, h in wanted if _name(h, i) not in journal.records]
    if len(todo) < len(wanted):
        console.print(f"{len(wanted) - len(todo)} pairs are known from an interrupted run")
    with quiet():
        from vjepa_sim.core.environment import Environment

        environment = Environment()
    recipe = ReachRecipe(seed, False, {})
    with (
        contextlib.closing(journal),
        contextlib.closing(environment),
        ProgressView(console, "pairs", len(wanted), len(wanted) - len(todo)) as progress,
    ):
        for i, horizon in todo:
            pair = contenders.draw_pair(world_model, environment, recipe.episode_seed(i))
            settings = replace(config, horizon=horizon)
            journal.add(_name(horizon, i), contenders.play(world_model, pair, settings, seed + i))
            progress.advance(f"horizon {horizon}")
        figures = {
            "evaluation": {"bench": "planner", "pairs": pairs, **key,
                           "seconds": round(time.monotonic() - begun, 1)},
            "horizons": {
                str(h): summary([journal.records[_name(h, i)] for i in range(pairs)])
                for h in horizons
            },
        }  # fmt: skip
        figures["seed_use"] = seeds.use_of("reach", seed)
        write_json(file, figures)
        journal.remove()
    return figures


def summary(records: Sequence[dict]) -> dict:
    """The figures of one horizon over its pairs: medians, ratios, bars, and the pairs themselves.

    Energies are of the last step of a plan. `gap` is how far ours stays above the reference, as a
    share of the reference's drop from start; negative where ours is lower.
    """
    cost = {k: _median(r["gradient_cost"][k] for r in records) for k in records[0]["gradient_cost"]}

    def figures(name: str) -> dict:
        runs = [r["runs"][name] for r in records]
        return {
            "evaluations": round(
                _median(r["sequences"] + cost[GRADIENT_COST] * r["gradients"] for r in runs), 1
            ),
            "sequences": _median(r["sequences"] for r in runs),
            "gradients": _median(r["gradients"] for r in runs),
            "wall_s": round(_median(r["wall_s"] for r in runs), 5),
            "energy_start": round(_median(r["energy_start"] for r in runs), 6),
            "energy_final": round(_median(r["energy_final"] for r in runs), 6),
        }

    methods = {name: figures(name) for name in records[0]["runs"]}
    reference, ours = methods.pop(REFERENCE), methods.pop(OURS)
    searches = {name: methods.pop(name) for name in list(methods) if name.startswith(CMA)}
    ratios = {k: round(reference[k] / ours[k], 2) for k in BARS}
    gaps = [_gap(r["runs"][REFERENCE], r["runs"][OURS]) for r in records]
    ratios["gap"] = round(_gap(reference, ours), 5)
    ratios["gap_per_pair_median"] = round(_median(gaps), 5)
    ratios["pairs_within_gap"] = round(float(np.mean([gap <= BAR_GAP for gap in gaps])), 3)
    budgets = {f"{ms:g}": _held([r["time_budgets"][f"{ms:g}"] for r in records])
               for ms in TIME_BUDGETS_MS}  # fmt: skip
    return {
        "reference": reference,
        "ours": ours,
        "reference_at_smaller_budgets": methods,
        "cma": searches,
        "ratios": ratios,
        "gradient_cost": {k: round(v, 3) for k, v in cost.items()},
        "counted_gradient_cost": round(cost[GRADIENT_COST], 3),
        "time_budgets_ms": budgets,
        "bars_met": {
            "energy": ratios["gap"] <= BAR_GAP,
            **{k: ratios[k] >= bar for k, bar in BARS.items()},
            "time_budget": all(b["late_calls_max"] <= 1.0 for b in budgets.values()),
        },
        "pairs": list(records),
    }


def energy_table(figures: dict) -> Table:
    """What every planner reached and what it cost, for a terminal."""
    about = figures["evaluation"]
    made = Table(
        title=f"{about['model']} on {about['device']}, {about['threads']} threads, "
        f"{about['pairs']} pairs of seed {about['seed']}, medians",
        caption="evals: model evaluations; gap: energy above the reference's, as a share of its "
        "drop from start",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    made.add_column("planner", no_wrap=True)
    for name in ("evals", "time [s]", "start", "final", "gap", "fewer", "faster"):
        made.add_column(name, justify="right", no_wrap=True)
    for horizon, f in figures["horizons"].items():
        references = {REFERENCE: f["reference"], **f["reference_at_smaller_budgets"]}
        rows = {**references, **f["cma"], OURS: f["ours"]}
        made.add_row(f"horizon {horizon}", style="bold")
        for name, row in rows.items():
            made.add_row(
                name,
                f"{row['evaluations']:.0f}",
                f"{row['wall_s']:.3f}",
                f"{row['energy_start']:.4f}",
                f"{row['energy_final']:.4f}",
                f"{100 * _gap(f['reference'], row):+.1f}%",
                *(f"{f['reference'][k] / row[k]:.1f}x" for k in BARS),
                end_section=name == OURS,
            )
        met = ", ".join(f"{k} {'met' if ok else 'NOT met'}" for k, ok in f["bars_met"].items())
        made.caption += f"\nhorizon {horizon}: {met}"
    return made


def budget_table(figures: dict) -> Table:
    """How ours holds a time budget, for a terminal."""
    made = Table(
        title="ours under a time budget",
        caption="late: behind the budget, at worst, and as a share of the longest call of the "
        "model in that plan",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    for name in (
        "horizon",
        "budget [ms]",
        "time [ms]",
        "late [ms]",
        "late [calls]",
        "final",
        "gap",
    ):
        made.add_column(name, justify="right")
    for horizon, f in figures["horizons"].items():
        for budget_ms, row in f["time_budgets_ms"].items():
            made.add_row(
                horizon,
                budget_ms,
                f"{1e3 * row['wall_s']:.0f}",
                f"{row['late_ms_max']:.0f}",
                f"{row['late_calls_max']:.2f}",
                f"{row['energy_final']:.4f}",
                f"{100 * _gap(f['reference'], row):+.1f} %",
                end_section=budget_ms == list(f["time_budgets_ms"])[-1],
            )
    return made


def _held(runs: Sequence[dict]) -> dict:
    return {
        "wall_s": round(_median(r["wall_s"] for r in runs), 5),
        "energy_start": round(_median(r["energy_start"] for r in runs), 6),
        "energy_final": round(_median(r["energy_final"] for r in runs), 6),
        "late_ms_max": max(r["late_ms"] for r in runs),
        "late_calls_max": round(max(r["late_ms"] / r["longest_call_ms"] for r in runs), 3),
    }


def _gap(reference: dict, other: dict) -> float:
    drop = reference["energy_start"] - reference["energy_final"]
    return (other["energy_final"] - reference["energy_final"]) / max(drop, 1e-9)


def _median(values) -> float:
    return float(np.median(list(values)))


def _name(horizon: int, index: int) -> str:
    return f"horizon {horizon} pair {index}"


def _numbers(text: str) -> list[int]:
    numbers = [int(n) for n in text.split(",") if n.strip().isdecimal() and int(n) > 0]
    if not numbers or len(numbers) != len(text.split(",")):
        raise ValueError(f"--horizons {text!r} are not whole numbers above 0 like {HORIZONS}")
    return list(dict.fromkeys(numbers))
