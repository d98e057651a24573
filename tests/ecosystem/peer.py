"""Run by lerobot's own Python: `peer.py OURS THEIRS REPORT`.

Opens the folder OURS with lerobot, writes folders of its own under THEIRS, and leaves in the
folder REPORT what was seen and written (`ours.npz`, `theirs.npz`, `report.json`).
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import lerobot
import numpy as np
import pyarrow.parquet as pq
import torch
from lerobot.datasets.compute_stats import aggregate_stats, compute_episode_stats
from lerobot.datasets.dataset_tools import delete_episodes, merge_datasets
from lerobot.datasets.lerobot_dataset import LeRobotDataset
from PIL import Image

FPS = 10
POSE = ["x", "y", "z", "roll", "pitch", "yaw", "closedness"]


def main(ours: Path, theirs: Path, report: Path) -> None:
    seen = read(ours, report / "ours.npz")
    seen["version"] = lerobot.__version__
    seen["tools"] = edit(ours, theirs)
    write(theirs / "video", report / "theirs.npz")
    write_joints(theirs / "joints")
    (report / "report.json").write_text(json.dumps(seen))


def read(folder: Path, values: Path) -> dict:
    """Every frame with its neighbours, through a loader, as a policy's training would."""
    step = 1.0 / json.loads((folder / "meta/info.json").read_text())["fps"]
    camera = "observation.images.camera"
    data = LeRobotDataset(
        "local/ours",
        root=folder,
        video_backend="pyav",
        delta_timestamps={
            camera: [-step, 0.0],
            "observation.state": [-step, 0.0],
            "action": [0.0, step],
        },
    )
    batches = list(torch.utils.data.DataLoader(data, batch_size=4))
    tensors = [key for key, value in batches[0].items() if isinstance(value, torch.Tensor)]
    arrays = {key: torch.cat([batch[key] for batch in batches]).numpy() for key in tensors}
    arrays[camera] = np.round(arrays[camera] * 255).astype(np.uint8)
    recomputed, episode, stored = statistics(folder)
    np.savez(values, **arrays)
    return {
        "tasks": [task for batch in batches for task in batch["task"]],
        "task_table": data.meta.tasks["task_index"].to_dict(),
        "features": list(data.features),
        "cameras": data.meta.camera_keys,
        "episodes": data.num_episodes,
        "frames": data.num_frames,
        "stats": plain(data.meta.stats),
        "recomputed": plain(recomputed),
        "episode_recomputed": plain(episode),
        "episode_stored": plain(stored),
    }


def statistics(folder: Path) -> tuple[dict, dict, dict]:
    """By lerobot of the data set and of episode 1, from what it decoded; of episode 1 as stored."""
    data = LeRobotDataset("local/ours", root=folder, video_backend="pyav")
    features = data.meta.features
    episodes = []
    pictures = folder.parent / "pictures"
    for row in data.meta.episodes:
        indices = range(row["dataset_from_index"], row["dataset_to_index"])
        columns: dict[str, list] = {}
        for item in (data[i] for i in indices):
            for key, feature in features.items():
                if feature["dtype"] == "video":
                    columns.setdefault(key, []).append(save(item[key], pictures))
                else:
                    columns.setdefault(key, []).append(item[key].numpy())
        stacked = {k: v if isinstance(v[0], str) else np.stack(v) for k, v in columns.items()}
        episodes.append(compute_episode_stats(stacked, features))
    rows = pq.read_table(sorted((folder / "meta/episodes").glob("*/*.parquet"))[0]).to_pylist()
    stored = {
        key: {name: np.array(rows[1][f"stats/{key}/{name}"]) for name in episodes[1][key]}
        for key in episodes[1]
    }
    return aggregate_stats(episodes), episodes[1], stored


def save(picture: torch.Tensor, folder: Path) -> str:
    """lerobot takes the statistics of pictures from files."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{len(list(folder.iterdir())):06d}.png"
    pixels = (picture.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
    Image.fromarray(pixels).save(path)
    return str(path)


def edit(ours: Path, folder: Path) -> dict:
    """lerobot's own tools work on the folder: one episode less, joined with that, and one more."""
    data = LeRobotDataset("local/ours", root=ours, video_backend="pyav")
    last = LeRobotDataset("local/ours", root=ours, video_backend="pyav", episodes=[2])
    fewer = delete_episodes(data, [0], output_dir=folder / "fewer", repo_id="local/fewer")
    joined = merge_datasets([data, fewer], output_repo_id="local/all", output_dir=folder / "joined")
    shutil.copytree(ours, folder / "longer")
    longer = LeRobotDataset.resume("local/ours", root=folder / "longer")
    for frame in range(3):
        longer.add_frame({**blank(longer.features, 60 * frame), "task": "wave"})
    longer.save_episode()
    longer.finalize()
    return {
        "last": [len(last), int(last[0]["episode_index"])],
        "fewer": [fewer.num_episodes, fewer.num_frames],
        "joined": [joined.num_episodes, joined.num_frames],
        "last_state": joined[joined.num_frames - 1]["observation.state"].tolist(),
    }


def blank(features: dict, level: int) -> dict:
    """A frame of zeros, whose pictures are evenly grey."""
    counters = ("timestamp", "frame_index", "episode_index", "index", "task_index")
    return {
        key: np.full(feature["shape"], level, dtype=np.uint8)
        if feature["dtype"] == "video"
        else np.zeros(feature["shape"], dtype=feature["dtype"])
        for key, feature in features.items()
        if key not in counters
    }


def write(folder: Path, values: Path) -> None:
    """Three episodes with a camera stored as video, one as pictures, and further features."""
    pose = {"dtype": "float32", "shape": (7,), "names": POSE}
    image = {"shape": (48, 64, 3), "names": ["height", "width", "channels"]}
    data = LeRobotDataset.create(
        "local/theirs",
        fps=FPS,
        root=folder,
        robot_type="franka",
        features={
            "observation.state": pose,
            "action": pose,
            "observation.images.front": {"dtype": "video", **image},
            "observation.images.wrist": {"dtype": "image", **image},
            "observation.force": {"dtype": "float32", "shape": (1,), "names": None},
            "observation.contact": {"dtype": "bool", "shape": (2,), "names": None},
            "observation.note": {"dtype": "string", "shape": (1,), "names": None},
            "next.reward": {"dtype": "float32", "shape": (1,), "names": None},
        },
    )
    rng = np.random.default_rng(5)
    written: dict[str, list] = {}
    for episode, length in enumerate((4, 5, 6)):
        for frame in range(length):
            row = {
                "observation.state": rng.normal(size=7).astype(np.float32),
                "action": rng.normal(size=7).astype(np.float32),
                "observation.images.front": shaded(20 * frame + 60 * episode),
                "observation.images.wrist": shaded(30 * frame + 40 * episode),
                "observation.force": np.array([frame], dtype=np.float32),
                "observation.contact": np.array([frame % 2 == 0, True]),
            }
            for key, value in row.items():
                written.setdefault(key, []).append(value)
            data.add_frame(
                {
                    **row,
                    "observation.note": "seen",
                    "next.reward": np.array([0.5], dtype=np.float32),
                    "task": f"task {episode % 2}",
                }
            )
        data.save_episode()
    data.finalize()
    np.savez(values, **{key: np.stack(value) for key, value in written.items()})


def write_joints(folder: Path) -> None:
    """Seven joints are no pose."""
    joints = {"dtype": "float32", "shape": (7,), "names": [f"joint_{i}" for i in range(7)]}
    data = LeRobotDataset.create(
        "local/joints",
        fps=FPS,
        root=folder,
        features={"observation.state": joints, "action": joints},
    )
    for _ in range(3):
        zeros = np.zeros(7, dtype=np.float32)
        data.add_frame({"observation.state": zeros, "action": zeros, "task": "wave"})
    data.save_episode()
    data.finalize()


def shaded(offset: int) -> np.ndarray:
    """A picture whose three channels differ, so that exchanged ones are noticed."""
    across = np.linspace(0, 120, 64)[None, :].repeat(48, axis=0)
    down = np.linspace(0, 120, 48)[:, None].repeat(64, axis=1)
    level = float(offset % 120)
    return np.stack([across + level, down, 120 - across / 2 + level], axis=-1).astype(np.uint8)


def plain(stats: dict) -> dict:
    return {
        key: {name: np.asarray(value).tolist() for name, value in values.items()}
        for key, values in stats.items()
    }


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:4]))
