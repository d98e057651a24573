"""Which step comes next, before it begins: an attentive probe on the latents of the last seconds.

One learned query attends to the latents of the last `SECONDS`, as in V-JEPA's attentive probes,
and a linear layer turns what it gathers into probabilities of the steps that may come.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import nn

SECONDS = 2.0
AHEAD_S, AFTER_S = 3.0, 1.0
"""It learns from moments at most so long before a step begins, and after: what is being begun can
be seen before it is certain."""

WIDTH = 48
ITERATIONS = 400
BATCH = 128
_SMOOTH = 0.05  # of the labels: no moment is without doubt


class Anticipator(nn.Module):
    """The probe: `steps` that may come, from the last `length` points of `width` numbers."""

    def __init__(self, width: int, length: int, steps: int):
        super().__init__()
        self.length = length
        self.register_buffer("scale", torch.ones(width))  # of the points
        self.tokens = nn.Linear(width, WIDTH, bias=False)
        self.places = nn.Parameter(torch.randn(length, WIDTH) * 0.02)
        self.query = nn.Parameter(torch.randn(WIDTH) * 0.2)
        self.values = nn.Linear(WIDTH, WIDTH, bias=False)
        self.out = nn.Linear(WIDTH, steps)

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Anticipator:
        """What `arrays` gave; raises KeyError or RuntimeError for anything else."""
        sizes = len(arrays["scale"]), len(arrays["places"]), len(arrays["out.bias"])
        probe = cls(*sizes)
        probe.load_state_dict({name: torch.from_numpy(a) for name, a in arrays.items()})
        return probe.eval().requires_grad_(False)

    def arrays(self) -> dict[str, np.ndarray]:
        """Its weights, for a file."""
        return {name: value.numpy() for name, value in self.state_dict().items()}

    def forward(self, points: torch.Tensor) -> torch.Tensor:
        """float32 [B, length, width], scaled -> logits [B, steps]."""
        tokens = torch.tanh(self.tokens(points) + self.places)
        weights = (tokens @ self.query).softmax(-1)
        return self.out(torch.tanh((weights[..., None] * self.values(tokens)).sum(1)))

    @torch.inference_mode()
    def next_step(self, points: np.ndarray) -> np.ndarray:
        """Probability of each step to be the next, float32 [steps].

        `points`: float32 [T, width], the newest last; of fewer than `length`, the first is
        repeated.
        """
        missing = self.length - len(points)
        if missing > 0:
            points = np.concatenate([np.repeat(points[:1], missing, 0), points])
        newest = torch.from_numpy(points[-self.length :].astype(np.float32))
        return self(newest[None] * self.scale)[0].softmax(-1).numpy()


def learn(
    cycles: Sequence[tuple[np.ndarray, np.ndarray]],
    steps: int,
    rate_hz: float,
    iterations: int = ITERATIONS,
    seed: int = 0,
) -> Anticipator:
    """Learns from correct cycles.

    Args:
        cycles: projected latents float32 [T, K], and what `following` says of each.
    """
    length = max(2, round(SECONDS * rate_hz))
    windows, targets = [], []
    for points, following in cycles:
        padded = np.concatenate([np.repeat(points[:1], length - 1, 0), points])
        for row in np.flatnonzero(following >= 0):
            windows.append(padded[row : row + length])
            targets.append(following[row])
    points = torch.from_numpy(np.stack(windows).astype(np.float32))
    answers = torch.from_numpy(np.array(targets))
    rng = np.random.default_rng(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        probe = Anticipator(points.shape[-1], length, steps)
        probe.scale = 1.0 / (points.flatten(0, 1).std(0, correction=0) + 1e-6)
        scaled = points * probe.scale
        optimizer = torch.optim.AdamW(probe.parameters(), lr=3e-3, weight_decay=0.05)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(1, iterations))
        for _ in range(iterations):
            rows = torch.from_numpy(rng.integers(0, len(answers), BATCH))
            noisy = scaled[rows] + 0.1 * torch.randn(BATCH, *scaled.shape[1:])
            scores = probe(noisy)
            loss = nn.functional.cross_entropy(scores, answers[rows], label_smoothing=_SMOOTH)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return probe.eval().requires_grad_(False)


def following(begins_s: Sequence[tuple[int, float]], times_s: np.ndarray) -> np.ndarray:
    """int64 [T]: the step (of index and beginning, in order) that begins within AHEAD_S, or has
    begun within AFTER_S; -1: none."""
    found = np.full(len(times_s), -1, np.int64)
    for step, begin_s in reversed(begins_s):  # of several, the first counts
        found[(times_s < begin_s + AFTER_S) & (times_s >= begin_s - AHEAD_S)] = step
    return found
