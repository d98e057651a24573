"""Plays episodes through the launched nodes, in a ROS domain of their own, one after the other."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import numpy as np
from node_kit.testing import isolated_domain
from vjepa_bringup.sim_planner import SimPlanner
from vjepa_interfaces.msg import PlannerStatus

from benchmarks.recipe import Key, ReachRecipe


def play(recipe: ReachRecipe, todo: Sequence[Key], composed: bool) -> Iterator[tuple[Key, dict]]:
    """The record of each episode in `todo`, as soon as it is played.

    Raises:
        PlannerError: a node ended, did not answer or refused.
    """
    isolated_domain()
    arguments = {
        "model": recipe.models["planner"],
        "device": recipe.device,
        "composed": composed,
        **({"mpc_params": recipe.mpc_params} if recipe.mpc_params else {}),
    }
    with SimPlanner(arguments) as planner:
        planner.wait_until_ready()
        for key in todo:
            seed = recipe.episode_seed(key[1])
            yield key, _episode(planner, seed, recipe.varied)


def _episode(planner: SimPlanner, seed: int, varied: bool) -> dict:
    begun = time.perf_counter()
    scene = planner.reset_scene(seed, varied)
    plans: list[tuple[float, float]] = [(0.0, 0.0)]  # how long each took, and the energy it found
    steps = 0

    def note(status: PlannerStatus) -> None:
        nonlocal steps
        steps = status.step
        plan = (status.planning_s, status.predicted_energy)
        if plan != plans[-1]:  # a status that tells of no new plan repeats the last one
            plans.append(plan)

    result = planner.reach([scene.goal_image], on_status=note)
    names = {PlannerStatus.REACHED: "reached", PlannerStatus.STUCK: "stuck"}
    names |= {PlannerStatus.TIMED_OUT: "timed_out", PlannerStatus.STOPPED: "stopped"}
    return {
        "seed": seed,
        "start_distance_cm": _cm(scene.state, scene.goal_state),
        "error_cm": _cm(planner.state, scene.goal_state),
        "outcome": names[result.outcome],
        "reason": result.reason,
        "steps": steps,
        "planning_s": [round(seconds, 5) for seconds, _ in plans[1:]],
        "cut": 0,
        "seconds": round(time.perf_counter() - begun, 3),
    }


def _cm(state: np.ndarray, goal: np.ndarray) -> float:
    """Distance between the positions of two states [7]."""
    return round(100 * float(np.linalg.norm(state[:3] - goal[:3])), 4)
