"""Scripted arm motion for data collection: random waypoints and noisy pick-and-place.

Each behaviour is an endless iterator of target states (float64 [7]), one per environment step.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from robot_cell import CLOSEDNESS, POSITION

from vjepa_sim.core.panda_cell import WORKSPACE_HIGH, WORKSPACE_LOW
from vjepa_sim.core.tasks import REACH_HIGH, REACH_LOW

MAX_STEP = 0.06  # per axis and environment step [m]
MARGIN = 0.02  # waypoints reach this far beyond the task's region [m]


def random_waypoints(state: np.ndarray, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Wander through the reach region; steps of all sizes, now and then a gripper move.

    Half the steps go toward a waypoint, half are drawn uniformly, so that actions do not
    correlate with the pose that they start from.
    """
    low, high = REACH_LOW - MARGIN, REACH_HIGH + MARGIN
    position, closedness = state[POSITION].copy(), float(state[CLOSEDNESS])
    waypoint = rng.uniform(low, high)
    while True:
        if np.linalg.norm(waypoint - position) < 0.03:
            waypoint = rng.uniform(low, high)
        if rng.random() < 0.5:
            step = np.clip(waypoint - position, -MAX_STEP, MAX_STEP) * rng.uniform(0.3, 1.0)
        else:
            step = rng.uniform(-MAX_STEP, MAX_STEP, 3) * rng.choice([0.25, 0.6, 1.0])
        position = np.clip(position + step, low, high)
        if rng.random() < 0.1:
            closedness = float(rng.choice([0.0, 1.0, rng.random()]))
        yield np.array([*position, 0.0, 0.0, 0.0, closedness])


def pick_and_place(
    state: np.ndarray, rng: np.random.Generator, object_position: np.ndarray
) -> Iterator[np.ndarray]:
    """Grasp the object at `object_position` [3], set it down elsewhere, with noise; then wander."""
    place = np.array([rng.uniform(0.42, 0.58), rng.uniform(-0.14, 0.14), object_position[2]])
    above = np.array([0.0, 0.0, 0.10])
    noise = rng.normal(0.0, 0.004, 3)
    legs = [
        (object_position + above, 0.0),
        (object_position, 0.0),
        (object_position, 1.0),
        (object_position + above, 1.0),
        (place + above, 1.0),
        (place + [0.0, 0.0, 0.005], 1.0),
        (place, 0.0),
        (place + above, 0.0),
    ]
    position = state[POSITION].copy()
    for target, closedness in legs:
        target = np.clip(target + noise, WORKSPACE_LOW, WORKSPACE_HIGH)
        while True:
            step = np.clip(target - position, -MAX_STEP, MAX_STEP)
            position = position + step * (1.0 if np.abs(step).max() < 0.03 else rng.uniform(0.7, 1))
            yield np.array([*position, 0.0, 0.0, 0.0, closedness])
            if np.abs(target - position).max() < 1e-3:
                break
    yield from random_waypoints(np.array([*position, 0, 0, 0, 0.0]), rng)
