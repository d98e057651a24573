"""Evaluates ROS 2 XML launch files without `ros2`: which nodes to start, how, which arguments.

Each element means here what it means to ROS 2 launch, so that `ros2 launch` runs the same files.
"""

from __future__ import annotations

import json
import os
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import yaml
from ament_index_python.packages import PackageNotFoundError, get_package_prefix

from vjepa_bringup.launch_xml_elements import LaunchDocument, LaunchError, names_of, parse
from vjepa_bringup.substitutions import Context, SubstitutionError, expand, expand_words


@dataclass(frozen=True)
class Argument:
    """An `<arg>` as `--show-args` lists it; `default` is as written, None when it is required."""

    name: str
    default: str | None
    description: str
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class ParameterFile:
    """Content of a parameter file after its substitutions; it must be written to be used."""

    content: str


@dataclass(frozen=True)
class NodeCommand:
    """A node to start.

    Attributes:
        name: its ROS name, or that of its executable where the file gives none.
        namespace: absolute, "/" for none.
        command: executable and arguments; a ParameterFile stands where a file's path must stand.
        environment: all variables of the process.
        shown: whether what it prints goes to the screen.
        respawn_s: seconds after which it is started again when it ends; None: it is not.
        ends_launch: whether its end ends the launch.
    """

    name: str
    namespace: str
    command: tuple[str | ParameterFile, ...]
    environment: Mapping[str, str]
    shown: bool
    respawn_s: float | None
    ends_launch: bool

    @property
    def full_name(self) -> str:
        return f"{self.namespace.rstrip('/')}/{self.name}"


def read(
    path: str | Path,
    arguments: Mapping[str, str] | None = None,
    environment: Mapping[str, str] | None = None,
) -> list[NodeCommand]:
    """The nodes that the launch file at `path` starts, in order.

    Args:
        path: the launch file.
        arguments: values of its arguments.
        environment: of the nodes; that of this process if None.

    Raises:
        LaunchError: the file, or an argument, cannot be used.
    """
    arguments = dict(arguments or {})
    environment = dict(os.environ if environment is None else environment)
    known = [argument.name for argument in declared_arguments(path, arguments, environment)]
    if unknown := [name for name in arguments if name not in known]:
        raise LaunchError(
            f"{path} has no argument {', '.join(map(repr, unknown))}; "
            f"it knows {', '.join(known) or 'none'}"
        )
    commands: list[NodeCommand] = []
    _File(parse(Path(path)), _Scope(arguments, environment), commands).read()
    return commands


def declared_arguments(
    path: str | Path,
    arguments: Mapping[str, str] | None = None,
    environment: Mapping[str, str] | None = None,
) -> list[Argument]:
    """Every argument of the file and of those it includes, except what an include sets itself.

    `arguments` matter where the path of an included file depends on one.

    Raises:
        LaunchError: the file is missing or not XML.
    """
    environment = dict(os.environ if environment is None else environment)
    found = _declared(Path(path), _Scope(dict(arguments or {}), environment), set())
    by_name: dict[str, Argument] = {}
    for argument in found:
        by_name.setdefault(argument.name, argument)  # the outermost declaration counts
    return list(by_name.values())


@dataclass
class _Scope:
    """What a group or an included file may change without its surroundings noticing."""

    variables: dict[str, str]
    environment: dict[str, str]
    namespace: str = "/"

    def copy(self) -> _Scope:
        return _Scope(dict(self.variables), dict(self.environment), self.namespace)


_TYPES = {"str": str, "int": int, "float": float, "bool": bool}


@dataclass
class _File:
    """One launch file being read; what it starts is appended to `commands`."""

    document: LaunchDocument
    scope: _Scope
    commands: list[NodeCommand]
    depth: int = 0

    def read(self) -> None:
        if self.depth > 20:
            raise LaunchError(
                f"{self.path}: includes go more than 20 deep; does it include itself?"
            )
        root = self.document.root
        if root.tag != "launch":
            raise self.refusal(root, "a launch file begins with <launch>")
        self.document.check(root)
        self.actions(root)

    def actions(self, parent: ET.Element) -> None:
        for element in parent:
            self.document.check(element)
            if self.applies(element):
                getattr(self, f"do_{element.tag}")(element)

    def do_arg(self, element: ET.Element) -> None:
        name = element.get("name")
        if name not in self.scope.variables:
            if element.get("default") is None:
                raise LaunchError(self.missing())
            self.scope.variables[name] = self.text(element, "default")
        choices = [choice.get("value") for choice in element]
        if choices and self.scope.variables[name] not in choices:
            raise LaunchError(
                f"argument {name} is {self.scope.variables[name]!r}; "
                f"choose one of {names_of(choices)}"
            )

    def missing(self) -> str:
        """Every argument of this file that is required and not given, in one sentence."""
        required = [arg for arg in self.document.root.iter("arg") if arg.get("default") is None]
        wanted = [
            f"{arg.get('name')}:=... ({arg.get('description', '')})"
            for arg in required
            if arg.get("name") not in self.scope.variables and arg.get("value") is None
        ]
        return f"{self.path.name} needs {' and '.join(wanted)}"

    def do_let(self, element: ET.Element) -> None:
        self.scope.variables[element.get("name")] = self.text(element, "value")

    def do_set_env(self, element: ET.Element) -> None:
        self.scope.environment[self.text(element, "name")] = self.text(element, "value")

    def do_push_ros_namespace(self, element: ET.Element) -> None:
        self.scope.namespace = _join(self.scope.namespace, self.text(element, "namespace"))

    def do_group(self, element: ET.Element) -> None:
        replace(self, scope=self.scope.copy()).actions(element)

    def do_include(self, element: ET.Element) -> None:
        scope = self.scope.copy()
        for argument in element:
            scope.variables[argument.get("name")] = self.text(argument, "value")
        path = Path(self.text(element, "file"))
        if not path.is_file():
            raise self.refusal(element, f"there is no file {path}")
        _File(parse(path), scope, self.commands, self.depth + 1).read()

    def do_node(self, element: ET.Element) -> None:
        package, executable = self.text(element, "pkg"), self.text(element, "exec")
        name = self.text(element, "name", executable)
        namespace = _join(self.scope.namespace, self.text(element, "namespace", ""))
        ros = []
        if element.get("name") is not None:
            ros += ["-r", f"__node:={name}"]
        if namespace != "/":
            ros += ["-r", f"__ns:={namespace}"]
        environment = dict(self.scope.environment)
        for child in element:
            match child.tag:
                case "param":
                    ros += self.parameter(child)
                case "remap":
                    ros += ["-r", f"{self.text(child, 'from')}:={self.text(child, 'to')}"]
                case "env":
                    environment[self.text(child, "name")] = self.text(child, "value")
        respawn = self.boolean(element, "respawn", "false")
        ends_launch = element.get("on_exit") is not None
        if ends_launch and self.text(element, "on_exit") != "shutdown":
            raise self.refusal(element, "on_exit can only be shutdown")
        if ends_launch and respawn:
            raise self.refusal(element, "respawn and on_exit=shutdown exclude each other")
        output = self.text(element, "output", "log")
        if output not in ("screen", "both", "log"):
            raise self.refusal(element, f"output is {output!r}; choose screen, both or log")
        self.commands.append(
            NodeCommand(
                name=name,
                namespace=namespace,
                command=(
                    str(self.executable(element, package, executable)),
                    *self.words(element, "args"),
                    *(["--ros-args", *ros] if ros else []),
                ),
                environment=environment,
                shown=output != "log",
                respawn_s=self.number(element, "respawn_delay", "0") if respawn else None,
                ends_launch=ends_launch,
            )
        )

    def parameter(self, element: ET.Element) -> list[str | ParameterFile]:
        """Command-line arguments of a `<param>`."""
        if element.get("from") is not None:
            if element.get("name") is not None or element.get("value") is not None:
                raise self.refusal(element, "has either from, or name and value")
            path = Path(self.text(element, "from"))
            if not path.is_file():
                raise self.refusal(element, f"there is no parameter file {path}")
            if not self.boolean(element, "allow_substs", "false"):
                return ["--params-file", str(path)]
            try:
                content = expand(path.read_text(), self.context)
            except SubstitutionError as error:
                raise LaunchError(f"{path}: {error}") from error
            return ["--params-file", ParameterFile(content)]
        if element.get("name") is None or element.get("value") is None:
            raise self.refusal(element, "needs name and value, or from")
        text = self.text(element, "value")
        return ["-p", f"{self.text(element, 'name')}:={self.yaml_value(element, text)}"]

    def yaml_value(self, element: ET.Element, text: str) -> str:
        """The value in flow style, of the type that YAML sees in it or that `type` asks for."""
        kind = element.get("type")
        if kind not in (None, *_TYPES):
            raise self.refusal(element, f"type is {kind!r}; choose one of {names_of(_TYPES)}")
        try:
            value = text if kind == "str" else yaml.safe_load(text)
        except yaml.YAMLError:
            value = text
        if value is None:
            value = text
        if kind == "float" and type(value) is int:
            value = float(value)
        if kind is not None and type(value) is not _TYPES[kind]:
            raise self.refusal(element, f"value {text!r} is not of type {kind}")
        if isinstance(value, bool | int | float | str | list):
            return json.dumps(value)
        return json.dumps(text)

    def executable(self, element: ET.Element, package: str, name: str) -> Path:
        try:
            folder = Path(get_package_prefix(package), "lib", package)
        except (PackageNotFoundError, ValueError) as error:
            raise self.refusal(
                element,
                f"package {package!r} is not in AMENT_PREFIX_PATH; "
                "build the workspace with ./run setup",
            ) from error
        path = folder / name
        if not os.access(path, os.X_OK) or path.is_dir():
            there = sorted(p.name for p in folder.glob("*") if os.access(p, os.X_OK))
            raise self.refusal(
                element,
                f"package {package} has no executable {name!r}, only {names_of(there) or 'none'}",
            )
        return path

    def refusal(self, element: ET.Element, what: str) -> LaunchError:
        return self.document.refusal(element, what)

    # Attributes.

    @property
    def path(self) -> Path:
        return self.document.path

    @property
    def context(self) -> Context:
        return Context(self.scope.variables, self.scope.environment, self.path.parent)

    def text(self, element: ET.Element, attribute: str, default: str | None = None) -> str:
        try:
            return expand(element.get(attribute, default), self.context)
        except SubstitutionError as error:
            raise self.refusal(element, f"{attribute}: {error}") from error

    def words(self, element: ET.Element, attribute: str) -> list[str]:
        try:
            return expand_words(element.get(attribute, ""), self.context)
        except ValueError as error:
            raise self.refusal(element, f"{attribute}: {error}") from error

    def boolean(self, element: ET.Element, attribute: str, default: str) -> bool:
        text = self.text(element, attribute, default).strip().lower()
        if text not in ("true", "1", "false", "0"):
            raise self.refusal(element, f"{attribute} is {text!r}; say true or false")
        return text in ("true", "1")

    def number(self, element: ET.Element, attribute: str, default: str) -> float:
        text = self.text(element, attribute, default)
        try:
            return float(text)
        except ValueError as error:
            raise self.refusal(element, f"{attribute} is {text!r}; give a number") from error

    def applies(self, element: ET.Element) -> bool:
        return self.boolean(element, "if", "true") and not self.boolean(element, "unless", "false")


def _declared(path: Path, scope: _Scope, visited: set[Path]) -> list[Argument]:
    """Arguments in document order, whatever conditions say."""
    if path in visited:
        return []
    visited.add(path)
    file = _File(parse(path), scope, [])
    found = []
    for element in _walk(file.document.root):
        try:
            if element.tag == "include":
                included = Path(file.text(element, "file"))
                inner = _declared(included, scope.copy(), visited)
                set_here = {argument.get("name") for argument in element}
                found += [argument for argument in inner if argument.name not in set_here]
            elif element.tag == "let":
                scope.variables[element.get("name")] = file.text(element, "value")
            elif element.tag == "arg":
                name, default = element.get("name"), element.get("default")
                choices = tuple(choice.get("value") for choice in element)
                found.append(Argument(name, default, element.get("description", ""), choices))
                scope.variables.setdefault(name, file.text(element, "default", ""))
        except LaunchError:
            continue  # depends on an argument that is not known yet: `read` will judge it
    return found


def _walk(root: ET.Element) -> Iterator[ET.Element]:
    """The actions of a file, groups opened."""
    for element in root:
        if element.tag == "group":
            yield from _walk(element)
        else:
            yield element


def _join(parent: str, child: str) -> str:
    """Namespace `child` as seen from `parent`; absolute."""
    joined = child if child.startswith("/") else f"{parent.rstrip('/')}/{child}"
    return "/" + joined.strip("/")
