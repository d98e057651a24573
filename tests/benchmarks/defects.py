"""`./run bench defects`: a U-Net trained and measured on pictures with masks."""

from __future__ import annotations

import hashlib
import json as json_format
import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import numpy as np
import perception_pkg.core
import torch
import typer
from perception_pkg.core.defects import config as defect_config
from perception_pkg.core.defects import data as defect_data
from perception_pkg.core.defects import training as defect_training
from perception_pkg.core.defects import unet
from perception_pkg.core.defects.config import DefectConfig
from perception_pkg.core.defects.data import DefectDataError, Sample, folds, kinds_of, read_folder
from perception_pkg.core.defects.finder import label
from perception_pkg.core.defects.metrics import DefectScores
from perception_pkg.core.model_folder import write_json
from rich.console import Console
from rich.table import Table
from scipy.special import expit, logit
from vjepa_world_model.training.loop import RunError

from benchmarks.journal import EpisodeLog, fingerprint, source_fingerprint

CPU = torch.device("cpu")
WORK = Path("out/bench/defects")
LARGER = 1.5  # times the usual area
CERTAIN_PX = 10  # about as many as the smallest defects of the magnetic tiles have
EVEN_SO = 1e-6  # the least chance that something is otherwise than the network is sure of
TRAINING = (defect_config, defect_data, defect_training, unet)  # the code that decides it


def main(
    path: Annotated[Path, typer.Argument(help="folder with a subfolder per kind, and `free`")],
    test: Annotated[
        Path | None, typer.Option(help="train on PATH, measure on this folder of the same layout")
    ] = None,
    json: Annotated[Path | None, typer.Option(help="write the figures to this file")] = None,
    count: Annotated[int, typer.Option("--folds", min=2, help="parts of a cross-validation")] = 5,
    iterations: Annotated[int, typer.Option(min=1, help="of each training")] = (
        defect_training.DefectRecipe.iterations
    ),
    pretrained: Annotated[bool, typer.Option(help="ImageNet weights in the encoder")] = True,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    threads: Annotated[int, typer.Option(min=0, help="CPU threads; 0: all cores")] = 0,
    out: Annotated[Path, typer.Option(help="folder of unfinished work")] = WORK,
) -> None:
    """Cross-validate on PATH; interrupted, the same command goes on where it stopped.

    Trainings are kept: when only the way of measuring changes, no network is trained again.
    """
    console = Console()
    torch.set_num_threads(threads or os.cpu_count() or 1)
    recipe = defect_training.DefectRecipe(iterations=iterations, pretrained=pretrained, seed=seed)
    try:
        samples = read_folder(path)
        kinds = kinds_of(samples)
        rounds = _rounds(samples, kinds, test, count, seed)
        what = {"recipe": asdict(recipe), "data": fingerprint(path), "folds": count}
        what["test"] = fingerprint(test) if test else None
        work = _trainings(out, what | {"source": source_fingerprint(TRAINING)})
        what["source"] = source_fingerprint([perception_pkg.core])
        journal = EpisodeLog(out / "journal.jsonl", what)
        for name, (training, measured) in rounds.items():
            if name in journal.records:
                console.print(f"{name}: already measured")
                continue
            began = time.monotonic()
            folder = work / name
            model = defect_training.train(training, kinds, folder, recipe, CPU, name)
            rows = measure(model, measured, kinds, recipe.area_px)
            journal.add(name, {"rows": rows, "seconds": time.monotonic() - began})
            console.print(_line(name, kinds, rows), highlight=False)
    except (DefectDataError, RunError) as error:
        console.print(f"[red]bench defects:[/red] {error}", highlight=False, soft_wrap=True)
        raise typer.Exit(1) from None
    result = _summary(kinds, [row for r in journal.records.values() for row in r["rows"]])
    result |= {
        "folds": {n: _summary(kinds, r["rows"])["mean_iou"] for n, r in journal.records.items()},
        "seconds": {name: record["seconds"] for name, record in journal.records.items()},
        "recipe": asdict(recipe),
        "trained_on": str(path),
        "measured_on": str(test or path),
    }
    show(console, result)
    if json is not None:
        write_json(json, result)
    journal.remove()


def measure(
    model: torch.nn.Module, samples: Sequence[Sample], kinds: Sequence[str], area_px: int
) -> list[dict]:
    """Rows of `DefectScores` for these pictures; see `look`."""
    scores, config = DefectScores(kinds), DefectConfig(tuple(kinds))
    for sample in samples:
        maps, score = look(model, sample.image, area_px)
        scores.add(sample.kind, sample.mask, label(maps, config.threshold, config.peak), score)
    return scores.rows


def look(model: torch.nn.Module, image: np.ndarray, area_px: int) -> tuple[np.ndarray, float]:
    """A picture, seen with its mirror images at the usual size and, for spots of a few pixels,
    larger.

    Returns:
        float32 [1 + kinds, H, W], the mean of the probabilities at both sizes; and a score of any
        defect, 0..1: the mean of the log-odds that the network gives the whole picture, at the size
        it was trained for, and of its CERTAIN_PX most certain pixels at the larger one.
    """
    usual, larger = (
        defect_training.predict(model, image, round(area_px * size), CPU, flips=True)
        for size in (1.0, LARGER)
    )
    any_defect = larger[0][1:].sum(0, dtype=np.float64)
    certain = np.partition(any_defect.ravel(), -CERTAIN_PX)[-CERTAIN_PX:].mean()
    odds = logit(np.clip([usual[1], certain], EVEN_SO, 1.0 - EVEN_SO))
    return (usual[0] + larger[0]) / 2, float(expit(odds.mean()))


def show(console: Console, result: dict) -> None:
    """Prints the figures as a table."""
    table = Table(title=f"measured on {result['measured_on']}", title_justify="left")
    for heading in ("kind", "pictures", "IoU", "IoU, kind right", "AUROC"):
        table.add_column(heading, justify="left" if heading == "kind" else "right")
    for name, kind in result["kinds"].items():
        cells = (kind["iou"], kind["named_iou"], kind["auroc"])
        table.add_row(name, str(kind["pictures"]), *(_figure(cell) for cell in cells))
    whole = (result["mean_iou"], result["mean_named_iou"], result["auroc"])
    total = sum(kind["pictures"] for kind in result["kinds"].values())
    table.add_row(
        "all", f"{total} + {result['free_pictures']} free", *(_figure(cell) for cell in whole)
    )
    console.print(table)
    bare = sum(kind["not_marked"] for kind in result["kinds"].values())
    if bare:
        console.print(
            f"{bare} of them mark no defect in their mask: they count for AUROC alone",
            highlight=False,
        )


def _trainings(out: Path, what: dict) -> Path:
    """Folder of the trainings of this recipe, data and code. Those of others are removed: they
    would not be comparable."""
    digest = hashlib.sha256(json_format.dumps(what, sort_keys=True).encode()).hexdigest()[:12]
    work = out / f"trained_{digest}"
    for other in set(out.glob("trained_*")) - {work}:
        shutil.rmtree(other)
    return work


def _rounds(
    samples: list[Sample], kinds: Sequence[str], test: Path | None, count: int, seed: int
) -> dict[str, tuple[list[Sample], list[Sample]]]:
    """Training and measuring part of each round, by its name."""
    if test is not None:
        return {"test": (samples, read_folder(test, kinds))}
    parts = folds(samples, count, seed)
    return {
        f"fold_{number}": (
            [samples[i] for other in parts if other is not part for i in other],
            [samples[i] for i in part],
        )
        for number, part in enumerate(parts, 1)
    }


def _summary(kinds: Sequence[str], rows: list[dict]) -> dict:
    scores = DefectScores(kinds)
    scores.rows = rows
    return scores.summary()


def _line(name: str, kinds: Sequence[str], rows: list[dict]) -> str:
    figures = _summary(kinds, rows)
    each = ", ".join(f"{kind} {_figure(v['iou'])}" for kind, v in figures["kinds"].items())
    return f"{name}: IoU {_figure(figures['mean_iou'])} ({each}), AUROC {_figure(figures['auroc'])}"


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
