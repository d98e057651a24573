"""`./run bench model`: how fast a world model encodes, imagines and plans, and how fast it could.

Beside our predictor runs a straightforward implementation of the published one (`plain_model`), on
the same weights; that both give the same numbers is checked first.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from perception_pkg.core.model_folder import write_json
from rich.console import Console
from vjepa_bringup.quiet import quiet
from vjepa_planner_pkg.core.search.action_space import within
from vjepa_planner_pkg.core.search.planner import PlannerConfig, make_planner
from vjepa_planner_pkg.core.search.scorer import DirectScorer
from vjepa_world_model.model.world_model import WorldModel
from vjepa_world_model.runtime import memory
from vjepa_world_model.weights.checkpoints import (
    COMPILE,
    DTYPES,
    CheckpointError,
    build_world_model,
    choose_device,
    open_model,
)
from vjepa_world_model.weights.published import ENCODERS, make_random_model, random_model

from benchmarks import model_table
from benchmarks.model_figures import Figures, PlanTime, Rollouts
from benchmarks.model_work import (
    encoding_flops,
    imagining_flops,
    peak_flops,
    plain_flops,
    timed,
)
from benchmarks.plain_model import PlainModel
from benchmarks.recipe import CELL

SIZES = ("sim", *ENCODERS)
HORIZONS = (1, 2, 4)
REFERENCE = (800, 10)  # samples and iterations of the published planner
_PEAK_S = 2.0
_EFFICIENCY = 0.6  # of the peak, expected of a plain rollout when repetitions are chosen
# Largest difference in features and energies: float32 adds in another order, bfloat16 rounds.
TOLERANCES = {torch.float32: 1e-4, torch.bfloat16: 0.1}
_COMPARED = 3  # sequences, each of two actions


def main(
    size: Annotated[
        str, typer.Option(help=f"{', '.join(SIZES)}; sim is the shipped model")
    ] = "sim",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda ...")] = "auto",
    dtype: Annotated[
        str, typer.Option(help="fp32, bf16 or auto: bf16 of published sizes on a GPU, else fp32")
    ] = "auto",
    seconds: Annotated[float, typer.Option(min=0.1, help="time for each line of the table")] = 10.0,
    threads: Annotated[int, typer.Option(min=0, help="CPU threads; 0: torch's choice")] = 0,
    compiled: Annotated[
        str, typer.Option("--compile", help=f"{', '.join(COMPILE)}; auto: on a GPU")
    ] = "auto",
    memory_limit_mib: Annotated[
        int, typer.Option(min=0, help="for activations; 0: half of what is free [MiB]")
    ] = 0,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    file: Annotated[Path | None, typer.Option("--json", help="where the figures go")] = None,
) -> None:
    """Time encoding, scoring and planning, beside the published predictor written plainly.

    The exit code is 1 where the model does not fit into memory or the two differ.
    """
    console = Console()
    if threads:
        torch.set_num_threads(threads)
    try:
        model, need = prepare(
            size, device, dtype, compiled, memory_limit_mib << 20 or None, seed, console
        )
        figures = measure(model, size, seconds, seed, need, console)
    except (CheckpointError, memory.MemoryTooSmall) as error:
        console.print(f"[red]bench model:[/red] {error}", highlight=False, soft_wrap=True)
        raise typer.Exit(1) from None
    model_table.show(figures, console)
    if file is not None:
        write_json(file, figures.to_dict() | {"targets": model_table.targets(figures)})
    if not figures.difference <= figures.tolerance:
        raise typer.Exit(1)


def prepare(
    size: str,
    device: str,
    dtype: str,
    compiled: str,
    memory_limit: int | None,
    seed: int,
    console: Console,
) -> tuple[WorldModel, int]:
    """The model, and what it needs at least [bytes], said before it is loaded.

    Raises:
        CheckpointError: an unknown size, device, dtype or word for `compiled`.
        MemoryTooSmall: it does not fit.
    """
    chosen = choose_device(device)
    if size not in SIZES:
        raise CheckpointError(f"unknown size {size!r}; use {', '.join(SIZES)}")
    if dtype not in DTYPES:
        raise CheckpointError(f"unknown dtype {dtype!r}; use {', '.join(DTYPES)}")
    stored = open_model() if size == "sim" else random_model(size)
    if compiled not in COMPILE:
        raise CheckpointError(f"unknown compile {compiled!r}; use {', '.join(COMPILE)}")
    kind = DTYPES[dtype]
    if kind is None:
        gpu = chosen.type == "cuda" and size != "sim"
        kind = torch.bfloat16 if gpu else torch.float32
    # The comparison computes all frames of a sequence at once: as many tokens as so many sequences.
    need = memory.estimate(stored, kind, sequences=_COMPARED * max(HORIZONS))
    left = memory.in_words(memory.available_bytes(chosen))
    console.print(
        f"{stored.name} in {_word(kind)} needs {need}; {left} are left on {chosen}",
        highlight=False, soft_wrap=True,
    )  # fmt: skip
    memory.check_fits(need, chosen)
    options = {"memory_limit_bytes": memory_limit, "compiled": COMPILE[compiled]}
    if size == "sim":
        return build_world_model(stored, chosen, kind, **options), need.total
    return make_random_model(stored, chosen, kind, seed, **options), need.total


def measure(
    model: WorldModel,
    size: str,
    seconds: float,
    seed: int,
    needed_bytes: int,
    console: Console,
) -> Figures:
    """Everything, each line for `seconds`; says what it is at."""
    torch.manual_seed(seed)
    dtype = model.predictor.predictor_embed.weight.dtype
    frame, goal, state = _scene(seed)
    console.print("peak of matrix products", highlight=False)
    peak = peak_flops(model.device, dtype, min(seconds, _PEAK_S))
    console.print("encoding", highlight=False)
    (encoding,) = timed([lambda: model.encode(frame)], seconds, model.device)
    encode_s = float(np.median(encoding))
    features, goal = model.encode(frame)[0], model.encode(goal)[0]
    state = torch.from_numpy(state).to(model.device)
    figures = Figures(
        size=size,
        model=model.name,
        device=str(model.device),
        device_name=_device_name(model.device),
        dtype=_word(dtype),
        threads=torch.get_num_threads(),
        seed=seed,
        compiled=model.compiled,
        not_compiled=model.not_compiled,
        needed_bytes=needed_bytes,
        peak_flops=peak,
        difference=difference(model, features, goal, state, seed),
        tolerance=TOLERANCES[dtype],
        encode_s=encode_s,
        encode_peak_share=encoding_flops(model.encoder.config) / encode_s / peak,
    )
    for horizon in HORIZONS:
        for batch in planner_batches(horizon):
            console.print(f"scoring {batch} sequences at horizon {horizon}", highlight=False)
            figures.rollouts.append(
                rollouts(model, features, goal, state, horizon, batch, seconds, peak, seed)
            )
    scorer = DirectScorer(model, features, goal, state)
    console.print("planning", highlight=False)
    figures.plans.append(plan_time("fast", scorer, state, seconds, seed))
    if model.device.type == "cuda":
        figures.plans.append(plan_time("cem", scorer, state, seconds, seed))
    return figures


@torch.no_grad()
def difference(
    model: WorldModel,
    features: torch.Tensor,
    goal: torch.Tensor,
    state: torch.Tensor,
    seed: int,
) -> float:
    """The largest one between ours and the plain one, of features, poses and energies.

    In bfloat16 single features differ by roundings; there it is the mean over the features.
    """
    plain, actions = PlainModel(model.predictor), _actions(_COMPARED, 2, seed, model.device)
    ours = [*model.rollout(features[None], state[None], actions)]
    theirs = [*plain.rollout(features[None], state[None], actions)]
    stay = model.imagine_stay(features, state, 2)
    ours.append(model.score(features, goal, state, actions, stay))
    theirs.append(plain.score(features, goal, state, actions, stay))
    apart = [(a - b).abs() for a, b in zip(ours, theirs, strict=True)]
    short = model.predictor.predictor_embed.weight.dtype == torch.bfloat16
    return max(float(d.mean() if short and i == 0 else d.max()) for i, d in enumerate(apart))


def planner_batches(horizon: int) -> tuple[int, int]:
    """Sequences in the first and in the later batches of our planner."""
    sizes: list[int] = []

    def cheap(actions: torch.Tensor) -> torch.Tensor:
        sizes.append(len(actions))
        return (actions - 0.02).square().sum(-1).cumsum(1)

    config = PlannerConfig(horizon=horizon)
    make_planner(config).plan(cheap, torch.zeros(7), generator=torch.Generator().manual_seed(0))
    return sizes[0], sizes[1]


@torch.no_grad()
def rollouts(
    model: WorldModel,
    features: torch.Tensor,
    goal: torch.Tensor,
    state: torch.Tensor,
    horizon: int,
    batch: int,
    seconds: float,
    peak: float,
    seed: int,
) -> Rollouts:
    """Scoring by ours and by the plain one, in turn; fewer sequences where a batch takes longer."""
    plain, config = PlainModel(model.predictor), model.predictor.config
    work = imagining_flops(config, horizon)
    expected_s = (work + plain_flops(config, horizon)) / (_EFFICIENCY * peak)
    dtype = model.predictor.predictor_embed.weight.dtype
    room = memory.available_bytes(model.device) // 2
    fits = room // memory.imagining_bytes(config, horizon, 1, dtype)
    sequences = int(max(1, min(batch, seconds / expected_s, fits)))
    actions = _actions(sequences, horizon, seed, model.device)
    stay = model.imagine_stay(features, state, horizon)  # once per plan, for both
    ours, theirs = timed(
        [
            lambda: model.score(features, goal, state, actions, stay),
            lambda: plain.score(features, goal, state, actions, stay),
        ],
        seconds,
        model.device,
    )
    latency_s = float(np.median(ours))
    return Rollouts(
        horizon=horizon,
        batch=batch,
        sequences=sequences,
        latency_s=latency_s,
        plain_latency_s=float(np.median(theirs)),
        peak_share=sequences * work / latency_s / peak,
    )


def plan_time(
    planner: str, scorer: DirectScorer, state: torch.Tensor, seconds: float, seed: int
) -> PlanTime:
    """Whole plans of one action, none longer than `seconds` but the first one on a GPU."""
    samples, iterations = REFERENCE
    config = PlannerConfig(planner=planner, cem_samples=samples, cem_iterations=iterations)
    config = within(config, CELL)
    search, plans = make_planner(config), []

    def run(budget_s: float | None = seconds) -> None:
        generator = torch.Generator().manual_seed(seed + len(plans))
        plans.append(search.plan(scorer, state, budget_s=budget_s, generator=generator))

    if scorer.device.type == "cuda":  # whose libraries prepare themselves for every new shape
        run(budget_s=None)
    (times,) = timed([run], seconds, scorer.device)
    counted = plans[-len(times) :]
    return PlanTime(
        planner=planner,
        plans=len(times),
        seconds=float(np.median(times)),
        evaluations=float(np.median([plan.evaluations for plan in counted])),
        cut=any(plan.ended_by == "budget" for plan in counted),
    )


def _scene(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pictures [1, H, W, 3] of a start and its goal, and the state [7], from the simulation."""
    with quiet():
        from vjepa_sim.core.environment import Environment

        environment = Environment()
    seen = environment.reset(seed)
    goal = environment.goal_image
    environment.close()
    return seen.image[None], goal[None], seen.state.astype(np.float32)


def _actions(sequences: int, horizon: int, seed: int, device: torch.device) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 0.05 * torch.randn(sequences, horizon, 7, generator=generator).to(device)


def _word(dtype: torch.dtype) -> str:
    return next(name for name, kind in DTYPES.items() if kind == dtype)


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return device.type
