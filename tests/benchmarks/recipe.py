"""What an evaluation of reaching is made of, and how its episodes get their seeds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

import numpy as np
import robot_cell
import yaml
from vjepa_planner_pkg.core.calibration.calibration import Calibration
from vjepa_planner_pkg.core.mpc.parameters import MpcParameters
from vjepa_planner_pkg.core.search.action_space import within
from vjepa_planner_pkg.core.search.planner import PlannerConfig

WITH_MODEL = ("planner", "random_encoder")
METHODS = (*WITH_MODEL, "random_actions", "stay_put", "oracle")
CALIBRATE = "calibrate"
WITHOUT, WITH, TRUE = VARIANTS = ("without", "with", "true turn")

Key = tuple[str, int]  # method and index of the episode

CELL = robot_cell.load("panda_sim")  # of the simulated arm, whose workspace plans stay in


@dataclass(frozen=True)
class ReachRecipe:
    """What two runs must have in common for their episodes to be comparable.

    Attributes:
        models: folder of the world model of each method in WITH_MODEL.
        mpc_params: parameter file of the MPC node; None for its defaults.
    """

    seed: int
    varied: bool
    models: Mapping[str, str]
    mpc_params: str | None = None
    device: str = "auto"

    def episode_seed(self, index: int) -> int:
        """63 bits, so that no two evaluations and no recording share an episode."""
        words = np.random.SeedSequence((self.seed, index)).generate_state(1, np.uint64)
        return int(words[0] >> np.uint64(1))

    def settings(self) -> tuple[PlannerConfig, MpcParameters]:
        """Planner and MPC as the node would be set, without a command guard.

        Raises:
            ValueError: the file has no section of the MPC, or a value cannot be used.
        """
        values = {}
        if self.mpc_params is not None:
            content = yaml.safe_load(Path(self.mpc_params).read_text()) or {}
            section = content.get("mpc") or content.get("/**/mpc") or content.get("/**")
            if not section or "ros__parameters" not in section:
                raise ValueError(f"{self.mpc_params} has no section mpc: ros__parameters")
            values = section["ros__parameters"]
        planner, mpc = (
            cls(**{f.name: values[f.name] for f in fields(cls) if f.name in values})
            for cls in (PlannerConfig, MpcParameters)
        )
        mpc.guard = False
        return within(planner, CELL), mpc


@dataclass(frozen=True)
class TurnedRecipe(ReachRecipe):
    """The same with the camera turned about the scene.

    A method is a variant, one of VARIANTS or CALIBRATE, and the turn: see `turned_method`.

    Attributes:
        calibrations: what was found, by turn of the camera [degrees]; None where it was refused.
    """

    calibrations: Mapping[int, Calibration | None] = field(default_factory=dict)


def turned_method(variant: str, turn_deg: int) -> str:
    """The name of a method of a TurnedRecipe."""
    return f"{variant} {turn_deg:+d}"
