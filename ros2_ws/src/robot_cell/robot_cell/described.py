"""Described files: YAML checked against pydantic models, every mistake with its line.

`read` turns a text into plain values and knows the line of each; `validated` checks them against a
model. What is wrong comes as `Problem`s, all at once, each one line that says what to do.
"""

from __future__ import annotations

import difflib
import math
import stat
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MantissaNoDotYAML1_1Warning, MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    CollectionStartEvent,
    MappingStartEvent,
    ScalarEvent,
)

Way = tuple[str | int, ...]
"""The way to a value from the top of the file: keys and positions."""

M = TypeVar("M", bound=BaseModel)

MAX_BYTES = 1 << 16
"""Files of people are far smaller; this many are read in 3 s."""

MAX_DEPTH = 20

# 1e-3 is a number here as everywhere else but in YAML 1.1.
warnings.filterwarnings("ignore", category=MantissaNoDotYAML1_1Warning)


@dataclass(frozen=True, order=True)
class Problem:
    """What is wrong (or odd, for a warning) at a line of a file; line 0: the file as a whole."""

    line: int
    text: str
    warning: bool = False

    def __str__(self) -> str:
        where = f"line {self.line}: " if self.line else ""
        return f"{where}{'warning: ' if self.warning else ''}{self.text}"


class DescribedError(ValueError):
    """A described file that cannot be used; `problems` say why, the text shows them all."""

    def __init__(self, where: str, problems: list[Problem]):
        self.problems = problems
        super().__init__("\n".join([f"{where} cannot be used:", *(f"  {p}" for p in problems)]))


@dataclass
class LocatedYaml:
    """A YAML document as plain values, and where each of them stands."""

    value: Any = None
    lines: dict[Way, int] = field(default_factory=dict[Way, int])
    problems: list[Problem] = field(default_factory=list[Problem])

    def line(self, way: Way) -> int:
        """The line of a value, or of what it is missing from."""
        while way and way not in self.lines:
            way = way[:-1]
        return self.lines.get(way, 0)


def read_text(path: Path | str) -> str:
    """The text of a file for `read`.

    Raises:
        DescribedError: no regular file, too large, or no text in UTF-8.
    """
    path = Path(path).expanduser()
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise DescribedError(str(path), [Problem(0, "this is no file; name a YAML file")])
        if status.st_size > MAX_BYTES:
            text = f"this has {status.st_size} bytes; a described file has {MAX_BYTES} at most"
            raise DescribedError(str(path), [Problem(0, text)])
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        text = f"this is not text in UTF-8 (byte {error.start}); save it as UTF-8"
        raise DescribedError(str(path), [Problem(0, text)]) from None
    except OSError as error:
        text = f"this cannot be read: {error.strerror}; check the path"
        raise DescribedError(str(path), [Problem(0, text)]) from None


def read(text: str) -> LocatedYaml:
    """Parses one document; what is wrong with it as YAML stands in `problems`.

    A key that stands twice is a problem here: YAML readers keep the last one without a word. So
    is an alias, because one place in the file would then stand for several.
    """
    document = LocatedYaml()
    try:
        document.problems += _shape(text)
        if not document.problems:
            loader: Any = YAML(typ="rt", pure=True)
            loader.version = (1, 1)  # as every ROS tool reads it: yes and no are no words
            document.lines[()] = 1
            document.value = _plain(loader.load(text), (), document)
    except MarkedYAMLError as error:
        document.problems.append(_no_yaml(error))
    except (YAMLError, ValueError, RecursionError) as error:
        told = " ".join(str(error).split())  # ruamel writes several lines
        document.problems.append(Problem(0, f"this is not YAML: {told}"))
    return document


def _no_yaml(error: Any) -> Problem:
    """Of ruamel's MarkedYAMLError."""
    mark = error.problem_mark or error.context_mark
    line = 0 if mark is None else int(mark.line) + 1
    return Problem(line, f"this is not YAML: {error.problem}")


def validated(document: LocatedYaml, model: type[M], what: str) -> M | None:
    """The document as `model`, or None; problems are added to it.

    Args:
        what: the kind of file, as in "a cell file".
    """
    if document.problems:
        return None
    value: Any = document.value
    if not isinstance(value, Mapping):
        document.problems.append(Problem(0, f"{what} holds `key: value` lines"))
        return None
    try:
        return model.model_validate(document.value)
    except ValidationError as error:
        for found in error.errors(include_url=False):
            way = tuple(part for part in found["loc"])
            document.problems.append(Problem(document.line(way), _said(found, way, model)))
        document.problems.sort()
        return None


def _shape(text: str) -> list[Problem]:
    """Aliases, keys that stand twice, and depths that nobody writes, before values are made."""
    found: list[Problem] = []
    keys: list[dict[str, int] | None] = []  # of each open mapping, with their lines; None: a list
    expects_key: list[bool] = []
    parser: Any = YAML()
    for event in parser.parse(text):
        line = int(event.start_mark.line) + 1
        if isinstance(event, CollectionEndEvent):
            keys.pop()
            expects_key.pop()
            continue
        if isinstance(event, AliasEvent):
            found.append(Problem(line, "aliases (*name) are not read here; write the value out"))
        if isinstance(event, AliasEvent | ScalarEvent | CollectionStartEvent) and keys:
            known = keys[-1]
            if known is not None and expects_key[-1] and isinstance(event, ScalarEvent):
                key = str(cast("Any", event).value)
                if key in known:
                    twice = f"{key} stands twice, first in line {known[key]}; keep one"
                    found.append(Problem(line, twice))
                known.setdefault(key, line)
            expects_key[-1] = not expects_key[-1]
        if isinstance(event, CollectionStartEvent):
            keys.append({} if isinstance(event, MappingStartEvent) else None)
            expects_key.append(True)
            if len(keys) > MAX_DEPTH:
                return [Problem(line, f"more than {MAX_DEPTH} levels deep")]
    return found


def _plain(value: Any, way: Way, document: LocatedYaml) -> Any:
    """The values of ruamel's round-trip tree without its types; notes the line of each."""
    marks: Any = getattr(value, "lc", None)  # CommentedMap and CommentedSeq know where they stand
    if isinstance(value, Mapping):
        found: dict[str, Any] = {}
        for key, item in cast("Mapping[Any, Any]", value).items():
            line = int(marks.key(key)[0]) + 1
            if not isinstance(key, str):
                text = f"key {key!r} is a {type(key).__name__}; put it in quotes"
                document.problems.append(Problem(line, text))
            document.lines[*way, str(key)] = line
            found[str(key)] = _plain(item, (*way, str(key)), document)
        return found
    if isinstance(value, list):
        items: list[Any] = []
        for i, item in enumerate(cast("list[Any]", value)):
            document.lines[*way, i] = int(marks.item(i)[0]) + 1
            items.append(_plain(item, (*way, i), document))
        return items
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind(value)
    return value


def _said(found: Any, way: Way, model: type[BaseModel]) -> str:
    """One pydantic error in a sentence that says what to do."""
    name = ".".join(map(str, way)) or "the file"
    value = found.get("input")
    kind = found["type"]
    if kind == "extra_forbidden":
        known = _keys(model, way[:-1])
        near = difflib.get_close_matches(str(way[-1]), known, n=1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        return f"there is no key {name}{hint}; known are {', '.join(known)}"
    if kind == "missing":
        return f"{name} is missing"
    text = str(found["msg"]).removeprefix("Value error, ")
    if kind == "value_error":
        return text if way == () else f"{name}: {text}"
    shown = "a NaN" if isinstance(value, float) and math.isnan(value) else repr(value)
    return f"{name} is {shown[:80]}: {text[0].lower()}{text[1:]}"


def _keys(model: Any, way: Way) -> list[str]:
    """The keys that the model knows at this place."""
    for part in way:
        if isinstance(part, int):
            continue
        info = model.model_fields.get(part)
        model = None if info is None else _model_in(info.annotation)
        if model is None:
            return []
    return list(model.model_fields)


def _model_in(annotation: Any) -> Any:
    """The pydantic model inside an annotation such as `tuple[Camera, ...] | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in cast("tuple[Any, ...]", getattr(cast(object, annotation), "__args__", ())):
        found = _model_in(inner)
        if found is not None:
            return found
    return None
