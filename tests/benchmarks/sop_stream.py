"""Cycles one after the other, as the camera of a station shows them, for `./run bench sop`."""

from __future__ import annotations

import bisect
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path

import numpy as np
from sop_monitor_pkg.core.alarms.book import AlarmBook, Change
from sop_monitor_pkg.core.alarms.journal import Journal
from sop_monitor_pkg.core.following.events import SECOND_NS, CycleEnded, Event, StepBegun
from sop_monitor_pkg.core.following.live import LiveFollower
from sop_monitor_pkg.core.following.monitor import Monitor
from sop_monitor_pkg.core.normal.learning import Example, in_order
from sop_monitor_pkg.core.normal.model import NormalModel
from sop_monitor_pkg.core.procedure.procedure import Procedure
from sop_monitor_pkg.core.recognition.phases import Segment
from sop_monitor_pkg.core.tracks.sightings import SeenPart, Sighting

from benchmarks.sop_scores import AlarmSeen

START_NS = 10**18
PAUSE_S = 0.2  # from the last picture of a cycle to the first of the next
SAME = 0.03  # so near to where its class was seen last, a part is taken for the same [widths]


@dataclass
class Followed:
    """What was said of one cycle; times are those of its recording [s].

    Attributes:
        steps: those told, each until the next one. told_s: when.
        ended: whether an end of a cycle was told that belongs to it.
        kinds: of each alarm, every kind it has had, with the time from which on.
    """

    length_s: float
    steps: list[Segment] = field(default_factory=list)
    told_s: list[float] = field(default_factory=list)
    ended: bool = False
    kinds: dict[int, list[tuple[str, float]]] = field(default_factory=dict)

    @property
    def alarms(self) -> tuple[AlarmSeen, ...]:
        """As the scores take them."""
        return tuple(AlarmSeen(own[0][1], tuple(own)) for own in self.kinds.values())


def stream(
    procedure: Procedure, normal: NormalModel, examples: Sequence[Example]
) -> list[Followed]:
    """Follows all cycles as one stream, by the follower and the monitor that the nodes run."""
    with tempfile.TemporaryDirectory() as folder:
        journal = Journal(Path(folder) / "journal.db")
        try:
            return _Stream(procedure, normal, tracked(examples), journal).run()
        finally:
            journal.close()


def tracked(examples: Sequence[Example]) -> list[Example]:
    """With the numbers of tracks that one tracker for all of them gives: each recording has its
    own from 1 on, whereas live a track goes on where a part lies as one did in the last picture."""
    fresh, last, found = count(1), list[SeenPart](), []
    for example in examples:
        numbers: defaultdict[int, int] = defaultdict(lambda: next(fresh))
        numbers[-1] = -1  # no track
        first = next((s.parts for s in example.sightings if s.parts is not None), ())
        numbers |= {p.track: old.track for p in first for old in last if _same(p, old)}
        sightings = []
        for sighting in example.sightings:
            if sighting.parts is not None:
                last = [replace(p, track=numbers[p.track]) for p in sighting.parts]
                sighting = replace(sighting, parts=tuple(last))
            sightings.append(sighting)
        found.append(replace(example, sightings=tuple(sightings)))
    return found


def _same(part: SeenPart, old: SeenPart) -> bool:
    apart = np.hypot(*np.subtract(part.centre, old.centre))
    return min(part.track, old.track) >= 0 and part.name == old.name and bool(apart <= SAME)


class _Stream:
    def __init__(
        self,
        procedure: Procedure,
        normal: NormalModel,
        examples: Sequence[Example],
        journal: Journal,
    ):
        self._examples = examples
        self._changes: list[Change] = []
        self._monitor = Monitor(procedure, AlarmBook(procedure, journal, self._changes.append))
        self._follower = LiveFollower(procedure, normal)
        self._cycles = [Followed(float(e.times_s[-1])) for e in examples]
        self._starts_s = [0.0]
        for cycle in self._cycles[:-1]:
            self._starts_s.append(self._starts_s[-1] + cycle.length_s + PAUSE_S)
        self._current = 0  # the cycle whose steps are being told
        self._between = True  # none has begun since the last one ended

    def run(self) -> list[Followed]:
        for example, start_s in zip(self._examples, self._starts_s, strict=True):
            for time_s, events in self._events(example, start_s):
                now_ns = START_NS + round((start_s + time_s) * SECOND_NS)
                for event in events:
                    self._note(event, start_s + time_s)
                    self._monitor.take(event, now_ns)
                    self._note_alarms(start_s + time_s)
                self._monitor.tick(now_ns)
                self._note_alarms(start_s + time_s)
        return self._cycles

    def _events(self, example: Example, start_s: float) -> Iterator[tuple[float, list[Event]]]:
        for time_s, what in in_order(example):
            stamp_ns = START_NS + round((start_s + time_s) * SECOND_NS)
            follow = self._follower.see if isinstance(what, Sighting) else self._follower.look
            yield time_s, follow(what, stamp_ns)

    def _note(self, event: Event, now_s: float) -> None:
        if isinstance(event, CycleEnded):
            self._cycles[self._current].ended = True
            self._between = True
        if not isinstance(event, StepBegun):
            return
        begin_s = (event.stamp_ns - START_NS) / SECOND_NS
        if self._between:  # the cycle in which it is a second later: it may seem to begin early
            self._current = bisect.bisect(self._starts_s, begin_s + 1.0) - 1
            self._between = False
        cycle, start_s = self._cycles[self._current], self._starts_s[self._current]
        if cycle.steps:
            last = cycle.steps[-1]
            cycle.steps[-1] = Segment(last.step, last.begin_s, begin_s - start_s)
        cycle.steps.append(Segment(event.step, begin_s - start_s, cycle.length_s))
        cycle.told_s.append(now_s - start_s)

    def _note_alarms(self, now_s: float) -> None:
        cycle, start_s = self._cycles[self._current], self._starts_s[self._current]
        for change in self._changes:
            if change.alarm is None:
                continue
            number = change.alarm.number
            if change.entry.kind in ("raised", "reclassified"):
                own = cycle.kinds.setdefault(number, [])
                own.append((str(change.alarm.kind), now_s - start_s))
            elif change.entry.kind == "returned" and number not in cycle.kinds:
                self._move(number, cycle, start_s)
        self._changes.clear()

    def _move(self, number: int, to: Followed, start_s: float) -> None:
        """The alarm came before its cycle was known to have begun."""
        for cycle, began_s in zip(self._cycles, self._starts_s, strict=True):
            if number in cycle.kinds:
                own = cycle.kinds.pop(number)
                to.kinds[number] = [(kind, at_s + began_s - start_s) for kind, at_s in own]
                return
