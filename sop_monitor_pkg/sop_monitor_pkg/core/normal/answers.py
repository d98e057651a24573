"""What people's answers teach: a cycle whose alarms were all false was a clean one."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from sop_monitor_pkg.core.normal.model import Extremes

_KEPT = 100  # cycles that an answer may still come to


@dataclass
class _Followed:
    begin_ns: int
    end_ns: int
    extremes: Extremes
    learned: bool = False


class Answers:
    """Brings together the cycles that were followed, their alarms, and the answers to them."""

    def __init__(self) -> None:
        self._cycles: deque[_Followed] = deque(maxlen=_KEPT)
        self._seen_ns: dict[int, int] = {}  # of each alarm
        self._false: set[int] = set()
        self._asked = True  # whether nothing has changed since `clean` was asked last

    def cycle_ended(self, begin_ns: int, end_ns: int, extremes: Extremes) -> None:
        """A cycle is over; stamps of its first and last picture."""
        self._cycles.append(_Followed(begin_ns, end_ns, extremes))
        oldest_ns = self._cycles[0].begin_ns
        self._seen_ns = {n: seen for n, seen in self._seen_ns.items() if seen >= oldest_ns}
        self._false &= self._seen_ns.keys()
        self._asked = False

    def raised(self, alarms: Iterable[tuple[int, int]]) -> None:
        """Alarms there are or were: number, and stamp of what was seen first. May be repeated."""
        self._seen_ns.update(alarms)

    def false_alarm(self, number: int) -> None:
        """Somebody has called this alarm false."""
        self._false.add(number)
        self._asked = False

    def clean(self) -> list[Extremes]:
        """Of cycles that have turned out clean since the last call."""
        if self._asked:
            return []
        self._asked = True
        raised: dict[int, set[int]] = {}
        for number, seen_ns in self._seen_ns.items():
            cycle = self._during(seen_ns)
            if cycle is not None:
                raised.setdefault(id(cycle), set()).add(number)
        found = []
        for cycle in self._cycles:
            alarms = raised.get(id(cycle))
            if alarms and alarms <= self._false and not cycle.learned:
                cycle.learned = True
                found.append(cycle.extremes)
        return found

    def _during(self, seen_ns: int) -> _Followed | None:
        """The cycle of a stamp; where one ends and the next begins, that which ends."""
        cycles = (c for c in self._cycles if c.begin_ns <= seen_ns <= c.end_ns)
        return next(cycles, None)
