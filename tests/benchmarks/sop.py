"""`./run bench sop`: the monitor on the simulated station, learned from clean cycles only."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from perception_pkg.commands.perceive import MODELS
from perception_pkg.core.model_folder import write_json
from rich.console import Console
from rich.table import Table
from sop_monitor_pkg.core.following.scores import CycleScores
from sop_monitor_pkg.core.following.watching import AlarmLine, StepLine, WarningLine, judge
from sop_monitor_pkg.core.normal import conformal
from sop_monitor_pkg.core.normal.learning import Example, learn, play
from sop_monitor_pkg.core.normal.model import NormalModel
from sop_monitor_pkg.core.normal.recordings import CycleRecording
from sop_monitor_pkg.core.procedure import file as procedure_file
from sop_monitor_pkg.core.procedure.examples import find_procedure
from sop_monitor_pkg.core.procedure.procedure import Procedure
from sop_monitor_pkg.core.recognition.phases import Segment
from sop_monitor_pkg.core.tracks import scene
from vjepa_world_model.weights.stored import SHIPPED

from benchmarks import seeds
from benchmarks.filming import record
from benchmarks.progress import ProgressView, ending_plainly
from benchmarks.reach import UNTRAINED
from benchmarks.sop_reading import Models, examples, forget_other_eyes, perceive, truth, unseen
from benchmarks.sop_scores import ANSWERS, AlarmSeen, Outcome, figures
from benchmarks.sop_stream import stream

WORK = Path("out/bench/sop")
LIVE = "one_after_the_other"
ORDER_ONLY = "order_only"
ORDER_KINDS = ("wrong_order", "skipped", "repeated")
LEARN, FULL_LEARN, CYCLES, FULL_CYCLES = 20, 120, 40, 200
TABLE_WIDTH = 120  # of what goes to a file: eight columns

Cycles = list[tuple[CycleRecording, Example]]


def main(
    seed: Annotated[int, typer.Option(min=0, help="of the station")] = 70001,
    json: Annotated[Path, typer.Option(help="file for the figures")] = WORK / "sop.json",
    cycles: Annotated[
        int, typer.Option(min=2, help="clean ones, and as many faulty ones")
    ] = CYCLES,
    learned: Annotated[
        int, typer.Option("--learn", min=2, help="clean cycles to learn from")
    ] = LEARN,
    full: Annotated[
        bool, typer.Option("--full", help="200 clean and 200 faulty cycles, learned from 120")
    ] = False,
    accepted: Annotated[
        float, typer.Option(min=0.001, max=0.5, help="share of clean cycles that may be flagged")
    ] = conformal.ACCEPTED,
    detector: Annotated[Path, typer.Option(help="model folder")] = MODELS / "station_detector",
    defects: Annotated[Path, typer.Option(help="model folder")] = MODELS / "station_defects",
    model: Annotated[Path, typer.Option(help="world model whose encoder is used")] = SHIPPED,
    processes: Annotated[int, typer.Option("--workers", min=1, help="worker processes")] = 2,
    out: Annotated[Path, typer.Option(help="folder of recordings and features")] = WORK,
) -> None:
    """Film cycles, learn from clean ones, follow the others; the same command goes on."""
    console = Console(width=None if sys.stdout.isatty() else TABLE_WIDTH)
    if full:
        cycles, learned = FULL_CYCLES, FULL_LEARN
    with ending_plainly(console, "bench sop"):
        procedure = procedure_file.load(find_procedure("station"))
        models = Models(detector, defects, model)
        folder = out / f"seed_{seed}"
        counts = {"learn": learned, "clean": cycles, "faulty": cycles}
        parts = film(folder, seed, counts, models, processes, console)
        results = {
            name: figures(list(outcomes))
            for name, outcomes in variants(parts, counts, procedure, model, accepted, console)
        }
    flag_all = {"clean_flagged": {"share": 1.0}, "recall_any_kind": 1.0, "auroc": 0.5}
    flag_none = {"clean_flagged": {"share": 0.0}, "recall_any_kind": 0.0, "auroc": 0.5}
    found = {
        **results["monitor"],
        "beside": {**results, "flag_everything": flag_all, "flag_nothing": flag_none},
        "seed": seed,
        "seed_use": seeds.use_of("station", seed),
        "learned_from": learned,
        "accepted": accepted,
    }
    write_json(json, found)
    show(console, found)
    console.print(seeds.said("station", seed), highlight=False)
    console.print(f"written to {json}", highlight=False, soft_wrap=True)


def film(
    folder: Path,
    seed: int,
    counts: Mapping[str, int],
    models: Models,
    workers: int,
    console: Console,
) -> dict[str, Path]:
    """Recordings of cycles to learn from, of clean and of faulty ones, each seen by the eyes.

    `counts`: how many of each. Their numbers differ, so that none shares light and pace with
    another.
    """
    plan = {
        "learn": (0, ("--clean",)),
        "clean": (10_000, ("--clean",)),
        "faulty": (20_000, ("--faults", ",".join(ANSWERS))),
    }
    parts = {}
    for name, (first, kind) in plan.items():
        console.print(f"filming {counts[name]} cycles: {name}", highlight=False)
        parts[name] = record(folder / name, seed, counts[name], *kind, first=first)
    for part in parts.values():
        forget_other_eyes(part, models)
    total = sum(counts.values())
    todo = sum(len(unseen(part, counts[name])) for name, part in parts.items())
    with ProgressView(console, "cycles seen by the eyes", total, total - todo) as view:
        for name, part in parts.items():
            perceive(part, models, counts[name], workers, view.advance)
    return parts


def variants(
    parts: dict[str, Path],
    counts: dict[str, int],
    procedure: Procedure,
    model: Path,
    accepted: float,
    console: Console,
) -> Iterator[tuple[str, Iterator[Outcome]]]:
    """The monitor, and the same without one of its parts; `counts`: cycles of each recording."""

    def read(encoder: Path) -> dict[str, Cycles]:
        found = {}
        for name, folder in parts.items():
            count = counts[name]
            with ProgressView(console, f"encoding {name}, {encoder.name}", count) as view:
                found[name] = examples(folder, procedure, encoder, count, view.advance)
        return found

    trained = read(model)
    sightings = (s for cycles in trained.values() for _, e in cycles for s in e.sightings)
    classes = sorted({part.name for sighting in sightings for part in sighting.parts or ()})
    sources = {
        "monitor": trained,
        "without_eyes": _mapped(trained, lambda e: replace(e, sightings=())),
        "random_encoder": read(UNTRAINED),
        ORDER_ONLY: _mapped(trained, lambda e: _detections_alone(e, classes)),
    }
    for name, cycles in sources.items():
        with console.status(f"learning: {name}"):
            normal = learn(procedure, [e for _, e in cycles["learn"]], name, 0, accepted)
        yield name, follow(procedure, normal, cycles, console, name)
        if name == "monitor":
            yield LIVE, follow_stream(procedure, normal, cycles, console)


def _mapped(parts: dict[str, Cycles], change: Callable[[Example], Example]) -> dict[str, Cycles]:
    return {name: [(c, change(e)) for c, e in cycles] for name, cycles in parts.items()}


def _detections_alone(example: Example, classes: Sequence[str]) -> Example:
    """The maps of the detections in place of latents, and nothing else."""
    latents = scene.at(example.times_s, example.sightings, classes, parts=())
    return replace(example, latents=latents, sightings=())


def follow(
    procedure: Procedure, normal: NormalModel, parts: dict[str, Cycles], console: Console, name: str
) -> Iterator[Outcome]:
    """Every cycle that was not learned from."""
    cycles = [*parts["clean"], *parts["faulty"]]
    with ProgressView(console, f"following: {name}", len(cycles)) as view:
        for cycle, example in cycles:
            yield outcome(procedure, normal, cycle, example, name != ORDER_ONLY)
            view.advance()


def follow_stream(
    procedure: Procedure, normal: NormalModel, parts: dict[str, Cycles], console: Console
) -> Iterator[Outcome]:
    """The same cycles one after the other, clean and faulty in turn, without being told where one
    ends and the next begins."""
    turns = zip(parts["clean"], parts["faulty"], strict=True)
    cycles = [cycle for pair in turns for cycle in pair]
    with console.status(f"following: {LIVE}"):
        followed = stream(procedure, normal, [example for _, example in cycles])
    for (cycle, _), found in zip(cycles, followed, strict=True):
        yield Outcome(
            **_truth(cycle),
            length_s=found.length_s,
            found=tuple(found.steps),
            told_s=tuple(found.told_s),
            alarms=found.alarms,
            level=float(bool(found.alarms)),
        )


def outcome(
    procedure: Procedure, normal: NormalModel, cycle: CycleRecording, example: Example, scored: bool
) -> Outcome:
    """What became of one cycle; not `scored`: mistakes of the order are all that can be told."""
    seen = list(play(procedure, normal, example))
    if not scored:
        seen = [(time_s, CycleScores(found.events)) for time_s, found in seen]
    lines = list(judge(procedure, normal, seen))
    steps = [line for line in lines if isinstance(line, StepLine)]
    end_s = float(example.times_s[-1])
    ends = [*(s.begin_s for s in steps[1:]), end_s]
    alarms = _alarms([line for line in lines if isinstance(line, AlarmLine)])
    level = max(
        (normal.scales[s.name](s.value) for _, found in seen for s in found.scores), default=0.0
    )
    if any(kind in ORDER_KINDS for alarm in alarms for kind, _ in alarm.kinds):
        level = np.inf
    return Outcome(
        **_truth(cycle),
        length_s=end_s,
        found=tuple(Segment(s.step, s.begin_s, e) for s, e in zip(steps, ends)),
        told_s=tuple(s.told_s for s in steps),
        alarms=alarms,
        level=level,
        warned_s=tuple(line.time_s for line in lines if isinstance(line, WarningLine)),
    )


def _truth(cycle: CycleRecording) -> dict:
    """Fields of an Outcome that say what was done."""
    faults = truth(cycle)["faults"]
    return {
        "fault": faults[0]["kind"] if faults else "",
        "visible_s": faults[0]["visible_s"] if faults else None,
        "begun_s": faults[0]["begin_s"] if faults else np.inf,
        "complete_s": faults[0]["end_s"] if faults else np.inf,
        "truth": tuple(cycle.segments or ()),
    }


def _alarms(lines: Sequence[AlarmLine]) -> tuple[AlarmSeen, ...]:
    """Alarms that were raised, with what they became."""
    raised: dict[int, list[AlarmLine]] = {}
    for line in lines:
        if line.change in ("raised", "reclassified"):
            raised.setdefault(line.alarm.number, []).append(line)
    return tuple(
        AlarmSeen(own[0].time_s, tuple((str(line.alarm.kind), line.time_s) for line in own))
        for own in raised.values()
    )


def show(console: Console, found: dict) -> None:
    """Prints the figures of all variants, and recall by kind."""
    rows = (
        "edit", "f1_10", "f1_25", "f1_50", "pos", "delay_s", "recall_all", "recall_any_kind",
        "latency_median_s", "latency_p95_s", "false_alarms_per_hour", "single_alarm_share", "auroc",
    )  # fmt: skip
    title = (
        f"{found['cycles']['clean']} clean and {found['cycles']['faulty']} faulty cycles of "
        f"station {found['seed']}, learned from {found['learned_from']}, "
        f"accepted {found['accepted']:.0%}"
    )
    table = Table(title=title, title_justify="left")
    table.add_column("figure", no_wrap=True)
    for name in found["beside"]:
        table.add_column(name.replace("_", " "), justify="right")
    for row in rows:
        table.add_row(row, *(_number(each.get(row)) for each in found["beside"].values()))
    shares = [each["clean_flagged"] for each in found["beside"].values()]
    table.add_row("clean_flagged", *(_share(share) for share in shares))
    for figure in ("recall", "latency_s"):
        for kind in found["recall"]:
            values = (each.get(figure, {}).get(kind) for each in found["beside"].values())
            table.add_row(f"{figure} {kind}", *(_number(value) for value in values))
    console.print(table)
    early = found["early_warning"]
    console.print(
        f"early warning: in {_number(early['warned_before'])} of the cycles with a mistake of the "
        f"order, median {_number(early['lead_s'])} s before it is complete; before the alarm in "
        f"{_number(early['warned_before_alarm'])}, by {_number(early['lead_alarm_s'])} s; in "
        f"{_number(early['clean_warned'])} of the clean cycles",
        highlight=False,
    )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _share(share: dict) -> str:
    if share.get("low") is None:
        return _number(share["share"])
    return f"{share['share']:.2f}\n{share['low']:.2f}..{share['high']:.2f}"
