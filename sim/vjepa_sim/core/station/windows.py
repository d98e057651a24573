"""Windows of a picture: what must be drawn again."""

from __future__ import annotations

Window = tuple[int, int, int, int]  # x0, y0, x1, y1 [px]; x1 and y1 are outside

COST_PX = 8000  # what drawing another window costs, as an area


def grown(window: Window, by: int) -> Window:
    """The window with a margin of `by` pixels."""
    return window[0] - by, window[1] - by, window[2] + by, window[3] + by


def merged(windows: list[Window]) -> list[Window]:
    """Fewer windows that cover the same: two become one where that is less to draw."""
    windows = list(windows)
    for i in range(len(windows) - 1, 0, -1):
        for j in range(i):
            a, b = windows[i], windows[j]
            both = (min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3]))
            if _area(both) <= _area(a) + _area(b) + COST_PX:
                windows[j] = both
                windows.pop(i)
                return merged(windows)
    return windows


def _area(window: Window) -> int:
    return (window[2] - window[0]) * (window[3] - window[1])


def slices(window: Window) -> tuple[slice, slice]:
    """Rows and columns of the window, to index a picture with."""
    return slice(window[1], window[3]), slice(window[0], window[2])
