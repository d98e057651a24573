"""`./run parity FOLDER`: every file that the reference wrote, compared with what we compute."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from rich.console import Console
from vjepa_planner_pkg.core.search.planner import CEMPlanner, PlannerConfig
from vjepa_planner_pkg.core.search.scorer import DirectScorer
from vjepa_world_model.evaluation import parity
from vjepa_world_model.evaluation.parity import TOLERANCE, Difference, ParityError
from vjepa_world_model.model.world_model import WorldModel
from vjepa_world_model.weights.checkpoints import CheckpointError

# Of the reference's CEM: what `mpc_args` calls it, and what our planner does.
_CEM = {
    "rollout": "horizon",
    "maxnorm": "max_step_m",
    "samples": "cem_samples",
    "topk": "cem_elites",
    "cem_steps": "cem_iterations",
    "momentum_mean": "cem_momentum_mean",
    "momentum_std": "cem_momentum_std",
    "momentum_mean_gripper": "cem_momentum_mean_gripper",
    "momentum_std_gripper": "cem_momentum_std_gripper",
}


@dataclass
class ParityRow:
    """One file: what was compared, or why it could not be."""

    file: str
    kind: str
    differences: list[Difference] = field(default_factory=list)
    fault: str = ""
    note: str = ""

    @property
    def largest(self) -> Difference | None:
        return max(self.differences, key=lambda d: d.value, default=None)

    @property
    def passed(self) -> bool:
        return not self.fault and bool(self.differences) and self.largest.value <= TOLERANCE


def main(
    folder: Annotated[Path, typer.Argument(help="files of the reference: .npz and .pt")],
    as_json: Annotated[bool, typer.Option("--json", help="print the rows as JSON")] = False,
) -> None:
    """Compare this implementation with what the reference wrote; exit code 1 above 1e-4."""
    console = Console()
    if not folder.is_dir():
        console.print(f"parity: {folder} is no folder; give one with .npz and .pt files")
        raise typer.Exit(1)
    rows = compare(folder)
    if not rows:
        console.print(
            f"parity: {folder} holds no .npz and no .pt file: there is nothing to compare"
        )
        raise typer.Exit(1)
    if as_json:
        print(json.dumps([_plain(row) for row in rows], indent=2))
    else:
        width = max(len(row.file) for row in rows)
        for row in rows:
            console.print(_line(row, width), style=None if row.passed else "red", markup=False,
                          highlight=False, soft_wrap=True)  # fmt: skip
        skipped = sorted(p.name for p in folder.iterdir() if p.suffix not in (".npz", ".pt"))
        if skipped:
            console.print(f"not compared: {', '.join(skipped)}", highlight=False, soft_wrap=True)
    failed = [row for row in rows if not row.passed]
    if not as_json:
        passed = f"{len(rows) - len(failed)} of {len(rows)} files match to {TOLERANCE:g}"
        console.print(passed, highlight=False)
    if failed:
        raise typer.Exit(1)


def compare(folder: Path) -> list[ParityRow]:
    """One row per .npz and .pt file of `folder`, by name."""
    rows: dict[str, ParityRow] = {}
    read: dict[str, dict[str, np.ndarray]] = {}
    for path in sorted(folder.glob("*.npz")):
        row = rows[path.name] = ParityRow(path.name, "unknown")
        with _faults_of(row):
            arrays = parity.read_arrays(path)
            row.kind = parity.kind_of(arrays)
            read[path.name] = arrays
    for name, arrays in read.items():
        if rows[name].kind == "plan":
            continue
        with _faults_of(rows[name]):
            compare_one: Callable = getattr(parity, f"{rows[name].kind}_differences")
            rows[name].differences = compare_one(arrays)
    checkpoints = sorted(folder.glob("*.pt"))
    for path in checkpoints:
        rows[path.name] = ParityRow(path.name, "checkpoint")
        with _faults_of(rows[path.name]):
            parity.check_checkpoint(path)
    heads = [
        count
        for name, arrays in read.items()
        if rows[name].kind in ("encoder", "predictor") and not rows[name].fault
        for count in parity.known_heads(arrays)
    ]
    usable = [path for path in checkpoints if not rows[path.name].fault]
    for name, arrays in read.items():
        if rows[name].kind == "plan":
            _compare_plan(rows, name, arrays, usable, heads)
    encoders = [arrays for name, arrays in read.items() if rows[name].kind == "encoder"]
    for path in usable:
        _compare_weights(rows[path.name], path, encoders)
    return [rows[name] for name in sorted(rows)]


def cem_difference(arrays: dict[str, np.ndarray], model: WorldModel) -> Difference:
    """What our reference planner chooses under the plan's seed, beside what the reference chose."""
    plan = parity.ReferencePlan.of(arrays)
    missing = sorted({"mpc_args", "seed", "cem_action"} - set(arrays))
    if missing:
        raise ParityError(f"it is a plan without {', '.join(missing)}")
    arguments = json.loads(str(arrays["mpc_args"]))
    missing = sorted(set(_CEM) - set(arguments))
    if missing:
        raise ParityError(f"its mpc_args lack {', '.join(missing)}")
    config = PlannerConfig(
        planner="cem",
        gripper=True,
        **{ours: arguments[theirs] for theirs, ours in _CEM.items()},
    )
    chosen = CEMPlanner(config, config).plan(
        DirectScorer(model, plan.frame_latent, plan.goal_latent, plan.pose),
        plan.pose,
        generator=torch.Generator().manual_seed(int(arrays["seed"])),
    )
    expected = arrays["cem_action"].reshape(-1, 7)
    return Difference("cem_action", float(np.abs(chosen.actions.numpy() - expected).max()))


def _compare_plan(
    rows: dict[str, ParityRow],
    name: str,
    arrays: dict[str, np.ndarray],
    checkpoints: list[Path],
    heads: list[int],
) -> None:
    """Compares a plan with the checkpoint that fits it best; both get what was found."""
    with _faults_of(rows[name]):
        plan = parity.ReferencePlan.of(arrays)
        if not checkpoints:
            raise ParityError("there is no checkpoint (.pt) in the folder to compute it with")
        found, refused = [], []
        for path in checkpoints:
            try:
                model = parity.model_of_plan(plan, path, heads)
                found.append((parity.plan_differences(plan, model), path, model))
            except (ParityError, CheckpointError) as error:
                refused.append(f"{path.name}: {error}")
        if not found:
            raise ParityError(f"no checkpoint fits it ({'; '.join(refused)})")
        differences, path, model = min(found, key=lambda f: max(d.value for d in f[0]))
        rows[name].differences = differences
        rows[name].note = f"with {path.name}, {model.heads}"
        rows[path.name].differences += [
            Difference(f"{name}: {d.what}", d.value) for d in differences
        ]
        rows[name].differences = [*differences, cem_difference(arrays, model)]


def _compare_weights(row: ParityRow, path: Path, encoders: list[dict[str, np.ndarray]]) -> None:
    """A checkpoint that no plan was computed with may still have the weights of an encoder file."""
    with _faults_of(row):
        for arrays in encoders:
            difference = parity.same_encoder(arrays, path)
            if difference is not None:
                row.differences.append(Difference("weights of the encoder file", difference))
        if not row.differences:
            raise ParityError("neither a plan nor an encoder file of the folder belongs to it")


class _faults_of:
    """Puts what cannot be compared into the row, and goes on: a file may hold anything."""

    def __init__(self, row: ParityRow):
        self._row = row

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind, error, trace) -> bool:
        if not isinstance(error, Exception):
            return False
        known = isinstance(error, (ParityError, CheckpointError))
        reason = str(error) if known else f"{type(error).__name__}: {error}"
        self._row.fault = self._row.fault or reason
        return True


def _line(row: ParityRow, width: int) -> str:
    if row.fault:
        return f"FAIL  {row.file:<{width}}  cannot be compared: {row.fault}"
    largest = row.largest
    verdict = "ok  " if row.passed else "FAIL"
    note = f"; {row.note}" if row.note else ""
    return (
        f"{verdict}  {row.file:<{width}}  {largest.value:.1e}  {row.kind}, "
        f"{len(row.differences)} compared, largest: {largest.what}{note}"
    )


def _plain(row: ParityRow) -> dict:
    return {
        "file": row.file,
        "kind": row.kind,
        "passed": row.passed,
        "largest": row.largest.value if row.largest else None,
        "differences": {d.what: d.value for d in row.differences},
        "fault": row.fault,
        "note": row.note,
    }


if __name__ == "__main__":
    typer.run(main)
