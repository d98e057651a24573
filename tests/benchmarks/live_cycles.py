"""What the monitor said live, against what the station knows it did, for `./run bench live`."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from benchmarks.sop_scores import ANSWERS

_LATE_NS = 1_500_000_000  # a step left out is told of when the next cycle has begun


@dataclass(frozen=True)
class LiveCycle:
    """A cycle of the station: stamps of its first and last picture, and kinds of its faults."""

    number: int
    begin_ns: int
    end_ns: int
    faults: tuple[str, ...]


@dataclass(frozen=True)
class LiveAlarm:
    """An alarm: stamp of what was seen first, and every kind it has had."""

    number: int
    seen_ns: int
    kinds: tuple[str, ...]


@dataclass(frozen=True)
class LiveVerdict:
    """Cycles seen from beginning to end, and what was said of them.

    Attributes:
        clean, flagged: correct ones, and those of them with an alarm.
        faulty, named, single: with a fault; named rightly; with exactly one alarm.
        stray: alarms in no whole cycle.
        wrong: for people, each cycle of which the wrong thing was said.
    """

    clean: int = 0
    flagged: int = 0
    faulty: int = 0
    named: int = 0
    single: int = 0
    stray: int = 0
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{self.clean} correct cycles, {self.flagged} with an alarm; {self.faulty} faulty "
            f"ones, {self.named} named rightly, {self.single} with a single alarm; {self.stray} "
            "alarms in cycles that were not seen whole"
        )


class CycleEar:
    """Takes the messages of `station/truth` and `sop/alerts`."""

    def __init__(self) -> None:
        self._first: dict[int, int] = {}
        self._last: dict[int, int] = {}
        self._faults: dict[int, tuple[str, ...]] = {}
        self._seen_ns: dict[int, int] = {}
        self._kinds: defaultdict[int, list[str]] = defaultdict(list)

    def truth(self, text: str) -> None:
        """One message of the station."""
        told = json.loads(text)
        if told["about"] == "frame":
            self._first.setdefault(told["cycle"], told["stamp_ns"])
            self._last[told["cycle"]] = told["stamp_ns"]
        else:
            self._faults[told["cycle"]] = tuple(fault["kind"] for fault in told["faults"])

    def alarm(self, number: int, seen_ns: int, kind: str) -> None:
        """One alarm, as it stands now."""
        self._seen_ns[number] = seen_ns
        if kind not in self._kinds[number]:
            self._kinds[number].append(kind)

    @property
    def raised(self) -> int:
        """How many alarms there were."""
        return len(self._kinds)

    def verdict(self) -> LiveVerdict:
        """So far; the first cycle may have begun before anybody listened, and does not count."""
        whole = sorted(set(self._faults) & set(self._first) - {min(self._first, default=0)})
        cycles = [LiveCycle(n, self._first[n], self._last[n], self._faults[n]) for n in whole]
        alarms = [LiveAlarm(n, self._seen_ns[n], tuple(k)) for n, k in sorted(self._kinds.items())]
        return judge(cycles, alarms)


def judge(cycles: Sequence[LiveCycle], alarms: Sequence[LiveAlarm]) -> LiveVerdict:
    """Whose cycle each alarm is, and whether it is right."""
    own: dict[int, list[LiveAlarm]] = {cycle.number: [] for cycle in cycles}
    stray = 0
    for alarm in alarms:
        at_ns = alarm.seen_ns - (_LATE_NS if "skipped" in alarm.kinds else 0)
        begun = [cycle for cycle in cycles if cycle.begin_ns <= at_ns]
        if begun and at_ns <= begun[-1].end_ns:
            own[begun[-1].number].append(alarm)
        else:
            stray += 1
    counts, wrong = defaultdict[str, int](int), list[str]()
    for cycle in cycles:
        found = own[cycle.number]
        kinds = [kind for alarm in found for kind in alarm.kinds]
        right = [any(kind in ANSWERS[fault] for kind in kinds) for fault in cycle.faults]
        if cycle.faults:
            counts["faulty"] += 1
            counts["named"] += all(right)
            counts["single"] += len(found) == 1
        else:
            counts["clean"] += 1
            counts["flagged"] += bool(found)
        if not all(right) or len(found) != len(cycle.faults):
            told = "; ".join(", then ".join(alarm.kinds) for alarm in found) or "nothing"
            done = ", ".join(cycle.faults) or "correct"
            wrong.append(f"cycle {cycle.number}, {done}: {told}")
    return LiveVerdict(**counts, stray=stray, wrong=wrong)
