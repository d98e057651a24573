"""`./run station`: the simulated assembly station, working right or wrong on command.

`record` films it and writes what docs/reference/station.md describes. Interrupt it at any time; the
same command goes on where it stopped. `fault` asks the one that runs live for a fault.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn
from vjepa_sim.core.station.camera import FPS
from vjepa_sim.core.station.faults import (
    FAULTY_SHARE,
    KINDS,
    FaultError,
    check_kinds,
    plan_cycle,
)

from vjepa_bringup.interrupts import held_interrupts
from vjepa_bringup.quiet import quiet

if TYPE_CHECKING:
    from vjepa_sim.core.station.station import Station

app = typer.Typer(help=__doc__, add_completion=False, no_args_is_help=True)


@app.callback()
def _station_commands() -> None:
    """The simulated assembly station."""


@app.command()
def record(
    out: Path = typer.Argument(..., help="folder to write; an interrupted recording goes on"),
    cycles: int = typer.Option(20, min=1, help="how many cycles it shall hold"),
    seed: int = typer.Option(0, min=0, help="the same seed gives the same pixels"),
    first: int = typer.Option(
        0, min=0, help="number of the first cycle; light and pace of a number are always the same"
    ),
    clean: bool = typer.Option(False, "--clean", help="only correct cycles"),
    faults: str = typer.Option(
        "", help=f"only faulty cycles, of these kinds in turn, of: {','.join(KINDS)}"
    ),
    restock: float = typer.Option(
        0.0,
        min=0.0,
        max=1.0,
        help="share of the cycles before which the hand puts a part into a bin or takes one out",
    ),
    fps: float = typer.Option(FPS, min=1.0, max=30.0, help="frames per second"),
    workers: int = typer.Option(2, min=1, help="worker processes"),
) -> None:
    """Record cycles: video, boxes, masks, texts, steps, faults; half of them faulty by default."""
    with quiet():
        from vjepa_sim.core.station import recording
    try:
        station = _station(seed, clean, faults, fps, restock)
        recording.begin(out, station)
    except (FaultError, recording.FilmingError) as error:
        raise typer.BadParameter(str(error)) from error
    todo = recording.missing(out, cycles, first)
    columns = ("[bold]filming", BarColumn(), MofNCompleteColumn(), "cycles", TimeRemainingColumn())
    try:
        with (
            held_interrupts() as check,  # one that meets a callback of the pool would be lost
            Progress(*columns) as progress,
            contextlib.closing(_record(out, station, todo, workers, check)) as finished,
        ):
            bar = progress.add_task("", total=cycles, completed=cycles - len(todo))
            for _ in finished:
                progress.advance(bar)
    except KeyboardInterrupt:
        typer.echo("interrupted; the same command goes on where it stopped", err=True)
        raise typer.Exit(130) from None
    except BrokenProcessPool:
        typer.echo(
            "a worker process died, perhaps for want of memory; the same command goes on where it "
            "stopped, with --workers 1 it needs less",
            err=True,
        )
        raise typer.Exit(1) from None
    typer.echo(f"{cycles} cycles in {out}")


@app.command()
def fault(
    kind: str = typer.Argument(..., help=f"of the next cycle, one of: {', '.join(KINDS)}"),
    detail: str = typer.Option(
        "", help="what exactly: of a defect its kind, of a fault in one step the step; empty: drawn"
    ),
    namespace: str = typer.Option("", help="of the station's node"),
    wait_s: float = typer.Option(5.0, min=0.0, help="how long to wait for the station [s]"),
) -> None:
    """Have the station that runs (./run up station.launch.xml) make a fault in its next cycle."""
    from vjepa_bringup.commands.station_fault import (  # ROS is not needed to record
        StationError,
        ask,
    )

    try:
        plan_cycle(np.random.default_rng(0), kind, "qr", detail)
    except FaultError as error:
        raise typer.BadParameter(str(error)) from error
    try:
        ask(kind, detail, namespace, wait_s)
    except StationError as error:
        typer.echo(f"station fault: {error}", err=True)
        raise typer.Exit(1) from None
    typer.echo(f"the next cycle of the station has the fault {' '.join([kind, detail]).strip()}")


def _station(seed: int, clean: bool, faults: str, fps: float, restock: float) -> Station:
    from vjepa_sim.core.station.station import Station

    if clean and faults:
        raise FaultError("--clean and --faults exclude each other; give one of them")
    kinds = check_kinds([kind.strip() for kind in faults.split(",")]) if faults else KINDS
    faulty_share = 0.0 if clean else 1.0 if faults else FAULTY_SHARE
    return Station(seed, kinds, faulty_share, fps, restock)


def _record(
    out: Path, station: Station, todo: list[int], workers: int, check_interrupt: Callable[[], None]
) -> Iterator[int]:
    """The index of each cycle of `todo` as soon as it is recorded.

    Closing the iterator (an interrupt does) drops what was not begun and waits for the rest.
    """
    if not todo:
        return
    pool = ProcessPoolExecutor(min(workers, len(todo)), get_context("spawn"), _prepare)
    try:
        running = {pool.submit(_record_cycle, out, station, index): index for index in todo}
        pending = set(running)
        while pending:
            finished, pending = wait(pending, timeout=0.2, return_when=FIRST_COMPLETED)
            check_interrupt()
            for future in finished:
                future.result()
                yield running[future]
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _prepare() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends the pool
    with quiet():
        import vjepa_sim.core.station.recording  # noqa: F401 (here, because PyBullet prints)


def _record_cycle(out: Path, station: Station, index: int) -> None:
    from vjepa_sim.core.station.recording import record_cycle

    with quiet():
        record_cycle(out, station, index)


def main() -> None:
    app()


if __name__ == "__main__":
    main()
