"""The procedure of the station: its steps, who does them, and what may come in which order."""

from __future__ import annotations

import numpy as np

# In nominal order, with the actor that works in each.
ACTORS = {
    "pick_base": "hand",
    "place_base": "hand",
    "clean_base": "hand",
    "screw_m3": "tool",
    "screw_m4": "tool",
    "rotate_part": "hand",
    "insert_peg": "tool",
    "place_cover": "hand",
    "read_label": "hand",
    "hand_over": "hand",
}
STEPS = tuple(ACTORS)
OPTIONAL = ("clean_base",)
EITHER_ORDER = ("screw_m3", "screw_m4")
OPTIONAL_SHARE = 0.5  # of the cycles that clean the base


def draw_order(rng: np.random.Generator) -> list[str]:
    """One of the orders in which a correct cycle does its steps."""
    steps = [s for s in STEPS if s not in OPTIONAL or rng.random() < OPTIONAL_SHARE]
    if rng.random() < 0.5:
        first = steps.index(EITHER_ORDER[0])
        steps[first : first + 2] = EITHER_ORDER[::-1]
    return steps


def allowed(steps: list[str]) -> bool:
    """Whether these steps, in this order, are a correct cycle."""
    swapped = list(STEPS)
    first = swapped.index(EITHER_ORDER[0])
    swapped[first : first + 2] = EITHER_ORDER[::-1]
    done = [s for s in STEPS if s not in OPTIONAL or s in steps]
    done_swapped = [s for s in swapped if s in done]
    return steps in (done, done_swapped)
