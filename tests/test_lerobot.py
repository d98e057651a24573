"""lerobot opens what is recorded here, and what lerobot writes is read here.

lerobot runs in an environment of its own (`ecosystem/environment.py`), once for all tests.
"""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from ecosystem import environment
from vjepa_bringup.commands import collect
from vjepa_sim.core.physics import PandaPhysics
from vjepa_world_model.data.episode_writing import finish, write_shard
from vjepa_world_model.data.episodes import Episode, EpisodeError, EpisodeFolder
from vjepa_world_model.training.frames import FrameStore

PEER = Path(environment.__file__).with_name("peer.py")
FRAMES = (4, 5, 3)  # of the recorded episodes
STEADY = "observation.images.camera"


@dataclass(frozen=True)
class Exchange:
    """What was recorded here, what lerobot saw in it, and where lerobot wrote its own.

    Attributes:
        episodes: as recorded. folder: where they lie.
        seen: frames as lerobot's loader gives them, by feature. report: the rest of what it saw.
        theirs: folder of lerobot's data sets. written: their frames, by feature.
    """

    episodes: list[Episode]
    folder: Path
    seen: dict[str, np.ndarray]
    report: dict
    theirs: Path
    written: dict[str, np.ndarray]

    def recorded(self, key: str) -> np.ndarray:
        """All rows of a series of the episodes, one after the other."""
        series = {
            "observation.state": lambda e: e.states,
            "action": lambda e: e.actions,
            STEADY: lambda e: e.images["camera"],
        }
        other = lambda e: e.extra[key.removeprefix("observation.")]  # noqa: E731
        return np.concatenate([series.get(key, other)(e) for e in self.episodes])


@pytest.fixture(scope="module")
def exchange(tmp_path_factory) -> Exchange:
    try:
        python = environment.python()
    except environment.NoPythonError as error:
        pytest.skip(str(error))
    root = tmp_path_factory.mktemp("lerobot")
    physics = PandaPhysics()
    episodes = [
        collect.record(physics, i, frames, seed=0, max_turn_rad=0.5)
        for i, frames in enumerate(FRAMES)
    ]
    physics.close()
    folder, theirs = root / "ours", root / "theirs"
    write_shard(folder, 0, episodes[:2], collect.FPS)
    write_shard(folder, 1, episodes[2:], collect.FPS)
    for _ in range(2):  # a recording that goes on is finished again
        finish(folder, collect.FPS, "panda_sim")
    theirs.mkdir()
    settings = {
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(root / "hub"),
        "CUDA_VISIBLE_DEVICES": "",
        "PYTHONPATH": "",
        "PYTHONDONTWRITEBYTECODE": "",  # importing lerobot takes 4 s with its bytecode, 12 without
    }
    done = subprocess.run(
        [python, PEER, folder, theirs, root],
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return Exchange(
        episodes,
        folder,
        dict(np.load(root / "ours.npz")),
        json.loads((root / "report.json").read_text()),
        theirs,
        dict(np.load(root / "theirs.npz")),
    )


def test_lerobot_sees_every_frame_in_its_place(exchange):
    report, seen = exchange.report, exchange.seen
    assert (report["episodes"], report["frames"]) == (3, sum(FRAMES))
    assert set(report["cameras"]) == {STEADY, "observation.images.restyled"}
    assert seen["index"].tolist() == list(range(sum(FRAMES)))
    assert seen["episode_index"].tolist() == [0] * 4 + [1] * 5 + [2] * 3
    assert seen["frame_index"].tolist() == [*range(4), *range(5), *range(3)]
    assert np.allclose(seen["timestamp"], seen["frame_index"] / collect.FPS)


def test_lerobot_sees_the_recorded_numbers_and_those_a_step_away(exchange):
    state, action = exchange.seen["observation.state"], exchange.seen["action"]
    recorded, moves = exchange.recorded("observation.state"), exchange.recorded("action")
    assert np.array_equal(state[:, 1], recorded) and np.array_equal(action[:, 0], moves)
    inside = exchange.seen["frame_index"] > 0
    assert np.array_equal(~inside, exchange.seen["observation.state_is_pad"][:, 0])
    assert np.array_equal(state[inside, 0], recorded[np.flatnonzero(inside) - 1])
    assert np.allclose(state[inside, 0] + action[np.flatnonzero(inside) - 1, 0], state[inside, 1])
    for key in ("observation.objects", "observation.geometry", "observation.camera_turn"):
        values = exchange.seen[key].reshape(sum(FRAMES), -1)
        assert np.array_equal(values, exchange.recorded(key))


def test_lerobot_sees_the_recorded_pictures_and_those_a_step_before(exchange):
    frames = exchange.seen[STEADY].transpose(0, 1, 3, 4, 2).astype(int)
    recorded = exchange.recorded(STEADY).astype(int)
    inside = np.flatnonzero(exchange.seen["frame_index"] > 0)
    assert np.abs(frames[:, 1] - recorded).mean() < 2.5, "lossy, but the right frame"
    assert np.abs(frames[inside, 0] - recorded[inside - 1]).mean() < 2.5
    assert not np.array_equal(frames[inside, 0], frames[inside, 1])


def test_lerobot_sees_the_tasks(exchange):
    tasks = [episode.task for episode, n in zip(exchange.episodes, FRAMES) for _ in range(n)]
    assert exchange.report["tasks"] == tasks and len(set(tasks)) == 2
    numbers = [exchange.report["task_table"][task] for task in tasks]
    assert exchange.seen["task_index"].tolist() == numbers
    assert sorted(exchange.report["task_table"].values()) == [0, 1]


@pytest.mark.parametrize("whose", ["data set", "episode"])
def test_lerobot_computes_the_statistics_that_are_stored(exchange, whose):
    report = exchange.report
    stored = report["stats" if whose == "data set" else "episode_stored"]
    computed = report["recomputed" if whose == "data set" else "episode_recomputed"]
    assert set(stored) == set(computed) == set(report["features"])
    for key, values in computed.items():
        assert set(stored[key]) == set(values), key
        pictures = key.startswith("observation.images.")
        for name, value in values.items():
            assert np.shape(stored[key][name]) == np.shape(value), (key, name)
            # Video is lossy; lerobot takes quantiles from a histogram of 5,000 bins, and deviations
            # from a difference of float32 squares.
            span = np.ptp([values["min"], values["max"]], axis=0)
            near = 0.03 if pictures else (5e-4 if name == "std" else 1e-5) + 1e-3 * span
            if not (pictures and name in ("min", "max")):
                assert np.all(np.abs(np.subtract(stored[key][name], value)) <= near), (key, name)


def test_lerobot_edits_the_folder_with_its_own_tools(exchange):
    edited = exchange.report["tools"]
    assert edited["last"] == [FRAMES[2], 2], "one episode alone"
    assert edited["fewer"] == [2, sum(FRAMES[1:])]
    assert edited["joined"] == [5, sum(FRAMES) + sum(FRAMES[1:])]
    assert np.allclose(edited["last_state"], exchange.episodes[-1].states[-1])


def test_a_folder_that_lerobot_wrote_is_read(exchange):
    data = EpisodeFolder.open(exchange.theirs / "video")
    episodes = list(data.read())
    assert data.cameras == ["front", "wrist"] and data.fps == 10
    assert [len(e.states) for e in episodes] == [4, 5, 6]
    assert [e.task for e in episodes] == ["task 0", "task 1", "task 0"]
    written = exchange.written
    assert np.array_equal(
        np.concatenate([e.states for e in episodes]), written["observation.state"]
    )
    assert np.array_equal(np.concatenate([e.actions for e in episodes]), written["action"])
    for key in ("force", "contact"):
        values = np.concatenate([e.extra[key] for e in episodes])
        assert np.array_equal(values, written[f"observation.{key}"]), key
    assert "note" not in episodes[0].extra, "a text is no number"
    wrist = np.concatenate([e.images["wrist"] for e in episodes])
    front = np.concatenate([e.images["front"] for e in episodes]).astype(int)
    assert np.array_equal(wrist, written["observation.images.wrist"])
    assert np.abs(front - written["observation.images.front"]).mean() < 4


def test_a_folder_that_lerobot_edited_is_read(exchange):
    for name, first in (("fewer", 1), ("joined", 0)):
        episodes = list(EpisodeFolder.open(exchange.theirs / name).read(["camera"]))
        recorded = exchange.episodes[first:]
        for episode, original in zip(episodes, recorded):
            assert np.array_equal(episode.states, original.states)
            difference = episode.images["camera"].astype(int) - original.images["camera"]
            assert np.abs(difference).mean() < 3.5


def test_a_folder_that_lerobot_went_on_with_is_read(exchange):
    *recorded, added = EpisodeFolder.open(exchange.theirs / "longer").read(["camera"])
    assert [e.task for e in recorded] == [e.task for e in exchange.episodes]
    assert (added.index, added.task, added.states.shape) == (3, "wave", (3, 7))
    levels = added.images["camera"].mean(axis=(1, 2, 3))
    assert np.allclose(levels, [0, 60, 120], atol=3)


def test_training_reads_the_frames_of_a_folder_that_lerobot_wrote(exchange):
    store = FrameStore.open(exchange.theirs / "video", 16)
    assert store.cameras == ["front", "wrist"] and store.frames.shape == (2, 3, 4, 16, 16, 3)
    assert np.array_equal(store.states[0], exchange.written["observation.state"][:4])


def test_joints_are_refused_where_poses_are_needed(exchange):
    with pytest.raises(EpisodeError, match="holds joints .*needs poses"):
        EpisodeFolder.open(exchange.theirs / "joints")
