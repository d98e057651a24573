"""Statistics: of vectors and pictures, and of a data set from its episodes."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from vjepa_world_model.data import statistics


def test_vectors_have_one_of_each_per_element():
    values = np.array([[0.0, 10.0], [1.0, 20.0], [2.0, 60.0]])
    found = statistics.of_vectors(values)
    assert found["min"].tolist() == [0, 10] and found["max"].tolist() == [2, 60]
    assert found["mean"].tolist() == [1, 30] and found["count"].tolist() == [3]
    assert np.allclose(found["std"], np.std(values, axis=0))
    assert found["q50"].tolist() == [1, 20] and found["q99"].tolist() == [2, 60]


def test_numbers_are_vectors_of_one():
    assert statistics.of_vectors(np.arange(5))["max"].tolist() == [4]


def test_pictures_have_one_of_each_per_channel_from_0_to_1():
    frames = np.random.default_rng(0).integers(0, 256, (6, 20, 30, 3), dtype=np.uint8)
    frames[..., 2] = 51
    found = statistics.of_pictures(frames)
    scaled = frames / 255.0
    assert found["mean"].shape == (3, 1, 1) and found["count"].tolist() == [6]
    assert np.allclose(found["mean"].ravel(), scaled.mean(axis=(0, 1, 2)))
    assert np.allclose(found["std"].ravel(), scaled.std(axis=(0, 1, 2)))
    quantile = np.quantile(scaled, 0.1, axis=(0, 1, 2), method="inverted_cdf")
    assert np.allclose(found["q10"].ravel(), quantile)
    assert found["min"][2, 0, 0] == found["max"][2, 0, 0] == 0.2


def test_long_episodes_of_large_pictures_are_sampled():
    frames = np.zeros((250, 400, 700, 3), dtype=np.uint8)
    frames[-1, 0, 0] = 255
    found = statistics.of_pictures(frames)
    assert found["count"].tolist() == [100]
    assert found["max"].ravel().tolist() == [1, 1, 1], "the last frame is among them"
    share = 1 / (100 * 134 * 234)  # every third row and column
    assert np.allclose(found["mean"], share)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.integers(0, 2**32 - 1))
def test_merged_episodes_are_those_of_all_frames(lengths, seed):
    rng = np.random.default_rng(seed)
    episodes = [rng.normal(i, 1 + i, size=(n, 2)) for i, n in enumerate(lengths)]
    parts = [statistics.of_vectors(episode) for episode in episodes]
    whole = statistics.of_vectors(np.concatenate(episodes))
    found = statistics.merged(parts)
    for name in ("min", "max", "mean", "std", "count"):
        assert np.allclose(found[name], whole[name]), name
    # Merged in two steps, as `finish` does, they are the same.
    twice = statistics.merged([statistics.merged(parts[:1]), *parts[1:]])
    for name, value in found.items():
        assert np.allclose(twice[name], value), name
