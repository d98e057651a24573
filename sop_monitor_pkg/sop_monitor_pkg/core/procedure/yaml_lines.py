"""YAML with the line of every value, so that a mistake can be pointed at."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import yaml

Path = tuple[str | int, ...]
"""The way to a value from the top of the file: keys and positions."""


@dataclass(frozen=True, order=True)
class Problem:
    """What is wrong (or odd, for a warning) at a line of a file; line 0: the file as a whole."""

    line: int
    text: str
    warning: bool = False

    def __str__(self) -> str:
        where = f"line {self.line}: " if self.line else ""
        return f"{where}{'warning: ' if self.warning else ''}{self.text}"


@dataclass
class LocatedYaml:
    """A YAML document as plain values, and where each of them stands."""

    value: Any = None
    lines: dict[Path, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def line(self, path: Path) -> int:
        """The line of a value, or of what it is missing from."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 0)


def read(text: str) -> LocatedYaml:
    """Parses one document; what is wrong with it as YAML stands in `problems`.

    A key that stands twice is a problem here: YAML readers keep the last one without a word. So
    is an alias, because one place in the file would then stand for several.
    """
    document = LocatedYaml()
    try:
        loader = yaml.SafeLoader(text)
        try:
            node = loader.get_single_node()
            if node is not None:
                document.value = _value(node, (), loader, document, set())
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = 0 if mark is None else mark.line + 1
        document.problems.append(Problem(line, f"this is not YAML: {error.problem}"))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        document.problems.append(Problem(0, f"this is not YAML: {error}"))
    return document


def _value(
    node: yaml.Node, path: Path, loader: yaml.SafeLoader, document: LocatedYaml, seen: set[int]
) -> Any:
    line = node.start_mark.line + 1
    document.lines.setdefault(path, line)
    if id(node) in seen:
        text = "aliases (*name) are not read here; write the value out"
        document.problems.append(Problem(line, text))
        return None
    seen.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        items = enumerate(node.value)
        return [_value(item, (*path, i), loader, document, seen) for i, item in items]
    if not isinstance(node, yaml.MappingNode):
        return loader.construct_object(node)
    mapping: dict = {}
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        key_line = key_node.start_mark.line + 1
        if not isinstance(key, str):
            text = f"key {key!r} is a {type(key).__name__}; put it in quotes"
            document.problems.append(Problem(key_line, text))
            key = str(key)
        if key in mapping:
            text = f"{key} stands twice, first in line {document.lines[*path, key]}"
            document.problems.append(Problem(key_line, text))
        document.lines[*path, key] = key_line
        mapping[key] = _value(value_node, (*path, key), loader, document, seen)
    return mapping
