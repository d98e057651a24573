"""A task played out in physics, step by step: what the evaluation, `collect` and the node share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from robot_cell import CLOSEDNESS, POSITION, ROTATION
from scipy.spatial.transform import Rotation

from vjepa_sim.core.physics import PandaPhysics
from vjepa_sim.core.scene import sample_appearance
from vjepa_sim.core.tasks import ReachTask, Task


@dataclass(frozen=True)
class Observation:
    """`image` uint8 RGB [H, W, 3]; `state` float64 [7] in base_link (metres, radians, 0..1)."""

    image: np.ndarray
    state: np.ndarray


class Environment:
    """Reset with a seed, then move; the same seed and moves give the same pixels."""

    def __init__(self, physics: PandaPhysics | None = None, task: Task | None = None) -> None:
        self.physics = physics or PandaPhysics()
        self.task = task or ReachTask()

    def reset(self, seed: int, varied: bool = False) -> Observation:
        """Draw episode `seed`, render its goal picture, put the arm at its start."""
        self.episode = self.task.start(np.random.default_rng(seed), varied)
        self.physics.reset(self.episode.layout.objects, self.episode.appearance)
        self.physics.teleport(self.episode.start)
        self.goal_image, self.goal_state = self._picture(
            self.episode.goal, self.episode.goal_appearance
        )
        return self.observe()

    def observe(self) -> Observation:
        """What camera and arm report now."""
        return Observation(self.render(), self.physics.state())

    def render(self) -> np.ndarray:
        """The camera's picture now, uint8 RGB [H, W, 3]."""
        return self.physics.render(self.episode.layout.camera)

    def step(self, action: np.ndarray) -> Observation:
        """Move by `action` (float [7], see `apply_action`); raises UnreachableError and holds."""
        return self.move_to(apply_action(self.physics.state(), action))

    def move_to(self, target: np.ndarray) -> Observation:
        """Move to the absolute state [7]; raises UnreachableError and holds."""
        self.physics.move_to(np.asarray(target, dtype=float))
        return self.observe()

    def distance(self) -> float:
        """How far the arm is from the goal now [m]."""
        return self.task.distance(self.physics.state(), self.goal_state)

    def render_goal(
        self, state: np.ndarray, appearance_seed: int | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """A goal picture of the arm at `state` [7], and the state [7] that it really shows.

        The scene is left as it was. With `appearance_seed` the picture is taken "on another
        day"; without, under the light and colours of now.
        """
        appearance = self.episode.appearance
        if appearance_seed is not None:
            appearance = sample_appearance(np.random.default_rng(appearance_seed))
        return self._picture(np.asarray(state, dtype=float), appearance)

    def close(self) -> None:
        """Free the physics."""
        self.physics.close()

    def _picture(self, state: np.ndarray, appearance) -> tuple[np.ndarray, np.ndarray]:
        saved = self.physics.save()
        try:
            self.physics.teleport(state)
            self.physics.set_appearance(appearance)
            return self.render(), self.physics.state()
        finally:
            self.physics.set_appearance(self.episode.appearance)
            self.physics.restore(saved)


def apply_action(state: np.ndarray, action: np.ndarray) -> np.ndarray:
    """The pose update of V-JEPA 2-AC: p + dp, R(action) R(state), closedness clipped to 0..1.

    `state` and `action` are float [7]; returns float64 [7].
    """
    state, action = np.asarray(state, dtype=float), np.asarray(action, dtype=float)
    turned = Rotation.from_euler("xyz", action[ROTATION]) * Rotation.from_euler(
        "xyz", state[ROTATION]
    )
    closedness = np.clip(state[CLOSEDNESS] + action[CLOSEDNESS], 0.0, 1.0)
    return np.concatenate(
        [state[POSITION] + action[POSITION], turned.as_euler("xyz"), [closedness]]
    )
