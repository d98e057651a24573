"""The small work in videos: a bright square that rests and trembles at the place of each step."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from sop_monitor_pkg.commands.sop import app
from typer.testing import CliRunner
from vjepa_world_model.data.video import VideoWriter

FPS = 10.0
PLACES = {"take": (10, 10), "turn": (10, 84), "wipe": (60, 40), "put": (60, 84)}


def pictures(steps, seed):
    """A bright square that rests and trembles at the place of each step; times of the steps."""
    rng = np.random.default_rng(seed)
    frames, said = [], []
    for step in steps:
        count, (y, x) = int(rng.integers(25, 31)), PLACES[step]
        said.append(
            {"step": step, "begin_s": len(frames) / FPS, "end_s": (len(frames) + count) / FPS}
        )
        for i in range(count):
            frame = rng.integers(40, 60, (96, 128, 3)).astype(np.uint8)
            top, left = y + i // 6, x + int(rng.integers(0, 3))
            frame[top : top + 26, left : left + 30] = (230, 200, 60)
            frames.append(frame)
    return frames, said


def film(path: Path, steps, seed, labelled=True):
    frames, said = pictures(steps, seed)
    with VideoWriter(path, (128, 96), FPS) as video:
        for frame in frames:
            video.add(frame)
    if labelled:
        path.with_suffix(".json").write_text(json.dumps({"steps": said}))
    return path


def run(*words: object):
    return CliRunner().invoke(app, [str(word) for word in words])
