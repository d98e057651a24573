"""The film of a run: what the camera saw, the goal, and the energy as it fell.

Its pictures are rendered once more from the recorded joint angles, larger than the camera's own
and with the motion between two looks filled in; `camera_difference` tells whether they show the
same as what the camera sent.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from PIL import Image
from vjepa_world_model.data.video import VideoWriter

from vjepa_bringup.demo.pictures import COLOURS, STYLE, draw_curves
from vjepa_bringup.demo.recording import DemoRecording
from vjepa_bringup.quiet import quiet

if TYPE_CHECKING:
    from vjepa_sim.core.environment import Environment

HEIGHT_PX, PANEL_PX = 720, 560  # the camera's picture is square
FPS = 24
RENDER_PX = 1080  # larger than shown, so that edges come out smooth
LOOK_FRAMES, MOVE_FRAMES, END_FRAMES = 10, 8, 32
GIF_SIZE = (640, 360)  # [px]
GIF_BYTES = 2_000_000  # at most

_environment: Environment | None = None  # of a rendering process


@dataclass(frozen=True)
class Shot:
    """One picture of the film: the arm at `joints` [9], shown for `frames` with look number `look`
    beside it and `state` as the planner's state."""

    joints: np.ndarray
    look: int
    state: str
    frames: int


def shots(recording: DemoRecording) -> Iterator[Shot]:
    """The film in order."""
    looks = recording.looks
    for number, look in enumerate(looks):
        last = number + 1 == len(looks)
        yield Shot(look.joints, number, "planning", LOOK_FRAMES)
        if look.action is None or last:
            yield Shot(look.joints, number, recording.outcome if last else "reached", END_FRAMES)
            continue
        for share in np.arange(1, MOVE_FRAMES + 1) / MOVE_FRAMES:
            share = share * share * (3.0 - 2.0 * share)  # smooth start and stop, as the arm moves
            joints = look.joints + share * (looks[number + 1].joints - look.joints)
            yield Shot(joints, number, "moving", 1)


def write_film(
    recording: DemoRecording, mp4: Path, gif: Path, progress: Callable[[float], None]
) -> None:
    """Writes the film, and the same small as a gif; `progress` is told the share that is done."""
    film = list(shots(recording))
    small: list[Image.Image] = []
    with (
        _renderers(recording) as pool,
        VideoWriter(mp4, (HEIGHT_PX + PANEL_PX, HEIGHT_PX), FPS) as video,
    ):
        shown, panel = None, None
        for number, (shot, picture) in enumerate(
            zip(film, pool.map(_render, [shot.joints for shot in film]))
        ):
            if shown != (shot.look, shot.state):
                shown, panel = (shot.look, shot.state), draw_panel(recording, shot)
            frame = np.hstack([picture, panel])
            for _ in range(shot.frames):
                video.add(frame)
            small += [
                Image.fromarray(frame).resize(GIF_SIZE, Image.Resampling.LANCZOS)
            ] * shot.frames
            progress((number + 1) / len(film))
    write_gif(small, gif)


def draw_panel(recording: DemoRecording, shot: Shot) -> np.ndarray:
    """Goal picture, figures and curves, uint8 [HEIGHT_PX, PANEL_PX, 3]."""
    look = recording.looks[shot.look]
    goal = recording.goals[look.goal]
    with plt.rc_context(STYLE):
        figure = plt.figure(figsize=(PANEL_PX / 100, HEIGHT_PX / 100), dpi=100)
        side = 0.5
        picture = figure.add_axes((0.04, 0.56, side, side * PANEL_PX / HEIGHT_PX))
        picture.imshow(goal.image, interpolation="lanczos")
        picture.set(xticks=[], yticks=[])
        picture.spines[:].set(visible=True, color=COLOURS[look.goal % len(COLOURS)], linewidth=4)
        figure.text(0.04, 0.962, f"Goal {look.goal + 1} of {len(recording.goals)}", fontsize=15,
                    weight="bold")  # fmt: skip
        lines = [
            ("state", shot.state.replace("_", " ")),
            ("actions", f"{look.step + (shot.state == 'moving')}"),
            ("energy", f"{look.energy:.3f}"),
            ("distance", f"{100 * recording.distance_m(look):.1f} cm"),
            ("planned in", f"{look.planning_s:.2f} s"),
        ]
        for row, (name, value) in enumerate(lines):
            height = 0.905 - 0.077 * row
            figure.text(0.59, height, name, fontsize=11, color="#666666")
            figure.text(0.59, height - 0.033, value, fontsize=16, weight="bold")
        top = figure.add_axes((0.13, 0.315, 0.83, 0.19))
        bottom = figure.add_axes((0.13, 0.075, 0.83, 0.19), sharex=top)
        draw_curves(recording, shot.look + 1, top, bottom)
        top.tick_params(labelbottom=False)
        bottom.set_xlabel("actions")
        figure.canvas.draw()
        panel = np.asarray(figure.canvas.buffer_rgba())[..., :3].copy()
        plt.close(figure)
    return panel


def camera_difference(recording: DemoRecording) -> float:
    """Largest mean difference, over the looks, between a picture that the camera sent and the same
    rendered from the recorded joints; grey levels of 255."""
    environment = _scene(recording.seed, recording.varied)
    size_px = environment.episode.layout.camera.size_px
    differences = [
        np.abs(_picture(environment, look.joints, size_px).astype(int) - look.image).mean()
        for look in recording.looks
    ]
    environment.close()
    return float(max(differences, default=0.0))


def write_gif(frames: list[Image.Image], path: Path) -> None:
    """Every second frame, or fewer, so that the file stays below GIF_BYTES."""
    for every in (2, 3, 4, 6, 8, 12):
        chosen = frames[::every]
        # One palette for all: frames with their own would flicker, and weigh more.
        palette = chosen[len(chosen) // 2].quantize(128, dither=Image.Dither.NONE)
        small = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in chosen]
        small[0].save(
            path, save_all=True, append_images=small[1:], duration=round(1000 * every / FPS), loop=0
        )
        if path.stat().st_size <= GIF_BYTES:
            return


def _renderers(recording: DemoRecording) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(
        min(4, os.cpu_count() or 1),
        get_context("spawn"),
        _prepare,
        (recording.seed, recording.varied),
    )


def _prepare(seed: int, varied: bool) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends the pool
    global _environment
    _environment = _scene(seed, varied)


def _render(joints: np.ndarray) -> np.ndarray:
    large = Image.fromarray(_picture(_environment, joints, RENDER_PX))
    return np.asarray(large.resize((HEIGHT_PX, HEIGHT_PX), Image.Resampling.LANCZOS))


def _scene(seed: int, varied: bool) -> Environment:
    with quiet():
        from vjepa_sim.core import environment as simulation

        environment = simulation.Environment()
    environment.reset(seed, varied)
    return environment


def _picture(environment: Environment, joints: np.ndarray, size_px: int) -> np.ndarray:
    """The scene with the arm at `joints` [9], uint8 [size, size, 3]."""
    _, objects = environment.physics.save()
    environment.physics.restore((joints, objects))
    return environment.physics.render(replace(environment.episode.layout.camera, size_px=size_px))
