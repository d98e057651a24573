"""Episode folders: what is written is read back, damage and foreign folders are refused."""

from __future__ import annotations

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from vjepa_world_model.data.episodes import (
    Episode,
    EpisodeError,
    EpisodeFolder,
    finish,
    has_shard,
    write_shard,
)

FPS = 4


def make_episode(index: int, frames: int = 5) -> Episode:
    rng = np.random.default_rng(index)
    ramp = np.linspace(0, 255, 64, dtype=np.uint8)
    image = np.stack([np.tile(np.roll(ramp, 7 * (index + t)), (64, 1)) for t in range(frames)])
    states = rng.normal(size=(frames, 7)).astype(np.float32)
    return Episode(
        index=index,
        images={"camera": np.repeat(image[..., None], 3, axis=-1)},
        states=states,
        actions=np.diff(states, axis=0, append=states[-1:]),
        extra={"objects": rng.normal(size=(frames, 3)).astype(np.float32)},
        task="wander",
    )


@pytest.fixture()
def folder(tmp_path):
    episodes = [make_episode(i, frames=4 + i) for i in range(5)]
    write_shard(tmp_path, 0, episodes[:3], FPS)
    write_shard(tmp_path, 1, episodes[3:], FPS)
    finish(tmp_path, FPS, "test")
    return tmp_path, episodes


def test_episodes_come_back_as_they_were_written(folder):
    path, written = folder
    data = EpisodeFolder.open(path)
    assert data.cameras == ["camera"] and data.fps == FPS and len(data) == 5
    for episode, original in zip(data.read(), written):
        assert episode.index == original.index and episode.task == "wander"
        assert np.array_equal(episode.states, original.states)
        assert np.array_equal(episode.actions, original.actions)
        assert np.array_equal(episode.extra["objects"], original.extra["objects"])
        assert episode.images["camera"].shape == original.images["camera"].shape
        difference = episode.images["camera"].astype(int) - original.images["camera"]
        assert np.abs(difference).mean() < 3.0, "lossy video, but the right frame"


def test_meta_files_describe_a_lerobot_v3_dataset(folder):
    path, written = folder
    info = json.loads((path / "meta/info.json").read_text())
    assert info["codebase_version"] == "v3.0"
    assert info["total_episodes"] == 5
    assert info["total_frames"] == sum(len(e.states) for e in written)
    assert info["features"]["observation.images.camera"]["dtype"] == "video"
    rows = pq.read_table(path / "meta/episodes/chunk-000/file-000.parquet").to_pylist()
    assert [row["dataset_from_index"] for row in rows] == [0, 4, 9, 15, 22]
    assert rows[3]["videos/observation.images.camera/from_timestamp"] == 0.0
    tables = [pq.read_table(p) for p in sorted(path.glob("data/*/*.parquet"))]
    assert [i for t in tables for i in t["index"].to_pylist()] == list(range(info["total_frames"]))


def test_an_interrupted_shard_is_not_taken_for_complete(tmp_path, monkeypatch):
    def break_off(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(pq, "write_table", break_off)
    with pytest.raises(KeyboardInterrupt):
        write_shard(tmp_path, 0, [make_episode(0)], FPS)
    assert not has_shard(tmp_path, 0)


def test_a_foreign_folder_is_refused(tmp_path):
    with pytest.raises(EpisodeError, match="not a LeRobotDataset folder"):
        EpisodeFolder.open(tmp_path)


def test_another_version_is_refused(folder):
    path, _ = folder
    info = json.loads((path / "meta/info.json").read_text())
    (path / "meta/info.json").write_text(json.dumps({**info, "codebase_version": "v2.1"}))
    with pytest.raises(EpisodeError, match=r"v2.1, this reads v3.0"):
        EpisodeFolder.open(path)


def test_states_of_another_shape_are_refused(folder):
    path, _ = folder
    info = json.loads((path / "meta/info.json").read_text())
    info["features"]["observation.state"]["shape"] = [14]
    (path / "meta/info.json").write_text(json.dumps(info))
    with pytest.raises(EpisodeError, match=r"shape \[14\], the world model needs \[7\]"):
        EpisodeFolder.open(path)


def test_a_damaged_video_is_refused(folder):
    path, _ = folder
    video = next(path.glob("videos/*/*/file-000.mp4"))
    video.write_bytes(video.read_bytes()[:200])
    with pytest.raises(EpisodeError, match="cannot be read as video"):
        list(EpisodeFolder.open(path).read())


def test_an_unknown_camera_is_refused(folder):
    with pytest.raises(EpisodeError, match="no camera"):
        list(EpisodeFolder.open(folder[0]).read(["wrist"]))
