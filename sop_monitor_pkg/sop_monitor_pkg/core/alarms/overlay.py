"""Draws on the camera picture what the station's screen shows: the step, and the open alarms."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np

from sop_monitor_pkg.core.alarms.kinds import Priority
from sop_monitor_pkg.core.alarms.table import Alarm, AlarmState
from sop_monitor_pkg.core.following.monitor import MonitorState
from sop_monitor_pkg.core.procedure.procedure import Procedure

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_ALARMS_SHOWN = 3
_WHITE, _GREY = (255, 255, 255), (40, 40, 40)
_RED, _YELLOW = (190, 30, 30), (150, 110, 0)
_QUIET = (AlarmState.SHELVED, AlarmState.OUT_OF_SERVICE, AlarmState.CLOSED)


def draw(
    picture: np.ndarray,
    procedure: Procedure,
    state: MonitorState,
    alarms: Iterable[tuple[Alarm, AlarmState]],
) -> np.ndarray:
    """The picture with a line for the step on top and one for each of the first alarms below.

    Args:
        picture: uint8 [H, W, 3] RGB; it is not changed.
        alarms: the most urgent first, as `AlarmBook.snapshot` gives them.

    Returns:
        uint8 [H, W, 3] RGB.
    """
    drawn = picture.copy()
    step = "no step"
    if state.step:
        title = "unknown" if state.unknown else procedure.by_name[state.step].title
        step = f"{title}, {state.step_s:.0f} s"
    _line(drawn, 0, f"{state.cycle}: {step}", _GREY)
    shown = [(alarm, known) for alarm, known in alarms if known not in _QUIET]
    for row, (alarm, _) in enumerate(shown[:_ALARMS_SHOWN], 1):
        colour = _RED if alarm.priority >= Priority.HIGH else _YELLOW
        what = str(alarm.kind).replace("_", " ")
        text = f"{what}: {alarm.reason}" if alarm.reason else what
        _line(drawn, row, text if row < _ALARMS_SHOWN else _with_rest(text, shown), colour)
    return drawn


def _with_rest(text: str, shown: list) -> str:
    left = len(shown) - _ALARMS_SHOWN
    return f"{text} (and {left} more)" if left else text


def _line(picture: np.ndarray, row: int, text: str, colour: tuple[int, int, int]) -> None:
    """A bar of full width with text; what does not fit is cut off. Row 0 is the uppermost."""
    height, width = picture.shape[:2]
    scale = max(width, 160) / 960.0
    bar = max(8, round(30 * scale))
    top = row * bar
    if top + bar > height:
        return
    picture[top : top + bar] = colour
    plain = text.encode("ascii", "replace").decode()  # the font knows no other letters
    baseline = top + bar - max(2, round(8 * scale))
    thickness = max(1, round(1.5 * scale))
    cv2.putText(picture, plain, (4, baseline), _FONT, 0.75 * scale, _WHITE, thickness, cv2.LINE_AA)
