"""Recordings of the simulated station, made by its own command."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from perception_pkg.core.recordings import StationRecordingError


def record(folder: Path, seed: int, cycles: int, *options: str, first: int = 0) -> Path:
    """Films `cycles` cycles from number `first` on; what is there is not filmed again.

    Args:
        options: of `./run station record`, for clean or faulty cycles; none: a mixture.

    Raises:
        RecordingError: the command failed; it has said why.
    """
    command = [
        sys.executable,
        "-m",
        "vjepa_bringup.commands.station",
        "record",
        str(folder),
        *options,
    ]
    sizes = ["--seed", seed, "--first", first, "--cycles", cycles]
    code = subprocess.run([*command, *map(str, sizes)]).returncode
    if code:
        raise StationRecordingError(f"{folder} could not be filmed (exit code {code})")
    return folder
