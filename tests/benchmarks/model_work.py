"""How much a model computes: floating-point operations of matrix products, and this machine's peak.

A multiplication with its addition counts as two. What is counted is what our implementation
computes: every frame of a rollout once, against the keys of all frames so far.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from transformers import VJEPA2Config
from vjepa_world_model.model.predictor import PredictorConfig

_REST_S = 0.01  # OpenMP's threads spin for some milliseconds after what they did last
_PEAK_SIDE = {"cpu": 2048, "cuda": 8192}  # of square matrices: large enough to reach the peak


def encoding_flops(config: VJEPA2Config) -> int:
    """Of one picture."""
    side = config.crop_size // config.patch_size
    tokens, width = side * side, config.hidden_size
    patch = config.in_chans * config.tubelet_size * config.patch_size**2
    hidden = int(width * config.mlp_ratio)
    return 2 * tokens * patch * width + config.num_hidden_layers * _block(
        tokens, tokens, width, hidden
    )


def imagining_flops(config: PredictorConfig, horizon: int) -> int:
    """Of one sequence of `horizon` actions; the frame now is embedded once for all sequences."""
    tokens, hidden = config.tokens + config.conditions, int(config.width * config.mlp_ratio)
    projection = 2 * config.tokens * config.width * config.embed_dim
    blocks = sum(
        config.depth * _block(tokens, frames * tokens, config.width, hidden)
        for frames in range(1, horizon + 1)
    )
    return blocks + (2 * horizon - 1) * projection


def plain_flops(config: PredictorConfig, horizon: int) -> int:
    """Of one sequence where every step computes all frames again, under a mask."""
    tokens, hidden = config.tokens + config.conditions, int(config.width * config.mlp_ratio)
    projection = 2 * config.tokens * config.width * config.embed_dim
    return sum(
        config.depth * _block(frames * tokens, frames * tokens, config.width, hidden)
        + 2 * frames * projection
        for frames in range(1, horizon + 1)
    )


def _block(tokens: int, seen: int, width: int, hidden: int) -> int:
    """Of a transformer block: projections, attention of `tokens` to `seen` tokens, MLP."""
    return 2 * tokens * width * (4 * width + 2 * hidden) + 4 * tokens * seen * width


def peak_flops(device: torch.device, dtype: torch.dtype, seconds: float) -> float:
    """The most operations per second that square matrix products of this dtype reach here."""
    side = _PEAK_SIDE.get(device.type, 2048)
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    (times,) = timed([lambda: a @ b], seconds, device)
    return 2 * side**3 / min(times)


def timed(
    runs: list[Callable[[], object]], seconds: float, device: torch.device
) -> list[list[float]]:
    """Wall times [s] of functions called in turn, so that what else the machine does meets all.

    Args:
        seconds: for all of them together; each runs at least once. The first round warms up, and
            counts only where it took all the time.
    """
    times: list[list[float]] = [[] for _ in runs]
    deadline = time.perf_counter() + seconds
    warm_up = True
    while True:
        for run, taken in zip(runs, times):
            _wait(device)
            if device.type == "cpu":
                time.sleep(_REST_S)
            begun = time.perf_counter()
            run()
            _wait(device)
            taken.append(time.perf_counter() - begun)
        if time.perf_counter() > deadline:
            return times
        if warm_up:
            times, warm_up = [[] for _ in runs], False


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
