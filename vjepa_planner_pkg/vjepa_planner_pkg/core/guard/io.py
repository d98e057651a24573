"""What goes into the command guard and what comes out. Plain values: any number may be in them."""

from __future__ import annotations

import enum
from dataclasses import dataclass

import numpy as np

from vjepa_planner_pkg.core.guard.limits import Pose


@dataclass(frozen=True)
class Now:
    """One moment by two clocks: a steady one [s], and the one that stamps messages [ns]."""

    steady_s: float
    ros_ns: int


@dataclass(frozen=True)
class StateInput:
    """A measured state as it came, unchecked. `received_s` is by the steady clock."""

    stamp_ns: int
    received_s: float
    writer: bytes
    frame: str
    child_frame: str
    position: tuple[float, ...]
    quaternion: tuple[float, ...]
    closedness: float


@dataclass(frozen=True)
class CommandInput:
    """A command as it came, unchecked: absolute target, and the action it was planned from."""

    stamp_ns: int
    received_s: float
    writer: bytes
    frame: str
    position: tuple[float, ...]
    quaternion: tuple[float, ...]
    closedness: float
    action: tuple[float, ...] = ()


class Verdict(enum.Enum):
    """What became of an input."""

    ACCEPTED = "accepted"
    CLIPPED = "clipped"
    REJECTED = "rejected"


@dataclass(frozen=True)
class Decision:
    """A verdict and its reason; the reason of an accepted input is empty."""

    verdict: Verdict
    reason: str = ""


class GuardState(enum.IntEnum):
    """As in vjepa_interfaces/msg/GuardStatus."""

    READY = 0
    HOLDING = 1
    EMERGENCY_STOPPED = 2


@dataclass(frozen=True)
class Output:
    """What the arm is told now.

    pose: target of tool0 in base_link, None: none is sent and the driver keeps its own.
    closedness: 0..1, None: the gripper keeps what it was told.
    twist: float64 [6] m/s, rad/s in base_link; None unless streaming.
    hold: whether this is the safe action and not part of a move.
    stamp_ns: of the input it was computed from.
    """

    stamp_ns: int
    pose: Pose | None
    closedness: float | None
    twist: np.ndarray | None
    hold: bool
