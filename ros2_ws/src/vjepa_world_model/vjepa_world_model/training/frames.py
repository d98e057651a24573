"""Frames of an episode folder, resized to the model once and kept as a memory-mapped array."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rich.progress import track

from vjepa_world_model.data.episodes import EpisodeError, EpisodeFolder
from vjepa_world_model.model.encoder import resize

# A camera of this name changes its look from frame to frame: for the encoder only.
RESTYLED = "restyled"
HELD_OUT_SHARE = 0.04  # the last episodes of a folder judge, they never train


@dataclass(frozen=True)
class FrameStore:
    """All episodes of a folder, cut to one length.

    Attributes:
        frames: uint8 [cameras, E, T, size, size, 3], memory-mapped.
        states, actions: float32 [E, T, 7].
        extra: further observations, float32 [E, T, K].
    """

    cameras: list[str]
    frames: np.ndarray
    states: np.ndarray
    actions: np.ndarray
    extra: dict[str, np.ndarray]

    @property
    def training(self) -> range:
        """Episodes to learn from."""
        return range(len(self.states) - self.held_out_count)

    @property
    def steady_cameras(self) -> list[int]:
        """Cameras whose pictures change only because something moves."""
        return [i for i, name in enumerate(self.cameras) if name != RESTYLED]

    @property
    def held_out(self) -> range:
        """Episodes to judge by."""
        return range(len(self.states) - self.held_out_count, len(self.states))

    @property
    def held_out_count(self) -> int:
        return max(1, round(HELD_OUT_SHARE * len(self.states)))

    @classmethod
    def open(cls, folder: str | Path, size: int) -> FrameStore:
        """Open `folder`, decoding its videos on first use (a cache of `size` px stays in it)."""
        data = EpisodeFolder.open(folder)
        if len(data) < 2:
            raise EpisodeError(f"{folder} has {len(data)} episode(s), training needs at least 2")
        cameras = data.cameras
        length = min(row["length"] for row in data.rows)
        shape = (len(cameras), len(data), length, size, size, 3)
        path = Path(folder) / "cache" / f"frames-{size}-{len(data)}x{length}.npy"
        fresh = not path.exists()
        part = path.with_suffix(".part")
        if fresh:
            path.parent.mkdir(exist_ok=True)
            cache = np.lib.format.open_memmap(part, "w+", np.uint8, shape)
        states, actions, extra = [], [], {}
        episodes = data.read(cameras if fresh else [])
        for number, episode in enumerate(
            track(episodes, "reading episodes", total=len(data), disable=not fresh)
        ):
            states.append(episode.states[:length])
            actions.append(episode.actions[:length])
            for key, value in episode.extra.items():
                extra.setdefault(key, []).append(value[:length])
            for index, camera in enumerate(cameras if fresh else []):
                images = torch.from_numpy(episode.images[camera][:length])
                small = resize(images, size).round().byte().permute(0, 2, 3, 1)
                cache[index, number] = small.numpy()
        if fresh:
            cache.flush()
            part.replace(path)
        return cls(
            cameras,
            np.load(path, mmap_mode="r"),
            np.stack(states),
            np.stack(actions),
            {key: np.stack(value) for key, value in extra.items()},
        )
