"""Cell files: the user's by path, the shipped ones by name."""

from __future__ import annotations

from pathlib import Path

from robot_cell.cell import Cell
from robot_cell.described import DescribedError, Problem, read, read_text, validated

CELLS = Path(__file__).resolve().parents[1] / "cells"
INSTALLED = "share/robot_cell/cells"


def load(path: Path | str) -> Cell:
    """The cell of a file, or a shipped one by its name, such as `panda_sim`.

    Raises:
        DescribedError: everything that is wrong, each with its line.
    """
    path = find_cell(path)
    document = read(read_text(path))
    cell = validated(document, Cell, "a cell file")
    if cell is None:
        raise DescribedError(str(path), document.problems)
    return cell


def find_cell(path: Path | str) -> Path:
    """The file that is meant.

    Raises:
        DescribedError: there is none.
    """
    text = str(path)
    if not text:
        known = ", ".join(shipped())
        raise DescribedError("cell ''", [Problem(0, f"name a cell file, or one of {known}")])
    if "/" not in text and not text.endswith((".yaml", ".yml")):
        if text in shipped():
            return _folder() / f"{text}.yaml"
        known = ", ".join(shipped())
        hint = f"shipped are {known}; a file of yours ends with .yaml"
        raise DescribedError(f"cell {text!r}", [Problem(0, hint)])
    return Path(text).expanduser()


def shipped() -> list[str]:
    """Names of the cells that come with the package."""
    return sorted(file.stem for file in _folder().glob("*.yaml"))


def _folder() -> Path:
    """Beside the sources, or where the package was installed without them."""
    if CELLS.is_dir():
        return CELLS
    return next(p / INSTALLED for p in Path(__file__).parents if (p / INSTALLED).is_dir())
