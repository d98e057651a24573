"""Comparing this implementation with files that the reference implementation wrote.

A folder may hold any number of such files, of any names and sizes; what a file is, is told from
what it holds:

- a predictor: `config`, `weights/<official name>`, and for each T `T*/features`, `T*/actions`,
  `T*/states`, perhaps `T*/extrinsics`, and `T*/output`;
- an encoder: `config`, `weights/<official name>`, and `T*/clip` [B, C, T, H, W], `T*/output`;
- a checkpoint in the layout of the official `vjepa2-ac-vitg.pt`;
- a plan: frame and goal, their latents, a rollout and its energies, and what the reference planner
  chose, all computed with one of the checkpoints.

All in float32 on the CPU. What the reference planner chose is compared where the planner is.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vjepa_world_model.model.predictor import KeyValueCache
from vjepa_world_model.model.world_model import WorldModel
from vjepa_world_model.weights import official
from vjepa_world_model.weights.checkpoints import (
    CheckpointError,
    StoredModel,
    build_world_model,
    open_official,
)
from vjepa_world_model.weights.tensor_files import map_torch_file

TOLERANCE = 1e-4
CPU = torch.device("cpu")
_WEIGHTS = "weights/"


class ParityError(ValueError):
    """A file cannot be compared; says why."""


@dataclass(frozen=True)
class Difference:
    """The largest absolute difference of one array of a file."""

    what: str
    value: float


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """All arrays of a .npz file; raises ParityError where it is none, or holds objects."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return {key: file[key] for key in file.files}
    except (OSError, ValueError, EOFError, KeyError, AttributeError, zipfile.BadZipFile) as error:
        raise ParityError(f"it cannot be read as arrays ({error}); copy it again") from error


def kind_of(arrays: dict[str, np.ndarray]) -> str:
    """ "predictor", "encoder" or "plan"; raises ParityError for anything else."""
    if _WEIGHTS + "predictor_embed.weight" in arrays:
        return "predictor"
    if _WEIGHTS + "patch_embed.proj.weight" in arrays:
        return "encoder"
    if {"frame", "goal", "frame_latent", "actions", "rollout_latents"} <= set(arrays):
        return "plan"
    raise ParityError(
        f"it holds {', '.join(sorted(arrays)[:5]) or 'nothing'}: neither a predictor, nor an "
        "encoder, nor a plan of the reference"
    )


@torch.no_grad()
def predictor_differences(arrays: dict[str, np.ndarray]) -> list[Difference]:
    """The predictor on all frames at once, and frame by frame with its cache."""
    config = _config(arrays)
    state = _weights(arrays)
    rows, columns = _grid(config)
    steps = _steps(arrays, ("features", "actions", "states", "output"))
    extrinsics = bool(config.get("use_extrinsics")) or any("extrinsics" in s for _, s in steps)
    sizes = official.predictor_config(
        state, "weights", (rows, columns), int(config["num_heads"]), extrinsics
    )
    stored = StoredModel("weights", "official", Path("weights"), None, {}, sizes, state)
    predictor = build_world_model(stored, CPU)._predictor
    found = []
    for name, step in steps:
        inputs = [step["features"], step["actions"], step["states"], step.get("extrinsics")]
        found.append(_difference(name, predictor(*inputs), step["output"]))
        cache, outputs = KeyValueCache(), []
        for t, frame in enumerate(step["features"].chunk(step["actions"].shape[1], dim=1)):
            now = [None if x is None else x[:, t] for x in inputs[1:]]
            outputs.append(predictor.step(frame, now[0], now[1], cache, now[2]))
        found.append(_difference(f"{name} with the cache", torch.cat(outputs, 1), step["output"]))
    return found


def encoder_differences(arrays: dict[str, np.ndarray]) -> list[Difference]:
    """The encoder's output before the layer norm without affine part, for each length of clip."""
    config = _config(arrays)
    grid = _grid(config)
    state = official.hugging_face_names(_weights(arrays))
    size = grid[0] * int(config["patch_size"])
    sizes = official.encoder_config(state, "weights", size, int(config["num_heads"]))
    stored = StoredModel("weights", "official", Path("weights"), sizes, state, None, {})
    encoder = build_world_model(stored, CPU, grid=grid)._encoder
    found = []
    for name, step in _steps(arrays, ("clip", "output")):
        clip = step["clip"].transpose(1, 2)
        found.append(_difference(name, encoder.raw_features(clip), step["output"]))
    return found


@dataclass(frozen=True)
class ReferencePlan:
    """A plan of the reference.

    frame, goal: float32 [3, H, W], normalised. The latents: [N, D]. pose: [7].
    actions: [S, H, 7]; rollout: what they lead to, latents [S, H + 1, N, D] and poses
    [S, H + 1, 7], the start included; energies: [S, H].
    """

    frame: Tensor
    goal: Tensor
    frame_latent: Tensor
    goal_latent: Tensor
    pose: Tensor
    actions: Tensor
    rollout_latents: Tensor
    rollout_poses: Tensor
    energies: Tensor

    @classmethod
    def of(cls, arrays: dict[str, np.ndarray]) -> ReferencePlan:
        """From the arrays of a file; raises ParityError where one is missing or of no use."""
        missing = sorted(set(cls.__annotations__) - set(arrays))
        if missing:
            raise ParityError(f"it is a plan without {', '.join(missing)}")
        got = {name: torch.from_numpy(arrays[name]).float() for name in cls.__annotations__}
        tokens, width = got["rollout_latents"].shape[-2:]
        try:
            got["frame_latent"] = got["frame_latent"].reshape(tokens, width)
            got["goal_latent"] = got["goal_latent"].reshape(tokens, width)
            got["pose"] = got["pose"].reshape(7)
        except RuntimeError as error:
            raise ParityError(f"its latents and pose do not fit its rollout: {error}") from error
        return cls(**got)

    def grid(self, patch: int) -> tuple[int, int]:
        """Patches of its pictures: rows, columns."""
        return self.frame.shape[-2] // patch, self.frame.shape[-1] // patch


@torch.no_grad()
def plan_differences(plan: ReferencePlan, model: WorldModel) -> list[Difference]:
    """Latents, the rollout's latents and poses, and energies."""
    found = _latent_differences(plan, model)
    latents, poses = model.rollout(plan.frame_latent[None], plan.pose[None], plan.actions)
    energies = model.energy(latents, plan.goal_latent)
    start = latents[:, :1] * 0 + plan.frame_latent
    found += [
        _difference("rollout latents", torch.cat([start, latents], 1), plan.rollout_latents),
        _difference(
            "rollout poses",
            torch.cat([plan.pose.expand(len(poses), 1, 7), poses], 1),
            plan.rollout_poses,
        ),
        _difference("energies", energies, plan.energies),
    ]
    return found


def model_of_plan(plan: ReferencePlan, path: Path, known_heads: list[int]) -> WorldModel:
    """The world model of a checkpoint, with the heads with which it computes the plan.

    A checkpoint does not say how many heads it has. Tried are those that a file of the same folder
    or the published sizes give, then all that divide the width; the plan's numbers decide.

    Raises:
        ParityError: the checkpoint cannot be the plan's, for its sizes are others.
        CheckpointError: it cannot be loaded.
    """
    states = _states(path)
    width, _, _, patch, _ = states["encoder"]["patch_embed.proj.weight"].shape
    if width != plan.frame_latent.shape[1]:
        raise ParityError(f"features of width {width}, the plan has {plan.frame_latent.shape[1]}")
    grid = plan.grid(patch)
    if grid[0] * grid[1] != len(plan.frame_latent):
        raise ParityError(f"{grid[0]}x{grid[1]} patches, the plan has {len(plan.frame_latent)}")

    def build(parts: str, encoder_heads: int, predictor_heads: int | None) -> WorldModel:
        stored = open_official(path, grid[0] * patch, encoder_heads, predictor_heads, parts)
        return build_world_model(stored.only(parts), CPU, grid=grid)

    def worst(differences: list[Difference]) -> float:
        return max(d.value for d in differences)

    encoder_heads = _best(
        _candidates(width, known_heads, official.ENCODER_HEADS),
        lambda heads: worst(_latent_differences(plan, build("encoder", heads, None))),
        enough=TOLERANCE if width in official.ENCODER_HEADS else 0.0,
    )
    inner = states["predictor"]["predictor_embed.weight"].shape[0]
    predictor_heads = _best(
        _candidates(inner, known_heads, official.PREDICTOR_HEADS),
        lambda heads: worst(plan_differences(plan, build("both", encoder_heads, heads))),
        enough=TOLERANCE if inner in official.PREDICTOR_HEADS else 0.0,
    )
    return build("both", encoder_heads, predictor_heads)


def check_checkpoint(path: Path) -> None:
    """Raises CheckpointError where a checkpoint cannot be read or is no V-JEPA 2-AC one."""
    _states(path)


def known_heads(arrays: dict[str, np.ndarray]) -> list[int]:
    """The heads that a predictor's or encoder's file names."""
    return [int(_config(arrays)["num_heads"])]


def same_encoder(arrays: dict[str, np.ndarray], path: Path) -> float | None:
    """The largest difference of a checkpoint's encoder weights to an encoder file's.

    None where it is another encoder.
    """
    ours, theirs = _states(path)["encoder"], _weights(arrays)
    if {k: v.shape for k, v in ours.items()} != {k: v.shape for k, v in theirs.items()}:
        return None
    difference = max(float((ours[k] - theirs[k]).abs().max()) for k in ours)
    return difference if difference < TOLERANCE else None


def _latent_differences(plan: ReferencePlan, model: WorldModel) -> list[Difference]:
    found = []
    for name in ("frame", "goal"):
        clip = getattr(plan, name)[None, None].expand(1, model.tubelet, -1, -1, -1)
        latent = getattr(plan, f"{name}_latent")
        found.append(_difference(f"{name} latent", model.encode_clips(clip)[0], latent))
    return found


def _states(path: Path) -> dict[str, dict[str, Tensor]]:
    content = map_torch_file(path)
    if not isinstance(content, dict) or not {"encoder", "predictor"} <= set(content):
        raise CheckpointError(f"{path} has no encoder and predictor dictionaries")
    states = {part: official.strip_prefixes(content[part]) for part in ("encoder", "predictor")}
    for part, name in (
        ("encoder", "patch_embed.proj.weight"),
        ("predictor", "predictor_embed.weight"),
    ):
        if name not in states[part]:
            raise CheckpointError(f"{path} has no {part} tensor {name}")
    return states


def _candidates(width: int, known: list[int], published: dict[int, int]) -> Iterator[int]:
    first = [*filter(None, [published.get(width)]), *known]
    # At least six dimensions a head: fewer could not be rotated along three axes.
    divisors = [heads for heads in range(1, width // 6 + 1) if width % heads == 0]
    yield from dict.fromkeys(heads for heads in (*first, *divisors) if width % heads == 0)


def _best(candidates: Iterator[int], cost: Callable[[int], float], enough: float) -> int:
    """The candidate of least cost; one of at most `enough` ends the search."""
    costs = {}
    for candidate in candidates:
        costs[candidate] = cost(candidate)
        if costs[candidate] <= enough:
            return candidate
    return min(costs, key=costs.get)


def _config(arrays: dict[str, np.ndarray]) -> dict:
    try:
        config = json.loads(str(arrays["config"]))
        missing = sorted({"img_size", "patch_size", "num_heads"} - set(config))
    except (KeyError, ValueError, TypeError) as error:
        raise ParityError(f"it has no readable config ({error})") from error
    if missing:
        raise ParityError(f"its config lacks {', '.join(missing)}")
    for key, needed in (("is_frame_causal", True), ("use_rope", True), ("use_SiLU", False)):
        if config.get(key, needed) != needed:
            raise ParityError(f"its config says {key} {config[key]}, which no published model does")
    return config


def _grid(config: dict) -> tuple[int, int]:
    size = config["img_size"]
    rows, columns = (size, size) if isinstance(size, int) else size
    return rows // config["patch_size"], columns // config["patch_size"]


def _weights(arrays: dict[str, np.ndarray]) -> dict[str, Tensor]:
    return official.strip_prefixes(
        {
            name.removeprefix(_WEIGHTS): torch.from_numpy(array)
            for name, array in arrays.items()
            if name.startswith(_WEIGHTS)
        }
    )


def _steps(
    arrays: dict[str, np.ndarray], needed: tuple[str, ...]
) -> list[tuple[str, dict[str, Tensor]]]:
    """The groups `T*/...` of a file, by length, and complete."""
    groups: dict[str, dict[str, Tensor]] = {}
    for key, array in arrays.items():
        if match := re.fullmatch(r"(T\d+)/(\w+)", key):
            groups.setdefault(match[1], {})[match[2]] = torch.from_numpy(array)
    if not groups:
        raise ParityError("it holds weights, but no T*/output to compare with")
    for name, group in groups.items():
        if missing := sorted(set(needed) - set(group)):
            raise ParityError(f"{name} lacks {', '.join(missing)}")
    return sorted(groups.items(), key=lambda item: int(item[0][1:]))


def _difference(what: str, ours: Tensor, theirs: Tensor) -> Difference:
    if ours.shape != theirs.shape:
        raise ParityError(f"{what}: {list(ours.shape)} here, {list(theirs.shape)} in the file")
    value = float((ours - theirs).abs().max())
    return Difference(what, value if np.isfinite(value) else np.inf)
