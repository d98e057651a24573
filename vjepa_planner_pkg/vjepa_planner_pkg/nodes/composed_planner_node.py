"""Encoder and MPC in one process: the same nodes, topics and parameters, one world model.

The MPC scores candidates with the encoder's world model directly; no predictor is needed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from node_kit.lifecycle import run

from vjepa_planner_pkg.core.mpc.io import RequestPlan
from vjepa_planner_pkg.core.search.scorer import DirectScorer, GoalScorer, scorer_of
from vjepa_planner_pkg.nodes.encoder_node import EncoderNode
from vjepa_planner_pkg.nodes.mpc_node import MpcNode
from vjepa_planner_pkg.nodes.planner_client import PlanCancelled


class SharedEncoderNode(EncoderNode):
    """An encoder whose world model is used for planning as well."""

    parts = "both"


class DirectMpcNode(MpcNode):
    """An MPC beside the encoder whose world model it uses."""

    peers = ("encoder",)

    def __init__(self, encoder: EncoderNode, **kwargs: Any):
        self._encoder = encoder
        super().__init__(**kwargs)
        encoder.plans = {"horizon": self.p.horizon, "gradients": self.p.uses_gradients}

    def score_source(self) -> DirectMpcNode:
        return self

    def score(self, request: RequestPlan, wanted: Callable[[], bool]) -> CancellableScorer:
        model = self._encoder.model
        scorer = scorer_of(model, request.latent, request.goal, request.state)
        return CancellableScorer(wanted, scorer)


class CancellableScorer:
    """Ends between two batches when its plan is no longer wanted."""

    def __init__(self, wanted: Callable[[], bool], scorer: DirectScorer | GoalScorer):
        self.device = scorer.device
        self._wanted, self._scorer = wanted, scorer

    def __call__(self, actions: torch.Tensor) -> torch.Tensor:
        """As the scorer."""
        if not self._wanted():
            raise PlanCancelled
        return self._scorer(actions)

    def gradient(self, actions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """As the scorer."""
        if not self._wanted():
            raise PlanCancelled
        return self._scorer.gradient(actions)


def main() -> None:
    nodes: list[EncoderNode] = []

    def encoder() -> EncoderNode:
        nodes.append(SharedEncoderNode())
        return nodes[0]

    run(encoder, lambda: DirectMpcNode(nodes[0]))


if __name__ == "__main__":
    main()
