"""Statistics of a feature in an episode and over a data set, as LeRobotDataset v3 stores them.

Of each episode: `min`, `max`, `mean`, `std`, `count` and the quantiles of `QUANTILES`. Pictures
have them per channel, scaled to 0..1 and shaped [3, 1, 1].
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}
SAMPLED_FRAMES = 100  # of an episode, evenly spaced
SAMPLED_SIDE = 300  # px; of larger pictures every second, third ... row and column counts

Statistics = dict[str, np.ndarray]
"""By name: float64 [K] of a vector, [3, 1, 1] of pictures; `count` is int64 [1]."""


def of_vectors(values: np.ndarray) -> Statistics:
    """Of numbers [T] or vectors [T, K], per element.

    A quantile is the smallest value that at least this share does not exceed.
    """
    values = np.asarray(values, dtype=np.float64).reshape(len(values), -1)
    quantiles = np.quantile(values, list(QUANTILES.values()), axis=0, method="inverted_cdf")
    return {
        "min": values.min(axis=0),
        "max": values.max(axis=0),
        "mean": values.mean(axis=0),
        "std": values.std(axis=0),
        "count": np.array([len(values)]),
        **dict(zip(QUANTILES, quantiles)),
    }


def of_pictures(frames: np.ndarray) -> Statistics:
    """Of uint8 RGB [T, H, W, 3]; `count` is the number of frames that were sampled."""
    wanted = min(len(frames), SAMPLED_FRAMES)
    frames = frames[np.linspace(0, len(frames) - 1, wanted).round().astype(int)]
    stride = -(-max(frames.shape[1:3]) // SAMPLED_SIDE)
    frames = frames[:, ::stride, ::stride]
    # Bytes have 256 values: how often each occurs says everything.
    levels = np.arange(256) / 255.0
    counts = [np.bincount(frames[..., c].reshape(-1), minlength=256) for c in range(3)]
    channels = [_of_counts(levels, count) for count in counts]
    joined = {key: np.array([c[key] for c in channels]).reshape(3, 1, 1) for key in channels[0]}
    return {**joined, "count": np.array([wanted])}


def merged(parts: Sequence[Statistics]) -> Statistics:
    """Of a data set from those of its episodes.

    Mean and deviation are exact. A quantile is the mean of the episodes' quantiles, weighted by
    their lengths: lerobot's own convention, which its tools keep when they join data sets.
    """
    count = np.sum([part["count"] for part in parts], axis=0)
    weights = np.array([part["count"][0] for part in parts]) / count[0]
    stacked = {key: np.stack([part[key] for part in parts]) for key in parts[0] if key != "count"}
    mean = np.tensordot(weights, stacked["mean"], 1)
    variance = np.tensordot(weights, stacked["std"] ** 2 + (stacked["mean"] - mean) ** 2, 1)
    return {
        "min": stacked["min"].min(axis=0),
        "max": stacked["max"].max(axis=0),
        "mean": mean,
        "std": np.sqrt(variance),
        "count": count,
        **{key: np.tensordot(weights, stacked[key], 1) for key in QUANTILES},
    }


def _of_counts(levels: np.ndarray, counts: np.ndarray) -> dict[str, float]:
    """Of a value that is `levels[i]` in `counts[i]` cases."""
    total, below = counts.sum(), np.cumsum(counts)
    present = np.flatnonzero(counts)
    mean = float(levels @ counts / total)
    quantiles = {
        key: float(levels[np.searchsorted(below, share * total)])
        for key, share in QUANTILES.items()
    }
    return {
        "min": float(levels[present[0]]),
        "max": float(levels[present[-1]]),
        "mean": mean,
        "std": float(np.sqrt((levels - mean) ** 2 @ counts / total)),
        **quantiles,
    }
