"""What `./run bench model` measures, as plain values."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field


@dataclass
class Rollouts:
    """Scoring one batch of the planner.

    Attributes:
        batch: sequences as the planner scores them; sequences: those that were timed.
        latency_s: medians. peak_share: of the machine's matrix products, reached by ours.
    """

    horizon: int
    batch: int
    sequences: int
    latency_s: float
    plain_latency_s: float
    peak_share: float

    @property
    def per_s(self) -> float:
        """Evaluations per second."""
        return self.sequences / self.latency_s

    @property
    def plain_per_s(self) -> float:
        return self.sequences / self.plain_latency_s

    @property
    def ratio(self) -> float:
        """Ours to the plain one."""
        return self.plain_latency_s / self.latency_s


@dataclass
class PlanTime:
    """One action planned: medians over `plans`; cut: by the time limit."""

    planner: str
    plans: int
    seconds: float
    evaluations: float
    cut: bool


@dataclass
class Figures:
    """All that is printed and written."""

    size: str
    model: str
    device: str
    device_name: str
    dtype: str
    threads: int
    seed: int
    compiled: bool
    not_compiled: str
    needed_bytes: int
    peak_flops: float
    difference: float
    tolerance: float
    encode_s: float
    encode_peak_share: float
    rollouts: list[Rollouts] = field(default_factory=list)
    plans: list[PlanTime] = field(default_factory=list)

    def to_dict(self) -> dict:
        """For JSON."""
        ratios = ("per_s", "plain_per_s", "ratio")
        rows = [asdict(r) | {name: getattr(r, name) for name in ratios} for r in self.rollouts]
        return asdict(self) | {"rollouts": rows}
