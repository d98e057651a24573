"""One reach episode in process: the planner, and what it is compared with.

Every method gets the same episode, the same limit of a move along each axis, and the same number
of moves. Only `oracle` may look at the goal's pose.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field

import numpy as np
from vjepa_planner_pkg.core.calibration.calibration import Calibration, calibrated
from vjepa_planner_pkg.core.goals.terms import GoalTerms
from vjepa_planner_pkg.core.mpc.episode import run_episode
from vjepa_planner_pkg.core.mpc.io import Latent, PlannedAction, RequestPlan, SubGoal
from vjepa_planner_pkg.core.mpc.mpc import MPC
from vjepa_planner_pkg.core.mpc.parameters import MpcParameters
from vjepa_planner_pkg.core.mpc.planning import Planning
from vjepa_planner_pkg.core.search.planner import PlannerConfig
from vjepa_planner_pkg.core.search.scorer import DirectScorer, GoalScorer, scorer_of
from vjepa_sim.core.environment import Environment
from vjepa_sim.core.panda_cell import WORKSPACE_HIGH, WORKSPACE_LOW
from vjepa_sim.core.physics import UnreachableError
from vjepa_world_model.model.world_model import WorldModel
from vjepa_world_model.weights.checkpoints import load_world_model

from benchmarks.recipe import WITH_MODEL, ReachRecipe

ARRIVED_M = 5e-4  # the oracle is content with this


@dataclass
class Played:
    """How an episode went.

    Attributes:
        outcome, reason: as in `planner_status`; of the other methods, what ended them.
        steps: moves made.
        planning_s: time to choose each action, the encoding of the picture included [s].
        cut: plans that the time budget ended.
    """

    outcome: str
    reason: str = ""
    steps: int = 0
    planning_s: list[float] = field(default_factory=list)
    cut: int = 0


class Player:
    """Plays episodes; keeps what is slow to make, the simulation and the world models."""

    def __init__(self, recipe: ReachRecipe):
        """`recipe` says which models and settings."""
        self._recipe = recipe
        self._planner, self._mpc = recipe.settings()
        self._models: dict[str, WorldModel] = {}
        self._environment = Environment()

    def play(self, method: str, seed: int, varied: bool) -> dict:
        """Plays episode `seed` with `method`; returns a record for the JSON file."""
        environment, begun = self._environment, time.perf_counter()
        environment.reset(seed, varied)
        start_m = environment.distance()
        if method in WITH_MODEL:
            played = self._plan_and_move(method)
        else:
            limits = (self._mpc.max_steps, self._planner.max_step_m)
            played = COMPARISONS[method](environment, seed, *limits)
        return {
            "seed": seed,
            "start_distance_cm": round(100 * start_m, 4),
            "error_cm": round(100 * environment.distance(), 4),
            **asdict(played),
            "planning_s": [round(s, 5) for s in played.planning_s],
            "seconds": round(time.perf_counter() - begun, 3),
        }

    def _plan_and_move(self, method: str) -> Played:
        return plan_and_move(self._model(method), self._environment, self._planner, self._mpc)

    def _model(self, method: str) -> WorldModel:
        if method not in self._models:
            self._models[method] = load_world_model(
                self._recipe.models[method], self._recipe.device
            )
        return self._models[method]


def scorer(model: WorldModel, request: RequestPlan) -> DirectScorer | GoalScorer:
    """Scores the candidates for `request` with a world model in this process."""
    return scorer_of(model, request.latent, request.goal, request.state)


def plan_and_move(
    model: WorldModel,
    environment: Environment,
    planner: PlannerConfig,
    mpc: MpcParameters,
    calibration: Calibration | None = None,
) -> Played:
    """The MPC of the nodes toward the goal picture, with a world model in this process."""
    planning = Planning(planner)
    seconds: list[float] = []
    cut, encoding_s = 0, 0.0

    def encode(image: np.ndarray) -> np.ndarray:
        return model.encode(image[None])[0].cpu().numpy()

    def look() -> tuple[np.ndarray, np.ndarray]:
        nonlocal encoding_s
        seen = environment.observe()
        begun = time.perf_counter()
        features = encode(seen.image)
        encoding_s = time.perf_counter() - begun
        return features, seen.state

    def plan(request: RequestPlan) -> PlannedAction:
        nonlocal cut
        begun = time.perf_counter()
        score = calibrated(lambda turned: scorer(model, turned), request, calibration)
        answer = planning.answer(request, score)
        seconds.append(encoding_s + time.perf_counter() - begun)
        cut += planning.last.ended_by == "budget"
        return answer

    goal = Latent(0, encode(environment.goal_image), model.grid, model.name)
    run = run_episode(
        MPC(mpc, planner.seed),
        [SubGoal(GoalTerms.of(goal))],
        look,
        lambda to: move(environment, to),
        plan,
    )
    steps = run.looks[-1].step if run.looks else 0
    return Played(run.outcome.name.lower(), run.reason, steps, seconds, cut)


def act_at_random(environment: Environment, seed: int, max_steps: int, max_step_m: float) -> Played:
    """Moves drawn evenly from the box that the planner searches."""
    rng = np.random.default_rng((seed, 1))
    seconds = []
    for _ in range(max_steps):
        begun = time.perf_counter()
        target = _target(environment, rng.uniform(-max_step_m, max_step_m, 3))
        seconds.append(time.perf_counter() - begun)
        move(environment, target)
    return Played("timed_out", f"made {max_steps} moves", max_steps, seconds)


def stay_put(environment: Environment, seed: int, max_steps: int, max_step_m: float) -> Played:
    """Does nothing."""
    return Played("reached", "nothing to do", 0, [0.0])


def ask_the_oracle(
    environment: Environment, seed: int, max_steps: int, max_step_m: float
) -> Played:
    """Straight to the goal's pose: what the simulation and the limit of a move allow."""
    seconds: list[float] = []
    for step in range(max_steps):
        begun = time.perf_counter()
        way = (environment.goal_state - environment.physics.state())[:3]
        target = _target(environment, np.clip(way, -max_step_m, max_step_m))
        seconds.append(time.perf_counter() - begun)
        if np.linalg.norm(way) < ARRIVED_M:
            return Played("reached", "at the pose of the goal", step, seconds)
        move(environment, target)
    return Played("timed_out", f"made {max_steps} moves", max_steps, seconds)


COMPARISONS = {
    "random_actions": act_at_random,
    "stay_put": stay_put,
    "oracle": ask_the_oracle,
}


def _target(environment: Environment, step: np.ndarray) -> np.ndarray:
    """State [7] after moving by `step` [3] inside the workspace, turned as at the start."""
    target = environment.episode.start.copy()
    target[:3] = np.clip(environment.physics.state()[:3] + step, WORKSPACE_LOW, WORKSPACE_HIGH)
    return target


def move(environment: Environment, target: np.ndarray) -> None:
    """As the node follows a target: what cannot be reached is refused, and the arm holds."""
    try:
        environment.physics.move_to(target)
    except UnreachableError:
        pass
