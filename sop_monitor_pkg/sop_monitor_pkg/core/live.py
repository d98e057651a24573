"""Follows one cycle after the other, without end: stamps in nanoseconds in, events out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from sop_monitor_pkg.core.answers import Answers
from sop_monitor_pkg.core.events import CycleEnded, Event
from sop_monitor_pkg.core.extremes import ExtremesWatch
from sop_monitor_pkg.core.follower import SECOND_NS, CycleFollower, Outlook, Seen, alarms
from sop_monitor_pkg.core.normal import Normal
from sop_monitor_pkg.core.procedure import Procedure
from sop_monitor_pkg.core.sightings import Sighting

GAP_S = 3.0
"""A longer silence of the camera, or stamps that go back, end the cycle that was followed."""

IDLE_S = 8.0
"""So long after the last step has begun, and nothing of a next cycle: this one is over."""


class LiveFollower:
    """Follows the work at a station. When the last step runs, a second follower waits for the
    first step of the next cycle; when it is told, the cycle has ended."""

    def __init__(self, procedure: Procedure, normal: Normal):
        self._procedure, self._normal = procedure, normal
        self._last_ns: int | None = None
        self._answers = Answers()
        self.outlook: Outlook | None = None
        """What the last picture lets expect; None before the first step and in the last."""
        self._restart(0)

    def look(self, latent: np.ndarray, stamp_ns: int) -> list[Event]:
        """Takes the latent of a picture, float32 [D]."""
        events: list[Event] = []
        if self._last_ns is not None and not 0 < stamp_ns - self._last_ns <= GAP_S * SECOND_NS:
            if stamp_ns == self._last_ns:
                return events
            events += self._finish(self._last_ns)
            self._restart(stamp_ns)
        elif self._last_ns is None:
            self._restart(stamp_ns)
        self._last_ns = stamp_ns
        time_s = self._time_s(stamp_ns)
        seen = self._now.look(latent, time_s)
        self.outlook = seen.outlook
        events += self._stamped(seen, time_s)
        if self._now.is_over:
            events += self._watch_for_next(latent, stamp_ns)
        return events

    def see(self, sighting: Sighting, stamp_ns: int) -> list[Event]:
        """Takes what the eyes saw in the picture of this stamp; its `time_s` does not count."""
        if self._last_ns is None or abs(stamp_ns - self._last_ns) > GAP_S * SECOND_NS:
            return []
        time_s = self._time_s(stamp_ns)
        return self._stamped(self._now.see(replace(sighting, time_s=time_s)), time_s)

    def raised(self, alarms: Iterable[tuple[int, int]]) -> None:
        """Alarms there are: number, and stamp of what was seen first. May be repeated."""
        self._answers.raised(alarms)

    def false_alarm(self, number: int) -> None:
        """Somebody has called this alarm false."""
        self._answers.false_alarm(number)

    def learn_from_answers(self) -> Normal | None:
        """What is normal since cycles have turned out clean: all their alarms were false, and they
        are over. None: nothing new."""
        clean = self._answers.clean()
        if not clean:
            return None
        self._normal = self._normal.taught(clean)
        return self._normal

    def _restart(self, stamp_ns: int) -> None:
        self._start_ns = stamp_ns
        self._now = CycleFollower(self._procedure, self._normal)
        self._extremes = ExtremesWatch(self._procedure)
        self._next: CycleFollower | None = None
        self._next_seen: list[tuple[float, Seen]] = []

    def _watch_for_next(self, latent: np.ndarray, stamp_ns: int) -> list[Event]:
        time_s = self._time_s(stamp_ns)
        if self._next is None:
            self._next = CycleFollower(self._procedure, self._normal, after_another=True)
        self._next_seen.append((time_s, self._next.look(latent, time_s)))
        if self._next.told:
            begin_s = self._next.told[0][1]
            events = self._finish(self._start_ns + round(begin_s * SECOND_NS))
            self._extremes = ExtremesWatch(self._procedure)
            for seen_s, seen in self._next_seen:
                events += self._stamped(seen, seen_s)
            self._now, self._next, self._next_seen = self._next, None, []
            return events
        if time_s - self._now.told[-1][1] > IDLE_S and self._next.belief is None:
            events = self._finish(stamp_ns)
            self._restart(stamp_ns)
            return events
        return []

    def _finish(self, stamp_ns: int) -> list[Event]:
        if not self._now.told:
            return []
        time_s = self._time_s(stamp_ns)
        events = [*self._stamped(self._now.end(time_s), time_s), CycleEnded(stamp_ns)]
        begin_ns = self._start_ns + round(self._now.told[0][1] * SECOND_NS)
        self._answers.cycle_ended(begin_ns, stamp_ns, self._extremes.ended())
        return events

    def _stamped(self, seen: Seen, time_s: float) -> list[Event]:
        """Events of a follower, whose stamps count from the start, with stamps of the camera."""
        self._extremes.take(seen)
        found: list[Event] = []
        for event in alarms(self._normal, seen, time_s):
            found.append(replace(event, stamp_ns=event.stamp_ns + self._start_ns))
        return found

    def _time_s(self, stamp_ns: int) -> float:
        return (stamp_ns - self._start_ns) / SECOND_NS
