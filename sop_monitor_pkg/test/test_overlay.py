"""Promises of the picture with step and alarms: the alarm is on it in its colour, and it fits."""

import numpy as np
import pytest
from sop_monitor_pkg.core.alarms.kinds import Kind, Priority
from sop_monitor_pkg.core.alarms.overlay import draw
from sop_monitor_pkg.core.alarms.table import Alarm, AlarmState
from sop_monitor_pkg.core.following.monitor import MonitorState

STATE = MonitorState(4, "rotate_part", 0.9, 3.0, 20.0, 0.4, ("pick_base",), ())


def alarm(priority, reason="A scratch, ä"):
    return Alarm(1, Kind.DEFECT, "pick_base", 4, priority, 0.9, reason, 0, 0, 0)


def test_an_alarm_is_on_the_picture_in_its_colour(station):
    picture = np.full((360, 480, 3), 90, np.uint8)
    clean = draw(picture, station, STATE, [])
    high = draw(picture, station, STATE, [(alarm(Priority.HIGH), AlarmState.UNACKNOWLEDGED)])
    low = draw(picture, station, STATE, [(alarm(Priority.LOW), AlarmState.UNACKNOWLEDGED)])
    assert (picture == 90).all()
    assert (clean[20:] == 90).all() and not (clean[:15] == 90).all()
    assert tuple(high[20, -1]) == (190, 30, 30) and tuple(low[20, -1]) == (150, 110, 0)


def test_a_shelved_alarm_is_not_on_it(station):
    picture = np.full((360, 480, 3), 90, np.uint8)
    shelved = draw(picture, station, STATE, [(alarm(Priority.HIGH), AlarmState.SHELVED)])
    assert (shelved == draw(picture, station, STATE, [])).all()


@pytest.mark.parametrize("size", [(1, 1), (10, 400), (48, 64), (1080, 1920)])
def test_any_size_of_picture_and_text_will_do(station, size):
    picture = np.zeros((*size, 3), np.uint8)
    alarms = [(alarm(Priority.HIGH, "long " * 100), AlarmState.ACKNOWLEDGED)] * 9
    assert draw(picture, station, STATE, alarms).shape == picture.shape
