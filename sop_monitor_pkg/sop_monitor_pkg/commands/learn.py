"""`./run sop learn` and `./run sop watch`: normal work from recordings, and a video against it."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import typer
from rich.console import Console
from rich.progress import Progress
from vjepa_world_model.data.video import VideoError
from vjepa_world_model.weights.checkpoints import CheckpointError, load_world_model
from vjepa_world_model.weights.stored import SHIPPED

from sop_monitor_pkg.core.alarms.clips import write_steps
from sop_monitor_pkg.core.checks.order_watch import OrderWatch
from sop_monitor_pkg.core.following.cycle import Cycle
from sop_monitor_pkg.core.following.watching import StepLine, WarningLine
from sop_monitor_pkg.core.following.watching import watch as watch_cycle
from sop_monitor_pkg.core.normal import conformal
from sop_monitor_pkg.core.normal import model as normal
from sop_monitor_pkg.core.normal import store as cycle_store
from sop_monitor_pkg.core.normal.learning import Example, LearningError
from sop_monitor_pkg.core.normal.learning import learn as learn_normal
from sop_monitor_pkg.core.normal.model import NormalError, NormalModel
from sop_monitor_pkg.core.normal.reader import read_cycle
from sop_monitor_pkg.core.normal.recordings import CycleRecording, CycleRecordingError, find
from sop_monitor_pkg.core.normal.store import StoreError
from sop_monitor_pkg.core.procedure import file as procedure_file
from sop_monitor_pkg.core.procedure.examples import find_procedure
from sop_monitor_pkg.core.procedure.file import ProcedureError
from sop_monitor_pkg.core.procedure.procedure import Procedure
from sop_monitor_pkg.core.recognition.latents import Latents
from sop_monitor_pkg.core.tracks.sightings import SightingError

OUT = Path("out/sop/normal")
PROBLEMS = (
    CheckpointError, FileNotFoundError, LearningError, NormalError, ProcedureError,
    CycleRecordingError, SightingError, StoreError, VideoError,
)  # fmt: skip
console = Console(highlight=False, soft_wrap=True)


def learn(
    recordings: list[Path] = typer.Argument(
        help="correct cycles: folders; see docs/tutorials/sop.md"
    ),
    procedure: str = typer.Option("station", help="procedure file, or the name of an example"),
    out: Path = typer.Option(OUT, help="folder of the model; what it holds is learned again"),
    encoder: Path = typer.Option(SHIPPED, help="world model whose encoder is used"),
    device: str = typer.Option("auto", help="auto, cpu, cuda ..."),
    accepted: float = typer.Option(
        conformal.ACCEPTED, min=0.001, max=0.5, help="share of clean cycles that may raise an alarm"
    ),
) -> None:
    """Learn normal work from correct cycles; again with new ones, and all are learned from.

    Steps may be labelled in one cycle only; the others are aligned. An interrupted reading goes on.
    """
    try:
        rules = procedure_file.load(find_procedure(procedure))
        cycles = [cycle for cycle in find(recordings, rules) if cycle.clean is not False]
        if not cycles:
            raise CycleRecordingError("every cycle there has a fault; learn from correct ones")
        model = load_world_model(encoder, device, parts="encoder")
        latents = Latents(model)
        store = out / "cycles"
        _check_order(rules, cycles)
        _read(cycles, latents, store)
        examples = _stored(store, model.name, rules)
        with console.status("learning") as status:
            found = learn_normal(
                rules, examples, str(encoder), latents.pooled, accepted, status.update
            )
        found = _with_answers(found, out)
        found.save(out)
        write_steps(cycles, out)
    except PROBLEMS as error:
        _fail("learn", error)
    console.print(report(found))
    console.print(f"written to {out}; watch a video with ./run sop watch VIDEO --normal {out}")


def watch(
    video: Path = typer.Argument(help="of one cycle"),
    normal_work: Path = typer.Option(OUT, "--normal", help="folder that ./run sop learn wrote"),
    procedure: str = typer.Option("station", help="procedure file, or the name of an example"),
    eyes: Path | None = typer.Option(
        None, help="results.jsonl of ./run perceive; without, latents only"
    ),
    device: str = typer.Option("auto", help="auto, cpu, cuda ..."),
    out: Path | None = typer.Option(None, "--json", help="write the lines to this file, too"),
) -> None:
    """Follow the work in a video: steps as they begin, and alarms. Exit code 2: there were some."""
    try:
        rules = procedure_file.load(find_procedure(procedure))
        known = normal.load_for(rules, normal_work)
        model = load_world_model(known.encoder, device, parts="encoder")
        cycle = CycleRecording(video.stem, video, None, eyes)
        example = read_cycle(cycle, Latents(model, known.pooled), known.rate_hz)
    except PROBLEMS as error:
        _fail("watch", error)
    lines, alarms = [], 0
    for line in watch_cycle(rules, known, example):
        if isinstance(line, StepLine):
            title = rules.by_name[line.step].title
            console.print(f"{line.begin_s:7.1f} s  {line.step}: {title}")
        elif isinstance(line, WarningLine):
            what = f"{line.next_step} seems to come next (risk {line.risk:.2f})"
            console.print(f"[yellow]{line.time_s:7.1f} s  warning: {what}")
        else:
            alarms += line.change == "raised"
            what = f"{line.alarm.kind} in {line.alarm.step}" if line.alarm.step else line.alarm.kind
            console.print(f"[red]{line.time_s:7.1f} s  {line.change}: {what}; {line.alarm.reason}")
        lines.append({"line": type(line).__name__, **asdict(line)})
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text("".join(json.dumps(line, default=str) + "\n" for line in lines))
    console.print(f"{alarms} alarms")
    if alarms:
        raise typer.Exit(2)


def _check_order(rules: Procedure, cycles: Sequence[CycleRecording]) -> None:
    """Raises RecordingError for a cycle whose labels say that it is not a correct one."""
    for cycle in cycles:
        if cycle.segments is None:
            continue
        watch, done = OrderWatch(rules), Cycle()
        wrong = []
        for segment in cycle.segments:
            done.end(0)  # done twice in a row is done twice
            done.begin(segment.step, 0)
            wrong += watch.step_begun(done, 0)
        wrong += watch.cycle_ended(done, 0)
        if wrong:
            raise CycleRecordingError(
                f"{cycle.name} is labelled as no correct cycle ({wrong[0].kind}: "
                f"{wrong[0].reason}); correct its labels, or leave it out"
            )


def _with_answers(found: NormalModel, folder: Path) -> NormalModel:
    """With the cycles that people called clean, if the folder holds a model that knows some."""
    try:
        before = normal.load(folder)
    except NormalError:
        return found
    if not before.answered or (before.steps, before.encoder) != (found.steps, found.encoder):
        return found
    return found.taught(before.clean[-before.answered :])


def report(found: NormalModel) -> str:
    """What was learned, in words."""
    need = conformal.needed(found.accepted, found.flagged)
    answered = f", {found.answered} of them so by answers of people" if found.answered else ""
    lines = [
        f"learned from {found.cycles} clean cycles{answered}; the order looked wrong in "
        f"{sum(extremes.out_of_order for extremes in found.clean)} of them",
        f"accepted: alarms in {found.accepted:.1%} of clean cycles, which needs {need} cycles",
    ]
    if found.cycles < need:
        lines.append(
            f"{need - found.cycles} more are needed: until then more clean cycles may be flagged, "
            f"{(1 + found.flagged) / (found.cycles + 1):.1%} is what these can promise"
        )
    for index, name in found.aside:
        odd = found.clean[index]
        lines.append(
            f"set aside: {odd.name}, whose '{name}' of "
            f"{odd.maxima[normal.SCORES.index(name)]:.2f} is far beyond all others; look at its "
            "video, and leave it out if that was no normal work"
        )
    names = ", ".join(
        f"{name} {scale.score(found.threshold):.2f} (usual {scale.usual:.2f})"
        for name, scale in found.scales.items()
    )
    lines.append(f"alarms beyond {names}")
    return "\n".join(lines)


def _read(cycles: Sequence[CycleRecording], latents: Latents, store: Path) -> None:
    with Progress(console=Console(stderr=True)) as progress:
        bar = progress.add_task("reading cycles", total=len(cycles))
        for cycle in cycles:
            name = re.sub(r"[^A-Za-z0-9_-]", "_", cycle.name)
            path = store / f"{name}_{cycle.video_digest()[:8]}.npz"
            beside = cycle.beside_digest()
            if not path.is_file() or cycle_store.beside(path) != beside:
                example = read_cycle(cycle, latents)
                cycle_store.save(path, example, latents.model.name, beside)
            progress.advance(bar)


def _stored(store: Path, encoder: str, procedure: Procedure) -> list[Example]:
    """All cycles of a store; raises StoreError if another encoder made some, or one does steps
    that the procedure does not have (any more)."""
    found = []
    for path in sorted(store.glob("*.npz")):
        example, by = cycle_store.load(path)
        if by != encoder:
            raise StoreError(f"{path} was made with {by}, not {encoder}; give another --out")
        strange = {s.step for s in example.segments or ()} - set(procedure.by_name)
        if strange:
            raise StoreError(
                f"{path} does {', '.join(sorted(strange))}, which procedure {procedure.name} does "
                "not have; remove it, or give another --out"
            )
        found.append(example)
    return found


def _fail(command: str, error: Exception) -> None:
    console.print(f"[red]sop {command}:[/red] {error}")
    raise typer.Exit(1) from None
