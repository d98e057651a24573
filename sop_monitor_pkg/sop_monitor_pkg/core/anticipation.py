"""Which step comes next, before it begins: an attentive probe on the latents of the last seconds.

One learned query attends to the latents of the last `SECONDS`, as in V-JEPA's attentive probes,
and a linear layer turns what it gathers into probabilities of the steps that may come. What they
give to steps that the procedure does not allow next is the risk.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

SECONDS = 2.0
AHEAD_S = 3.0
"""It learns from moments at most so long before a step begins."""

WIDTH = 48
ITERATIONS = 400
BATCH = 128
_SMOOTH = 0.05  # of the labels: no moment is without doubt


@dataclass(frozen=True)
class Anticipator:
    """Weights, float32: tokens [K, WIDTH], places [T, WIDTH], query [WIDTH], values [WIDTH, WIDTH],
    out [WIDTH, S], bias [S]; scale [K] of the points; see `Probe`."""

    scale: np.ndarray
    tokens: np.ndarray
    places: np.ndarray
    query: np.ndarray
    values: np.ndarray
    out: np.ndarray
    bias: np.ndarray

    @property
    def length(self) -> int:
        """Points that it looks at."""
        return len(self.places)

    def next_step(self, points: np.ndarray) -> np.ndarray:
        """Probability of each step to be the next, float64 [S].

        `points`: float32 [T, K], the newest last; of fewer than `length`, the first is repeated.
        """
        missing = self.length - len(points)
        if missing > 0:
            points = np.concatenate([np.repeat(points[:1], missing, 0), points])
        tokens = np.tanh((points[-self.length :] * self.scale) @ self.tokens + self.places)
        weights = _softmax(tokens @ self.query)
        gathered = np.tanh(weights @ (tokens @ self.values))
        return _softmax(gathered @ self.out + self.bias)

    def arrays(self) -> dict[str, np.ndarray]:
        """For a file."""
        return dict(vars(self))


class Probe(nn.Module):
    """`Anticipator` while it learns."""

    def __init__(self, width: int, length: int, steps: int):
        super().__init__()
        self.tokens = nn.Linear(width, WIDTH, bias=False)
        self.places = nn.Parameter(torch.randn(length, WIDTH) * 0.02)
        self.query = nn.Parameter(torch.randn(WIDTH) * 0.2)
        self.values = nn.Linear(WIDTH, WIDTH, bias=False)
        self.out = nn.Linear(WIDTH, steps)

    def forward(self, points: torch.Tensor) -> torch.Tensor:
        """float32 [B, T, K] -> logits [B, S]."""
        tokens = torch.tanh(self.tokens(points) + self.places)
        weights = (tokens @ self.query).softmax(-1)
        return self.out(torch.tanh((weights[..., None] * self.values(tokens)).sum(1)))


def learn(
    cycles: Sequence[tuple[np.ndarray, np.ndarray]], steps: int, rate_hz: float, seed: int = 0
) -> Anticipator:
    """Learns from correct cycles.

    Args:
        cycles: projected latents float32 [T, K], and the index of the step that begins next within
            AHEAD_S of each, int64 [T]; -1: none.
    """
    length = max(2, round(SECONDS * rate_hz))
    windows, targets = [], []
    for points, following in cycles:
        padded = np.concatenate([np.repeat(points[:1], length - 1, 0), points])
        for row in np.flatnonzero(following >= 0):
            windows.append(padded[row : row + length])
            targets.append(following[row])
    x, y = np.stack(windows).astype(np.float32), torch.from_numpy(np.array(targets))
    scale = (1.0 / (x.reshape(-1, x.shape[-1]).std(0) + 1e-6)).astype(np.float32)
    inputs = torch.from_numpy(x * scale)
    rng = np.random.default_rng(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        probe = Probe(x.shape[-1], length, steps)
        optimizer = torch.optim.AdamW(probe.parameters(), lr=3e-3, weight_decay=0.05)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, ITERATIONS)
        for _ in range(ITERATIONS):
            rows = rng.integers(0, len(y), BATCH)
            noisy = inputs[rows] + 0.1 * torch.randn(BATCH, length, x.shape[-1])
            loss = nn.functional.cross_entropy(probe(noisy), y[rows], label_smoothing=_SMOOTH)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    kept = {name: value.detach().numpy() for name, value in probe.state_dict().items()}
    return Anticipator(
        scale,
        np.ascontiguousarray(kept["tokens.weight"].T),
        kept["places"],
        kept["query"],
        np.ascontiguousarray(kept["values.weight"].T),
        np.ascontiguousarray(kept["out.weight"].T),
        kept["out.bias"],
    )


def following(
    begins_s: Sequence[tuple[int, float]], times_s: np.ndarray, ahead_s: float = AHEAD_S
) -> np.ndarray:
    """int64 [T]: the step (of index and beginning, in order) that begins next within `ahead_s`."""
    found = np.full(len(times_s), -1, np.int64)
    for step, begin_s in reversed(begins_s):  # of several, the nearest counts
        found[(times_s < begin_s) & (times_s >= begin_s - ahead_s)] = step
    return found


def _softmax(values: np.ndarray) -> np.ndarray:
    raised = np.exp(values - values.max())
    return raised / raised.sum()
