"""Goals: one face for pictures, poses and sequences; terms add up."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from vjepa_planner_pkg.core.goals.goal import (
    Effort,
    GoalSequence,
    KeepOut,
    PictureGoal,
    PoseGoal,
    SumGoal,
    goal_of,
)
from vjepa_planner_pkg.core.goals.latent import Latent
from vjepa_planner_pkg.core.goals.terms import GoalTerms
from vjepa_planner_pkg.core.search.action_space import ActionParameters
from vjepa_planner_pkg.core.search.plan import ScoreError
from vjepa_planner_pkg.core.search.planner import PlannerConfig, make_planner
from vjepa_planner_pkg.core.search.scorer import DirectScorer, GoalScorer, scorer_of
from vjepa_world_model.weights.checkpoints import load_world_model

HERE = np.array([0.5, 0.0, 0.2, 0.0, 0.0, 0.0, 0.0])


def states(*positions: tuple[float, float, float]) -> torch.Tensor:
    """One sample, a state after each action."""
    found = torch.zeros(1, len(positions), 7)
    found[0, :, :3] = torch.tensor(positions)
    return found


@pytest.fixture(scope="module")
def model(small_model):
    return load_world_model(small_model, "cpu")


def latent(model, seed: int, name: str = "") -> Latent:
    rng = np.random.default_rng(seed)
    frames = rng.integers(0, 255, (1, 64, 64, 3), dtype=np.uint8)
    return Latent(1, model.encode(frames)[0].numpy(), model.grid, name or model.name)


def test_a_picture_goal_averages_over_the_cameras() -> None:
    one, other = torch.zeros(4, 2), torch.ones(4, 2)
    goal = PictureGoal({"front": one, "wrist": other})
    seen = {"front": torch.ones(3, 2, 4, 2), "wrist": torch.ones(3, 2, 4, 2)}
    assert goal.energy(seen, torch.zeros(3, 2, 7)).tolist() == [[0.5, 0.5]] * 3
    with pytest.raises(ValueError, match="camera 'wrist'"):
        goal.energy({"front": seen["front"]}, torch.zeros(3, 2, 7))


def test_a_pose_goal_is_zero_at_the_pose_and_counts_metres_turn_and_grip() -> None:
    pose = torch.tensor([0.5, 0.0, 0.2, 0.0, 0.0, 0.0, 0.0])
    goal = PoseGoal(pose)
    there = pose.expand(1, 1, 7)
    assert goal.energy({}, there).item() == pytest.approx(0.0, abs=1e-5)
    away = there.clone()
    away[..., 0] += 0.05
    assert goal.energy({}, away).item() == pytest.approx(0.05, abs=1e-5)
    turned = there.clone()
    turned[..., 5] = 0.2
    assert goal.energy({}, turned).item() == pytest.approx(0.1 * 2 * math.sin(0.1), abs=1e-5)
    closed = there.clone()
    closed[..., 6] = 1.0
    assert goal.energy({}, closed).item() == pytest.approx(0.08, abs=1e-5)


def test_the_gradient_of_a_pose_goal_is_finite_at_the_goal() -> None:
    pose = torch.tensor([0.5, 0.0, 0.2, 0.0, 0.0, 0.0, 0.0])
    at = pose.clone().expand(1, 1, 7).clone().requires_grad_(True)
    PoseGoal(pose).energy({}, at).sum().backward()
    assert torch.isfinite(at.grad).all()


def test_keep_out_is_the_depth_inside_the_deepest_box() -> None:
    boxes = torch.tensor([[[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]], [[0.0, 0.0, 0.0], [0.2, 0.2, 0.2]]])
    energy = KeepOut(boxes).energy({}, states((0.5, 0.5, 0.9), (2.0, 0.5, 0.5)))
    assert energy[0].tolist() == pytest.approx([0.1, 0.0], abs=1e-6)


def test_effort_is_the_way() -> None:
    energy = Effort().energy({}, states((0, 0, 0), (0.1, 0, 0), (0.1, 0.2, 0)))
    assert energy[0].tolist() == pytest.approx([0.0, 0.1, 0.3], abs=1e-5)


def test_terms_add_up_with_their_weights() -> None:
    at = states((0.5, 0.5, 0.9))
    box = KeepOut(torch.tensor([[[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]]]))
    assert SumGoal([(2.0, box), (1.0, box)]).energy({}, at).item() == pytest.approx(0.3, abs=1e-6)


def test_a_sequence_is_its_current_goal() -> None:
    first, last = (PoseGoal(torch.tensor([x, 0, 0, 0, 0, 0, 0.0])) for x in (0.0, 1.0))
    goals = GoalSequence([first, last])
    at = states((0.0, 0.0, 0.0))
    assert goals.energy({}, at).item() == pytest.approx(0.0, abs=1e-5)
    assert goals.advance() and not goals.advance()
    assert goals.energy({}, at).item() == pytest.approx(1.0, abs=1e-5)


def test_the_general_way_scores_a_picture_as_the_fast_one_does(model) -> None:
    here, there = latent(model, 0), latent(model, 1)
    fast = scorer_of(model, here, GoalTerms.of(there), HERE)
    features = torch.from_numpy(here.features)
    goal = goal_of(GoalTerms.of(there), model.device)
    general = GoalScorer(model, "", features, goal, torch.tensor(HERE, dtype=torch.float32))
    actions = 0.05 * torch.randn(6, 2, 7, generator=torch.Generator().manual_seed(0))
    assert isinstance(fast, DirectScorer)
    assert torch.allclose(fast(actions), general(actions), atol=1e-5)
    assert torch.allclose(fast.gradient(actions)[1], general.gradient(actions)[1], atol=1e-5)


@pytest.mark.parametrize("horizon", [1, 2])
def test_the_planner_reaches_a_pose_without_any_picture(model, horizon: int) -> None:
    pose = HERE + [0.05, -0.03, 0.02, 0, 0, 0, 0]
    score = scorer_of(model, latent(model, 0), GoalTerms(pose=pose), HERE)
    planner = make_planner(PlannerConfig(time_budget_ms=0.0, horizon=horizon))
    state = torch.tensor(HERE, dtype=torch.float32)
    plan = planner.plan(score, state, generator=torch.Generator().manual_seed(0))
    reached = HERE[:3] + plan.actions[:, :3].sum(0).numpy()
    assert np.linalg.norm(reached - pose[:3]) < 0.005
    assert plan.energy < 0.01


def test_the_planner_goes_round_what_it_is_kept_out_of(model) -> None:
    pose = HERE + [0.05, 0, 0, 0, 0, 0, 0]
    box = np.array([[[0.53, -0.1, 0.1], [0.6, 0.1, 0.3]]])
    terms = GoalTerms(pose=pose, keep_out=box, keep_out_weight=20.0)
    score = scorer_of(model, latent(model, 0), terms, HERE)
    state = torch.tensor(HERE, dtype=torch.float32)
    planner = make_planner(PlannerConfig(time_budget_ms=0.0))
    plan = planner.plan(score, state, generator=torch.Generator().manual_seed(0))
    assert HERE[0] + float(plan.actions[0, 0]) <= 0.533
    assert ActionParameters().max_step_m >= 0.05  # it could have gone there


@pytest.mark.parametrize(
    ("terms", "words"),
    [
        (GoalTerms(), "a picture or a pose"),
        (GoalTerms(pose=np.full(7, np.nan)), "seven finite numbers"),
        (GoalTerms(pose=np.zeros(6)), "seven finite numbers"),
        (GoalTerms(pose=HERE, pose_weight=-1.0), "not negative"),
        (GoalTerms(pose=HERE, keep_out=np.ones((1, 2, 3))), "lower corner below"),
        (GoalTerms(pose=HERE, keep_out=np.ones((1, 6))), "six finite numbers"),
    ],
)
def test_terms_that_cannot_be_used_are_refused(model, terms: GoalTerms, words: str) -> None:
    assert words in terms.problem()
    with pytest.raises(ScoreError, match=words):
        scorer_of(model, latent(model, 0), terms, HERE)


def test_a_picture_of_another_model_is_refused(model) -> None:
    terms = GoalTerms.of(latent(model, 1, "other"))
    with pytest.raises(ScoreError, match="model 'other'"):
        scorer_of(model, latent(model, 0), terms, HERE)
