"""Promises of planning with a real world model: parity with the reference, scorers that agree."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from vjepa_planner_pkg.core.goals.terms import GoalTerms
from vjepa_planner_pkg.core.mpc.io import Latent, RequestPlan
from vjepa_planner_pkg.core.mpc.planning import Planning
from vjepa_planner_pkg.core.search.plan import ScoreError
from vjepa_planner_pkg.core.search.planner import CEMPlanner, PlannerConfig
from vjepa_planner_pkg.core.search.scorer import DirectScorer, RemoteScorer, ScoreRequest, answer
from vjepa_world_model.weights.checkpoints import load_world_model

FIXTURES = Path(__file__).resolve().parents[3] / "shared" / "fixtures"


@pytest.fixture(scope="module")
def reference():
    """The fixture's arrays and the world model of its checkpoint."""
    if not FIXTURES.is_dir():
        pytest.skip(f"no parity fixtures at {FIXTURES}")
    arrays = dict(np.load(FIXTURES / "planning.npz"))
    model = load_world_model(
        FIXTURES / "vjepa2_ac_tiny.pt", "cpu", image_size=64, encoder_heads=3, predictor_heads=3
    )
    return arrays, model


@pytest.fixture(scope="module")
def scene(reference):
    """Latents and state of the fixture, as the MPC hands them over."""
    arrays, model = reference
    latent, goal = (
        Latent(1, arrays[name][0, 0], model.grid, model.name)
        for name in ("frame_latent", "goal_latent")
    )
    return model, latent, goal, arrays["pose"][0, 0].astype(np.float64)


def direct(scene):
    model, latent, goal, state = scene
    features = (torch.from_numpy(x.features) for x in (latent, goal))
    return DirectScorer(model, *features, torch.from_numpy(state))


def remote(scene):
    model, latent, goal, state = scene
    return RemoteScorer(lambda r: answer(model, r), latent, GoalTerms.of(goal), state)


def test_cem_is_the_reference_sample_for_sample(reference, scene):
    arrays, _ = reference
    args = json.loads(str(arrays["mpc_args"]))
    config = PlannerConfig(
        horizon=args["rollout"],
        max_step_m=args["maxnorm"],
        gripper=True,
        cem_samples=args["samples"],
        cem_elites=args["topk"],
        cem_iterations=args["cem_steps"],
        cem_momentum_mean=args["momentum_mean"],
        cem_momentum_std=args["momentum_std"],
        cem_momentum_mean_gripper=args["momentum_mean_gripper"],
        cem_momentum_std_gripper=args["momentum_std_gripper"],
    )
    plan = CEMPlanner(config, config).plan(
        direct(scene),
        torch.from_numpy(scene[3]),
        generator=torch.Generator().manual_seed(int(arrays["seed"])),
    )
    assert np.abs(plan.actions.numpy() - arrays["cem_action"]).max() < 1e-4


def test_energies_are_those_of_the_reference(reference, scene):
    arrays, _ = reference
    with torch.no_grad():
        energies = direct(scene)(torch.from_numpy(arrays["actions"]))
    assert np.abs(energies.numpy() - arrays["energies"]).max() < 1e-4


def test_direct_and_remote_scorers_agree(scene):
    actions = 0.05 * torch.randn(9, 2, 7, generator=torch.Generator().manual_seed(1))
    a, b = direct(scene), remote(scene)
    with torch.no_grad():
        assert torch.allclose(a(actions), b(actions), atol=1e-6)
    for ours, theirs in zip(a.gradient(actions), b.gradient(actions)):
        assert torch.allclose(ours, theirs, atol=1e-6)


def test_the_gradient_is_that_of_the_energy(scene):
    actions = 0.03 * torch.randn(1, 1, 7, generator=torch.Generator().manual_seed(2))
    score = direct(scene)
    _, gradient = score.gradient(actions)
    step = torch.zeros(1, 1, 7)
    step[0, 0, 1] = 2e-3
    with torch.no_grad():
        slope = (score(actions + step) - score(actions - step)) / 4e-3
    assert float(slope[0, 0]) == pytest.approx(float(gradient[0, 0, 1]), rel=0.05, abs=1e-4)


def test_both_planners_lower_the_energy_and_repeat_under_a_seed(scene):
    model, latent, goal, state = scene
    request = RequestPlan(1, latent, GoalTerms.of(goal), state, None, seed=3)
    for name in ("fast", "cem"):
        config = PlannerConfig(planner=name, cem_samples=64, cem_iterations=4, time_budget_ms=0)
        first, again = (Planning(config).answer(request, direct(scene)) for _ in range(2))
        assert first.energy < first.energy_stay
        assert np.array_equal(first.action, again.action)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"model": "other"}, "model 'other'"),
        ({"grid": (2, 8)}, "grid [2, 8]"),
        ({"features": np.zeros((16, 71), np.float32)}, "[16, 71]"),
    ],
)
@pytest.mark.parametrize("which", ["latent", "goal"])
def test_a_foreign_latent_is_refused_by_name(scene, which, change, named):
    model, latent, goal, state = scene
    latents = {"latent": latent, "goal": goal}
    values = {**vars(latents[which]), **change}
    latents[which] = Latent(**values)
    latents["goal"] = GoalTerms.of(latents["goal"])
    request = ScoreRequest(**latents, state=state, actions=np.zeros((2, 1, 7), np.float32))
    with pytest.raises(ScoreError, match=f"^{which} ") as error:
        answer(model, request)
    assert named in str(error.value)


def test_numbers_that_are_not_finite_are_refused(scene):
    model, latent, goal, state = scene
    for name in ("state", "actions"):
        values = {"state": state.copy(), "actions": np.zeros((2, 1, 7), np.float32)}
        values[name].flat[3] = np.nan
        with pytest.raises(ScoreError, match=name):
            answer(model, ScoreRequest(latent, GoalTerms.of(goal), **values))
