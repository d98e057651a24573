"""Episodes read from disk: LeRobotDataset v3 folders, written here or by lerobot.

`episode_writing` writes them. Format: https://huggingface.co/docs/lerobot/lerobot-dataset-v3
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import av
import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from av.error import FFmpegError

VERSION = "v3.0"
STATE_KEY, ACTION_KEY = "observation.state", "action"
OBSERVATION_PREFIX, IMAGE_PREFIX = "observation.", "observation.images."
STATE_NAMES = ("x", "y", "z", "roll", "pitch", "yaw", "closedness")
_FILE = "chunk-{chunk_index:03d}/file-{file_index:03d}"
DATA_PATH = f"data/{_FILE}.parquet"
EPISODES_PATH = f"meta/episodes/{_FILE}.parquet"
VIDEO_PATH = f"videos/{{video_key}}/{_FILE}.mp4"


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

    @classmethod
    def from_rows(
        cls, table: pa.Table, index: int, images: dict[str, np.ndarray], task: str
    ) -> Episode:
        """From the rows of a data file; every further observation of numbers becomes `extra`."""
        extra = {
            key.removeprefix(OBSERVATION_PREFIX): matrix(table, key)
            for key in table.column_names
            if key.startswith(OBSERVATION_PREFIX) and key != STATE_KEY and _is_numeric(table, key)
        }
        return cls(index, images, matrix(table, STATE_KEY), matrix(table, ACTION_KEY), extra, task)


@dataclass(frozen=True)
class EpisodeFolder:
    """A LeRobotDataset v3 folder opened for reading."""

    folder: Path
    info: dict
    rows: list[dict]  # one per episode, as in meta/episodes, without its statistics

    @classmethod
    def open(cls, folder: str | Path) -> EpisodeFolder:
        """Open `folder`.

        Raises:
            EpisodeError: it is no LeRobotDataset v3, or its states or actions are no poses.
        """
        folder = Path(folder)
        path = folder / "meta/info.json"
        if not path.is_file():
            raise EpisodeError(
                f"{folder} has no meta/info.json: not a LeRobotDataset folder; "
                "record one with ./run collect"
            )
        try:
            info = json.loads(path.read_text())
        except ValueError as error:
            raise EpisodeError(
                f"{path} is damaged ({error}); copy or record the data set again"
            ) from None
        if info.get("codebase_version") != VERSION:
            raise EpisodeError(
                f"{folder} is LeRobotDataset {info.get('codebase_version')}, this reads {VERSION}; "
                "convert it with lerobot's own converter"
            )
        for key in (STATE_KEY, ACTION_KEY):
            _check_pose(folder, key, info["features"].get(key))
        files = sorted((folder / "meta/episodes").glob("*/*.parquet"))
        rows = [row for file in files for row in _read_rows(file)]
        if not rows:
            raise EpisodeError(f"{folder} has no episodes (meta/episodes); record some first")
        return cls(folder, info, sorted(rows, key=lambda row: row["episode_index"]))

    @property
    def fps(self) -> int:
        """Frames a second."""
        return int(self.info["fps"])

    @property
    def camera_keys(self) -> dict[str, str]:
        """Camera name -> feature, for colour cameras; depth maps are none."""
        return {
            key.removeprefix(IMAGE_PREFIX).removeprefix(OBSERVATION_PREFIX): key
            for key, feature in self.info["features"].items()
            if feature["dtype"] in ("video", "image") and not _is_depth(feature)
        }

    @property
    def cameras(self) -> list[str]:
        """Names of the colour cameras, without the `observation.images.` prefix."""
        return list(self.camera_keys)

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, cameras: Sequence[str] | None = None) -> Iterator[Episode]:
        """All episodes in order; every video file is decoded once, front to back.

        Raises:
            EpisodeError: there is no such camera, or a file is damaged or missing.
        """
        keys = self.camera_keys
        cameras = list(keys) if cameras is None else list(cameras)
        unknown = set(cameras) - set(keys)
        if unknown:
            raise EpisodeError(
                f"{self.folder} has no colour camera {sorted(unknown)}; it has {list(keys)}"
            )
        table, streams, current = None, {}, None
        for row in self.rows:
            place = {name: row[f"data/{name}"] for name in ("chunk_index", "file_index")}
            if table is None or place != current:
                table, current = self._table(place), place
            first = row["dataset_from_index"] - int(table["index"][0].as_py())
            part = table.slice(first, row["length"])
            if set(part["episode_index"].to_pylist()) != {row["episode_index"]} or (
                len(part) != row["length"]
            ):
                raise EpisodeError(
                    f"{self.folder}: data file {place} lacks rows of episode "
                    f"{row['episode_index']}; copy or record the data set again"
                )
            images = {}
            for name in cameras:
                stored = self.info["features"][keys[name]]["dtype"]
                images[name] = (
                    self._video_frames(streams, keys[name], row)
                    if stored == "video"
                    else self._stored_pictures(part, keys[name])
                )
            task = row["tasks"][0] if row["tasks"] else ""
            yield Episode.from_rows(part, row["episode_index"], images, task)

    def _table(self, place: dict[str, int]) -> pa.Table:
        path = self.folder / self.info["data_path"].format(**place)
        try:
            return pq.read_table(path)
        except (OSError, pa.ArrowException) as error:
            raise EpisodeError(
                f"{path} cannot be read ({' '.join(str(error).split())}); "
                "copy or record the data set again"
            ) from None

    def _video_frames(self, streams: dict, key: str, row: dict) -> np.ndarray:
        """The frames of one episode from a camera's video, decoding forward only."""
        place = {name: row[f"videos/{key}/{name}"] for name in ("chunk_index", "file_index")}
        if streams.get(key, (None,))[0] != place:
            path = self.folder / self.info["video_path"].format(video_key=key, **place)
            streams[key] = (place, decode_video(path), path)
        _, frames, path = streams[key]
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

    def _stored_pictures(self, part: pa.Table, key: str) -> np.ndarray:
        """Pictures that stand in the data file itself, as PNG or JPEG bytes."""
        if key not in part.column_names:
            raise EpisodeError(f"{self.folder}: the data files lack the pictures of {key}")
        images = []
        for cell in part[key].to_pylist():
            stored = cell["bytes"]
            if stored is None and cell["path"]:
                path = self.folder / cell["path"]
                stored = path.read_bytes() if path.is_file() else None
            image = None
            if stored:
                image = cv2.imdecode(np.frombuffer(stored, np.uint8), cv2.IMREAD_COLOR)
            if image is None:
                raise EpisodeError(
                    f"{self.folder}: a picture of {key} cannot be read ({cell['path']}); "
                    "copy the data set again"
                )
            images.append(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))
        return np.stack(images)


def decode_video(path: Path) -> Iterator[tuple[float, np.ndarray]]:
    """(time [s], uint8 RGB [H, W, 3]) of every frame of a video.

    Raises:
        EpisodeError: the file is missing or damaged.
    """
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            for frame in container.decode(stream):
                yield float(frame.time or 0.0), frame.to_ndarray(format="rgb24")
    except (FFmpegError, OSError, IndexError) as error:
        raise EpisodeError(f"{path} cannot be read as video: {error}") from error


def matrix(table: pa.Table, key: str, dtype: type = np.float32) -> np.ndarray:
    """A column of numbers, lists or nested lists as `dtype` [T, K]."""
    values = table[key].combine_chunks()
    while _is_list(values.type):
        values = values.flatten()
    return values.to_numpy(zero_copy_only=False).astype(dtype).reshape(len(table), -1)


def _check_pose(folder: Path, key: str, feature: dict | None) -> None:
    """Whether the numbers of a feature are those of a pose, as far as info.json says."""
    wanted = ", ".join(STATE_NAMES)
    shape = None if feature is None else list(feature["shape"])
    if shape != [7]:
        raise EpisodeError(
            f"{folder}: feature {key} has shape {shape}, the world model needs [7] ({wanted})"
        )
    names = feature.get("names") if feature else None
    if isinstance(names, dict):  # lerobot's form with groups: {"motors": [...]}
        names = [name for group in names.values() for name in group]
    if names and any(str(name).lower().startswith(("joint", "motor")) for name in names):
        raise EpisodeError(
            f"{folder}: feature {key} holds joints ({', '.join(map(str, names))}), the world model "
            f"needs poses ({wanted}); convert them with the arm's kinematics"
        )


def _read_rows(path: Path) -> list[dict]:
    names = [name for name in pq.read_schema(path).names if not name.startswith("stats/")]
    return pq.read_table(path, columns=names).to_pylist()


def _is_depth(feature: dict) -> bool:
    """Whether pictures are depth maps; lerobot has marked them in three ways."""
    marks = {**(feature.get("video_info") or {}), **(feature.get("info") or {})}
    return bool(marks.get("is_depth_map") or marks.get("video.is_depth_map"))


def _is_numeric(table: pa.Table, key: str) -> bool:
    kind = table.schema.field(key).type
    while _is_list(kind):
        kind = kind.value_type
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)


def _is_list(kind: pa.DataType) -> bool:
    return (
        pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind) or pa.types.is_large_list(kind)
    )
