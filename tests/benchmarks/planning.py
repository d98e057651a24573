"""`./run bench planning`: how long one action takes, on all cores and on one."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from rich.console import Console
from rich.table import Table
from vjepa_bringup.quiet import quiet
from vjepa_planner_pkg.core.goals.terms import GoalTerms
from vjepa_planner_pkg.core.mpc.io import Latent, RequestPlan
from vjepa_planner_pkg.core.mpc.planning import Planning
from vjepa_planner_pkg.core.search.action_space import within
from vjepa_planner_pkg.core.search.planner import PlannerConfig
from vjepa_planner_pkg.core.search.scorer import DirectScorer
from vjepa_world_model.model.world_model import WorldModel
from vjepa_world_model.weights.checkpoints import SHIPPED, CheckpointError, load_world_model

from benchmarks.recipe import CELL


def main(
    scenes: Annotated[int, typer.Option(min=1, help="plans per line of the table")] = 20,
    model: Annotated[Path, typer.Option(help="world model")] = SHIPPED,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda ...")] = "auto",
    time_budget_ms: Annotated[
        float | None, typer.Option(min=0.0, help="0: no limit; the planner's default if not given")
    ] = None,
) -> None:
    """Time encoding a picture and planning one action from it."""
    console = Console()
    try:
        world_model = load_world_model(model, device)
    except CheckpointError as error:
        console.print(f"[red]bench planning:[/red] {error}", highlight=False, soft_wrap=True)
        raise typer.Exit(1) from None
    config = within(PlannerConfig(), CELL)
    if time_budget_ms is not None:
        config.time_budget_ms = time_budget_ms
    cores = os.cpu_count() or 1
    table = Table(
        title=f"one action of {world_model.name} on {world_model.device}, {cores} cores",
        caption=f"time budget of the planner {config.time_budget_ms:g} ms (0: none)",
    )
    table.add_column("threads", justify="right")
    for name in ("encode [s]", "plan [s]", "both [s]", "both p95 [s]", "sequences", "cut"):
        table.add_column(name, justify="right")
    for threads in sorted({1, cores}, reverse=True):
        torch.set_num_threads(threads)
        table.add_row(str(threads), *_row(measure(world_model, config, scenes)))
    console.print(table)


def measure(model: WorldModel, config: PlannerConfig, scenes: int) -> np.ndarray:
    """Plans from the starts of `scenes` reach tasks.

    Returns:
        float64 [scenes, 4]: encoding [s], planning [s], sequences scored, whether it was cut short.
    """
    with quiet():
        from vjepa_sim.core.environment import Environment

        environment = Environment()
    planning, rows = Planning(config), []
    for seed in range(-1, scenes):  # the first one warms up and is not counted
        seen = environment.reset(max(seed, 0))
        goal = model.encode(environment.goal_image[None])[0]
        begun = time.perf_counter()
        features = model.encode(seen.image[None])[0]
        features.cpu()  # waits for the device
        encoded = time.perf_counter()
        state = torch.from_numpy(seen.state.astype(np.float32))
        here, there = (Latent(0, f.cpu().numpy()) for f in (features, goal))
        wanted = GoalTerms.of(there)
        request = RequestPlan(0, here, wanted, seen.state, None, seed=max(seed, 0))
        planning.answer(request, DirectScorer(model, features, goal, state))
        last = planning.last
        rows.append(
            (encoded - begun, time.perf_counter() - encoded, last.evaluations,
             last.ended_by == "budget")
        )  # fmt: skip
    environment.close()
    return np.array(rows[1:], dtype=float)


def _row(figures: np.ndarray) -> list[str]:
    encode_s, plan_s, sequences, cut = figures.T
    both_s = encode_s + plan_s
    return [
        *(f"{np.median(s):.3f}" for s in (encode_s, plan_s, both_s)),
        f"{np.percentile(both_s, 95):.3f}",
        f"{np.median(sequences):.0f}",
        f"{100 * np.mean(cut):.0f} %",
    ]
