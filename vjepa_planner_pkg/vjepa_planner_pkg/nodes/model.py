"""The world model as a node loads it: one set of parameters for encoder and predictor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from node_kit.parameters import parameter

if TYPE_CHECKING:
    from rclpy.impl.rcutils_logger import RcutilsLogger
    from vjepa_world_model.data.clips import ClipSizes
    from vjepa_world_model.model.world_model import WorldModel
    from vjepa_world_model.weights.checkpoints import Parts


@dataclass
class ModelParameters:
    """Which world model, and where it runs."""

    model: str = parameter(
        "",
        "world model folder, Hugging Face V-JEPA 2 folder or official .pt; empty: the shipped one",
    )
    device: str = parameter("auto", "torch device; auto takes the GPU if there is one")
    dtype: str = parameter(
        "auto", "of the weights; auto: as they are stored", choices=("auto", "fp32", "bf16")
    )
    image_size: int = parameter(
        0, "side of the model's pictures, of an official .pt; 0: 256", unit="px", minimum=0
    )
    encoder_heads: int = parameter(
        0, "attention heads of the encoder, of an official .pt; 0: those published", minimum=0
    )
    predictor_heads: int = parameter(
        0, "attention heads of the predictor, of an official .pt; 0: those published", minimum=0
    )
    memory_limit_mib: int = parameter(
        0, "for activations, held by chunks; 0: half of what is free", unit="MiB", minimum=0
    )
    compile: str = parameter(
        "auto",
        "compile what is loaded, in a minute or two; auto: on a GPU, a CPU gains nothing",
        choices=("auto", "always", "never"),
    )
    threads: int = parameter(
        0, "CPU threads of torch in this process; 0: torch's choice", minimum=0
    )


def load(
    parameters: ModelParameters,
    logger: RcutilsLogger,
    parts: Parts = "both",
    clips: ClipSizes | None = None,
    horizon: int = 1,
    gradients: bool = False,
) -> WorldModel:
    """Says what the model needs in memory, loads what is needed of it, and says what it is.

    Args:
        parts: `encoder`, `predictor` or `both`.
        clips: that will be encoded; None: none.
        horizon: of the plans, as far as it is known here.
        gradients: whether they are refined by gradients.

    Raises:
        ValueError: a missing or unusable checkpoint or device, or too little memory for it.
    """
    from vjepa_world_model.runtime import memory
    from vjepa_world_model.weights import checkpoints

    if parameters.threads:
        torch.set_num_threads(parameters.threads)
    device = checkpoints.choose_device(parameters.device)
    dtype = checkpoints.DTYPES[parameters.dtype]
    stored = checkpoints.open_model(
        parameters.model,
        image_size=parameters.image_size,
        encoder_heads=parameters.encoder_heads,
        predictor_heads=parameters.predictor_heads,
        parts=parts,
    ).only(parts)
    work: dict[str, int] = {"horizon": horizon, "gradients": gradients}
    if clips is not None:
        work |= {"clip_frames": clips.frames, "clip_hop": clips.hop}
    need = memory.estimate(stored, dtype, **work)
    left = memory.in_words(memory.available_bytes(device))
    logger.info(f"model {stored.name!r} needs {need}; {left} are left on {device}")
    memory.check_fits(memory.estimate(stored, dtype, sequences=1, **work), device)
    model = checkpoints.build_world_model(
        stored,
        device,
        dtype,
        memory_limit_bytes=parameters.memory_limit_mib << 20 or None,
        compiled=checkpoints.COMPILE[parameters.compile],
    )
    if model.not_compiled:
        logger.warning(f"model {model.name!r} is not compiled: {model.not_compiled}")
    rows, columns = model.grid
    logger.info(
        f"model {model.name!r} on {model.device}: {rows}x{columns} patches of width {model.width}, "
        f"{model.heads}, {torch.get_num_threads()} CPU threads"
    )
    return model
