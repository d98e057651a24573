"""Carries plan requests to a worker thread, and the worker's candidates to the predictor."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol

from node_kit.lifecycle import KitNode
from vjepa_interfaces.srv import ScoreActions

from vjepa_planner_pkg.core.calibration.calibration import Calibration, calibrated
from vjepa_planner_pkg.core.mpc.io import PlannedAction, RequestPlan
from vjepa_planner_pkg.core.mpc.planning import Planning
from vjepa_planner_pkg.core.search.plan import EnergyFunction, ScoreError
from vjepa_planner_pkg.core.search.planner import PlannerConfig
from vjepa_planner_pkg.core.search.scorer import RemoteScorer, ScoreAnswer, ScoreRequest
from vjepa_planner_pkg.nodes import messages


class PlanCancelled(Exception):
    """Nobody waits for this plan any more."""


class ScoreSource(Protocol):
    """Where the energies for a plan request come from."""

    def score(self, request: RequestPlan, wanted: Callable[[], bool]) -> EnergyFunction:
        """A score for `request`; it may raise PlanCancelled once `wanted()` is false."""


class PlanWorker:
    """Plans in a thread of its own; `planned` and `failed` are called in the executor's.

    Attributes:
        calibration: of the camera, None for none; holds from the next request on.
    """

    def __init__(
        self,
        node: KitNode,
        config: PlannerConfig,
        source: ScoreSource,
        planned: Callable[[int, PlannedAction], None],
        failed: Callable[[int, str], None],
        calibration: Calibration | None = None,
    ):
        self._node, self._source = node, source
        self._planning = Planning(config)
        self._planned, self._failed = planned, failed
        self.calibration = calibration
        self._wanted: int | None = None
        self._worker = node.create_worker(self._plan, "plan")

    def request(self, request: RequestPlan) -> None:
        """Begins to plan; what was asked for before is dropped."""
        self._wanted = request.id
        self._worker.offer(request)

    def cancel(self, id: int) -> None:
        """Ends work on plan `id` at its next batch."""
        if self._wanted == id:
            self._wanted = None

    def _plan(self, request: RequestPlan) -> None:
        id = request.id
        try:
            score = calibrated(
                lambda turned: self._source.score(turned, lambda: self._wanted == id),
                request,
                self.calibration,
            )
            plan = self._planning.answer(request, score)
        except PlanCancelled:
            return
        except (ScoreError, ValueError) as error:
            reason = str(error)
            self._node.call_soon(lambda: self._failed(id, reason))
            return
        self._node.call_soon(lambda: self._planned(id, plan))


class PredictorClient:
    """A `ScoreSource` that asks the predictor node."""

    def __init__(self, node: KitNode, timeout_s: float):
        self._client = node.create_client(ScoreActions, "score_actions")
        self._timeout_s = timeout_s

    def score(self, request: RequestPlan, wanted: Callable[[], bool]) -> RemoteScorer:
        def ask(score_request: ScoreRequest) -> ScoreAnswer:
            if not wanted():
                raise PlanCancelled
            return self._ask(score_request)

        return RemoteScorer(ask, request.latent, request.goal, request.state)

    def _ask(self, request: ScoreRequest) -> ScoreAnswer:
        """Waits in the worker's thread; the executor's takes the answer."""
        if not self._client.service_is_ready():
            raise ScoreError("predictor: service score_actions is not there; is it running?")
        answered = threading.Event()
        future = self._client.call_async(messages.from_score_request(request))
        future.add_done_callback(lambda _: answered.set())
        if not answered.wait(self._timeout_s):
            self._client.remove_pending_request(future)
            raise ScoreError(f"predictor: score_actions did not answer in {self._timeout_s:g} s")
        response = future.result()
        if not response.success:
            raise ScoreError(f"predictor: {response.message}")
        samples, horizon, _ = request.actions.shape
        return messages.to_score_answer(response, samples, horizon)
