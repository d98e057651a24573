"""The XML of a launch file: which elements, attributes and children are known, and their lines.

The elements and attributes are those of ROS 2 launch. Only the part that this stack uses is known;
anything else is refused with file, line and element, never skipped.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.parsers import expat


class LaunchError(ValueError):
    """A launch file or argument that cannot be used; the text names place, value and remedy."""


@dataclass(frozen=True)
class LaunchDocument:
    """A parsed launch file; `lines` holds the line on which each element begins."""

    path: Path
    root: ET.Element
    lines: Mapping[ET.Element, int]

    def check(self, element: ET.Element) -> None:
        """Refuses attributes, children and text that the element does not have.

        Raises:
            LaunchError: the element, or a child that is no action, is not as ROS 2 launch knows it.
        """
        self._check(element, _ELEMENTS[element.tag])

    def refusal(self, element: ET.Element, what: str) -> LaunchError:
        """The error that names file, line and element before `what`."""
        key = next((key for key in ("name", "exec", "file", "from") if key in element.attrib), None)
        title = f'{element.tag} {key}="{element.get(key)}"' if key else element.tag
        return LaunchError(f"{self.path}:{self.lines[element]}: <{title}> {what}")

    def _check(self, element: ET.Element, known: _KnownAttributes) -> None:
        for attribute in known.needs:
            if attribute not in element.attrib:
                raise self.refusal(element, f"needs the attribute {attribute}")
        for attribute in element.attrib:
            if attribute not in (*known.needs, *known.takes):
                allowed = names_of((*known.needs, *known.takes)) or "none"
                raise self.refusal(
                    element, f"attribute {attribute!r} is not supported; known are {allowed}"
                )
        if (element.text or "").strip() or any((child.tail or "").strip() for child in element):
            raise self.refusal(element, "holds text; values stand in attributes")
        for child in element:
            if child.tag not in known.children:
                allowed = names_of(known.children) or "none"
                raise self.refusal(child, f"is not supported here; known are {allowed}")
            if element.tag == "include":
                self._check(child, _INCLUDE_ARGUMENT)
            elif child.tag not in _ACTIONS:
                self._check(child, _ELEMENTS[child.tag])


def parse(path: Path) -> LaunchDocument:
    """The XML of a file, not checked yet.

    Raises:
        LaunchError: the file is missing or not XML.
    """
    lines: dict[ET.Element, int] = {}
    builder = ET.TreeBuilder()
    parser = expat.ParserCreate()
    parser.buffer_text = True

    def start(tag: str, attributes: dict[str, str]) -> None:
        lines[builder.start(tag, attributes)] = parser.CurrentLineNumber

    parser.StartElementHandler = start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    try:
        parser.Parse(path.read_bytes(), True)
    except OSError as error:
        raise LaunchError(f"cannot read the launch file {path}: {error.strerror}") from error
    except expat.ExpatError as error:
        raise LaunchError(f"{path} is not XML: {error}") from error
    return LaunchDocument(path, builder.close(), lines)


def names_of(names: Iterable[str]) -> str:
    """Names as an error lists them."""
    return ", ".join(names)


@dataclass(frozen=True)
class _KnownAttributes:
    """Attributes and children of an element: `needs` must be there, `takes` may."""

    needs: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()
    children: tuple[str, ...] = ()


_IF = ("if", "unless")
_ACTIONS = ("arg", "group", "include", "let", "node", "push_ros_namespace", "set_env")
_ELEMENTS = {
    "launch": _KnownAttributes(takes=("version",), children=_ACTIONS),
    "arg": _KnownAttributes(("name",), ("default", "description"), ("choice",)),
    "choice": _KnownAttributes(("value",)),
    "let": _KnownAttributes(("name", "value"), _IF),
    "set_env": _KnownAttributes(("name", "value"), _IF),
    "push_ros_namespace": _KnownAttributes(("namespace",), _IF),
    "group": _KnownAttributes(takes=_IF, children=_ACTIONS),
    "include": _KnownAttributes(("file",), _IF, ("arg",)),
    "node": _KnownAttributes(
        ("pkg", "exec"),
        ("name", "namespace", "output", "args", "respawn", "respawn_delay", "on_exit", *_IF),
        ("param", "remap", "env"),
    ),
    "param": _KnownAttributes(takes=("name", "value", "type", "from", "allow_substs")),
    "remap": _KnownAttributes(("from", "to")),
    "env": _KnownAttributes(("name", "value")),
}
_INCLUDE_ARGUMENT = _KnownAttributes(("name", "value"))
