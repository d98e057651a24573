"""Reads a procedure from YAML, or says everything that is wrong with it, with lines.

The format is described in the README of the package; the examples stand in `config/procedures/`.
"""

from __future__ import annotations

from pathlib import Path as FilePath
from typing import Any

from robot_cell import described
from robot_cell.described import Problem
from robot_cell.described import Way as Path

from sop_monitor_pkg.core.alarms.kinds import Kind, Priority
from sop_monitor_pkg.core.procedure.order import sorted_steps
from sop_monitor_pkg.core.procedure.procedure import (
    CheckKind,
    Person,
    Procedure,
    QualityCheck,
    Step,
)
from sop_monitor_pkg.core.procedure.values import Values, shown, whole

_WAYS = ("page", "mqtt", "lamp", "buzzer")
_LAYOUT = ("size", "mm_per_px", "regions")  # for the eyes; here it is only looked at for mistakes
_TOP = (
    *("procedure", "title", "order", "parts", "variants", "holders", "people", "tell"),
    *("priorities", "steps", *_LAYOUT),
)
_REGION_KINDS = ("text", "part", "surface", "defects")  # defects: an older word for surface
_STEP = ("step", "title", "after", "optional", "repeat", "parts", "labels", "checks", "takes_s")
_LABELS = (CheckKind.TEXT, CheckKind.CODE)
_CHECKS = (CheckKind.PART, CheckKind.NO_DEFECT)
_REGION = ("box", "look_for", "pattern", "codes", "mm_per_px")


class ProcedureError(ValueError):
    """A procedure file that cannot be used; `problems` say why, the text shows them all."""

    def __init__(self, where: str, problems: list[Problem]):
        self.problems = problems
        super().__init__("\n".join([f"{where} cannot be used:", *(f"  {p}" for p in problems)]))


def load(path: FilePath | str) -> Procedure:
    """The procedure of a file.

    Raises:
        ProcedureError: with everything that is wrong.
        OSError: the file cannot be read.
    """
    procedure, problems = check(read_text(path))
    if procedure is None:
        raise ProcedureError(str(path), [p for p in problems if not p.warning])
    return procedure


def read_text(path: FilePath | str) -> str:
    """The file's text.

    Raises:
        ProcedureError: it is not text in UTF-8.
        OSError: it cannot be read.
    """
    try:
        return FilePath(path).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        problem = Problem(0, f"this is not text in UTF-8 (byte {error.start}); save it as UTF-8")
        raise ProcedureError(str(path), [problem]) from error


def check(text: str) -> tuple[Procedure | None, list[Problem]]:
    """The procedure written in `text` (None if it cannot be used), and what is wrong or odd."""
    document = described.read(text)
    procedure = None
    if not document.problems:
        procedure = _Reader(document).procedure()
    problems = sorted(document.problems)
    return (None if any(not p.warning for p in problems) else procedure), problems


class _Reader(Values):
    """Goes through a document from top to bottom and notes what is wrong."""

    def procedure(self) -> Procedure | None:
        top = self._document.value
        if not isinstance(top, dict):
            self._wrong((), "a procedure file holds `procedure: NAME` and `steps:`")
            return None
        self._known_keys(top, (), _TOP, "a procedure")
        name = self._name(top.get("procedure"), ("procedure",), "procedure: NAME")
        parts = self._names(top.get("parts", []), ("parts",), "part")
        variants = self._variants(top.get("variants", []), parts)
        holders = self._holders(top.get("holders", []), parts)
        people = self._people(top.get("people", {}))
        listed = self._choice(top.get("order", "listed"), ("order",), ("listed", "free"))
        steps = self._steps(top.get("steps"), listed == "listed", parts)
        tell = self._tell(top.get("tell", {}), people)
        priorities = self._priorities(top.get("priorities", {}))
        self._unused_parts(parts, steps)
        self._layout(top)
        if any(not problem.warning for problem in self._document.problems):
            return None
        return Procedure(
            name=name,
            title=self._title(top, (), name),
            steps=tuple(sorted_steps(steps)),
            parts=tuple(parts),
            people=tuple(people),
            tell=tuple(tell.items()),
            priorities=tuple(priorities.items()),
            variants=tuple(variants),
            holders=tuple(holders),
        )

    # Sections.

    def _variants(self, section: Any, parts: list[str]) -> list[tuple[str, ...]]:
        groups: list[tuple[str, ...]] = []
        for i, entry in enumerate(self._list(section, ("variants",))):
            path = ("variants", i)
            group = self._names(entry, path, "part")
            for j, name in enumerate(group):
                self._known(name, parts, (*path, j), "part", "parts: at the top")
                if any(name in other for other in groups):
                    self._wrong((*path, j), f"part {name} stands in two groups of variants")
            if len(group) == 1:
                self._wrong(path, f"{group[0]} alone is no choice; name what it is mistaken for")
            groups.append(tuple(group))
        return groups

    def _holders(self, section: Any, parts: list[str]) -> list[str]:
        holders = self._names(section, ("holders",), "holder")
        for i, name in enumerate(holders):
            if name in parts:
                self._wrong(("holders", i), f"{name} is a part; a holder is what moves parts")
        if parts and not holders:
            text = "no holders: name the classes that move parts, as [hand], else a part that is "
            self._wrong((), text + "carried counts as put down", warning=True)
        return holders

    def _people(self, section: Any) -> list[Person]:
        people = []
        for name, entry in self._mapping(section, ("people",)).items():
            path = ("people", name)
            self._name(name, path, "the name of a person or role")
            entry = self._mapping(entry or {}, path)
            self._known_keys(entry, path, ("told_by",), "a person")
            ways = self._list(entry.get("told_by", ["page"]), (*path, "told_by"))
            for i, way in enumerate(ways):
                self._choice(way, (*path, "told_by", i), _WAYS)
            people.append(Person(name, tuple(way for way in ways if isinstance(way, str))))
        return people

    def _steps(self, section: Any, listed: bool, parts: list[str]) -> list[Step]:
        steps: list[Step] = []
        if not isinstance(section, list) or not section:
            self._wrong(("steps",), "steps: a list of at least one step is missing")
            return steps
        first: dict[str, int] = {}
        for i, entry in enumerate(section):
            path = ("steps", i)
            if not isinstance(entry, dict):
                self._wrong(path, f"step {i + 1} is {shown(entry)}; write `- step: NAME`")
                continue
            before = [steps[-1].name] if listed and steps else []
            step = self._step(entry, path, before, parts)
            if step.name in first:
                line = self._document.line(("steps", first[step.name]))
                self._wrong(path, f"step {step.name} stands twice, first in line {line}")
                continue
            first[step.name] = i
            steps.append(step)
        self._order(steps, {name: ("steps", i) for name, i in first.items()})
        return steps

    def _step(self, entry: dict, path: Path, before: list[str], parts: list[str]) -> Step:
        self._known_keys(entry, path, _STEP, "a step")
        name = self._name(entry.get("step"), (*path, "step"), "step: NAME")
        after = before
        if "after" in entry:
            after = self._names(entry["after"], (*path, "after"), "step")
        taken = self._names(entry.get("parts", []), (*path, "parts"), "part", unique=False)
        for i, part in enumerate(taken):
            self._known(part, parts, (*path, "parts", i), "part", "parts: at the top")
        optional = entry.get("optional", False)
        if not isinstance(optional, bool):
            text = f"optional is {shown(optional)}; write true or false"
            self._wrong((*path, "optional"), text)
        return Step(
            name=name,
            title=self._title(entry, path, name),
            after=frozenset(after),
            optional=optional is True,
            at_most=self._repeat(entry.get("repeat", 1), (*path, "repeat")),
            parts=tuple(taken),
            labels=self._checks(entry.get("labels", []), (*path, "labels"), _LABELS, parts),
            checks=self._checks(entry.get("checks", []), (*path, "checks"), _CHECKS, parts),
            takes_s=self._span(entry.get("takes_s"), (*path, "takes_s")),
        )

    def _order(self, steps: list[Step], paths: dict[str, Path]) -> None:
        """Names that `after` cannot mean, and circles."""
        names = [step.name for step in steps]
        known = True
        for step in steps:
            path = (*paths[step.name], "after")
            for other in sorted(step.after):
                if other == step.name:
                    self._wrong(path, f"step {step.name} comes after itself")
                    known = False
                else:
                    known &= self._known(other, names, path, "step", "steps:")
        if not known:
            return
        try:
            sorted_steps(steps)
        except ValueError as error:
            self._wrong((*paths[error.args[1]], "after"), error.args[0])
        if all(step.optional for step in steps) and steps:
            self._wrong(("steps",), "every step is optional; a cycle needs one that is not")

    def _checks(
        self, section: Any, path: Path, kinds: tuple[CheckKind, ...], parts: list[str]
    ) -> tuple[QualityCheck, ...]:
        checks = []
        choices = " or ".join(kinds)
        for i, entry in enumerate(self._list(section, path)):
            at = (*path, i)
            if not isinstance(entry, dict) or len(entry) != 1:
                self._wrong(at, f"{shown(entry)}: write one of {choices}, as `- {kinds[0]}: ...`")
                continue
            ((key, value),) = entry.items()
            if not self._known(key, [str(kind) for kind in kinds], at, "check", choices):
                continue
            kind = CheckKind(key)
            if not isinstance(value, str) or not value:
                self._wrong(at, f"{key} is {shown(value)}; write it in quotes")
            elif kind in _LABELS:
                self._pattern(value, at)
            else:
                self._known(value, parts, at, "part", "parts: at the top")
            checks.append(QualityCheck(kind, str(value)))
        return tuple(checks)

    def _tell(self, section: Any, people: list[Person]) -> dict[Kind, tuple[str, ...]]:
        """Kind to names; `others` stands for every kind that is not named."""
        told: dict[Kind, tuple[str, ...]] = {}
        others: tuple[str, ...] = ()
        names = [person.name for person in people]
        for key, entry in self._mapping(section, ("tell",)).items():
            path = ("tell", key)
            who = self._names(entry, path, "person")
            for i, name in enumerate(who):
                self._known(name, names, (*path, i), "person", "people:")
            if key == "others":
                others = tuple(who)
            elif self._known(key, [*map(str, Kind), "others"], path, "kind of alarm", "tell:"):
                told[Kind(key)] = tuple(who)
        unheard = [str(kind) for kind in Kind if not told.get(kind, others)]
        if unheard:
            text = f"nobody is told of {', '.join(unheard)}; add them to tell:, or `others: [...]`"
            self._wrong(("tell",), text, warning=True)
        return {kind: told.get(kind, others) for kind in Kind}

    def _priorities(self, section: Any) -> dict[Kind, Priority]:
        priorities = {}
        levels = [level.name.lower() for level in Priority]
        for key, value in self._mapping(section, ("priorities",)).items():
            path = ("priorities", key)
            known = self._known(key, [*map(str, Kind)], path, "kind of alarm", "priorities:")
            if known and self._choice(value, path, levels) in levels:
                priorities[Kind(key)] = Priority[value.upper()]
        return priorities

    def _unused_parts(self, parts: list[str], steps: list[Step]) -> None:
        used = {part for step in steps for part in step.parts}
        used |= {check.value for step in steps for check in step.checks}
        for i, part in enumerate(parts):
            if part not in used:
                text = f"no step takes or checks part {part}"
                self._wrong(("parts", i), text, warning=True)

    def _layout(self, top: dict) -> None:
        """Regions of the picture, as perception reads them from the same file."""
        size = top.get("size", [1, 1])
        if not whole(size, 2) or not min(size) > 0:
            self._wrong(("size",), f"size is {shown(size)}; write [width, height] in pixels")
        self._scale(top, ())
        for name, entry in self._mapping(top.get("regions", {}), ("regions",)).items():
            path = ("regions", name)
            entry = self._mapping(entry, path)
            self._known_keys(entry, path, _REGION, "a region")
            box = entry.get("box")
            if not whole(box, 4) or not (0 <= box[0] < box[2] and 0 <= box[1] < box[3]):
                text = f"the box is {shown(box)}; write [x0, y0, x1, y1] in pixels"
                self._wrong((*path, "box"), text)
            self._choice(entry.get("look_for"), (*path, "look_for"), _REGION_KINDS)
            self._pattern(entry.get("pattern", ""), (*path, "pattern"))
            self._list(entry.get("codes", []), (*path, "codes"))
            self._scale(entry, path)
