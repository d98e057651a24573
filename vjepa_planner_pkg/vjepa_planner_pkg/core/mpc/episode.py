"""One run of the MPC in process, without nodes: what the evaluation shares with the real thing."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from vjepa_planner_pkg.core.calibration.calibration import CalibrationError
from vjepa_planner_pkg.core.calibration.fit import Move
from vjepa_planner_pkg.core.calibration.run import CalibrationRun, RecordedMove
from vjepa_planner_pkg.core.mpc.inputs import Inputs
from vjepa_planner_pkg.core.mpc.io import (
    ArmState,
    Command,
    Effect,
    Finished,
    Latent,
    MpcState,
    Now,
    PlannedAction,
    RequestPlan,
    Status,
    SubGoal,
)
from vjepa_planner_pkg.core.mpc.mpc import MPC
from vjepa_planner_pkg.core.mpc.settling import Settling

_STILL_NS = 120_000_000  # made-up time between two states: longer than still_s, within all ages


@dataclass
class MpcEpisode:
    """How a run went.

    looks: status after each planned action, the last one included if it was not executed.
    states: float64 [7] before the first and after each move.
    """

    outcome: MpcState = MpcState.IDLE
    reason: str = ""
    looks: list[Status] = field(default_factory=list)
    states: list[np.ndarray] = field(default_factory=list)


def run_calibration(
    run: CalibrationRun,
    inputs: Inputs,
    settling: Settling,
    look: Callable[[], tuple[np.ndarray, np.ndarray]],
    move: Callable[[np.ndarray], object],
    model: str,
    grid: tuple[int, int],
) -> list[Move]:
    """Lets a new `run` (its MPC's parameter guard off) make its moves; `look`, `move` as below.

    Args:
        run: with these `inputs` and `settling`.
        model: name of the world model behind the features. grid: their patch rows and columns.

    Raises:
        CalibrationError: the run ended early; says why.
    """
    time_ns = 0
    effects = run.begin(Now(0.0, 0))
    while True:
        for effect in effects:
            if isinstance(effect, Command):
                move(effect.target)
            elif isinstance(effect, RecordedMove):
                return effect.moves
            else:
                raise CalibrationError(effect.reason)
        features, state = look()
        for _ in range(2):  # the same pose twice: the arm is at rest
            time_ns += _STILL_NS
            now = Now(time_ns * 1e-9, time_ns)
            inputs.arm.take(ArmState(time_ns, state), now)
            settling.add(ArmState(time_ns, state), now.steady_s)
        inputs.latent.take(Latent(time_ns, features, grid, model), now)
        effects = run.tick(now)


def run_episode(
    mpc: MPC,
    goals: Sequence[SubGoal],
    look: Callable[[], tuple[np.ndarray, np.ndarray]],
    move: Callable[[np.ndarray], object],
    plan: Callable[[RequestPlan], PlannedAction],
) -> MpcEpisode:
    """Runs a new `mpc` (with parameter guard off) toward `goals`, to the end.

    Time is made up: it passes while the arm settles and stands still while planning.

    Args:
        mpc: not used before.
        goals: with terms, at least one with a picture, of the size of those that `look` gives.
        look: returns features float32 [N, D] of an image taken now, and the state float64 [7].
        move: brings the arm to an absolute state [7] and returns when it is there.
        plan: plans; see `core.planning.Planning.answer`.
    """
    pictured = next(picture for goal in goals for picture in goal.terms.pictures.values())
    episode, time_ns = MpcEpisode(), 0

    def now() -> Now:
        return Now(time_ns * 1e-9, time_ns)

    def carry_out(effects: Sequence[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, RequestPlan):
                follow_up = mpc.on_plan(effect.id, plan(effect), now())
                episode.looks.append(copy.deepcopy(mpc.status))
                carry_out(follow_up)
            elif isinstance(effect, Command):
                move(effect.target)
            elif isinstance(effect, Finished):
                episode.outcome, episode.reason = effect.outcome, effect.reason

    carry_out(mpc.on_goals(goals, now()))
    while mpc.status.state.active:
        features, state = look()
        episode.states.append(state)
        for _ in range(2):  # the same pose twice: the arm is at rest
            time_ns += _STILL_NS
            carry_out(mpc.on_arm(ArmState(time_ns, state), now()))
        latent = Latent(time_ns, features, pictured.grid, pictured.model, pictured.frame)
        carry_out(mpc.on_latent(latent, now()))
    return episode
