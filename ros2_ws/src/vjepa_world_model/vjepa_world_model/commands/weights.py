"""`./run weights`: whether a model fits into memory, and random weights of the published sizes."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer

from vjepa_world_model.runtime import memory
from vjepa_world_model.runtime.memory import MemoryNeed, MemoryTooSmall, in_words
from vjepa_world_model.weights.checkpoints import (
    DTYPES,
    CheckpointError,
    StoredModel,
    build_world_model,
    choose_device,
    open_model,
)
from vjepa_world_model.weights.published import (
    ENCODERS,
    sizes,
    write_random_folder,
    write_random_official,
)

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)

ImageSize = Annotated[int, typer.Option(min=0, help="of an official file [px]; 0: 256")]
EncoderHeads = Annotated[int, typer.Option(min=0, help="of an official file; 0: the published")]
PredictorHeads = Annotated[int, typer.Option(min=0, help="of an official file; 0: the published")]
Dtype = Annotated[str, typer.Option(help="auto (as stored), fp32 or bf16")]
DEVICE = typer.Option(help="auto, cpu, cuda ...")


def main() -> None:
    """Runs a command; what is wrong with a model is said in one line."""
    run(app)


def run(command: typer.Typer) -> None:
    """Runs a typer application and ends with 1 and one line on a CheckpointError."""
    try:
        command()
    except CheckpointError as error:
        typer.echo(str(error), err=True)
        raise SystemExit(1) from None


@app.command()
def fit(
    model: Annotated[str, typer.Argument(help="folder or file; empty: the shipped one")] = "",
    device: Annotated[str, DEVICE] = "auto",
    dtype: Dtype = "auto",
    clip_frames: Annotated[int, typer.Option(min=0, help="longest clip; 0: pictures only")] = 0,
    sequences: Annotated[int, typer.Option(min=1, help="action sequences imagined at once")] = 64,
    horizon: Annotated[int, typer.Option(min=1, help="actions in a sequence")] = 1,
    load: Annotated[bool, typer.Option(help="load and use it, and measure")] = False,
    image_size: ImageSize = 0,
    encoder_heads: EncoderHeads = 0,
    predictor_heads: PredictorHeads = 0,
    as_json: Annotated[bool, typer.Option("--json", help="print figures as JSON")] = False,
) -> None:
    """Say what a model needs and what is left, before it is loaded; 1 when it does not fit."""
    stored = open_model(
        model,
        image_size=image_size or None,
        encoder_heads=encoder_heads or None,
        predictor_heads=predictor_heads or None,
    )
    kind, chosen = dtype_of(dtype), choose_device(device)
    need = memory.estimate(
        stored, kind, clip_frames=clip_frames, sequences=sequences, horizon=horizon
    )
    figures = {
        "model": stored.name,
        "kind": stored.kind,
        "device": str(chosen),
        "weights_bytes": need.weights,
        "activations_bytes": need.activations,
        "needed_bytes": need.total,
        "available_bytes": memory.available_bytes(chosen),
        "fits": fits(need, chosen),
    }
    if not as_json:
        typer.echo(describe(stored))
        typer.echo(f"needs {need}")
        left = in_words(figures["available_bytes"])
        typer.echo(f"{left} are left on {chosen}: {verdict(figures)}")
    if load and figures["fits"]:
        figures |= _measure(stored, kind, chosen, clip_frames, sequences, horizon)
        if not as_json:
            typer.echo(
                f"loaded in {figures['load_s']:.1f} s; peak of loading "
                f"{in_words(figures['load_peak_bytes'])}, with use "
                f"{in_words(figures['use_peak_bytes'])}, of the whole process "
                f"{in_words(figures['process_peak_bytes'])}"
            )
    if as_json:
        typer.echo(json.dumps(figures, indent=2))
    if not figures["fits"]:
        raise typer.Exit(1)


@app.command()
def random(
    size: Annotated[str, typer.Argument(help=f"published size: {', '.join(ENCODERS)}")],
    out: Annotated[Path, typer.Argument(help="folder, or file with --official, to write")],
    official: Annotated[
        bool, typer.Option(help="a .pt in the layout of the official file")
    ] = False,
    dtype: Annotated[str, typer.Option(help="fp32 or bf16")] = "fp32",
    image_size: Annotated[int, typer.Option(min=16, help="[px]")] = 256,
    seed: Annotated[int, typer.Option(min=0, help="the same seed gives the same weights")] = 0,
) -> None:
    """Write a model of a published size with random weights, to try out loading and timing."""
    kind = dtype_of(dtype) or torch.float32
    write = write_random_official if official else write_random_folder
    write(out, *sizes(size, image_size), seed, kind)
    typer.echo(f"{out}: {size} with random weights, {in_words(stored_bytes(out))}")


def dtype_of(name: str) -> torch.dtype | None:
    """None for `auto`; raises CheckpointError for an unknown name."""
    if name not in DTYPES:
        raise CheckpointError(f"unknown dtype {name!r}; use {', '.join(DTYPES)}")
    return DTYPES[name]


def describe(stored: StoredModel) -> str:
    """Sizes in words."""
    parts = [f"{stored.name} ({stored.kind})"]
    if (e := stored.encoder) is not None:
        parts.append(
            f"encoder {e.num_hidden_layers} blocks of width {e.hidden_size}, "
            f"{e.num_attention_heads} heads, {e.crop_size} px"
        )
    if (p := stored.predictor) is not None:
        parts.append(f"predictor {p.depth} blocks of width {p.width}, {p.heads} heads")
    else:
        parts.append("no action-conditioned predictor")
    return "; ".join(parts)


def stored_bytes(path: Path) -> int:
    """Size of a file, or of all files below a folder."""
    files = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
    return sum(file.stat().st_size for file in files)


def fits(need: MemoryNeed, device: torch.device) -> bool:
    """Whether a device has what is needed."""
    try:
        memory.check_fits(need, device)
    except MemoryTooSmall:
        return False
    return True


def verdict(figures: dict) -> str:
    """One sentence on whether it fits."""
    if figures["fits"]:
        return "it fits"
    return "it does not fit; --dtype bf16 halves fp32 weights, and fewer --sequences need less"


def _measure(
    stored: StoredModel,
    dtype: torch.dtype | None,
    device: torch.device,
    clip_frames: int,
    sequences: int,
    horizon: int,
) -> dict[str, float | int]:
    """Loads, encodes and imagines once; peaks are what came on top of the process before."""
    gpu = device.type == "cuda"

    def peak() -> int:
        return torch.cuda.max_memory_allocated(device) if gpu else memory.peak_bytes()

    memory.restart_peak()
    before, begun = peak(), time.perf_counter()
    model = build_world_model(stored, device, dtype)
    loaded_s, loaded = time.perf_counter() - begun, peak() - before
    if stored.encoder is not None:
        model.encode(np.zeros((1, model.image_size, model.image_size, 3), np.uint8))
        if clip_frames:
            clip = torch.zeros(1, clip_frames, 3, model.image_size, model.image_size)
            model.encode_clips(clip)
    if model.imagines:
        with torch.no_grad():
            features = torch.zeros(1, model.tokens, model.width, device=device)
            actions = torch.zeros(sequences, horizon, 7, device=device)
            model.rollout(features, torch.zeros(1, 7, device=device), actions)
    return {
        "load_s": loaded_s,
        "load_peak_bytes": loaded,
        "use_peak_bytes": peak() - before,
        "process_peak_bytes": memory.peak_bytes(),
    }


if __name__ == "__main__":
    main()
