"""Frames with known poses: from an .npz file, or from an episode of a data set."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from vjepa_world_model.data.episodes import EpisodeFolder
from vjepa_world_model.model.poses import action_between


class MomentError(ValueError):
    """Frames and poses cannot be used; says what is wrong with which file."""


@dataclass(frozen=True)
class Sequence:
    """Frames in the order in which they were seen.

    Attributes:
        name: where they are from.
        frames: uint8 RGB [T, H, W, 3].
        states: float32 [T, 7], see `poses`.
    """

    name: str
    frames: np.ndarray
    states: np.ndarray

    def action(self, first: int, second: int) -> np.ndarray:
        """float32 [7]: what leads from one frame to another in one action."""
        pair = torch.from_numpy(self.states[[first, second]])
        return action_between(pair[0], pair[1]).numpy()


def read_arrays(path: Path) -> Sequence:
    """From an .npz with `observations` uint8 [..., T, H, W, 3] and `states` [..., T, 7].

    The layout of the trajectory that facebookresearch/vjepa2 gives as an example. Of several
    trajectories the first is taken.

    Raises:
        MomentError: no such file, or its arrays are missing or of another shape.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {key: file[key] for key in file.files}
    except (OSError, ValueError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise MomentError(f"{path} cannot be read as arrays ({error})") from error
    missing = {"observations", "states"} - set(arrays)
    if missing:
        raise MomentError(
            f"{path} has no {' and no '.join(sorted(missing))}; it has {list(arrays)}"
        )
    frames, states = arrays["observations"], arrays["states"].astype(np.float32)
    while frames.ndim > 4 and states.ndim > 2:
        frames, states = frames[0], states[0]
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3:
        raise MomentError(
            f"{path}: observations are {frames.dtype} {list(frames.shape)}, "
            "expected uint8 RGB [T, H, W, 3]"
        )
    if states.shape != (len(frames), 7):
        raise MomentError(
            f"{path}: states are {list(states.shape)} for {len(frames)} frames, expected "
            f"[{len(frames)}, 7] (metres, extrinsic xyz Euler angles in radians, closedness)"
        )
    if not np.isfinite(states).all():
        raise MomentError(f"{path}: a state holds a number that is not finite")
    return Sequence(path.name, frames, states)


def read_episodes(folder: EpisodeFolder, camera: str, count: int) -> Iterator[Sequence]:
    """The last `count` episodes, which training holds out, as one camera saw them."""
    for episode in replace(folder, rows=folder.rows[-count:]).read([camera]):
        yield Sequence(f"episode {episode.index}", episode.images[camera], episode.states)
