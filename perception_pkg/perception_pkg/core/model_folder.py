"""Model folders: a `config.json` beside the weights. Nothing in them executes code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


class ModelError(ValueError):
    """A model folder that cannot be used; the text names cause and remedy."""


def write_json(path: Path, values: Any) -> None:
    """Writes the file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(values, indent=1) + "\n")
    part.replace(path)


def read_config(folder: Path, what: str) -> dict[str, Any]:
    """The values of `config.json` in a model folder.

    Args:
        what: detector or defects, as `./run train` calls it.

    Raises:
        ModelError: no such file, or it is not a JSON object.
    """
    path = Path(folder) / "config.json"
    try:
        values = json.loads(path.read_text())
    except OSError:
        raise ModelError(
            f"no model at {folder}; ./run train {what} DATA --out OUT makes one, OUT/model"
        ) from None
    except json.JSONDecodeError as error:
        raise ModelError(f"{path} is damaged: {error}") from None
    if not isinstance(values, dict):
        raise ModelError(f"{path} is not the config of a model")
    return values
