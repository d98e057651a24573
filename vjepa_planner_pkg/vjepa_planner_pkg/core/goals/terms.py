"""What a goal is made of, as plain values: messages carry them, `goals.goal` adds them up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from vjepa_planner_pkg.core.goals.latent import Latent


@dataclass(frozen=True)
class GoalTerms:
    """The terms of one goal; their energies add up.

    Attributes:
        pictures: features of a goal picture for each camera, by the camera's name in the cell;
            an empty name stands for its first camera.
        pose: float64 [7] in the base frame, m, rad, closedness; None: no term.
        keep_out: float64 [K, 2, 3], lower and upper corners [m] of boxes that the tool avoids.
        picture_weight, pose_weight, keep_out_weight, effort_weight: what each term is worth;
            see `goals.goal` for the terms' units.
    """

    pictures: Mapping[str, Latent] = field(default_factory=dict)
    pose: np.ndarray | None = None
    keep_out: np.ndarray = field(default_factory=lambda: np.zeros((0, 2, 3)))
    picture_weight: float = 1.0
    pose_weight: float = 1.0
    keep_out_weight: float = 1.0
    effort_weight: float = 0.0

    @classmethod
    def of(cls, latent: Latent) -> GoalTerms:
        """The goal that one picture of the first camera shows."""
        return cls(pictures={"": latent})

    @property
    def is_one_picture(self) -> bool:
        """Whether the goal is one picture and nothing else: models score that fastest."""
        return (
            len(self.pictures) == 1
            and self.picture_weight == 1.0
            and self.pose is None
            and not len(self.keep_out)
            and not self.effort_weight
        )

    def problem(self) -> str:
        """What is wrong with the values; empty: nothing."""
        if not self.pictures and self.pose is None:
            return "a goal needs a picture or a pose"
        numbers = (self.picture_weight, self.pose_weight, self.keep_out_weight, self.effort_weight)
        if not all(np.isfinite(w) and w >= 0.0 for w in numbers):
            return f"the weights of a goal are {numbers}; each is finite and not negative"
        if self.pose is not None and (
            np.shape(self.pose) != (7,) or not np.isfinite(self.pose).all()
        ):
            return "the pose of a goal is seven finite numbers: m, rad, closedness"
        boxes = np.asarray(self.keep_out)
        if boxes.shape[1:] != (2, 3) or not np.isfinite(boxes).all():
            return "a keep-out box is six finite numbers: lower and upper corner [m]"
        if (boxes[:, 0] >= boxes[:, 1]).any():
            return "a keep-out box has its lower corner below its upper one on each axis"
        return ""
