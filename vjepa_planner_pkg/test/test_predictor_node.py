"""Promises of the predictor node."""

import numpy as np
import pytest
import torch
from rclpy.time import Time
from vjepa_interfaces.srv import ScoreActions
from vjepa_planner_pkg.core.goals.terms import GoalTerms
from vjepa_planner_pkg.core.mpc.io import Latent
from vjepa_planner_pkg.core.search.scorer import DirectScorer, ScoreRequest
from vjepa_planner_pkg.nodes import messages
from vjepa_planner_pkg.nodes.predictor_node import PredictorNode
from vjepa_world_model.runtime import memory
from vjepa_world_model.weights.checkpoints import load_world_model

STATE = np.array([0.5, 0.0, 0.2, 0.0, 0.0, 0.0, 0.0])


@pytest.fixture
def scene(ros, small_model):
    """The node, a model of the same weights, and two latents."""
    ros.start(PredictorNode, model=small_model, device="cpu")
    model = load_world_model(small_model, "cpu")
    frames = np.random.default_rng(0).integers(0, 255, (2, 64, 64, 3), np.uint8)
    features = model.encode(frames).numpy()
    stamp = Time(seconds=3).nanoseconds
    latent, goal = (Latent(stamp, f, model.grid, model.name) for f in features)
    return model, latent, goal


def actions(samples=5, horizon=2):
    generator = torch.Generator().manual_seed(1)
    return (0.05 * torch.randn(samples, horizon, 7, generator=generator)).numpy()


def test_energies_and_gradients_are_those_of_the_model(ros, scene):
    model, latent, goal = scene
    request = ScoreRequest(latent, GoalTerms.of(goal), STATE, actions(), gradients=True)
    response = ros.call(ScoreActions, "score_actions", messages.from_score_request(request))
    assert response.success, response.message
    answer = messages.to_score_answer(response, 5, 2)
    features = (torch.from_numpy(x.features) for x in (latent, goal))
    score = DirectScorer(model, *features, torch.from_numpy(STATE))
    energies, gradients = score.gradient(torch.from_numpy(actions()))
    assert np.allclose(answer.energies, energies.numpy(), atol=1e-6)
    assert np.allclose(answer.gradients, gradients.numpy(), atol=1e-6)


def test_gradients_are_left_out_when_not_asked_for(ros, scene):
    _, latent, goal = scene
    request = messages.from_score_request(
        ScoreRequest(latent, GoalTerms.of(goal), STATE, actions())
    )
    response = ros.call(ScoreActions, "score_actions", request)
    assert response.success and len(response.energies) == 10 and not response.gradients


def change(**fields):
    def apply(request):
        for path, value in fields.items():
            target = request
            *parents, name = path.split("__")
            for parent in parents:
                target = getattr(target, parent)
            setattr(target, name, value)

    return apply


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (change(latent__model="other"), "latent was encoded by model 'other'"),
        (
            lambda request: setattr(request.goal.pictures[0], "model", "other"),
            "goal was encoded by model 'other'",
        ),
        (change(latent__grid_height=2, latent__grid_width=8), "grid [2, 8]"),
        (change(latent__width=25), "latent holds 384 numbers"),
        (change(samples=6), "actions hold 70 numbers"),
        (change(samples=0), "actions hold 70 numbers"),
        (change(samples=9999), "9999 sequences"),
        (lambda request: request.actions.__setitem__(3, float("nan")), "actions holds"),
        (lambda request: request.latent.data.__setitem__(3, float("inf")), "not finite"),
        (lambda request: request.state.__setitem__(3, float("nan")), "state holds"),
    ],
)
def test_a_bad_request_is_refused_with_its_reason_and_the_next_one_answered(
    ros, scene, spoil, named
):
    _, latent, goal = scene
    good = ScoreRequest(latent, GoalTerms.of(goal), STATE, actions())
    request = messages.from_score_request(good)
    spoil(request)
    response = ros.call(ScoreActions, "score_actions", request)
    assert not response.success and named in response.message
    assert not response.energies
    request = messages.from_score_request(good)
    assert ros.call(ScoreActions, "score_actions", request).success


def test_a_gradient_that_memory_does_not_hold_is_refused(ros, scene, monkeypatch):
    model, latent, goal = scene
    monkeypatch.setattr(memory, "available_bytes", lambda device: 1000)
    for gradients in (True, False):
        request = ScoreRequest(latent, GoalTerms.of(goal), STATE, actions(), gradients)
        response = ros.call(ScoreActions, "score_actions", messages.from_score_request(request))
        assert response.success == (not gradients)
        assert ("5 sequences of 2 actions needs" in response.message) == gradients
