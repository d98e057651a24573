"""A guard, its two clocks and an arm that does what it is told, for the tests of the guard."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import robot_cell
from vjepa_planner_pkg.core.guard.config import GuardConfig
from vjepa_planner_pkg.core.guard.guard import CommandGuard
from vjepa_planner_pkg.core.guard.io import CommandInput, Decision, Now, Output, StateInput

PLANNER, STRANGER, DRIVER = b"planner", b"stranger", b"driver"
UPRIGHT = (0.0, 0.0, 0.0, 1.0)
CELL = robot_cell.load("panda_sim")
SLOW = {
    "max_linear_speed_m_s": 0.25,
    "max_angular_speed_rad_s": 1.0,
    "max_closedness_rate_1_s": 2.0,
}


def cell_file(folder: Path, **limits: float) -> str:
    """A file of the simulated Panda's cell with other `limits`, and slow unless they say more."""
    slow = {"linear_speed_m_s": 0.25, "angular_speed_rad_s": 1.0, "closedness_rate_1_s": 2.0}
    text = robot_cell.find_cell("panda_sim").read_text()
    for name, value in {**slow, **limits}.items():
        text, count = re.subn(rf"^  {name}: .*$", f"  {name}: {value}", text, flags=re.M)
        assert count == 1, name
    file = folder / "cell.yaml"
    file.write_text(text)
    return str(file)


HOME = (0.5, 0.0, 0.2)


class Rig:
    """Inputs are good ones of now, except for what a test overrides."""

    def __init__(self, **config):
        self.config = GuardConfig.of(CELL, **{**SLOW, **config})
        self.guard = CommandGuard(self.config)
        self.steady_s = 100.0
        self.ros_ns = 1_700_000_000_000_000_000
        self.position, self.quaternion = HOME, UPRIGHT

    @property
    def now(self) -> Now:
        return Now(self.steady_s, self.ros_ns)

    def wait(self, seconds: float) -> None:
        self.steady_s += seconds
        self.ros_ns += round(seconds * 1e9)

    def a_state(self, **overrides) -> StateInput:
        good = {
            "stamp_ns": self.ros_ns,
            "received_s": self.steady_s,
            "writer": DRIVER,
            "frame": "base_link",
            "child_frame": "tool0",
            "position": tuple(self.position),
            "quaternion": tuple(self.quaternion),
            "closedness": 0.0,
        }
        return StateInput(**{**good, **overrides})

    def a_command(self, **overrides) -> CommandInput:
        good = {
            "stamp_ns": self.ros_ns,
            "received_s": self.steady_s,
            "writer": PLANNER,
            "frame": "base_link",
            "position": (self.position[0] + 0.05, *self.position[1:]),
            "quaternion": UPRIGHT,
            "closedness": 0.0,
            "action": (0.05, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0),
        }
        return CommandInput(**{**good, **overrides})

    def state(self, **overrides) -> Decision:
        return self.guard.on_state(self.a_state(**overrides), self.now)

    def command(self, **overrides) -> Decision:
        return self.guard.on_command(self.a_command(**overrides), self.now)

    def tick(self) -> Output | None:
        return self.guard.tick(self.now)

    def run(self, seconds: float, states: bool = True, follow: bool = True) -> list[Output]:
        """Lets time pass at the guard's rate with fresh states; the arm goes where it is told."""
        outputs = []
        for _ in range(round(seconds * self.config.rate_hz)):
            self.wait(1.0 / self.config.rate_hz)
            output = self.tick()
            if output is not None:
                outputs.append(output)
                if follow and output.pose is not None:
                    self.position = tuple(output.pose.position)
                    self.quaternion = tuple(output.pose.quaternion)
            if states:
                self.state()
        return outputs

    def status(self):
        return self.guard.status(self.now)


def distance(output: Output, position) -> float:
    return float(np.linalg.norm(output.pose.position - np.array(position)))
