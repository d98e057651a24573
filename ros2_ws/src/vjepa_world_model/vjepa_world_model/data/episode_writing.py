"""Writing episodes: a LeRobotDataset v3 folder, which lerobot and `EpisodeFolder` open.

A folder is written shard by shard. A shard holds a fixed number of episodes: one parquet file of
numbers, one of what describes each episode, one mp4 per camera. It is complete once its data file
has its final name, so an interrupted recording goes on where it stopped. `finish` numbers the rows
and tasks of all shards and writes the other meta files. Format:
https://huggingface.co/docs/lerobot/lerobot-dataset-v3
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vjepa_world_model.data import statistics
from vjepa_world_model.data.episodes import (
    ACTION_KEY,
    DATA_PATH,
    EPISODES_PATH,
    IMAGE_PREFIX,
    STATE_KEY,
    STATE_NAMES,
    VERSION,
    VIDEO_PATH,
    Episode,
    EpisodeError,
    decode_video,
    matrix,
)
from vjepa_world_model.data.video import VideoWriter

FILES_PER_CHUNK = 1000
# H.264 at this quality is visually lossless; a key frame every other frame makes seeking cheap.
VIDEO_OPTIONS = {"crf": "14", "preset": "veryfast", "g": "2"}
COMPRESSION = "zstd"


def write_shard(folder: Path, shard: int, episodes: Sequence[Episode], fps: int) -> None:
    """Write `episodes` as file number `shard` of the data set; complete or not at all.

    Raises:
        EpisodeError: an episode's arrays differ in length, or a picture has an odd side.
    """
    for episode in episodes:
        _check(episode)
    for name in episodes[0].images:
        frames = np.concatenate([episode.images[name] for episode in episodes])
        _write_video(_file(folder, VIDEO_PATH, shard, video_key=IMAGE_PREFIX + name), frames, fps)
    tables = [_frames_table(episode, fps) for episode in episodes]
    starts = np.cumsum([0, *(len(table) for table in tables)])
    rows = [
        _describe(episode, table, int(start), shard, fps)
        for episode, table, start in zip(episodes, tables, starts)
    ]
    _write_rows(_file(folder, EPISODES_PATH, shard), rows)
    # The data file comes last: its presence says that the shard is complete.
    _write_tables(_file(folder, DATA_PATH, shard), tables)


def has_shard(folder: Path, shard: int) -> bool:
    """Whether file number `shard` is complete."""
    return _file(folder, DATA_PATH, shard).exists()


def finish(folder: Path, fps: int, robot_type: str) -> None:
    """Number rows and tasks of a folder whose shards are complete, and write its meta files.

    A folder that an earlier version of this project wrote gets what it lacks.

    Raises:
        EpisodeError: there is no shard, one is missing, or an episode's number is not its position.
    """
    shards = len(list((folder / "data").glob("chunk-*/file-*.parquet")))
    if not shards:
        raise EpisodeError(f"{folder} holds no complete episode file; record some first")
    tasks: dict[str, int] = {}
    stats: list[dict[str, statistics.Statistics]] = []
    count = frames = 0
    for shard in range(shards):
        if not has_shard(folder, shard):
            raise EpisodeError(f"{folder} lacks data file {shard}; record it first")
        rows = _described(folder, shard, fps)
        for row in rows:
            if row["episode_index"] != count:
                raise EpisodeError(
                    f"{folder}: episode {row['episode_index']} stands where {count} should; "
                    "number episodes from 0 without gaps"
                )
            _number(row, frames, tasks.setdefault(row["tasks"][0], len(tasks)))
            count, frames = count + 1, row["dataset_to_index"]
        _write_rows(_file(folder, EPISODES_PATH, shard), rows)
        _number_data(_file(folder, DATA_PATH, shard), rows, tasks)
        # A long recording's rows would fill the memory; what is merged twice is no other.
        stats.append(_merged([_statistics(row) for row in rows]))
    _write_tasks(folder / "meta/tasks.parquet", list(tasks))
    whole = {
        key: {name: value.tolist() for name, value in values.items()}
        for key, values in _merged(stats).items()
    }
    _write_json(folder / "meta/stats.json", whole)
    info = {
        "codebase_version": VERSION,
        "robot_type": robot_type,
        "total_episodes": count,
        "total_frames": frames,
        "total_tasks": len(tasks),
        "chunks_size": FILES_PER_CHUNK,
        "data_files_size_in_mb": 100,
        "video_files_size_in_mb": 200,
        "fps": fps,
        "splits": {"train": f"0:{count}"},
        "data_path": DATA_PATH,
        "video_path": VIDEO_PATH,
        "features": _features(folder, fps),
    }
    _write_json(folder / "meta/info.json", info)


def _check(episode: Episode) -> None:
    name, length = f"episode {episode.index}", len(episode.states)
    series = {STATE_KEY: episode.states, ACTION_KEY: episode.actions}
    for key, values in {**series, **episode.extra, **episode.images}.items():
        if len(values) != length:
            raise EpisodeError(f"{name} has {length} states, but {key} has {len(values)} rows")
    for key, frames in episode.images.items():
        if frames.shape[1] % 2 or frames.shape[2] % 2:
            raise EpisodeError(
                f"{name}: pictures of {key} are {frames.shape[2]}x{frames.shape[1]} px, "
                "video needs even sides; crop a row or column"
            )


# --- the numbers of each frame -------------------------------------------------------------------


def _frames_table(episode: Episode, fps: int) -> pa.Table:
    """One row a frame; `finish` gives `index` and `task_index` their values."""
    numbers = np.arange(len(episode.states))
    columns = {STATE_KEY: _vectors(episode.states), ACTION_KEY: _vectors(episode.actions)}
    for key, values in episode.extra.items():
        columns[f"observation.{key}"] = _vectors(values)
    columns["timestamp"] = pa.array((numbers / fps).astype(np.float32))
    columns["frame_index"] = pa.array(numbers)
    columns["episode_index"] = pa.array(np.full(len(numbers), episode.index))
    columns["index"] = pa.array(numbers)
    columns["task_index"] = pa.array(np.zeros(len(numbers), dtype=np.int64))
    return pa.table(columns)


def _vectors(values: np.ndarray) -> pa.Array:
    """float32 [T, K] as a column; lerobot stores what has one element as a plain number."""
    values = np.ascontiguousarray(values, dtype=np.float32).reshape(len(values), -1)
    flat = pa.array(values.reshape(-1))
    width = values.shape[1]
    return flat if width == 1 else pa.FixedSizeListArray.from_arrays(flat, width)


def _number_data(path: Path, rows: list[dict], tasks: dict[str, int]) -> None:
    """Write the numbers of `rows` into their data file."""
    table = pq.read_table(path)
    if "task" in table.column_names:  # earlier versions wrote it, no feature declares it
        table = table.drop_columns(["task"])
    for key in table.column_names:
        if pa.types.is_fixed_size_list(table.schema.field(key).type):
            table = _set_column(table, key, _vectors(matrix(table, key)))
    lengths = [row["length"] for row in rows]
    numbers = np.arange(rows[0]["dataset_from_index"], rows[-1]["dataset_to_index"])
    table = _set_column(table, "index", pa.array(numbers))
    named = np.repeat([tasks[row["tasks"][0]] for row in rows], lengths)
    table = _set_column(table, "task_index", pa.array(named))
    starts = np.cumsum([0, *lengths[:-1]])
    _write_tables(path, [table.slice(start, n) for start, n in zip(starts, lengths)])


def _set_column(table: pa.Table, name: str, column: pa.Array) -> pa.Table:
    if name not in table.column_names:
        return table.append_column(name, column)
    return table.set_column(table.column_names.index(name), name, column)


def _write_tables(path: Path, episodes: Sequence[pa.Table]) -> None:
    """One row group per episode, so that one can be read alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    with pq.ParquetWriter(part, episodes[0].schema, compression=COMPRESSION) as writer:
        for table in episodes:
            writer.write_table(table)
    part.replace(path)


# --- what describes an episode -------------------------------------------------------------------


def _describe(episode: Episode, table: pa.Table, start: int, shard: int, fps: int) -> dict:
    """The row of `episode`, whose frames begin at row `start` of the shard."""
    place = _place(shard)
    row = {
        "episode_index": episode.index,
        "tasks": [episode.task],
        "length": len(table),
        "data/chunk_index": place["chunk_index"],
        "data/file_index": place["file_index"],
        "dataset_from_index": start,
        "dataset_to_index": start + len(table),
        "meta/episodes/chunk_index": place["chunk_index"],
        "meta/episodes/file_index": place["file_index"],
    }
    for name in episode.images:
        video = f"videos/{IMAGE_PREFIX}{name}"
        row[f"{video}/chunk_index"] = place["chunk_index"]
        row[f"{video}/file_index"] = place["file_index"]
        row[f"{video}/from_timestamp"] = start / fps
        row[f"{video}/to_timestamp"] = (start + len(table)) / fps
    for key in table.column_names:
        _set_statistics(row, key, statistics.of_vectors(matrix(table, key, np.float64)))
    for name, frames in episode.images.items():
        _set_statistics(row, IMAGE_PREFIX + name, statistics.of_pictures(frames))
    return row


def _number(row: dict, first: int, task: int) -> None:
    """Give an episode its place in the whole data set."""
    length = row["length"]
    row["dataset_from_index"], row["dataset_to_index"] = first, first + length
    _set_statistics(row, "index", statistics.of_vectors(np.arange(first, first + length)))
    _set_statistics(row, "task_index", statistics.of_vectors(np.full(length, task)))


def _set_statistics(row: dict, key: str, values: statistics.Statistics) -> None:
    for name, value in values.items():
        row[f"stats/{key}/{name}"] = value.tolist()


def _statistics(row: dict) -> dict[str, statistics.Statistics]:
    """By feature: what `_set_statistics` put into a row."""
    found: dict[str, statistics.Statistics] = {}
    for column, value in row.items():
        if column.startswith("stats/"):
            key, name = column.removeprefix("stats/").rsplit("/", 1)
            found.setdefault(key, {})[name] = np.array(value)
    return found


def _merged(parts: list[dict[str, statistics.Statistics]]) -> dict[str, statistics.Statistics]:
    return {key: statistics.merged([part[key] for part in parts]) for key in parts[0]}


def _described(folder: Path, shard: int, fps: int) -> list[dict]:
    """The rows of a shard; made from its data and videos where an earlier version wrote none."""
    path = _file(folder, EPISODES_PATH, shard)
    table = pq.read_table(_file(folder, DATA_PATH, shard))
    if path.exists() and "task" not in table.column_names:
        return pq.read_table(path).to_pylist()
    videos = {
        camera: decode_video(_file(folder, VIDEO_PATH, shard, video_key=camera))
        for camera in _video_keys(folder)
    }
    indices = table["episode_index"].to_numpy()
    starts = np.flatnonzero(np.diff(indices, prepend=-1))
    rows = []
    for start, stop in zip(starts, [*starts[1:], len(table)]):
        part = table.slice(start, stop - start)
        images = {
            camera.removeprefix(IMAGE_PREFIX): np.stack(
                [image for _, image in itertools.islice(frames, len(part))]
            )
            for camera, frames in videos.items()
        }
        episode = Episode.from_rows(part, int(indices[start]), images, part["task"][0].as_py())
        rows.append(_describe(episode, _frames_table(episode, fps), int(start), shard, fps))
    return rows


def _write_rows(path: Path, rows: list[dict]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    pq.write_table(pa.Table.from_pylist(rows), part, compression=COMPRESSION)
    part.replace(path)


# --- the other meta files ------------------------------------------------------------------------


def _write_tasks(path: Path, tasks: list[str]) -> None:
    """Task number by task. lerobot reads it with pandas, whose note on the index stands in it."""
    number = {"name": "task_index", "field_name": "task_index", "metadata": None}
    text = {"name": "task", "field_name": "task", "metadata": None}
    note = {
        "index_columns": ["task"],
        "column_indexes": [],
        "columns": [
            {**number, "pandas_type": "int64", "numpy_type": "int64"},
            {**text, "pandas_type": "unicode", "numpy_type": "object"},
        ],
        "creator": {"library": "pyarrow", "version": pa.__version__},
        "pandas_version": "2.3.3",
    }
    table = pa.table({"task_index": pa.array(range(len(tasks)), pa.int64()), "task": tasks})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table.replace_schema_metadata({"pandas": json.dumps(note)}), path)


def _features(folder: Path, fps: int) -> dict:
    """Type, shape and names of every column and camera."""
    schema = pq.read_schema(_file(folder, DATA_PATH, 0))
    features: dict[str, dict] = {}
    for key, kind in zip(schema.names, schema.types):
        dtype, width = ("int64" if pa.types.is_integer(kind) else "float32"), 1
        if pa.types.is_fixed_size_list(kind):
            width = kind.list_size
        names = list(STATE_NAMES) if key in (STATE_KEY, ACTION_KEY) else None
        features[key] = {"dtype": dtype, "shape": [width], "names": names}
    for video_key in _video_keys(folder):
        with av.open(str(_file(folder, VIDEO_PATH, 0, video_key=video_key))) as container:
            stream = container.streams.video[0]
            height, width = stream.height, stream.width
        features[video_key] = {
            "dtype": "video",
            "shape": [height, width, 3],
            "names": ["height", "width", "channels"],
            "info": {
                "video.height": height,
                "video.width": width,
                "video.codec": "h264",
                "video.pix_fmt": "yuv420p",
                "video.fps": fps,
                "video.channels": 3,
                "has_audio": False,
                "is_depth_map": False,
            },
        }
    return features


def _write_json(path: Path, content: dict) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n")


def _write_video(path: Path, frames: np.ndarray, fps: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = frames.shape[1:3]
    with VideoWriter(path, (width, height), fps, VIDEO_OPTIONS) as video:
        for image in frames:
            video.add(image)


def _video_keys(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "videos").glob("*"))


def _place(shard: int) -> dict[str, int]:
    return {"chunk_index": shard // FILES_PER_CHUNK, "file_index": shard % FILES_PER_CHUNK}


def _file(folder: Path, pattern: str, shard: int, **names: str) -> Path:
    return folder / pattern.format(**_place(shard), **names)
