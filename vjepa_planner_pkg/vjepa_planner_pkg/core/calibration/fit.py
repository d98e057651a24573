"""Fits the turn between the motion that an arm made and the motion that the world model saw in it.

For a move with a picture before and after, the planner is asked for the action that explains the
second picture best: with the picture after the move as the goal, the action of lowest energy. The
pairs (made, explained) of several moves give the turn by least squares (Wahba's problem, solved by
Kabsch's method in scipy).

The turn is about the vertical only. The known weakness of action-conditioned models is the camera's
azimuth; which way is up shows in every picture, and a few centimetres of motion tell a tilt badly
from the model's own errors: three unknowns instead of one would take up those errors. What a tilted
camera leaves unexplained is in the residual, which counts all three axes; a large one is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from node_kit.parameters import parameter
from robot_cell import POSITION
from scipy.spatial.transform import Rotation

from vjepa_planner_pkg.core.calibration.calibration import Calibration, CalibrationError, calibrated
from vjepa_planner_pkg.core.goals.terms import GoalTerms
from vjepa_planner_pkg.core.mpc.io import Latent, RequestPlan
from vjepa_planner_pkg.core.mpc.planning import Planning
from vjepa_planner_pkg.core.search.action_space import ActionParameters
from vjepa_planner_pkg.core.search.plan import EnergyFunction
from vjepa_planner_pkg.core.search.planner import PlannerConfig

ROUNDS = 4  # of explaining with what is known so far
CONVERGED_RAD = 0.01
SEARCH = 1.75  # an explanation is looked for within so many times the longest move
LEAST_MOVES = 4
LEAST_BREADTH = 0.3  # of the moves across their main direction, as a share of that along it


@dataclass
class CalibrationParameters:
    """The moves of a calibration, and which result is believed."""

    calibration_file: str = parameter(
        "",
        "calibration of the camera: used if it exists, written by the action calibrate; empty: a "
        "calibration is kept until the node ends",
    )
    calibration_move_m: float = parameter(
        0.05, "length of the moves of a calibration", unit="m", minimum=0.01, maximum=0.2
    )
    calibration_least_move_m: float = parameter(
        0.01, "moves that the arm made shorter than this are refused", unit="m", minimum=0.002
    )
    calibration_max_residual: float = parameter(
        0.5, "a calibration that leaves a larger share of the motion unexplained is refused",
        minimum=0.01, maximum=10.0,
    )  # fmt: skip


@dataclass(frozen=True)
class Move:
    """One move: latents of the arm at rest before and after, states float64 [7] at both."""

    before: Latent
    after: Latent
    start: np.ndarray
    end: np.ndarray

    @property
    def moved(self) -> np.ndarray:
        """float64 [3], how far the arm came [m]."""
        return self.end[POSITION] - self.start[POSITION]


def targets(state: np.ndarray, move_m: float, actions: ActionParameters) -> list[np.ndarray]:
    """Where to send an arm from `state` [7]: out and back in each direction of the table's plane.

    Four directions, along and across: what the model gets wrong in the same way for all moves from
    a place cancels. Directions that would leave the planner's workspace are left out.

    Returns:
        States float64 [7], the last one being `state`; every second one is `state`.

    Raises:
        CalibrationError: fewer than three directions are left.
    """
    low, high = actions.workspace_min_m or -np.inf, actions.workspace_max_m or np.inf
    found = []
    for direction in ((1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.0, -1.0)):
        target = np.array(state, dtype=float)
        target[:2] += move_m * np.array(direction)
        if ((target[POSITION] >= low) & (target[POSITION] <= high)).all():
            found += [target, np.array(state, dtype=float)]
    if len(found) < 6:
        raise CalibrationError(
            f"from {np.round(state[POSITION], 3).tolist()} m moves of {move_m:g} m stay inside the "
            f"workspace in {len(found) // 2} of 4 directions; bring the arm to the middle first"
        )
    return found


def fit_turn(moved: np.ndarray, imagined: np.ndarray) -> tuple[float, float]:
    """The turn about the vertical that brings `moved` nearest to `imagined`, both [M, 3] [m].

    Returns:
        The turn [rad], and the root mean square of what it leaves, as a share of the motion.
    """
    vertical = np.array([[0.0, 0.0, 1.0]])
    # An infinite weight: the vertical is kept exactly, what is left is the turn about it.
    turn, _ = Rotation.align_vectors(
        np.concatenate([vertical, imagined]),
        np.concatenate([vertical, moved]),
        weights=[np.inf, *np.ones(len(moved))],
    )
    left = imagined - turn.apply(moved)
    return float(turn.as_rotvec()[2]), float(np.sqrt((left**2).sum() / (moved**2).sum()))


def fit(
    moves: Sequence[Move],
    source: Callable[[RequestPlan], EnergyFunction],
    planner: PlannerConfig,
    parameters: CalibrationParameters,
) -> Calibration:
    """Explains each move and fits the turn.

    The state that a prediction starts from is turned as well, so the explanations are repeated with
    the turn found so far until it no longer changes.

    Args:
        moves: all with one model and camera.
        source: the score of a request, uncalibrated; see `calibrated`.
        planner: how explanations are searched; its limits and time budget do not matter.

    Raises:
        CalibrationError: too few or too short moves, or all along one line; or the model saw other
            motions in them than a turn explains.
        ScoreError: an explanation could not be scored.
    """
    moved = np.array([move.moved for move in moves])
    _check(moved, parameters)
    search = Planning(
        replace(
            planner,
            horizon=1, rotation=False, gripper=False, time_budget_ms=0.0,
            max_step_m=float(SEARCH * np.linalg.norm(moved, axis=1).max()),
            workspace_min_m=[], workspace_max_m=[],
        )
    )  # fmt: skip
    known = Calibration(
        0.0, _pivot(moves, planner), 1.0, len(moves),
        float(np.linalg.norm(moved, axis=1).mean()), moves[0].before.model, moves[0].before.frame,
    )  # fmt: skip
    for _ in range(ROUNDS):
        imagined = np.array(
            [_explain(move, search, source, known, seed) for seed, move in enumerate(moves)]
        )
        more_rad, residual = fit_turn(moved, imagined)
        yaw_rad = float(np.angle(np.exp(1j * (known.yaw_rad + more_rad))))
        known = replace(known, yaw_rad=yaw_rad, residual=residual)
        if abs(more_rad) < CONVERGED_RAD:
            break
    if residual > parameters.calibration_max_residual:
        raise CalibrationError(
            f"a turn of {np.rad2deg(known.yaw_rad):.0f} degrees leaves {100 * residual:.0f} % of "
            f"the motion unexplained, more than {100 * parameters.calibration_max_residual:.0f} %: "
            "the model sees other motions; keep the scene still, bring the arm into view, make "
            "longer moves, or train on cameras like this one"
        )
    return known


def _check(moved: np.ndarray, parameters: CalibrationParameters) -> None:
    if len(moved) < LEAST_MOVES:
        raise CalibrationError(f"{len(moved)} moves; at least {LEAST_MOVES} are needed")
    if not np.isfinite(moved).all():
        raise CalibrationError("the states at the moves are not finite")
    shortest_m = float(np.linalg.norm(moved[:, :2], axis=1).min())
    if shortest_m < parameters.calibration_least_move_m:
        raise CalibrationError(
            f"a move covered {1e3 * shortest_m:.1f} mm in the plane, less than "
            f"{1e3 * parameters.calibration_least_move_m:.0f} mm; make longer moves and see that "
            "the arm follows"
        )
    along, across = np.linalg.svd(moved[:, :2], compute_uv=False)
    if across < LEAST_BREADTH * along:
        raise CalibrationError(
            "all moves lie along one line; make moves along and across the camera's view"
        )


def _pivot(moves: Sequence[Move], planner: PlannerConfig) -> tuple[float, float]:
    """The middle of the workspace, or of the moves where there is none."""
    corners = [planner.workspace_min_m, planner.workspace_max_m]
    if not planner.workspace_min_m:
        corners = [move.start for move in moves]
    x_m, y_m = np.mean(np.array(corners)[:, :2], axis=0)
    return float(x_m), float(y_m)


def _explain(
    move: Move,
    search: Planning,
    source: Callable[[RequestPlan], EnergyFunction],
    known: Calibration,
    seed: int,
) -> np.ndarray:
    """The motion in base_link, float64 [3], after which the model expects what was seen."""
    request = RequestPlan(seed, move.before, GoalTerms.of(move.after), move.start, None, seed)
    return search.answer(request, calibrated(source, request, known)).action[POSITION]
