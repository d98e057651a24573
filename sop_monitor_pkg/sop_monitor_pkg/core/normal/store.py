"""Cycles as they were learned from: latents, steps, what the eyes saw; kept to learn again."""

from __future__ import annotations

import json
import zipfile
from dataclasses import asdict
from pathlib import Path

import numpy as np

from sop_monitor_pkg.core.normal.learning import Example
from sop_monitor_pkg.core.recognition.phases import Segment
from sop_monitor_pkg.core.tracks.sightings import SeenPart, SeenText, Sighting


class StoreError(ValueError):
    """A stored cycle that cannot be read; the text says which."""


def save(path: Path, example: Example, encoder: str, beside: str = "") -> None:
    """Writes one cycle. Latents are kept as float16: their noise is far above its rounding.

    `beside`: `CycleRecording.beside_digest` of the labels and sightings in it.
    """
    about = {
        "name": example.name,
        "encoder": encoder,
        "beside": beside,
        "segments": None if example.segments is None else [asdict(s) for s in example.segments],
        "sightings": [asdict(s) for s in example.sightings],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        np.savez_compressed(
            file,
            latents=example.latents.astype(np.float16),
            times_s=example.times_s,
            about=np.array(json.dumps(about)),
        )
    part.replace(path)


def beside(path: Path) -> str:
    """What `save` was told; empty where the file is damaged."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return json.loads(str(file["about"])).get("beside", "")
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return ""


def load(path: Path) -> tuple[Example, str]:
    """One cycle, and the encoder whose latents these are.

    Raises:
        StoreError: the file is damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            about = json.loads(str(file["about"]))
            latents, times_s = file["latents"].astype(np.float32), file["times_s"]
        segments = about["segments"]
        example = Example(
            about["name"],
            latents,
            times_s,
            None if segments is None else tuple(Segment(**s) for s in segments),
            tuple(_sighting(s) for s in about["sightings"]),
        )
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise StoreError(f"{path} is damaged ({error}); remove it and learn again") from None
    return example, about["encoder"]


def _sighting(about: dict) -> Sighting:
    parts, texts = about["parts"], about["texts"]
    return Sighting(
        about["time_s"],
        None
        if parts is None
        else tuple(
            SeenPart(
                p["name"],
                p["track"],
                tuple(p["box"]),
                tuple(p.get("candidates", ())),
                p.get("confidence", 1.0),
            )
            for p in parts
        ),
        about["scores"],
        None if texts is None else tuple(SeenText(**t) for t in texts),
        about["defect_kinds"],
    )
