"""Episodes on disk: LeRobotDataset v3 folders (parquet, mp4, meta/info.json), read and written.

A folder is written shard by shard: one parquet file and one mp4 per camera hold a fixed number of
episodes and appear under their final name only when complete, so an interrupted recording goes on
where it stopped. `finish` writes the meta files from the shards. Format:
https://huggingface.co/docs/lerobot/lerobot-dataset-v3
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

VERSION = "v3.0"
STATE_KEY, ACTION_KEY = "observation.state", "action"
IMAGE_PREFIX = "observation.images."
STATE_NAMES = ("x", "y", "z", "roll", "pitch", "yaw", "closedness")
DATA_PATH = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO_PATH = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
FILES_PER_CHUNK = 1000
# H.264 at this quality is visually lossless; a key frame every other frame makes seeking cheap.
VIDEO_OPTIONS = {"crf": "14", "preset": "veryfast", "g": "2"}


class EpisodeError(ValueError):
    """A data-set folder is missing, damaged or of another form; says which file and what to do."""


@dataclass
class Episode:
    """One recording.

    Attributes:
        index: number of the episode in its data set.
        images: camera name -> uint8 RGB [T, H, W, 3].
        states: float32 [T, 7], position [m], extrinsic xyz Euler angles [rad], closedness.
        actions: float32 [T, 7], what moves frame t to frame t + 1; the last row is zero.
        extra: further observations by name, float32 [T, K].
        task: what the arm was asked to do.
    """

    index: int
    images: dict[str, np.ndarray]
    states: np.ndarray
    actions: np.ndarray
    extra: dict[str, np.ndarray] = field(default_factory=dict)
    task: str = ""


def write_shard(folder: Path, shard: int, episodes: Sequence[Episode], fps: int) -> None:
    """Write `episodes` as file number `shard` of the data set; complete or not at all."""
    video_paths = {}
    for name in episodes[0].images:
        frames = np.concatenate([episode.images[name] for episode in episodes])
        video_paths[name] = _video_file(folder, name, shard)
        _write_video(video_paths[name], frames, fps)
    lengths = [len(episode.states) for episode in episodes]
    columns = {
        STATE_KEY: _vectors(np.concatenate([e.states for e in episodes])),
        ACTION_KEY: _vectors(np.concatenate([e.actions for e in episodes])),
        "timestamp": pa.array(
            np.concatenate([np.arange(n, dtype=np.float32) / fps for n in lengths])
        ),
        "frame_index": pa.array(np.concatenate([np.arange(n) for n in lengths])),
        "episode_index": pa.array(
            np.concatenate([np.full(n, e.index) for n, e in zip(lengths, episodes)])
        ),
        "task": pa.array([e.task for n, e in zip(lengths, episodes) for _ in range(n)]),
    }
    for key in episodes[0].extra:
        columns[f"observation.{key}"] = _vectors(np.concatenate([e.extra[key] for e in episodes]))
    # The parquet file comes last: its presence says that the shard is complete.
    path = folder / DATA_PATH.format(**_place(shard))
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    pq.write_table(pa.table(columns), part)
    part.replace(path)


def has_shard(folder: Path, shard: int) -> bool:
    """Whether file number `shard` is complete."""
    return (folder / DATA_PATH.format(**_place(shard))).exists()


def finish(folder: Path, fps: int, robot_type: str) -> None:
    """Write the meta files of a folder whose shards are complete, and number its rows."""
    episodes, tasks, rows = [], {}, 0
    for shard, path in enumerate(_data_files(folder)):
        table = pq.read_table(path)
        task_indices = [tasks.setdefault(t, len(tasks)) for t in table["task"].to_pylist()]
        table = _set_column(table, "index", np.arange(rows, rows + len(table)))
        table = _set_column(table, "task_index", np.array(task_indices))
        pq.write_table(table, path)
        cameras = [p.name for p in sorted((folder / "videos").iterdir())]
        indices = table["episode_index"].to_numpy()
        starts = np.flatnonzero(np.diff(indices, prepend=-1))
        for start, stop in zip(starts, [*starts[1:], len(indices)]):
            place = _place(shard)
            row = {
                "episode_index": int(indices[start]),
                "tasks": [table["task"][int(start)].as_py()],
                "length": int(stop - start),
                "data/chunk_index": place["chunk_index"],
                "data/file_index": place["file_index"],
                "dataset_from_index": rows + int(start),
                "dataset_to_index": rows + int(stop),
                "meta/episodes/chunk_index": 0,
                "meta/episodes/file_index": 0,
            }
            for camera in cameras:
                row[f"videos/{camera}/chunk_index"] = place["chunk_index"]
                row[f"videos/{camera}/file_index"] = place["file_index"]
                row[f"videos/{camera}/from_timestamp"] = float(start) / fps
                row[f"videos/{camera}/to_timestamp"] = float(stop) / fps
            episodes.append(row)
        rows += len(table)
    if not episodes:
        raise EpisodeError(f"{folder} holds no complete episode file; record some first")
    meta = folder / "meta"
    (meta / "episodes/chunk-000").mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(episodes), meta / "episodes/chunk-000/file-000.parquet")
    pq.write_table(
        pa.table({"task_index": list(tasks.values()), "task": list(tasks)}), meta / "tasks.parquet"
    )
    stats = _statistics(folder)
    (meta / "stats.json").write_text(json.dumps(stats, indent=1) + "\n")
    info = {
        "codebase_version": VERSION,
        "robot_type": robot_type,
        "total_episodes": len(episodes),
        "total_frames": rows,
        "total_tasks": len(tasks),
        "chunks_size": FILES_PER_CHUNK,
        "data_files_size_in_mb": 100,
        "video_files_size_in_mb": 200,
        "fps": fps,
        "splits": {"train": f"0:{len(episodes)}"},
        "data_path": DATA_PATH,
        "video_path": VIDEO_PATH,
        "features": _features(folder, fps),
    }
    (meta / "info.json").write_text(json.dumps(info, indent=1) + "\n")


@dataclass(frozen=True)
class EpisodeFolder:
    """A LeRobotDataset v3 folder opened for reading."""

    folder: Path
    info: dict
    rows: list[dict]  # one per episode, as in meta/episodes

    @classmethod
    def open(cls, folder: str | Path) -> EpisodeFolder:
        """Open `folder`; raises EpisodeError when it is no LeRobotDataset v3."""
        folder = Path(folder)
        path = folder / "meta/info.json"
        if not path.is_file():
            raise EpisodeError(
                f"{folder} has no meta/info.json: not a LeRobotDataset folder; "
                "record one with ./run collect"
            )
        info = json.loads(path.read_text())
        if info.get("codebase_version") != VERSION:
            raise EpisodeError(
                f"{folder} is LeRobotDataset {info.get('codebase_version')}, this reads {VERSION}; "
                "convert it with lerobot's own converter"
            )
        for key in (STATE_KEY, ACTION_KEY):
            shape = info["features"].get(key, {}).get("shape")
            if shape is None or list(shape) != [7]:
                raise EpisodeError(
                    f"{folder}: feature {key} has shape {shape}, the world model needs [7] "
                    f"({', '.join(STATE_NAMES)})"
                )
        files = sorted((folder / "meta/episodes").glob("*/*.parquet"))
        rows = [row for file in files for row in pq.read_table(file).to_pylist()]
        return cls(folder, info, sorted(rows, key=lambda row: row["episode_index"]))

    @property
    def fps(self) -> int:
        """Frames a second."""
        return int(self.info["fps"])

    @property
    def cameras(self) -> list[str]:
        """Names of the cameras, without the `observation.images.` prefix."""
        features = self.info["features"]
        return [k.removeprefix(IMAGE_PREFIX) for k in features if k.startswith(IMAGE_PREFIX)]

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, cameras: Sequence[str] | None = None) -> Iterator[Episode]:
        """All episodes in order; every video file is decoded once, front to back."""
        cameras = self.cameras if cameras is None else list(cameras)
        unknown = set(cameras) - set(self.cameras)
        if unknown:
            raise EpisodeError(
                f"{self.folder} has no camera {sorted(unknown)}; it has {self.cameras}"
            )
        place = lambda row: (row["data/chunk_index"], row["data/file_index"])  # noqa: E731
        table, streams, current = None, {}, None
        for row in self.rows:
            if place(row) != current:
                current = place(row)
                chunk, file = current
                path = self.folder / self.info["data_path"].format(
                    chunk_index=chunk, file_index=file
                )
                table = pq.read_table(path)
                first = self._first_row(table)
            start = row["dataset_from_index"] - first
            part = table.slice(start, row["length"])
            yield Episode(
                index=row["episode_index"],
                images={c: self._frames(streams, c, row) for c in cameras},
                states=_matrix(part, STATE_KEY),
                actions=_matrix(part, ACTION_KEY),
                extra={
                    key.removeprefix("observation."): _matrix(part, key)
                    for key in part.column_names
                    if key.startswith("observation.") and key != STATE_KEY
                },
                task=row["tasks"][0] if row["tasks"] else "",
            )

    def _first_row(self, table: pa.Table) -> int:
        return int(table["index"][0].as_py())

    def _frames(self, streams: dict, camera: str, row: dict) -> np.ndarray:
        """The frames of one episode from the camera's video, decoding forward only."""
        key = IMAGE_PREFIX + camera
        chunk, file = row[f"videos/{key}/chunk_index"], row[f"videos/{key}/file_index"]
        if streams.get(camera, (None,))[0] != (chunk, file):
            path = self.folder / self.info["video_path"].format(
                video_key=key, chunk_index=chunk, file_index=file
            )
            streams[camera] = ((chunk, file), _decode(path), path)
        _, frames, path = streams[camera]
        first = row[f"videos/{key}/from_timestamp"] - 0.5 / self.fps
        images = []
        for stamp, image in frames:
            if stamp >= first:
                images.append(image)
            if len(images) == row["length"]:
                return np.stack(images)
        raise EpisodeError(
            f"{path} ends after {len(images)} of {row['length']} frames of episode "
            f"{row['episode_index']}; the file is damaged, record it again"
        )


def _decode(path: Path) -> Iterator[tuple[float, np.ndarray]]:
    """(time [s], uint8 RGB [H, W, 3]) of every frame of a video."""
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            for frame in container.decode(stream):
                yield float(frame.pts * stream.time_base), frame.to_ndarray(format="rgb24")
    except (av.error.FFmpegError, OSError, IndexError) as error:
        raise EpisodeError(f"{path} cannot be read as video: {error}") from error


def _write_video(path: Path, frames: np.ndarray, fps: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    with av.open(str(part), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=fps, options=VIDEO_OPTIONS)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for image in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    part.replace(path)


def _place(shard: int) -> dict[str, int]:
    return {"chunk_index": shard // FILES_PER_CHUNK, "file_index": shard % FILES_PER_CHUNK}


def _video_file(folder: Path, camera: str, shard: int) -> Path:
    return folder / VIDEO_PATH.format(video_key=IMAGE_PREFIX + camera, **_place(shard))


def _data_files(folder: Path) -> list[Path]:
    return sorted((folder / "data").glob("chunk-*/file-*.parquet"))


def _vectors(matrix: np.ndarray) -> pa.Array:
    matrix = np.ascontiguousarray(matrix, dtype=np.float32)
    return pa.FixedSizeListArray.from_arrays(pa.array(matrix.reshape(-1)), matrix.shape[1])


def _matrix(table: pa.Table, key: str) -> np.ndarray:
    values = table[key].combine_chunks()
    if pa.types.is_list(values.type) or pa.types.is_fixed_size_list(values.type):
        values = values.flatten()
    return values.to_numpy(zero_copy_only=False).astype(np.float32).reshape(len(table), -1)


def _set_column(table: pa.Table, name: str, values: np.ndarray) -> pa.Table:
    if name in table.column_names:
        table = table.drop_columns([name])
    return table.append_column(name, pa.array(values))


def _statistics(folder: Path) -> dict:
    columns: dict[str, list[np.ndarray]] = {STATE_KEY: [], ACTION_KEY: []}
    for path in _data_files(folder):
        table = pq.read_table(path)
        for key, parts in columns.items():
            parts.append(_matrix(table, key))
    stats = {}
    for key, parts in columns.items():
        matrix = np.concatenate(parts)
        values = {
            name: getattr(matrix, name)(axis=0).tolist() for name in ("min", "max", "mean", "std")
        }
        stats[key] = {**values, "count": [len(matrix)]}
    return stats


def _features(folder: Path, fps: int) -> dict:
    table = pq.read_table(_data_files(folder)[0])
    features = {}
    for key in table.column_names:
        kind = table.schema.field(key).type
        if pa.types.is_fixed_size_list(kind):
            names = list(STATE_NAMES) if kind.list_size == 7 else None
            features[key] = {"dtype": "float32", "shape": [kind.list_size], "names": names}
        elif key != "task":
            features[key] = {
                "dtype": str(kind).replace("float", "float32")
                if str(kind) == "float"
                else str(kind),
                "shape": [1],
                "names": None,
            }
    for path in sorted((folder / "videos").iterdir()):
        with av.open(str(next(path.glob("chunk-*/file-*.mp4")))) as container:
            stream = container.streams.video[0]
            shape = [stream.height, stream.width, 3]
        features[path.name] = {
            "dtype": "video",
            "shape": shape,
            "names": ["height", "width", "channels"],
            "info": {
                "video.fps": fps,
                "video.codec": "h264",
                "video.pix_fmt": "yuv420p",
                "video.height": shape[0],
                "video.width": shape[1],
                "video.channels": 3,
                "video.is_depth_map": False,
                "has_audio": False,
            },
        }
    return features
