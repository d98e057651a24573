"""Single values of a procedure file: read as what they should be, or noted as wrong."""

from __future__ import annotations

import difflib
import re
from typing import Any

from robot_cell.described import LocatedYaml, Problem
from robot_cell.described import Way as Path

_NAME = re.compile(r"[a-z][a-z0-9_]*")


class Values:
    """Reads values of a document and notes what is wrong with them."""

    def __init__(self, document: LocatedYaml):
        self._document = document

    def _scale(self, entry: dict, path: Path) -> None:
        scale = entry.get("mm_per_px", 0)
        if type(scale) not in (int, float) or not 0 <= scale < float("inf"):
            text = f"mm_per_px is {shown(scale)}; write the width of a pixel, 0 if it is not known"
            self._wrong((*path, "mm_per_px"), text)

    def _title(self, entry: dict, path: Path, name: str) -> str:
        title = entry.get("title", name.replace("_", " ").capitalize())
        if not isinstance(title, str) or not title.strip():
            self._wrong((*path, "title"), f"title is {shown(title)}; write a text, in quotes")
        return str(title)

    def _name(self, value: Any, path: Path, what: str) -> str:
        if value is None:
            self._wrong(path, f"{what} is missing")
        elif not isinstance(value, str) or not _NAME.fullmatch(value):
            text = f"{shown(value)} is no name: small letters, digits and _, a letter first"
            self._wrong(path, text)
        return str(value)

    def _names(self, value: Any, path: Path, what: str, unique: bool = True) -> list[str]:
        names = self._list(value, path)
        for i, name in enumerate(names):
            self._name(name, (*path, i), f"the name of a {what}")
            if unique and name in names[:i]:
                self._wrong((*path, i), f"{what} {name} stands twice in this list")
        return [str(name) for name in names]

    def _repeat(self, value: Any, path: Path) -> int | None:
        if value == "any":
            return None
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            text = f"repeat is {shown(value)}; write how often at most (2, 3 ...), or any"
            self._wrong(path, text)
            return 1
        return value

    def _span(self, value: Any, path: Path) -> tuple[float, float] | None:
        if value is None:
            return None
        numbers = isinstance(value, list) and len(value) == 2
        numbers = numbers and all(type(v) in (int, float) for v in value)
        if not numbers or not 0 <= value[0] < value[1] < float("inf"):
            text = f"takes_s is {shown(value)}; write [shortest, longest] in seconds"
            self._wrong(path, text)
            return None
        return float(value[0]), float(value[1])

    def _pattern(self, value: Any, path: Path) -> None:
        if not isinstance(value, str):
            self._wrong(path, f"{shown(value)} is no text; write it in quotes")
            return
        try:
            re.compile(value)
        except (re.error, OverflowError, RecursionError) as error:
            self._wrong(path, f"{value!r} is no regular expression: {error}")

    def _choice(self, value: Any, path: Path, choices: tuple[str, ...] | list[str]) -> Any:
        if value not in choices:
            self._wrong(path, f"{shown(value)}: choose one of {', '.join(choices)}")
        return value

    def _mapping(self, value: Any, path: Path) -> dict:
        if isinstance(value, dict):
            return value
        self._wrong(path, f"{path[-1]} is {shown(value)}; write `key: value` lines below it")
        return {}

    def _list(self, value: Any, path: Path) -> list:
        if isinstance(value, list):
            return value
        self._wrong(path, f"{path[-1]} is {shown(value)}; write a list, as [one, two]")
        return []

    def _known_keys(self, entry: dict, path: Path, known: tuple[str, ...], what: str) -> None:
        for key in entry:
            if key not in known:
                hint = _hint(key, known)
                text = f"{what} has no {key!r}{hint}; it knows {', '.join(known)}"
                self._wrong((*path, key), text)

    def _known(self, name: str, known: list[str], path: Path, what: str, where: str) -> bool:
        if name in known:
            return True
        self._wrong(path, f"there is no {what} {name!r} in {where}{_hint(name, known)}")
        return False

    def _wrong(self, path: Path, text: str, warning: bool = False) -> None:
        problem = Problem(self._document.line(path), text, warning)
        if problem not in self._document.problems:
            self._document.problems.append(problem)


def _hint(name: Any, known: list[str] | tuple[str, ...]) -> str:
    near = difflib.get_close_matches(str(name), known, n=1)
    return f" (did you mean {near[0]}?)" if near else ""


def whole(value: Any, count: int) -> bool:
    """Whether it is a list of so many whole numbers."""
    return isinstance(value, list) and [type(v) for v in value] == [int] * count


def shown(value: Any) -> str:
    if value is None:
        return "empty"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
