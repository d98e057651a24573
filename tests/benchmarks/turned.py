"""Plays reach episodes with the camera turned about the scene, and calibrates such a camera."""

from __future__ import annotations

import numpy as np
from vjepa_planner_pkg.core.calibration.calibration import Calibration, CalibrationError
from vjepa_planner_pkg.core.calibration.fit import CalibrationParameters, fit, targets
from vjepa_planner_pkg.core.calibration.run import CalibrationRun
from vjepa_planner_pkg.core.mpc.episode import run_calibration
from vjepa_planner_pkg.core.mpc.inputs import Inputs
from vjepa_planner_pkg.core.mpc.settling import Settling
from vjepa_sim.core.panda_cell import CAMERA_TARGET
from vjepa_sim.core.tasks import ReachTask

from benchmarks.episodes import Played, Player, move, plan_and_move, scorer
from benchmarks.recipe import CALIBRATE, TRUE, WITH, WITHOUT


class TurnedPlayer(Player):
    """Plays episodes of a TurnedRecipe: `variant turn` is the method."""

    def play(self, method: str, seed: int, varied: bool) -> dict:
        variant, turn = method.rsplit(" ", 1)
        self._turn_deg = int(turn)
        self._environment.task = ReachTask(np.deg2rad(self._turn_deg))
        if variant == CALIBRATE:
            return self._calibrate(seed, varied)
        self._calibration = {
            WITHOUT: None,
            WITH: self._recipe.calibrations.get(self._turn_deg),
            TRUE: self._true_turn(),
        }[variant]
        return super().play("planner", seed, varied)

    def _plan_and_move(self, method: str) -> Played:
        settings = (self._planner, self._mpc, self._calibration)
        return plan_and_move(self._model(method), self._environment, *settings)

    def _calibrate(self, seed: int, varied: bool) -> dict:
        """The moves from the start of episode `seed`, and what they tell."""
        environment, model = self._environment, self._model("planner")
        environment.reset(seed, varied)
        parameters, inputs, settling = (
            CalibrationParameters(), Inputs(self._mpc), Settling(self._mpc)
        )  # fmt: skip

        def look() -> tuple[np.ndarray, np.ndarray]:
            seen = environment.observe()
            return model.encode(seen.image[None])[0].cpu().numpy(), seen.state

        run = CalibrationRun(
            self._mpc,
            inputs,
            settling,
            lambda state: targets(state, parameters.calibration_move_m, self._planner),
        )
        try:
            moves = run_calibration(
                run,
                inputs,
                settling,
                look,
                lambda to: move(environment, to),
                model.name,
                model.grid,
            )
            found = fit(moves, lambda r: scorer(model, r), self._planner, parameters)
        except CalibrationError as error:
            return {"refused": str(error)}
        return {"refused": "", "found": vars(found)}

    def _true_turn(self) -> Calibration:
        """What a perfect calibration would find."""
        return Calibration(
            -np.deg2rad(self._turn_deg), CAMERA_TARGET[:2], 0.0, 0, 0.0,
            self._model("planner").name, "",
        )  # fmt: skip
