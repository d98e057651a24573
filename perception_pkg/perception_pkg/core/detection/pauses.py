"""When the camera was silent for long, what was seen before says nothing of what is there now."""

from __future__ import annotations

FORGET_S = 2.0


class Pauses:
    """Notices pauses between pictures.

    Args:
        forget_s: a longer gap between two pictures is a pause [s]. So is a clock that goes back: a
            recording begins anew.
    """

    def __init__(self, forget_s: float = FORGET_S):
        self._forget_s = forget_s
        self._last_s: float | None = None

    def before(self, time_s: float | None) -> bool:
        """Whether a pause lies before the picture of this time [s]; None: unknown, no pause."""
        last_s, self._last_s = self._last_s, time_s
        return (
            last_s is not None
            and time_s is not None
            and not (0.0 <= time_s - last_s <= self._forget_s)
        )


def forget_after(rate_hz: float) -> float:
    """Gap that is a pause for who looks at `rate_hz` pictures a second, one of which may be lost
    [s]."""
    return max(FORGET_S, 2.5 / rate_hz)
