"""`./run collect`: record scripted episodes of the simulated arm as a LeRobotDataset v3 folder.

Every state is rendered twice: by `camera` under the scene of the episode, and by `restyled` under
another light, other colours and other distractors, drawn anew for each frame. The encoder learns
from such pairs what stays the same. `geometry` says where in the picture the robot is, as the
renderer knows it. Interrupt it at any time; the same command goes on where it stopped.

With `--camera-turn-deg` each episode has its camera carried around the scene. Its states and
actions are then along axes that turned with the camera: a model that learns from them need not find
out where the robot stands, and `./run calibrate` finds the turn when it is used.
"""

from __future__ import annotations

import itertools
import json
import multiprocessing
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn
from vjepa_sim.core.behaviours import pick_and_place, random_waypoints
from vjepa_sim.core.physics import PandaPhysics, UnreachableError
from vjepa_sim.core.scene import (
    NOMINAL_APPEARANCE,
    SceneAppearance,
    along_camera,
    sample_appearance,
    sample_layout,
    turn_about_scene,
)
from vjepa_sim.core.tasks import REACH_HIGH, REACH_LOW
from vjepa_world_model.data.episode_writing import finish, has_shard, write_shard
from vjepa_world_model.data.episodes import Episode

FPS = 4
SHARD_EPISODES = 25
# Seeds of recordings start here, far from the small seeds that evaluations are given.
SEED_OFFSET = 1 << 40
NOMINAL_SHARE = 0.35  # episodes in the nominal scene under the nominal camera
PICK_SHARE = 0.25  # episodes that grasp and place an object
GEOMETRY_CELLS = 32  # side of the map of the robot in the picture


def collect(
    out: Path = typer.Argument(Path("out/episodes"), help="data-set folder to write"),
    episodes: int = typer.Option(2000, min=1, help="number of episodes"),
    frames: int = typer.Option(10, min=3, help="frames per episode, four a second"),
    seed: int = typer.Option(0, min=0, help="the same seed gives the same pixels"),
    processes: int = typer.Option(2, min=1, help="worker processes"),
    camera_turn_deg: float = typer.Option(
        0.0, min=0.0, max=90.0, help="each episode's camera is carried around the scene"
    ),
) -> None:
    """Record episodes of the simulated arm; resumes an interrupted recording."""
    recipe = {"episodes": episodes, "frames": frames, "seed": seed}
    if camera_turn_deg:  # recordings begun without the option have no such key
        recipe["camera_turn_deg"] = camera_turn_deg
    turn_rad = float(np.deg2rad(camera_turn_deg))
    _check_recipe(out, recipe)
    shards = range((episodes + SHARD_EPISODES - 1) // SHARD_EPISODES)
    todo = [
        (out, shard, episodes, frames, seed, turn_rad)
        for shard in shards
        if not has_shard(out, shard)
    ]
    columns = ("[bold]recording", BarColumn(), MofNCompleteColumn(), "files", TimeRemainingColumn())
    with (
        Progress(*columns) as progress,
        multiprocessing.get_context("spawn").Pool(processes, _ignore_interrupt) as pool,
    ):
        bar = progress.add_task("", total=len(shards), completed=len(shards) - len(todo))
        for _ in pool.imap_unordered(_record_shard, todo):
            progress.advance(bar)
    finish(out, FPS, "panda_sim")
    typer.echo(f"{episodes} episodes of {frames} frames in {out}")


def record(
    physics: PandaPhysics, index: int, frames: int, seed: int, max_turn_rad: float = 0.0
) -> Episode:
    """Play and render episode `index` of the recording `seed`.

    Its camera is carried around the scene by at most `max_turn_rad`, and states and actions are
    along axes that turned with it; the motion is the same for every `max_turn_rad`.
    """
    rng = np.random.default_rng((SEED_OFFSET + seed, index))
    # A generator of its own: the rest of the episode stays as it is without a turn.
    turn_rad = np.random.default_rng((SEED_OFFSET + seed, index, 1)).uniform(-1, 1) * max_turn_rad
    varied = rng.random() > NOMINAL_SHARE
    layout = sample_layout(rng, varied)
    layout = replace(layout, camera=turn_about_scene(layout.camera, turn_rad))
    look = sample_appearance(rng) if varied else NOMINAL_APPEARANCE
    physics.reset(layout.objects, look)
    start = np.array(
        [*rng.uniform(REACH_LOW, REACH_HIGH), 0.0, 0.0, 0.0, float(rng.random() < 0.2)]
    )
    physics.teleport(start)
    picks = rng.random() < PICK_SHARE
    if picks:
        target = physics.object_positions()[rng.integers(len(layout.objects))]
        motion = pick_and_place(start, rng, target)
        # Most grasps start near the object: the approach alone would fill a short episode.
        for _ in range(rng.integers(0, 6)):
            _try(physics, next(motion))
    else:
        motion = random_waypoints(start, rng)

    states, objects, moments = [], [], []
    for target in itertools.islice(motion, frames):
        states.append(physics.state())
        objects.append(physics.object_positions())
        moments.append(physics.save())
        _try(physics, target)
    states, objects = (along_camera(np.stack(v), turn_rad) for v in (states, objects))
    shots, restyled = [], []
    for moment in moments:
        _return_to(physics, moment, look)
        shots.append(physics.render_with_geometry(layout.camera, GEOMETRY_CELLS))
    for moment in moments:
        _return_to(physics, moment, sample_appearance(rng))
        restyled.append(physics.render(layout.camera))
    images, geometry = zip(*shots)
    extra = {"objects": objects, "geometry": np.stack(geometry)}
    if max_turn_rad:
        extra["camera_turn"] = np.full(len(states), turn_rad)
    return Episode(
        index=index,
        images={"camera": np.stack(images), "restyled": np.stack(restyled)},
        states=states.astype(np.float32),
        actions=_differences(states).astype(np.float32),
        extra={k: v.reshape(len(states), -1).astype(np.float32) for k, v in extra.items()},
        task="pick and place" if picks else "wander",
    )


def _record_shard(job: tuple[Path, int, int, int, int, float]) -> None:
    out, shard, episodes, frames, seed, max_turn_rad = job
    physics = PandaPhysics()
    first = shard * SHARD_EPISODES
    last = min(first + SHARD_EPISODES, episodes)
    recorded = [record(physics, i, frames, seed, max_turn_rad) for i in range(first, last)]
    write_shard(out, shard, recorded, FPS)
    physics.close()


def _try(physics: PandaPhysics, target: np.ndarray) -> None:
    try:
        physics.move_to(target)
    except UnreachableError:
        pass  # the arm holds for one step, which is an example of a zero action


def _return_to(physics: PandaPhysics, moment: tuple, look: SceneAppearance) -> None:
    """A saved moment under `look`."""
    physics.set_appearance(look)
    physics.restore(moment)


def _differences(states: np.ndarray) -> np.ndarray:
    """Actions [T, 7] between measured states [T, 7]; the arm does not turn, angles just differ."""
    return np.diff(states, axis=0, append=states[-1:])


def _check_recipe(out: Path, recipe: dict) -> None:
    path = out / "recipe.json"
    if path.exists():
        stored = json.loads(path.read_text())
        if stored != recipe:
            raise typer.BadParameter(
                f"{out} was begun with {stored}, not {recipe}; choose another folder"
            )
        return
    out.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(recipe) + "\n")


def _ignore_interrupt() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends the pool


def main() -> None:
    typer.run(collect)


if __name__ == "__main__":
    main()
