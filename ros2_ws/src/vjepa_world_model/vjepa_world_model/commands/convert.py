"""`./run convert SOURCE OUT`: any of the three kinds of weights becomes our folder."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from vjepa_world_model.commands.weights import (
    Dtype,
    EncoderHeads,
    ImageSize,
    PredictorHeads,
    describe,
    dtype_of,
    fits,
    run,
    stored_bytes,
)
from vjepa_world_model.runtime import memory
from vjepa_world_model.runtime.memory import in_words
from vjepa_world_model.weights.checkpoints import choose_device, join, open_model, write_model

app = typer.Typer(add_completion=False)


@app.command()
def convert(
    source: Annotated[Path, typer.Argument(help="our folder, a Hugging Face folder or a .pt")],
    out: Annotated[Path, typer.Argument(help="folder to write; must not exist")],
    dtype: Dtype = "auto",
    predictor: Annotated[
        Path | None, typer.Option(help="take the predictor from this model instead")
    ] = None,
    image_size: ImageSize = 0,
    encoder_heads: EncoderHeads = 0,
    predictor_heads: PredictorHeads = 0,
) -> None:
    """Turn weights into our folder (safetensors), and say what loading it will take."""
    kind, begun = dtype_of(dtype), time.monotonic()
    stored = open_model(
        source,
        image_size=image_size or None,
        encoder_heads=encoder_heads or None,
        predictor_heads=None if predictor else predictor_heads or None,
        parts="encoder" if predictor else "both",
    )
    if predictor is not None:
        other = open_model(
            predictor,
            image_size=stored.encoder.crop_size if predictor.is_file() else None,
            predictor_heads=predictor_heads or None,
            parts="predictor",
        )
        stored = join(stored, other)
    typer.echo(describe(stored))
    write_model(out, stored, kind)
    size = in_words(stored_bytes(out))
    typer.echo(f"{out}: {size}, written in {time.monotonic() - begun:.0f} s")
    need, device = memory.estimate(open_model(out)), choose_device("auto")
    left = in_words(memory.available_bytes(device))
    answer = "it fits" if fits(need, device) else "it does not fit"
    typer.echo(f"it needs {need}; {left} are left on {device}: {answer}")


if __name__ == "__main__":
    run(app)
