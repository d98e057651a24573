"""The kinds of faults the monitor speaks of, and how urgent each is unless a procedure says so."""

from __future__ import annotations

from enum import IntEnum, StrEnum


class Priority(IntEnum):
    """How urgent an alarm is; ISA-18.2 advises few of the highest."""

    LOW = 1
    MEDIUM = 2
    HIGH = 3
    CRITICAL = 4


class Kind(StrEnum):
    """What went wrong."""

    WRONG_ORDER = "wrong_order"
    SKIPPED = "skipped"
    REPEATED = "repeated"
    TOO_SLOW = "too_slow"
    HESITATING = "hesitating"
    TOO_FAST = "too_fast"
    DROPPED_PART = "dropped_part"
    WRONG_PART = "wrong_part"
    FOREIGN_OBJECT = "foreign_object"
    DEFECT = "defect"
    LABEL = "label"
    UNKNOWN_ACTION = "unknown_action"

    @property
    def is_quality(self) -> bool:
        """Whether the piece itself is bad; the others say that the way of working is."""
        return self in (Kind.WRONG_PART, Kind.DEFECT, Kind.LABEL)

    @property
    def is_of_things(self) -> bool:
        """Whether it is about a thing, the piece or what lies around it: then the step is only the
        moment in which it is seen. The others are about a step."""
        things = (Kind.DROPPED_PART, Kind.WRONG_PART, Kind.FOREIGN_OBJECT, Kind.DEFECT)
        return self in things

    @property
    def is_of_order(self) -> bool:
        """Whether steps were not done as the procedure has them: from then on, parts may lie where
        they never do in a correct cycle."""
        return self in (Kind.WRONG_ORDER, Kind.SKIPPED, Kind.REPEATED)

    @property
    def explains(self) -> int:
        """How much it says about the cause: 0 that there is one, 1 a symptom, 2 what was done
        wrong, 3 a bad piece."""
        if self.is_quality:
            return 3
        if self is Kind.UNKNOWN_ACTION:
            return 0
        return 1 if self in (Kind.TOO_SLOW, Kind.HESITATING, Kind.TOO_FAST) else 2


PRIORITIES: dict[Kind, Priority] = {
    Kind.WRONG_ORDER: Priority.HIGH,
    Kind.SKIPPED: Priority.HIGH,
    Kind.REPEATED: Priority.MEDIUM,
    Kind.TOO_SLOW: Priority.LOW,
    Kind.HESITATING: Priority.LOW,
    Kind.TOO_FAST: Priority.MEDIUM,
    Kind.DROPPED_PART: Priority.MEDIUM,
    Kind.WRONG_PART: Priority.HIGH,
    Kind.FOREIGN_OBJECT: Priority.MEDIUM,
    Kind.DEFECT: Priority.HIGH,
    Kind.LABEL: Priority.HIGH,
    Kind.UNKNOWN_ACTION: Priority.MEDIUM,
}
