"""Will it fit: what a model needs in memory, told from its sizes before anything is loaded."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import torch
from transformers import VJEPA2Config

from vjepa_world_model.data.clips import ClipSizes
from vjepa_world_model.model.predictor import PredictorConfig

if TYPE_CHECKING:
    from vjepa_world_model.weights.stored import StoredModel

GIB = 1 << 30
# Weights that take in actions and states: they stay float32, so that a millimetre is not rounded
# away. They are small.
_CONDITIONING = re.compile(r"(action|state|extrinsics)_encoder\.")
_RUNTIME_BYTES = {"cpu": 100 << 20, "cuda": 600 << 20}  # contexts and workspaces of libraries
_MARGIN = 1.1  # on activations: allocators round up, and temporary tensors overlap


class MemoryTooSmall(ValueError):
    """A model does not fit; the text says what it needs, what there is, and what to do."""


@dataclass(frozen=True)
class MemoryNeed:
    """Bytes that a model takes.

    Attributes:
        weights: of the loaded parts, in their dtype.
        activations: the larger of encoding and imagining.
        buffer: pictures that wait for being encoded in a clip.
        loading: beside the weights while they are loaded: the largest tensor, as stored.
        says: what the activations were computed for.
    """

    weights: int
    activations: int
    loading: int
    says: str
    buffer: int = 0

    @property
    def total(self) -> int:
        """The peak."""
        return self.weights + max(self.activations + self.buffer, self.loading)

    def __str__(self) -> str:
        buffer = f", pictures that wait {in_words(self.buffer)}" if self.buffer else ""
        return (
            f"{in_words(self.total)}: weights {in_words(self.weights)}, "
            f"activations {in_words(self.activations)} ({self.says}){buffer}"
        )


def estimate(
    stored: StoredModel,
    dtype: torch.dtype | None = None,
    *,
    clip_frames: int = 0,
    clip_hop: int = 0,
    sequences: int = 64,
    horizon: int = 1,
    gradients: bool = False,
) -> MemoryNeed:
    """What loading and running a model takes.

    Args:
        dtype: of the weights; None: as stored.
        clip_frames, clip_hop: clips to be encoded, as in `clips.ClipSizes`; 0: single frames only.
        sequences, horizon: action sequences imagined at once, and their length.
        gradients: whether one sequence is imagined with its gradient as well.
    """
    activations, says = [0], []
    kind = dtype or _stored_dtype(stored)
    if stored.encoder is not None:
        frames = max(clip_frames, stored.encoder.tubelet_size)
        activations.append(encoding_bytes(stored.encoder, frames, kind))
        says.append(f"a clip of {clip_frames} frames" if clip_frames else "one picture")
    if stored.predictor is not None:
        activations.append(imagining_bytes(stored.predictor, sequences, horizon, kind))
        says.append(f"{sequences} sequences of {horizon} action{'s' * (horizon > 1)}")
        if gradients:
            activations.append(gradient_bytes(stored.predictor, 1, horizon, kind))
            says.append("one with its gradient")
    buffer = 0
    if clip_frames and stored.encoder is not None:
        sizes = ClipSizes(clip_frames, clip_hop or clip_frames)
        buffer = sizes.buffer_bytes(stored.encoder.crop_size)
    groups = (stored.encoder_tensors, stored.predictor_tensors)
    largest = [t.nbytes for tensors in groups for t in tensors.values()]
    return MemoryNeed(
        weights=sum(_weight_bytes(tensors, dtype) for tensors in groups),
        activations=math.ceil(max(activations)),
        loading=max(largest, default=0),
        says=" or ".join(says),
        buffer=buffer,
    )


def encoding_bytes(config: VJEPA2Config, frames: int, dtype: torch.dtype) -> int:
    """Activations of encoding one clip of `frames` frames.

    The peak is inside a block: the residual stream, its norm, and either queries, keys and values
    with their rotated copies and the attention's output, or the hidden layer of the MLP before and
    after its GELU. Attention itself runs in tiles and keeps no matrix of all pairs.
    """
    side = config.crop_size // config.patch_size
    tokens = frames // config.tubelet_size * side * side
    width, hidden = config.hidden_size, int(config.hidden_size * config.mlp_ratio)
    block = tokens * (2 * width + max(8 * width, 2 * hidden))
    pixels = 2 * frames * config.in_chans * config.crop_size**2
    features = 3 * tokens * width  # as they are normed in float32
    rotary = 2 * tokens * (width // config.num_attention_heads)
    return math.ceil(_MARGIN * (block * dtype.itemsize + 4 * max(pixels, features) + 4 * rotary))


def imagining_bytes(
    config: PredictorConfig, sequences: int, horizon: int, dtype: torch.dtype
) -> int:
    """Activations of imagining sequences: what is kept of earlier frames, and one block on top.

    Keys and values are kept from one step to the next: of the last frame those of one block exist,
    and with a single action none are kept. Features are the imagined ones, twice while they are
    put together, and those that a score is computed from.
    """
    tokens = sequences * (config.tokens + config.conditions)
    hidden = int(config.width * config.mlp_ratio)
    cache = 2 * tokens * (horizon - 1) * config.width * config.depth
    joined = 2 * horizon * config.width if horizon > 1 else 0
    block = tokens * (2 * config.width + max(8 * config.width + joined, 2 * hidden))
    features = (2 * horizon + 3) * sequences * config.tokens * config.embed_dim
    return math.ceil(_MARGIN * ((cache + block) * dtype.itemsize + features * 4))


def gradient_bytes(
    config: PredictorConfig, sequences: int, horizon: int, dtype: torch.dtype
) -> int:
    """Activations of imagining sequences with the gradient of their energy by the actions.

    Beside what imagining takes, every block of every step keeps what the way back needs: the tokens
    that its two norms got, queries with the keys that they were rotated with, what attention gave,
    the hidden layer of the MLP before its GELU, and keys and values of all frames so far. Frozen
    linear layers keep nothing.
    """
    tokens = sequences * (config.tokens + config.conditions)
    hidden = int(config.width * config.mlp_ratio)
    frames_seen = horizon * (horizon + 1) // 2  # over all steps
    kept = tokens * (horizon * (5 * config.width + hidden) + frames_seen * 2 * config.width)
    imagining = imagining_bytes(config, sequences, horizon, dtype)
    return imagining + math.ceil(_MARGIN * config.depth * kept * dtype.itemsize)


def check_gradient_fits(
    config: PredictorConfig, sequences: int, horizon: int, dtype: torch.dtype, device: torch.device
) -> None:
    """Raises MemoryTooSmall where the gradient of these sequences needs more than is left."""
    need, there = gradient_bytes(config, sequences, horizon, dtype), available_bytes(device)
    if need > there:
        raise MemoryTooSmall(
            f"the gradient of {sequences} sequences of {horizon} actions needs {in_words(need)}, "
            f"and {in_words(there)} are left on {device}; a shorter horizon needs less, and "
            "fast_gradient_steps 0 none of it"
        )


def check_fits(need: MemoryNeed, device: torch.device) -> None:
    """Raises MemoryTooSmall where `need` is more than `device` has left."""
    there = available_bytes(device)
    if need.total + _RUNTIME_BYTES.get(device.type, 0) <= there:
        return
    what = "memory" if device.type == "cpu" else f"memory on {device}"
    remedies = ["dtype bf16 halves fp32 weights", "close what else uses the memory"]
    if device.type == "cuda":
        remedies.append("device cpu is slower and may have more")
    raise MemoryTooSmall(
        f"it needs {need}, and {in_words(there)} of {what} are left; {', '.join(remedies)}"
    )


def available_bytes(device: torch.device | str) -> int:
    """What is left of a GPU's memory, or of this machine's within its control group."""
    device = torch.device(device)
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return min(psutil.virtual_memory().available, _control_group_bytes())


def in_words(count: int) -> str:
    """Bytes in MiB or GiB."""
    return f"{count / GIB:.2f} GiB" if count >= GIB else f"{count / (1 << 20):.0f} MiB"


def peak_bytes() -> int:
    """The most memory that this process has held so far (resident, as the kernel counts).

    Read from the kernel: psutil gives what is held now, and the peak on Windows alone.
    """
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) << 10
    raise OSError("/proc/self/status has no VmHWM line")


def restart_peak() -> None:
    """Lets `peak_bytes` begin anew from what is held now, where the kernel allows it."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        pass


def weight_dtype(name: str, stored: torch.dtype, wanted: torch.dtype | None) -> torch.dtype:
    """The dtype of a weight once loaded: `wanted`, but float32 where actions and states come in."""
    if _CONDITIONING.match(name):
        return torch.float32
    if wanted is None and stored not in (torch.float32, torch.bfloat16):
        return torch.float32
    return wanted or stored


def _weight_bytes(tensors: Mapping[str, torch.Tensor], dtype: torch.dtype | None) -> int:
    return sum(t.numel() * weight_dtype(n, t.dtype, dtype).itemsize for n, t in tensors.items())


def _stored_dtype(stored: StoredModel) -> torch.dtype:
    groups = (stored.encoder_tensors, stored.predictor_tensors)
    kinds = [
        t.dtype for tensors in groups for n, t in tensors.items() if not _CONDITIONING.match(n)
    ]
    return max(kinds, key=lambda kind: kind.itemsize, default=torch.float32)


def _control_group_bytes() -> float:
    """What a container's limit leaves (control groups version 2); inf without a limit.

    Read from the kernel: psutil gives the memory of the whole machine.
    """
    group = Path("/sys/fs/cgroup")
    try:
        limit = int((group / "memory.max").read_text())  # "max" is no number: no limit
        used = int((group / "memory.current").read_text())
        stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        return limit - used + int(stat["inactive_file"])  # file pages are given up when needed
    except (OSError, ValueError, KeyError):
        return math.inf
