"""Which labels the steps ask for have been read, and when."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from sop_monitor_pkg.core.procedure.procedure import CheckKind, Procedure
from sop_monitor_pkg.core.tracks.sightings import SeenText


class LabelWatch:
    """For one cycle."""

    def __init__(self, procedure: Procedure):
        self._by_name = procedure.by_name
        self._labels = [check for step in procedure.steps for check in step.labels]
        self._read_s: dict[str, float] = {}  # when each was read last
        self.reads = False
        """Whether anybody reads texts at all."""

    def take(self, texts: Sequence[SeenText], time_s: float) -> None:
        """Notes what has been read."""
        self.reads = True
        for check in self._labels:
            for text in texts:
                fits = (text.kind == "text") == (check.kind is CheckKind.TEXT)
                if fits and text.readable and re.fullmatch(check.value, text.text):
                    self._read_s[check.value] = time_s

    def unread(self, step: str, begin_s: float) -> list[str]:
        """Labels that this step asks for, and that have not been read since it began."""
        labels = self._by_name[step].labels
        return [c.value for c in labels if self._read_s.get(c.value, -np.inf) < begin_s]
