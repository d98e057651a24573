"""Recordings become examples: their videos go through the encoder, their sightings are read."""

from __future__ import annotations

from pathlib import Path

from vjepa_world_model.data.video import VideoReader

from sop_monitor_pkg.core.normal.learning import RATE_HZ, Example
from sop_monitor_pkg.core.normal.recordings import CycleRecording
from sop_monitor_pkg.core.recognition.latents import Latents
from sop_monitor_pkg.core.tracks import sightings


def read_cycle(recording: CycleRecording, latents: Latents, rate_hz: float = RATE_HZ) -> Example:
    """One cycle.

    Raises:
        VideoError, SightingError: a file that cannot be used.
    """
    seen: list[sightings.Sighting] = []
    if recording.eyes is not None:
        seen = sightings.read(recording.eyes, width_of(recording.video))
    vectors, times_s = latents.of_video(recording.video, rate_hz)
    return Example(recording.name, vectors, times_s, recording.segments, tuple(seen))


def width_of(video: Path) -> int:
    """Of its pictures [px]."""
    with VideoReader(video) as reader:
        return reader.size[0]
