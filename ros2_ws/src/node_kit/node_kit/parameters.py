"""Parameters declared once, in a dataclass: the node, its YAML file and the README follow from it.

    @dataclass
    class EncoderParameters:
        rate_hz: float = parameter(5.0, "how often a frame is encoded", unit="Hz", minimum=0.1)

`declare` puts them on a node, `table` lists them, `differences` compares them with a YAML file.
Only `declare` needs rclpy, so a core module may describe its settings with `parameter` as well.
"""

from __future__ import annotations

import dataclasses
import math
import typing
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from rclpy.node import Node

P = TypeVar("P")
_KEY = "node_kit.parameter"
_CELL = "node_kit.from_cell"
_TYPES = (bool, int, float, str, list[float], list[int], list[str])


class ParameterError(ValueError):
    """A parameter that cannot be used; the text names value, range and remedy."""


@dataclasses.dataclass(frozen=True)
class ParameterRow:
    """One parameter as the documentation shows it."""

    name: str
    type: str
    default: Any
    unit: str
    range: str
    runtime: bool
    description: str


@dataclasses.dataclass(frozen=True)
class _Spec:
    """What `parameter` keeps beside the default."""

    description: str
    unit: str
    minimum: float | None
    maximum: float | None
    choices: tuple | None
    runtime: bool

    @property
    def range(self) -> str:
        if self.choices is not None:
            return " | ".join(_yaml_text(choice) for choice in self.choices)
        if self.minimum is None:
            return "" if self.maximum is None else f"<= {self.maximum:g}"
        if self.maximum is None:
            return f">= {self.minimum:g}"
        return f"{self.minimum:g} .. {self.maximum:g}"


def parameter(
    default: Any,
    description: str,
    unit: str = "",
    minimum: float | None = None,
    maximum: float | None = None,
    choices: Sequence | None = None,
    runtime: bool = False,
) -> Any:
    """A dataclass field that `declare` can put on a node.

    Args:
        default: bool, int, float, str or a list of float, int or str.
        description: one line, what it does.
        unit: SI unit, empty if it has none.
        minimum, maximum: inclusive bounds; for a list, of each element.
        choices: the allowed values.
        runtime: whether `ros2 param set` may change it while the node runs.
    """
    spec = _Spec(
        description, unit, minimum, maximum, None if choices is None else tuple(choices), runtime
    )
    if isinstance(default, list):
        return dataclasses.field(default_factory=lambda: list(default), metadata={_KEY: spec})
    return dataclasses.field(default=default, metadata={_KEY: spec})


def from_cell(default: Any) -> Any:
    """A dataclass field that is no parameter: the node fills it from its cell.

    `default`: while nobody has, such as an empty list.
    """
    if isinstance(default, list):
        return dataclasses.field(default_factory=lambda: list(default), metadata={_CELL: True})
    return dataclasses.field(default=default, metadata={_CELL: True})


def declare(
    node: Node,
    cls: type[P],
    on_change: Callable[[set[str]], None] | None = None,
    refuse_unknown: bool = True,
) -> P:
    """Declares every field of `cls` on the node and returns `cls` with the values that hold.

    The instance stays current: a change of a `runtime` parameter is checked, refused with a
    reason or written to it, and `on_change(names)` is called afterwards. A whole number is taken
    where a float is asked for. `cls.__post_init__` may raise ValueError for values that do not go
    together. With several classes on one node, only the last call refuses unknown names.

    Raises:
        ParameterError: a value of the wrong type, out of range or not a choice, or an override
            (YAML, command line) that the node does not know.
    """
    from rcl_interfaces.msg import SetParametersResult

    specs = _specs(cls)
    overrides = node._parameter_overrides  # rclpy has no public way to read them
    values = {}
    for name, (kind, default, spec) in specs.items():
        where = f"parameter {name!r} of node {node.get_name()!r}"
        override = overrides.get(name)
        value = default if override is None else override.value
        values[name] = _checked(value, kind, spec, where)
        node.declare_parameter(
            name, _ros_value(values[name], kind), _descriptor(name, spec, kind), True
        )
    if refuse_unknown:
        _refuse_unknown(node, overrides)
    try:
        instance = cls(**values)
    except ParameterError:
        raise
    except ValueError as error:
        raise ParameterError(f"parameters of node {node.get_name()!r}: {error}") from error

    def changes(parameters: list) -> dict[str, Any]:
        return {
            p.name: _checked(p.value, *specs[p.name][::2], f"parameter {p.name!r}")
            for p in parameters
            if p.name in specs
        }

    def check(parameters: list) -> SetParametersResult:
        try:
            dataclasses.replace(instance, **changes(parameters))
        except ValueError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    def apply(parameters: list) -> None:
        new = changes(parameters)
        for name, value in new.items():
            object.__setattr__(instance, name, value)
        if new and on_change is not None:
            on_change(set(new))

    node.add_on_set_parameters_callback(check)
    node.add_post_set_parameters_callback(apply)
    return instance


def defaults(cls: type) -> dict[str, Any]:
    """Name to default of every parameter of `cls`, in order."""
    return {name: default for name, (_, default, _) in _specs(cls).items()}


def table(cls: type) -> list[ParameterRow]:
    """One row per parameter of `cls`, in order."""
    return [
        ParameterRow(
            name, _type_name(kind), default, spec.unit, spec.range, spec.runtime, spec.description
        )
        for name, (kind, default, spec) in _specs(cls).items()
    ]


def markdown(cls: type) -> str:
    """`table` as Markdown, as a README holds it."""
    lines = [
        "| parameter | type | default | unit | range | at run time | what it does |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in table(cls):
        default = f"`{_yaml_text(row.default)}`"
        span = row.range.replace("|", r"\|")
        change = "yes" if row.runtime else "no"
        lines.append(
            f"| `{row.name}` | {row.type} | {default} | {row.unit} | {span} | {change} "
            f"| {row.description} |"
        )
    return "\n".join(lines) + "\n"


def differences(cls: type, yaml_file: str | Path, node_name: str) -> list[str]:
    """How a parameter file differs from the defaults of `cls`; empty when they agree.

    The file must list every parameter, with the default as value and of the same type.
    """
    import yaml

    content = yaml.safe_load(Path(yaml_file).read_text()) or {}
    section = content.get(node_name, content.get(f"/{node_name}", content.get(f"/**/{node_name}")))
    if section is None:
        return [f"{yaml_file} has no section {node_name!r}, only {sorted(content)}"]
    written = dict(section.get("ros__parameters", {}))
    found = []
    for name, default in defaults(cls).items():
        if name not in written:
            found.append(f"{name} is missing, its default is {default!r}")
        elif (value := written.pop(name)) != default or type(value) is not type(default):
            found.append(f"{name} is {value!r}, its default is {default!r}")
    known = {field.name for field in dataclasses.fields(KitParameters)}
    found += [f"{name} is not a parameter of {cls.__name__}" for name in written.keys() - known]
    return found


@dataclasses.dataclass
class KitParameters:
    """Parameters that every KitNode has beside its own."""

    autostart: bool = parameter(True, "configure and activate as soon as the process is up")


def _specs(cls: type) -> dict[str, tuple[Any, Any, _Spec]]:
    """Name to (type, default, spec) of a dataclass made of `parameter` fields."""
    hints = typing.get_type_hints(cls)
    specs = {}
    for field in dataclasses.fields(cls):
        if _CELL in field.metadata:
            continue
        if _KEY not in field.metadata:
            raise TypeError(
                f"{cls.__name__}.{field.name} is a plain field; write it with parameter(...)"
            )
        if hints[field.name] not in _TYPES:
            raise TypeError(
                f"{cls.__name__}.{field.name} is {hints[field.name]}; a ROS parameter is one of "
                + ", ".join(_type_name(kind) for kind in _TYPES)
            )
        made = field.default_factory is not dataclasses.MISSING
        default = field.default_factory() if made else field.default
        specs[field.name] = (hints[field.name], default, field.metadata[_KEY])
    return specs


def _checked(value: Any, kind: Any, spec: _Spec, where: str) -> Any:
    """The value as the field's type, or ParameterError."""
    if typing.get_origin(kind) is list:
        items = value.tolist() if hasattr(value, "tolist") else value  # rclpy may give an array
        if not isinstance(items, list | tuple):
            raise ParameterError(f"{where} is {value!r}; give a {_type_name(kind)}")
        element = typing.get_args(kind)[0]
        return [_checked(item, element, spec, f"{where}[{i}]") for i, item in enumerate(items)]
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not kind:
        raise ParameterError(
            f"{where} is {value!r} ({type(value).__name__}); give a {_type_name(kind)}"
        )
    if kind is float and not math.isfinite(value):
        raise ParameterError(f"{where} is {value}; give a finite number")
    if spec.choices is not None and value not in spec.choices:
        raise ParameterError(f"{where} is {value!r}; choose one of {spec.range}")
    low = -math.inf if spec.minimum is None else spec.minimum
    high = math.inf if spec.maximum is None else spec.maximum
    if kind in (int, float) and not low <= value <= high:
        unit = f" {spec.unit}" if spec.unit else ""
        raise ParameterError(f"{where} is {value}{unit}; allowed is {spec.range}{unit}")
    return value


def _descriptor(name: str, spec: _Spec, kind: Any) -> Any:
    """rcl_interfaces/ParameterDescriptor. Ranges are checked here, with a text that helps."""
    from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor

    unit = f" [{spec.unit}]" if spec.unit else ""
    descriptor = ParameterDescriptor(
        name=name,
        description=spec.description + unit,
        additional_constraints=spec.range,
        read_only=not spec.runtime,
    )
    bounded = spec.minimum is not None and spec.maximum is not None
    if bounded and kind is float:
        descriptor.floating_point_range = [
            FloatingPointRange(from_value=float(spec.minimum), to_value=float(spec.maximum))
        ]
    elif bounded and kind is int:
        descriptor.integer_range = [
            IntegerRange(from_value=int(spec.minimum), to_value=int(spec.maximum))
        ]
    return descriptor


def _ros_value(value: Any, kind: Any) -> Any:
    """An empty list carries no type in rclpy: hand it over as a typed array or as it is."""
    if value == [] and kind in (list[float], list[int]):
        import array

        return array.array("d" if kind == list[float] else "q")
    return value


def _refuse_unknown(node: Node, overrides: dict) -> None:
    unknown = sorted(
        name
        for name in overrides
        if not node.has_parameter(name) and not name.startswith("qos_overrides.")
    )
    if unknown:
        known = sorted(node._parameters)
        raise ParameterError(
            f"node {node.get_name()!r} has no parameter {', '.join(map(repr, unknown))}; "
            f"it knows {', '.join(known)}"
        )


def _type_name(kind: Any) -> str:
    return str(kind) if typing.get_origin(kind) else kind.__name__


def _yaml_text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return '""' if value == "" else str(value)
