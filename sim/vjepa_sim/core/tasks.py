"""Tasks: what a seeded episode looks like and when it is solved. One small class each.

A task owns no physics: `start` reads the random generator and returns the layout, the two
appearances and the two arm states; `distance` says how far the arm is from being done.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from robot_cell import POSITION

from vjepa_sim.core.scene import (
    NOMINAL_APPEARANCE,
    SceneAppearance,
    SceneLayout,
    sample_appearance,
    sample_layout,
    turn_about_scene,
)

# Starts and goals lie here [m]: the gripper is in the picture and above the distractors.
REACH_LOW = np.array([0.37, -0.17, 0.08])
REACH_HIGH = np.array([0.60, 0.17, 0.29])
REACH_DISTANCE = (0.10, 0.25)  # from start to goal [m]


@dataclass(frozen=True)
class TaskEpisode:
    """A drawn episode: states are float64 [7] (metres, radians, closedness) in base_link."""

    layout: SceneLayout
    appearance: SceneAppearance
    goal_appearance: SceneAppearance
    start: np.ndarray
    goal: np.ndarray


class Task(Protocol):
    """What the environment asks of a task."""

    def start(self, rng: np.random.Generator, varied: bool) -> TaskEpisode:
        """Draw an episode; `varied` lets the goal picture come from another day."""

    def distance(self, state: np.ndarray, goal: np.ndarray) -> float:
        """How far `state` [7] is from the goal [m]; 0 when solved."""


class ReachTask:
    """Bring tool0 to where the goal picture shows it, 10 to 25 cm from the start."""

    def __init__(self, camera_turn_rad: float = 0.0):
        """`camera_turn_rad`: how far the camera is carried around the scene; all else stays."""
        self._camera_turn_rad = camera_turn_rad

    def start(self, rng: np.random.Generator, varied: bool) -> TaskEpisode:
        layout = sample_layout(rng, varied)
        layout = replace(layout, camera=turn_about_scene(layout.camera, self._camera_turn_rad))
        if varied:
            appearance, goal_appearance = sample_appearance(rng), sample_appearance(rng)
        else:
            appearance = goal_appearance = NOMINAL_APPEARANCE
        goal = rng.uniform(REACH_LOW, REACH_HIGH)
        while True:
            start = rng.uniform(REACH_LOW, REACH_HIGH)
            if REACH_DISTANCE[0] <= np.linalg.norm(start - goal) <= REACH_DISTANCE[1]:
                break
        return TaskEpisode(
            layout, appearance, goal_appearance, _straight_down(start), _straight_down(goal)
        )

    def distance(self, state: np.ndarray, goal: np.ndarray) -> float:
        return float(np.linalg.norm(state[POSITION] - goal[POSITION]))


def _straight_down(position: np.ndarray) -> np.ndarray:
    """State [7] at `position` with the gripper straight down and open."""
    return np.concatenate([position, np.zeros(4)])
