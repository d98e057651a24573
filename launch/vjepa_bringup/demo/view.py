"""The demo in the terminal: live where there is one, else a line for whatever happens."""

from __future__ import annotations

from typing import Self

import numpy as np
from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text
from robot_cell import POSITION
from vjepa_interfaces.msg import PlannerStatus

from vjepa_bringup.demo.recording import DemoLook, DemoRecording

ROWS = 12  # newest looks that stay in view
_COLOURS = {"reached": "green", "stuck": "red", "timed_out": "red", "stopped": "red"}


class View:
    """Use it as a context; tell it what happens."""

    def __init__(self, console: Console, recording: DemoRecording):
        self._console, self._recording = console, recording
        self._note = ""
        self._status = PlannerStatus(state_name="idle")
        self._live = Live(console=console, auto_refresh=False) if console.is_terminal else None

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._live is not None:
            self._live.stop()

    def note(self, text: str) -> None:
        """What goes on beside the run: nodes start, pictures are made."""
        self._note = text
        if self._live is None:
            self._console.print(text, highlight=False, soft_wrap=True)
        self.refresh()

    def status(self, status: PlannerStatus, look: DemoLook | None) -> None:
        """The planner changed its state; `look` is new if there is one."""
        self._status = status
        if self._live is None and look is not None:
            self._console.print(self._line(look, status), highlight=False, soft_wrap=True)
        self.refresh()

    def refresh(self, state: np.ndarray | None = None) -> None:
        """Draws anew; `state` [7] of the arm, for the distance."""
        if self._live is not None:
            self._live.update(self._picture(state), refresh=True)

    def _line(self, look: DemoLook, status: PlannerStatus) -> str:
        what = f"action {look.step + 1}" if look.action is not None else "no more action"
        line = (
            f"goal {look.goal + 1}/{len(self._recording.goals)}  {what:14s}  "
            f"energy {look.energy:.4f}  distance {100 * self._recording.distance_m(look):5.1f} cm  "
            f"planned in {look.planning_s:.2f} s"
        )
        return f"{line}  {status.state_name}: {status.reason}"

    def _picture(self, state: np.ndarray | None) -> Panel:
        status, recording = self._status, self._recording
        goals = recording.goals
        looks = Table(box=None, pad_edge=False)
        for name in ("goal", "action", "energy", "predicted", "distance", "planned in"):
            looks.add_column(name, justify="right", header_style="dim")
        for look in recording.looks[-ROWS:]:
            acted = look.action is not None
            looks.add_row(
                f"{look.goal + 1}",
                f"{look.step + 1}" if acted else "-",
                f"{look.energy:.4f}",
                f"{look.predicted_energy:.4f}" if acted else "",
                f"{100 * recording.distance_m(look):.1f} cm",
                f"{look.planning_s:.2f} s",
                style="" if acted else "green",
            )
        parts: list = []
        if goals:
            bar = Table.grid(padding=(0, 2))
            bar.add_row(
                f"goal {min(status.goal_index + 1, len(goals))} of {len(goals)}",
                ProgressBar(total=len(goals), completed=self._goals_done(), width=24),
                self._distance(state),
            )
            parts += [bar, Text("")]
        name = status.state_name
        style = f"bold {_COLOURS.get(name, 'cyan')}"
        parts += [Text.assemble((name, style), f"  {status.reason}"), Text(""), looks]
        return Panel(Group(*parts), title="V-JEPA 2 reaches goal pictures", subtitle=self._note)

    def _goals_done(self) -> int:
        if self._status.state == PlannerStatus.REACHED:
            return len(self._recording.goals)
        return self._status.goal_index

    def _distance(self, state: np.ndarray | None) -> str:
        goals = self._recording.goals
        if state is None or self._status.goal_index >= len(goals):
            return ""
        way = state[POSITION] - goals[self._status.goal_index].state[POSITION]
        return f"the arm is {100 * np.linalg.norm(way):.1f} cm away"
