"""Clips slide over the stream, the buffer has an end, and what is lost is counted."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from vjepa_world_model.data.clips import ClipCounts, ClipSizes, ClipStream
from vjepa_world_model.model.encoder import FrameError, preprocess
from vjepa_world_model.model.world_model import Encoder, WorldModel
from vjepa_world_model.runtime import memory
from vjepa_world_model.weights.checkpoints import open_model, save_world_model
from vjepa_world_model.weights.published import sizes as published_sizes

SIZE = 16


def picture(number):
    return np.full((SIZE, SIZE, 3), number % 256, np.uint8)


def numbers(clip):
    """Which pictures a clip holds."""
    mean, std = 0.485 * 255, 0.229 * 255
    return [round(float(p) * std + mean) for p in clip.pixels[0, :, 0, 0, 0]]


def push(stream, count, first=0, period_ns=1):
    return [stream.push(picture(i), i * period_ns + 1) for i in range(first, first + count)]


def stream(frames=4, hop=2, **more):
    return ClipStream(ClipSizes(frames, hop, **more), SIZE)


def test_windows_follow_each_other_by_one_hop():
    clips = stream()
    seen = []
    for i in range(10):
        if clips.push(picture(i), i + 1):
            seen.append(numbers(clips.take()))
    assert seen == [[0, 1, 2, 3], [2, 3, 4, 5], [4, 5, 6, 7], [6, 7, 8, 9]]
    assert clips.take() is None
    assert clips.counts == ClipCounts(received=0, clips=4)


def test_a_clip_carries_the_stamps_of_its_ends_and_what_the_model_would_see():
    clips = ClipStream(ClipSizes(2, 1), 32)
    frames = np.random.default_rng(0).integers(0, 256, (2, 48, 64, 3), dtype=np.uint8)
    for i, frame in enumerate(frames):
        clips.push(frame, 100 + i)
    clip = clips.take()
    assert (clip.first_ns, clip.last_ns) == (100, 101)
    assert torch.equal(clip.pixels[0], preprocess(frames, 32))


def test_oldest_skips_to_the_newest_window():
    clips = stream(policy="oldest")
    push(clips, 40)  # and nobody takes them
    assert len(clips._waiting) <= clips.sizes.capacity
    assert numbers(clips.take()) == [34, 35, 36, 37]
    counts = clips.counts
    assert counts.skipped == 17 and counts.dropped == 34 and counts.clips == 1
    push(clips, 2, first=40)
    assert numbers(clips.take()) == [36, 37, 38, 39]


def test_newest_keeps_what_was_begun_and_begins_anew_after_the_gap():
    clips = stream(policy="newest")
    push(clips, 10)
    assert numbers(clips.take()) == [0, 1, 2, 3]
    assert clips.counts.dropped == 6  # 6 to 9 were refused, 4 and 5 belong to a clip with a gap
    push(clips, 4, first=10)
    assert numbers(clips.take()) == [10, 11, 12, 13]
    assert clips.counts.dropped == 6 and clips.counts.skipped == 0


def test_pictures_beyond_the_rate_are_left_out_evenly():
    clips = stream(frames=4, hop=4, rate_hz=5.0)
    kept = [i for i in range(300) if clips.wants(i * 33_333_333)]  # 30 Hz for 10 s
    assert len(kept) == pytest.approx(50, abs=1)
    assert set(np.diff(kept)) <= {5, 6, 7}
    assert clips.counts.received == 300 and clips.counts.left_out == 300 - len(kept)


def test_a_slow_camera_keeps_all_its_pictures():
    clips = stream(rate_hz=30.0)
    assert all(clips.wants(i * 100_000_000) for i in range(20))


@pytest.mark.parametrize("rate_hz", [10.0, 0.0])
def test_no_clip_has_a_gap_in_it(rate_hz):
    clips = stream(rate_hz=rate_hz)
    push(clips, 3, period_ns=100_000_000)
    assert not any(push(clips, 3, first=10, period_ns=100_000_000))  # silent for 0.7 s
    assert push(clips, 1, first=13, period_ns=100_000_000) == [True]
    assert numbers(clips.take()) == [10, 11, 12, 13]
    assert clips.counts.gaps == 1 and clips.counts.dropped == 3


def test_a_clock_that_goes_back_begins_a_new_window():
    clips = stream()
    push(clips, 3, first=50)
    assert push(clips, 4) == [False, False, False, True]
    assert numbers(clips.take()) == [0, 1, 2, 3] and clips.counts.gaps == 1


def test_a_bad_picture_changes_nothing():
    clips = stream()
    push(clips, 3)
    with pytest.raises(FrameError):
        clips.push(np.zeros((4, 4, 3), np.float32), 4)
    assert push(clips, 1, first=3) == [True] and numbers(clips.take()) == [0, 1, 2, 3]


@settings(max_examples=150, deadline=None)
@given(
    frames=st.sampled_from([2, 4, 6]),
    hop=st.integers(1, 6),
    policy=st.sampled_from(["oldest", "newest"]),
    events=st.lists(st.sampled_from(["push", "push", "push", "take", "gap"]), max_size=80),
)
def test_every_picture_is_in_a_clip_or_counted_as_dropped_or_still_waits(
    frames, hop, policy, events
):
    clips = stream(frames, min(hop, frames), policy=policy, rate_hz=1000.0)
    now_ns, number, in_clips = 1, 0, set()
    for event in events:
        now_ns += 10_000_000 if event == "gap" else 1_000_000
        if event == "push":
            clips.push(picture(number), now_ns)
            number += 1
        elif event == "take" and (clip := clips.take()) is not None:
            held = numbers(clip)
            assert held == list(range(held[0], held[0] + frames)), "in order, without a gap"
            in_clips |= set(held)
        assert len(clips._waiting) <= clips.sizes.capacity
    assert number == len(in_clips) + clips.counts.dropped + clips._fresh


@pytest.mark.parametrize(
    "sizes", [{"frames": 65}, {"frames": 3}, {"frames": 0}, {"frames": 4, "hop": 5}, {"hop": 0}]
)
def test_sizes_that_no_model_takes_are_refused(sizes):
    with pytest.raises(ValueError, match="give"):
        ClipSizes(**sizes)


def test_a_clip_becomes_one_frame_of_features_for_every_two_pictures(small_parts):
    model = WorldModel(Encoder(small_parts[0]), None, "small", torch.device("cpu"))
    clips = ClipStream(ClipSizes(8, 4), model.image_size)
    frames = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), dtype=np.uint8)
    for i, frame in enumerate(frames):
        clips.push(frame, i)
    features = model.encode_clips(clips.take().pixels)
    assert features.shape == (1, 4 * 4, 24) and features.dtype == torch.float32
    changed = frames.copy()
    changed[7] = 0
    for i, frame in enumerate(changed):
        clips.push(frame, 100 + i)
    assert not torch.equal(features[:, :4], model.encode_clips(clips.take().pixels)[:, :4])


@pytest.mark.parametrize("shape", [(1, 3, 3, 32, 32), (1, 2, 3, 32, 48), (2, 3, 32, 32)])
def test_clips_of_another_shape_are_refused(small_parts, shape):
    model = WorldModel(Encoder(small_parts[0]), None, "small", torch.device("cpu"))
    with pytest.raises(FrameError, match="clips are"):
        model.encode_clips(torch.zeros(shape))


def test_the_buffer_and_the_clip_are_part_of_the_memory_that_is_announced(tmp_path, small_parts):
    stored = open_model(save_world_model(tmp_path / "m", *small_parts))
    need = memory.estimate(stored, clip_frames=64, clip_hop=16)
    assert need.buffer == (64 + 16) * 3 * 32 * 32 * 4
    assert "a clip of 64 frames" in str(need) and "pictures that wait" in str(need)
    encoder, _ = published_sizes("vitg")
    clip, single = (memory.encoding_bytes(encoder, n, torch.float32) for n in (64, 2))
    assert 0.5 * memory.GIB < clip < 1.5 * memory.GIB and clip > 20 * single
