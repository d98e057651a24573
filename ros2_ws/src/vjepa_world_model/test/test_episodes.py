"""Episode folders: what is written is read back, damage and foreign folders are refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from vjepa_world_model.data.episode_writing import finish, has_shard, write_shard
from vjepa_world_model.data.episodes import Episode, EpisodeError, EpisodeFolder

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
        extra={
            "objects": rng.normal(size=(frames, 3)).astype(np.float32),
            "grip": rng.normal(size=(frames, 1)).astype(np.float32),
        },
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
    files = sorted((path / "meta/episodes").glob("*/*.parquet"))
    rows = [row for file in files for row in pq.read_table(file).to_pylist()]
    assert [row["dataset_from_index"] for row in rows] == [0, 4, 9, 15, 22]
    assert [row["meta/episodes/file_index"] for row in rows] == [0, 0, 0, 1, 1]
    assert rows[3]["stats/index/min"] == [15] and rows[3]["stats/index/max"] == [21]
    assert rows[3]["videos/observation.images.camera/from_timestamp"] == 0.0
    tables = [pq.read_table(p) for p in sorted(path.glob("data/*/*.parquet"))]
    assert [i for t in tables for i in t["index"].to_pylist()] == list(range(info["total_frames"]))
    declared = {k for k, feature in info["features"].items() if feature["dtype"] != "video"}
    assert set(tables[0].column_names) == declared
    stats = json.loads((path / "meta/stats.json").read_text())
    assert set(stats) == set(info["features"])
    states = np.concatenate([e.states for e in written])
    assert np.allclose(stats["observation.state"]["mean"], states.mean(axis=0), atol=1e-6)


def test_tasks_are_numbered_over_all_shards(tmp_path):
    for shard, task in enumerate(("push", "lift", "push")):
        write_shard(tmp_path, shard, [replace(make_episode(shard), task=task)], FPS)
    finish(tmp_path, FPS, "test")
    finish(tmp_path, FPS, "test")  # a second time changes nothing
    tasks = pq.read_table(tmp_path / "meta/tasks.parquet").to_pydict()
    assert tasks == {"task_index": [0, 1], "task": ["push", "lift"]}
    tables = [pq.read_table(p) for p in sorted(tmp_path.glob("data/*/*.parquet"))]
    assert [t["task_index"][0].as_py() for t in tables] == [0, 1, 0]
    assert [e.task for e in EpisodeFolder.open(tmp_path).read([])] == ["push", "lift", "push"]


def as_once_written(path: Path) -> None:
    """Turns a folder into what this project wrote before it stored statistics."""
    rows = []
    for file in sorted((path / "meta/episodes").glob("*/*.parquet")):
        table = pq.read_table(file)
        rows += table.select([n for n in table.column_names if "stats/" not in n]).to_pylist()
        file.unlink()
    for file in sorted(path.glob("data/*/*.parquet")):
        table = pq.read_table(file)
        tasks = [rows[i]["tasks"][0] for i in table["episode_index"].to_pylist()]
        grip = pa.FixedSizeListArray.from_arrays(table["observation.grip"].combine_chunks(), 1)
        table = table.drop_columns(["observation.grip"])
        table = table.append_column("task", pa.array(tasks)).append_column("observation.grip", grip)
        pq.write_table(table, file)
    pq.write_table(pa.Table.from_pylist(rows), path / "meta/episodes/chunk-000/file-000.parquet")


def test_a_folder_from_before_statistics_is_read_and_completed(folder):
    path, written = folder
    stats = json.loads((path / "meta/stats.json").read_text())
    as_once_written(path)
    for _ in range(2):
        episodes = list(EpisodeFolder.open(path).read())
        assert [e.task for e in episodes] == ["wander"] * 5
        assert np.array_equal(episodes[3].extra["grip"], written[3].extra["grip"])
        assert np.array_equal(episodes[3].states, written[3].states)
        finish(path, FPS, "test")  # what the recorder does when nothing is left to record
    completed = json.loads((path / "meta/stats.json").read_text())
    for key in set(stats) - {"observation.images.camera"}:
        assert completed[key] == stats[key], key
    mean = "observation.images.camera", "mean"
    assert np.allclose(completed[mean[0]][mean[1]], stats[mean[0]][mean[1]], atol=0.01)
    assert "task" not in pq.read_schema(next(path.glob("data/*/file-000.parquet"))).names


def test_gaps_in_the_recording_are_refused(tmp_path):
    write_shard(tmp_path, 0, [make_episode(0)], FPS)
    write_shard(tmp_path, 1, [make_episode(2)], FPS)
    with pytest.raises(EpisodeError, match="episode 2 stands where 1 should"):
        finish(tmp_path, FPS, "test")
    next(tmp_path.glob("data/*/file-000.parquet")).unlink()
    with pytest.raises(EpisodeError, match="lacks data file 0"):
        finish(tmp_path, FPS, "test")


def test_series_of_different_lengths_and_odd_pictures_are_refused(tmp_path):
    episode = make_episode(0)
    with pytest.raises(EpisodeError, match="has 5 states, but action has 4 rows"):
        write_shard(tmp_path, 0, [replace(episode, actions=episode.actions[1:])], FPS)
    odd = {"camera": episode.images["camera"][:, :, 1:]}
    with pytest.raises(EpisodeError, match="63x64 px, video needs even sides"):
        write_shard(tmp_path, 0, [replace(episode, images=odd)], FPS)
    assert not has_shard(tmp_path, 0)


def test_an_interrupted_shard_is_not_taken_for_complete(tmp_path, monkeypatch):
    def break_off(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(pq, "ParquetWriter", break_off)  # writes the data file, the last one
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


def test_joints_are_refused(folder):
    path, _ = folder
    info = json.loads((path / "meta/info.json").read_text())
    info["features"]["action"]["names"] = {"motors": [f"joint_{i}" for i in range(7)]}
    (path / "meta/info.json").write_text(json.dumps(info))
    with pytest.raises(EpisodeError, match="action holds joints .* needs poses"):
        EpisodeFolder.open(path)


def test_a_damaged_description_is_refused(folder):
    path, _ = folder
    (path / "meta/info.json").write_text("{")
    with pytest.raises(EpisodeError, match="info.json is damaged"):
        EpisodeFolder.open(path)


def test_damaged_numbers_are_refused(folder):
    path, _ = folder
    next(path.glob("data/*/file-001.parquet")).write_bytes(b"PAR1")
    with pytest.raises(EpisodeError, match="file-001.parquet cannot be read"):
        list(EpisodeFolder.open(path).read())


def test_depth_maps_are_no_cameras(folder):
    path, _ = folder
    info = json.loads((path / "meta/info.json").read_text())
    info["features"]["observation.images.depth"] = {
        "dtype": "video",
        "shape": [64, 64, 1],
        "names": None,
        "info": {"is_depth_map": True},
    }
    (path / "meta/info.json").write_text(json.dumps(info))
    data = EpisodeFolder.open(path)
    assert data.cameras == ["camera"] and len(list(data.read())) == 5
    with pytest.raises(EpisodeError, match="no colour camera .'depth'"):
        list(data.read(["depth"]))


def test_a_damaged_video_is_refused(folder):
    path, _ = folder
    video = next(path.glob("videos/*/*/file-000.mp4"))
    video.write_bytes(video.read_bytes()[:200])
    with pytest.raises(EpisodeError, match="cannot be read as video"):
        list(EpisodeFolder.open(path).read())


def test_an_unknown_camera_is_refused(folder):
    with pytest.raises(EpisodeError, match="no colour camera"):
        list(EpisodeFolder.open(folder[0]).read(["wrist"]))
