"""Gathers the most unusual that is seen in one cycle: what thresholds are made from."""

from __future__ import annotations

import numpy as np

from sop_monitor_pkg.core.checks.order_watch import OrderWatch
from sop_monitor_pkg.core.following.cycle import Cycle
from sop_monitor_pkg.core.following.events import AnomalyEvent, StepBegun, StepEnded
from sop_monitor_pkg.core.following.scores import CycleScores
from sop_monitor_pkg.core.normal.model import SCORES, Extremes
from sop_monitor_pkg.core.procedure.procedure import Procedure


class ExtremesWatch:
    """From what a `CycleFollower` says."""

    def __init__(self, procedure: Procedure):
        self._order, self._cycle = OrderWatch(procedure), Cycle()
        self._maxima, self._risk, self._wrong = np.zeros(len(SCORES)), 0.0, False

    def take(self, seen: CycleScores) -> None:
        """What one latent or sighting brought."""
        if seen.forecast is not None:
            self._risk = max(self._risk, seen.forecast.risk)
        for score in seen.scores:
            index = SCORES.index(score.name)
            self._maxima[index] = max(self._maxima[index], score.value)
        for event in seen.events:
            if isinstance(event, StepBegun) and self._cycle.begin(event.step, event.stamp_ns):
                self._wrong |= bool(self._order.step_begun(self._cycle, event.stamp_ns))
            elif isinstance(event, StepEnded):
                self._cycle.end(event.stamp_ns)
            elif isinstance(event, AnomalyEvent):
                self._wrong = True

    def ended(self) -> Extremes:
        """After the last."""
        left_out = any(s.kind == "skipped" for s in self._order.cycle_ended(self._cycle, 0))
        return Extremes(self._maxima, self._wrong or left_out, self._risk)
