"""`./run bench order FILE`: the decision layer alone, on step sequences of real recordings.

As PREGO (Flaborea et al., CVPR 2024; its `get_metrics`) defines it: a recording ends with its
first mistake. So the last step of a sequence is the mistake, and every step before it is correct.
A flag on the last step is a true positive, one before it a false positive; counts are taken over
all recordings. The order is learnt from the truth of the other recordings without their last
step; what is judged is what the recogniser saw.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from perception_pkg.core.model_folder import write_json
from rich.console import Console
from rich.table import Table

from benchmarks.learned_order import LearnedOrder
from benchmarks.progress import ProgressView


@dataclass(frozen=True)
class OrderRecording:
    """What the recogniser saw and what was done; the last step of each is the mistake."""

    seen: list[int | str]
    done: list[int | str]


@dataclass(frozen=True)
class Scores:
    """Mistakes as the positive class; a figure that is 0/0 is 0."""

    f1: float
    precision: float
    recall: float
    mcc: float
    tp: int
    fp: int
    fn: int
    tn: int


class SequenceError(ValueError):
    """A file of step sequences that cannot be used."""


def main(
    file: Annotated[Path, typer.Argument(help="JSON: recording -> {pred: [...], gt: [...]}")],
    out: Annotated[Path, typer.Option("--json", help="where the figures go")] = Path(
        "out/bench/order.json"
    ),
    accepted: Annotated[
        float, typer.Option(min=0.001, max=0.999, help="share of correct steps that may be flagged")
    ] = 0.1,
) -> None:
    """Judge the order of recognised steps, learnt from the other recordings."""
    console = Console()
    try:
        recordings = read(file)
    except (SequenceError, OSError) as error:
        console.print(f"[red]bench order:[/red] {error}", highlight=False, soft_wrap=True)
        raise typer.Exit(1) from None
    with ProgressView(console, "judging", len(recordings)) as progress:
        figures = measure(recordings, accepted, progress)
    figures["file"] = file.name
    write_json(out, figures)
    console.print(_table(figures))
    console.print(f"figures: {out}", highlight=False)


def read(file: Path) -> dict[str, OrderRecording]:
    """The recordings of a file.

    Raises:
        SequenceError: what is wrong with its contents.
        OSError: it cannot be read.
    """
    try:
        content = json.loads(file.read_text())
    except ValueError as error:
        raise SequenceError(f"{file} is not JSON: {error}") from None
    if not isinstance(content, dict) or len(content) < 3:
        raise SequenceError(f"{file} must hold an object of at least 3 recordings")
    recordings = {}
    for name, entry in content.items():
        lists = [entry.get(key) for key in ("pred", "gt")] if isinstance(entry, dict) else [None]
        for key, steps in zip(("pred", "gt"), lists):
            if not isinstance(steps, list) or any(type(s) not in (int, str) for s in steps):
                raise SequenceError(f"recording {name}: {key!r} must be a list of step labels")
        if not lists[1]:
            raise SequenceError(f"recording {name}: 'gt' is empty; its last step is the mistake")
        recordings[name] = OrderRecording(*lists)
    return recordings


def measure(
    recordings: dict[str, OrderRecording], accepted: float, progress: ProgressView | None = None
) -> dict[str, Any]:
    """Figures of the learned order (at the top), of its verdict on the truth, and of no verdict."""
    flags: dict[str, list[bool]] = {}
    on_truth: list[list[bool]] = []
    for name, recording in recordings.items():
        others = [other.done[:-1] for key, other in recordings.items() if key != name]
        order = LearnedOrder(others, accepted)
        flags[name] = [judgement.wrong for judgement in order.judge_all(recording.seen)]
        on_truth.append([judgement.wrong for judgement in order.judge_all(recording.done)])
        if progress is not None:
            progress.advance()
    everything = [[True] * len(recording.seen) for recording in recordings.values()]
    nothing = [[False] * len(recording.seen) for recording in recordings.values()]
    return {
        **asdict(score(flags.values())),
        "flag_everything": asdict(score(everything)),
        "flag_nothing": asdict(score(nothing)),
        "perfect_recogniser": asdict(score(on_truth)),
        "recordings": len(recordings),
        "accepted": accepted,
        "flags": flags,
    }


def score(flags: Iterable[Sequence[bool]]) -> Scores:
    """Counts over all recordings; one of which nothing was recognised is a missed mistake."""
    tp = fp = fn = tn = 0
    for recording in flags:
        *correct, mistake = recording or [False]
        tp, fn = tp + mistake, fn + (not mistake)
        fp, tn = fp + sum(correct), tn + len(correct) - sum(correct)
    precision = tp / (tp + fp) if tp + fp else 0.0
    recall = tp / (tp + fn) if tp + fn else 0.0
    f1 = 2.0 * precision * recall / (precision + recall) if precision + recall else 0.0
    spread = math.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
    mcc = (tp * tn - fp * fn) / spread if spread else 0.0
    return Scores(f1, precision, recall, mcc, tp, fp, fn, tn)


def _table(figures: dict[str, Any]) -> Table:
    table = Table(
        title=f"mistakes in {figures['recordings']} recordings of {figures['file']}",
        caption=f"accepted share of flags on correct steps: {figures['accepted']:g}",
    )
    table.add_column("")
    for name in ("F1", "precision", "recall", "MCC", "tp", "fp", "fn", "tn"):
        table.add_column(name, justify="right")
    rows = {
        "learned order": figures,
        "flag everything": figures["flag_everything"],
        "flag nothing": figures["flag_nothing"],
        "learned order, perfect recogniser": figures["perfect_recogniser"],
    }
    for title, row in rows.items():
        rates = [f"{row[key]:.3f}" for key in ("f1", "precision", "recall", "mcc")]
        table.add_row(title, *rates, *(str(row[key]) for key in ("tp", "fp", "fn", "tn")))
    return table
