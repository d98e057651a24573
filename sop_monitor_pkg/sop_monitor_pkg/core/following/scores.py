"""What following one cycle brings, latent by latent and sighting by sighting."""

from __future__ import annotations

from dataclasses import dataclass, field

from sop_monitor_pkg.core.alarms.kinds import Kind
from sop_monitor_pkg.core.following.events import Event


@dataclass(frozen=True)
class Score:
    """One number on how unusual something is, with the alarm that it would be."""

    name: str  # of the scale; see normal.SCORES
    value: float
    kind: Kind
    step: str
    reason: str


@dataclass(frozen=True)
class StepForecast:
    """What is likely to come: the next step with its probability, as the probe anticipates it, and
    the risk that one has begun which the procedure does not allow now, 0..1: what the decoder
    holds likely, and not yet certain enough to tell."""

    next_step: str
    probability: float
    risk: float


@dataclass
class CycleScores:
    """What one latent or sighting brought: events of the order, scores, and the forecast; `looked`:
    names of the scores that it can say something about, above 0 or not."""

    events: list[Event] = field(default_factory=list)
    scores: list[Score] = field(default_factory=list)
    looked: set[str] = field(default_factory=set)
    forecast: StepForecast | None = None
