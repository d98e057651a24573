"""Follows one cycle after the other, without end: stamps in nanoseconds in, events out."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from sop_monitor_pkg.core.following.anomalies import AnomalyWatch
from sop_monitor_pkg.core.following.events import SECOND_NS, CycleEnded, CycleLost, Event, StepBegun
from sop_monitor_pkg.core.following.follower import CycleFollower
from sop_monitor_pkg.core.following.scores import CycleScores, StepForecast
from sop_monitor_pkg.core.normal.answers import Answers
from sop_monitor_pkg.core.normal.extremes import ExtremesWatch
from sop_monitor_pkg.core.normal.model import NormalModel
from sop_monitor_pkg.core.procedure.procedure import Procedure
from sop_monitor_pkg.core.tracks.sightings import Sighting

GAP_S = 3.0
"""After a longer silence of the camera, or stamps that go back, nobody knows what was done: a cycle
in its last step has ended, any other is lost."""

IDLE_S = 8.0
"""So long after the last step has begun, and nothing of a next cycle: this one is over."""

_KEPT_S = 10.0  # a step is told later than it has begun, hardly ever by more


class LiveFollower:
    """Follows the work at a station.

    A cycle ends when the next one begins: a first step comes when nothing was left to do, or, where
    a cycle is broken off or its last step left out, the step that all cycles open with.
    """

    def __init__(self, procedure: Procedure, normal: NormalModel):
        self._procedure, self._normal = procedure, normal
        self._last_ns: int | None = None
        self._answers = Answers()
        self.forecast: StepForecast | None = None
        """What the last picture lets expect; None before the first step and in the last."""
        self._restart(0)

    def look(self, latent: np.ndarray, stamp_ns: int) -> list[Event]:
        """Takes the latent of a picture, float32 [D]."""
        events: list[Event] = []
        if self._last_ns is not None and not 0 < stamp_ns - self._last_ns <= GAP_S * SECOND_NS:
            if stamp_ns == self._last_ns:
                return events
            events += self._finish(self._last_ns) if self._now.is_over else self._lose()
            self._restart(stamp_ns)
        elif self._last_ns is None:
            self._restart(stamp_ns)
        self._last_ns = stamp_ns
        return events + self._take(self._time_s(stamp_ns), latent)

    def see(self, sighting: Sighting, stamp_ns: int) -> list[Event]:
        """Takes what the eyes saw in the picture of this stamp; its `time_s` does not count."""
        if self._last_ns is None or abs(stamp_ns - self._last_ns) > GAP_S * SECOND_NS:
            return []
        time_s = self._time_s(stamp_ns)
        return self._take(time_s, replace(sighting, time_s=time_s))

    def raised(self, alarms: Iterable[tuple[int, int]]) -> None:
        """Alarms there are: number, and stamp of what was seen first. May be repeated."""
        self._answers.raised(alarms)

    def false_alarm(self, number: int) -> None:
        """Somebody has called this alarm false."""
        self._answers.false_alarm(number)

    def learn_from_answers(self) -> NormalModel | None:
        """What is normal since cycles have turned out clean: all their alarms were false, and they
        are over. None: nothing new."""
        clean = self._answers.clean()
        if not clean:
            return None
        self._normal = self._normal.taught(clean)
        return self._normal

    def _restart(self, stamp_ns: int) -> None:
        self._start_ns = stamp_ns
        self._recent: deque[tuple[float, np.ndarray | Sighting]] = deque()
        self._follow(CycleFollower(self._procedure, self._normal))

    def _follow(self, follower: CycleFollower) -> None:
        """From now on this is the follower that counts."""
        self._now = follower
        self._anomalies = AnomalyWatch()
        self._extremes = ExtremesWatch(self._procedure)

    def _take(self, time_s: float, what: np.ndarray | Sighting) -> list[Event]:
        """A latent or a sighting."""
        self._recent.append((time_s, what))
        while self._recent[0][0] < time_s - _KEPT_S:
            self._recent.popleft()
        told = len(self._now.told)
        seen = self._now.take(what, time_s)
        if isinstance(what, Sighting):
            return self._stamped(seen, time_s)
        self.forecast = seen.forecast
        steps = self._now.told
        for count in range(max(told, 1), len(steps)):
            (name, begin_s), done = steps[count], [step for step, _ in steps[:count]]
            if self._procedure.begins_next(done, name):
                return self._open_next(seen, name, begin_s, time_s)
        return self._stamped(seen, time_s) + self._end_idle(time_s)

    def _open_next(
        self, seen: CycleScores, name: str, begin_s: float, time_s: float
    ) -> list[Event]:
        """The next cycle has begun with this step: it is followed from there."""
        begin_ns = round(begin_s * SECOND_NS)
        begun = next(e for e in seen.events if isinstance(e, StepBegun) and e.stamp_ns == begin_ns)
        before = seen.events[: seen.events.index(begun)]
        events = self._stamped(replace(seen, events=before), time_s)
        events += self._end_cycle(self._start_ns + begin_ns)
        self._follow(CycleFollower(self._procedure, self._normal, opened=(name, begin_s)))
        events += self._stamped(CycleScores([begun]), time_s)
        for then_s, what in self._recent:
            if then_s < begin_s:
                self._now.recall(what, then_s)
            else:
                events += self._stamped(self._now.take(what, then_s), then_s)
        return events

    def _end_idle(self, time_s: float) -> list[Event]:
        """The cycle is over when its last step has begun long ago, and no other one begins."""
        if not self._now.is_over or time_s - self._now.told[-1][1] <= IDLE_S:
            return []
        events = self._finish(self._start_ns + round(time_s * SECOND_NS))
        self._follow(CycleFollower(self._procedure, self._normal, after_another=True))
        for then_s, what in self._recent:
            self._now.recall(what, then_s)
        return events

    def _finish(self, stamp_ns: int) -> list[Event]:
        """The cycle has ended, and with it its last step."""
        if not self._now.told:
            return []
        time_s = self._time_s(stamp_ns)
        return [*self._stamped(self._now.end(time_s), time_s), *self._end_cycle(stamp_ns)]

    def _end_cycle(self, stamp_ns: int) -> Sequence[Event]:
        begin_ns = self._start_ns + round(self._now.told[0][1] * SECOND_NS)
        self._answers.cycle_ended(begin_ns, stamp_ns, self._extremes.ended())
        return [CycleEnded(stamp_ns)]

    def _lose(self) -> list[Event]:
        return [CycleLost(self._last_ns)] if self._now.told and self._last_ns is not None else []

    def _stamped(self, seen: CycleScores, time_s: float) -> list[Event]:
        """Events of a follower, whose stamps count from the start, with stamps of the camera."""
        self._extremes.take(seen)
        found: list[Event] = []
        for event in self._anomalies.take(self._normal, seen, time_s):
            found.append(replace(event, stamp_ns=event.stamp_ns + self._start_ns))
        return found

    def _time_s(self, stamp_ns: int) -> float:
        return (stamp_ns - self._start_ns) / SECOND_NS
