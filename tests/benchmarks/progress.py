"""Progress of a long measurement, as a bar or as lines, and how it ends."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

LINE_EVERY_S = 10.0
INTERRUPTED = 130  # exit code, as of a program that SIGINT ended


@contextmanager
def ending_plainly(console: Console, command: str) -> Iterator[None]:
    """Prints what ends a resumable measurement, instead of a traceback, and sets the exit code."""
    try:
        yield
    except KeyboardInterrupt:
        console.print("interrupted: the same command goes on where this one stopped")
        raise typer.Exit(INTERRUPTED) from None
    except (ValueError, RuntimeError, OSError) as error:
        console.print(f"[red]{command}:[/red] {error}", highlight=False, soft_wrap=True)
        raise typer.Exit(1) from None


class ProgressView:
    """Use it as a context; call `advance` for each piece of work done."""

    def __init__(self, console: Console, title: str, total: int, done: int = 0):
        self._console, self._title, self._total = console, title, total
        self._done = self._already_done = done
        self._begun_s = time.monotonic()
        self._next_line_s = self._begun_s + LINE_EVERY_S
        self._bar: Progress | None = None
        if console.is_terminal:
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[note]}"),
                console=console,
            )
            self._task = self._bar.add_task(title, total=total, completed=done, note="")

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def advance(self, note: str = "") -> None:
        """One more is done; `note` says how it goes."""
        self._done += 1
        if self._bar is not None:
            self._bar.update(self._task, completed=self._done, note=note)
            return
        now_s = time.monotonic()
        if now_s < self._next_line_s and self._done < self._total:
            return
        self._next_line_s = now_s + LINE_EVERY_S
        rate = (self._done - self._already_done) / (now_s - self._begun_s)
        left_s = (self._total - self._done) / rate
        line = f"{self._title} {self._done}/{self._total}, about {left_s:.0f} s left"
        self._console.print(f"{line}; {note}" if note else line, highlight=False)
