"""Energies of action sequences on a service: the world model's predictor for whoever plans."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Any

from diagnostic_msgs.msg import DiagnosticStatus
from node_kit.health import HealthPublisher, StreamMonitor, status
from node_kit.lifecycle import KitNode, run
from node_kit.parameters import parameter
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.task import Future
from vjepa_interfaces.srv import ScoreActions

from vjepa_planner_pkg.core.search.plan import ScoreError
from vjepa_planner_pkg.core.search.scorer import answer
from vjepa_planner_pkg.nodes import messages, model, presence


@dataclass
class PredictorParameters(model.ModelParameters):
    """Parameters of the predictor node."""

    max_sequences: int = parameter(
        4096, "more action sequences in one request are refused, for want of memory", minimum=1
    )


class PredictorNode(KitNode):
    """Answers one request at a time; a newer one replaces the one that waits."""

    Parameters = PredictorParameters

    def __init__(self, **kwargs: Any):
        super().__init__("predictor", **kwargs)

    def configure(self) -> None:
        self.model = model.load(self.p, self.get_logger(), "predictor")
        self.requests = StreamMonitor("score_actions")
        self.refusal = ""
        self.score_ms = 0.0
        self.waiting: tuple[ScoreActions.Request, Future] | None = None
        self.lock = threading.Lock()
        self.fitting: set[tuple[int, int]] = set()  # gradients whose memory was checked
        self.worker = self.create_worker(lambda _: self.score_waiting(), "score")
        # A coroutine keeps its callback group busy while it waits for the worker.
        self.create_service(
            ScoreActions, "score_actions", self.on_request, callback_group=ReentrantCallbackGroup()
        )
        HealthPublisher(self, [self.requests], self.report)
        presence.announce(self, "predictor_model", self.model.name)

    async def on_request(
        self, request: ScoreActions.Request, response: ScoreActions.Response
    ) -> ScoreActions.Response:
        self.requests.tick()
        done: Future = Future()
        with self.lock:
            replaced, self.waiting = self.waiting, (request, done)
        if replaced is not None:
            replaced[1].set_result("a newer request came before this one was begun")
        self.worker.offer(True)
        scored = await done
        if isinstance(scored, str):
            response.message = scored
        else:
            messages.fill_score_response(response, scored)
        return response

    def score_waiting(self) -> None:
        """In the worker: scores the newest request and hands the answer to the executor."""
        with self.lock:
            waiting, self.waiting = self.waiting, None
        if waiting is None:
            return
        request, done = waiting
        begun = time.monotonic()
        try:
            if request.samples > self.p.max_sequences:
                raise ScoreError(
                    f"{request.samples} sequences in one request; send at most "
                    f"{self.p.max_sequences} or raise max_sequences"
                )
            score_request = messages.to_score_request(request)
            if score_request.gradients:
                self.check_memory(*score_request.actions.shape[:2])
            scored: Any = answer(self.model, score_request)
            self.refusal = ""
        except (ScoreError, ValueError) as error:
            scored = self.refusal = str(error)
            self.get_logger().warning(f"score_actions refused: {error}")
        self.score_ms = 1e3 * (time.monotonic() - begun)
        self.call_soon(lambda: done.set_result(scored))

    def check_memory(self, sequences: int, horizon: int) -> None:
        """Raises MemoryTooSmall; the planner's horizon is not known before its first request."""
        from vjepa_world_model.runtime.memory import check_gradient_fits

        if (sequences, horizon) in self.fitting:
            return
        predictor = self.model.predictor
        dtype = predictor.predictor_embed.weight.dtype
        check_gradient_fits(predictor.config, sequences, horizon, dtype, self.model.device)
        self.fitting.add((sequences, horizon))

    def report(self) -> list[DiagnosticStatus]:
        """Model and refusals on /diagnostics."""
        level = DiagnosticStatus.ERROR if self.refusal else DiagnosticStatus.OK
        text = f"refused: {self.refusal}" if self.refusal else "scoring"
        values = {"model": self.model.name, "device": str(self.model.device)}
        return [status("predictor", level, text, score_ms=f"{self.score_ms:.1f}", **values)]


def main() -> None:
    run(PredictorNode)


if __name__ == "__main__":
    main()
