"""From candidate actions to energies: with the world model in this process, or asked elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from vjepa_planner_pkg.core.goals.goal import Goal, goal_of
from vjepa_planner_pkg.core.goals.latent import Latent
from vjepa_planner_pkg.core.goals.terms import GoalTerms
from vjepa_planner_pkg.core.search.plan import ScoreError

if TYPE_CHECKING:
    from vjepa_world_model.model.world_model import WorldModel


def scorer_of(
    model: WorldModel, latent: Latent, goal: GoalTerms, state: np.ndarray
) -> DirectScorer | GoalScorer:
    """Scores action sequences from `latent` with a world model in this process.

    Raises:
        ScoreError: latents of another model or shape, or terms that cannot be used.
    """
    check_latent("latent", latent, model)
    for picture in goal.pictures.values():
        check_latent("goal", picture, model)
    features, here = (torch.tensor(a, dtype=torch.float32) for a in (latent.features, state))
    if goal.is_one_picture:
        (picture,) = goal.pictures.values()
        return DirectScorer(model, features, torch.tensor(picture.features), here)
    cameras = set(goal.pictures) or {""}
    if len(cameras) > 1:
        raise ScoreError(
            f"the goal has pictures of cameras {sorted(cameras)}; this planner imagines one camera"
        )
    try:
        wanted = goal_of(goal, model.device)
    except ValueError as error:
        raise ScoreError(str(error)) from error
    return GoalScorer(model, cameras.pop(), features, wanted, here)


class DirectScorer:
    """Scores against one picture with a world model in this process: its fastest way.

    Attributes:
        device: where the model is; actions are best made there.
    """

    def __init__(self, model: WorldModel, features: Tensor, goal: Tensor, state: Tensor):
        """`features` and `goal` float32 [N, D], `state` float32 [7]."""
        self.device = model.device
        self._model = model
        self._features = torch.as_tensor(features).to(self.device, torch.float32)
        self._goal = torch.as_tensor(goal).to(self.device, torch.float32)
        self._state = torch.as_tensor(state).to(self.device, torch.float32)
        self._stay: Tensor | None = None

    def __call__(self, actions: Tensor) -> Tensor:
        """actions float32 [S, H, 7] -> energies [S, H], differentiable."""
        horizon = actions.shape[1]
        if self._stay is None or len(self._stay) != horizon:  # once per plan
            with torch.no_grad():
                self._stay = self._model.imagine_stay(self._features, self._state, horizon)
        return self._model.score(
            self._features, self._goal, self._state, actions.to(self.device), self._stay
        )

    def gradient(self, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Energies [S, H] and d(energy after the last action)/d(actions) [S, H, 7]."""
        return _gradient(self, actions)


class GoalScorer:
    """Scores against any `Goal` with a world model in this process.

    Attributes:
        device: where the model is; actions are best made there.
    """

    def __init__(self, model: WorldModel, camera: str, features: Tensor, goal: Goal, state: Tensor):
        """`features` float32 [N, D] of `camera` now, `state` float32 [7]."""
        self.device = model.device
        self._model, self._camera, self._goal = model, camera, goal
        self._features = features.to(self.device)
        self._state = state.to(self.device)
        self._stay: Tensor | None = None

    def __call__(self, actions: Tensor) -> Tensor:
        """actions float32 [S, H, 7] -> energies [S, H], differentiable."""
        horizon = actions.shape[1]
        if self._stay is None or len(self._stay) != horizon:  # once per plan
            with torch.no_grad():
                self._stay = self._model.imagine_stay(self._features, self._state, horizon)
        at_once = self._model.sequences_at_once(horizon)
        pieces = actions.to(self.device).split(at_once)
        return torch.cat([self._energies(piece) for piece in pieces])

    def gradient(self, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Energies [S, H] and d(energy after the last action)/d(actions) [S, H, 7]."""
        return _gradient(self, actions)

    def _energies(self, actions: Tensor) -> Tensor:
        features, states = self._model.imagine(self._features, self._state, actions, self._stay)
        return self._goal.energy({self._camera: features}, states)


def _gradient(score: DirectScorer | GoalScorer, actions: Tensor) -> tuple[Tensor, Tensor]:
    with torch.enable_grad():
        leaf = actions.detach().to(score.device).clone().requires_grad_(True)
        energies = score(leaf)
        (gradient,) = torch.autograd.grad(energies[:, -1].sum(), leaf)
    return energies.detach(), gradient


@dataclass(frozen=True)
class ScoreRequest:
    """What crosses to the predictor.

    latent: features of now. goal: its terms.
    state: float64 [7]. actions: float32 [S, H, 7].
    gradients: whether the gradient is wanted as well.
    """

    latent: Latent
    goal: GoalTerms
    state: np.ndarray
    actions: np.ndarray
    gradients: bool = False


@dataclass(frozen=True)
class ScoreAnswer:
    """What comes back: energies float32 [S, H], gradients float32 [S, H, 7] or None."""

    energies: np.ndarray
    gradients: np.ndarray | None = None


class RemoteScorer:
    """Scores through `ask`, which carries a request to the predictor and waits for its answer."""

    device = torch.device("cpu")

    def __init__(
        self,
        ask: Callable[[ScoreRequest], ScoreAnswer],
        latent: Latent,
        goal: GoalTerms,
        state: np.ndarray,
    ):
        self._ask, self._latent, self._goal, self._state = ask, latent, goal, state

    def __call__(self, actions: Tensor) -> Tensor:
        """actions float32 [S, H, 7] -> energies [S, H]."""
        return torch.from_numpy(self._send(actions, False).energies)

    def gradient(self, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Energies [S, H] and d(energy after the last action)/d(actions) [S, H, 7]."""
        answer = self._send(actions, True)
        return torch.from_numpy(answer.energies), torch.from_numpy(answer.gradients)

    def _send(self, actions: Tensor, gradients: bool) -> ScoreAnswer:
        array = actions.detach().cpu().numpy().astype(np.float32)
        return self._ask(ScoreRequest(self._latent, self._goal, self._state, array, gradients))


def answer(model: WorldModel, request: ScoreRequest) -> ScoreAnswer:
    """The predictor's side of `RemoteScorer`.

    Raises:
        ScoreError: latents of another model or shape, or numbers that are not finite; names it.
    """
    if request.actions.size == 0:
        raise ScoreError("no actions; give at least one sample and one step")
    for name in ("state", "actions"):
        if not np.isfinite(getattr(request, name)).all():
            raise ScoreError(f"{name} holds numbers that are not finite")
    scorer = scorer_of(model, request.latent, request.goal, request.state)
    actions = torch.from_numpy(np.array(request.actions, dtype=np.float32))
    if request.gradients:
        energies, gradients = scorer.gradient(actions)
        return ScoreAnswer(_array(energies), _array(gradients))
    with torch.no_grad():
        return ScoreAnswer(_array(scorer(actions)))


def check_latent(name: str, latent: Latent, model: WorldModel) -> None:
    """Refuses what this model did not encode.

    Raises:
        ScoreError: another model's name, patch grid or width.
    """
    if latent.model != model.name:
        raise ScoreError(
            f"{name} was encoded by model {latent.model!r}, this predictor is of {model.name!r}; "
            "start encoder and predictor with the same model parameter"
        )
    expected = (model.grid[0] * model.grid[1], model.width)
    if tuple(latent.grid) != tuple(model.grid) or latent.features.shape != expected:
        raise ScoreError(
            f"{name} is {list(latent.features.shape)} on grid {list(latent.grid)}, model "
            f"{model.name!r} needs {list(expected)} on grid {list(model.grid)}"
        )


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().to("cpu", torch.float32).numpy()
