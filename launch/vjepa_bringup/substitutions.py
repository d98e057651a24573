"""`$(...)` in launch files: the substitutions of ROS 2 launch that this stack uses.

    $(var NAME)  $(env NAME [DEFAULT])  $(find-pkg-share PACKAGE)  $(dirname)  $(eval 'EXPRESSION')

They nest, and an argument with spaces stands in quotes. `eval` knows comparisons of literals joined
by `and`, `or` and `not`, nothing else: a launch file is no place for code.
"""

from __future__ import annotations

import ast
import operator
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ament_index_python.packages import PackageNotFoundError, get_package_share_directory


class SubstitutionError(ValueError):
    """A substitution that is unknown, malformed or has no value; the text says which."""


@dataclass(frozen=True)
class Context:
    """What substitutions can see.

    Attributes:
        variables: launch arguments and `let` variables.
        environment: environment variables of the place.
        directory: folder of the launch file.
    """

    variables: Mapping[str, str]
    environment: Mapping[str, str]
    directory: Path


def expand(text: str, context: Context) -> str:
    """`text` with every substitution replaced by its value.

    Raises:
        SubstitutionError: with the substitution as written.
    """
    return "".join(_value(part, context) for part in _parse(text))


def expand_words(text: str, context: Context) -> list[str]:
    """Like a command line: split at spaces, but never inside the value of a substitution."""
    words: list[str] = []
    open_word = False  # whether the next part continues the last word
    for part in _parse(text):
        if isinstance(part, _Call):
            values, starts_new, ends = [_value(part, context)], False, False
        else:
            values = shlex.split(part)
            starts_new, ends = part[:1].isspace(), part[-1:].isspace()
        if values and open_word and not starts_new:
            words[-1] += values.pop(0)
        words += values
        open_word = bool(words) and not ends
    return words


@dataclass(frozen=True)
class _Call:
    name: str
    arguments: list[list]  # of str and _Call
    source: str


def _parse(text: str) -> list[str | _Call]:
    parts, end = _parts(text, 0, stop="")
    assert end == len(text)
    return parts


def _parts(text: str, start: int, stop: str) -> tuple[list[str | _Call], int]:
    """Parts from `start` up to the first character in `stop` outside a substitution."""
    parts: list[str | _Call] = []
    literal = ""
    i = start
    while i < len(text) and text[i] not in stop:
        if text[i] == "\\" and text[i + 1 : i + 2] in ("$", *stop):
            literal += text[i + 1]
            i += 2
        elif text.startswith("$(", i):
            if literal:
                parts.append(literal)
                literal = ""
            call, i = _call(text, i)
            parts.append(call)
        else:
            literal += text[i]
            i += 1
    if literal:
        parts.append(literal)
    return parts, i


def _call(text: str, start: int) -> tuple[_Call, int]:
    """The call that begins at `start` with "$(" and the index after its ")"."""
    name = re.match(r"\$\(\s*([\w-]*)", text[start:])
    i = start + name.end()
    arguments = []
    while True:
        while text[i : i + 1].isspace():
            i += 1
        if i >= len(text):
            raise SubstitutionError(f"{text[start:]} has no closing bracket")
        if text[i] == ")":
            return _Call(name[1], arguments, text[start : i + 1]), i + 1
        quote = text[i] if text[i] in "'\"" else ""
        argument, i = _parts(text, i + len(quote), quote or " \t\r\n)")
        if quote:
            if i >= len(text):
                raise SubstitutionError(f"{text[start:]} has no closing {quote}")
            i += 1
        arguments.append(argument)


def _value(part: str | _Call, context: Context) -> str:
    if isinstance(part, str):
        return part
    if part.name not in _SUBSTITUTIONS:
        known = ", ".join(f"$({name})" for name in _SUBSTITUTIONS)
        raise SubstitutionError(f"{part.source} is not supported; use one of {known}")
    function, fewest, most = _SUBSTITUTIONS[part.name]
    if not fewest <= len(part.arguments) <= most:
        count = f"{fewest}" if fewest == most else f"{fewest} or {most}"
        raise SubstitutionError(
            f"{part.source} has {len(part.arguments)} arguments, it takes {count}; "
            "put one that holds spaces in quotes"
        )
    values = ["".join(_value(piece, context) for piece in parts) for parts in part.arguments]
    try:
        return function(context, *values)
    except SubstitutionError as error:
        raise SubstitutionError(f"{part.source}: {error}") from error


def _variable(context: Context, name: str) -> str:
    if name not in context.variables:
        known = ", ".join(sorted(context.variables)) or "none"
        raise SubstitutionError(f"no argument or variable of that name; there are: {known}")
    return context.variables[name]


def _environment(context: Context, name: str, default: str | None = None) -> str:
    value = context.environment.get(name, default)
    if value is None:
        raise SubstitutionError("the environment variable is not set and there is no default")
    return value


def _share(context: Context, package: str) -> str:
    try:
        return get_package_share_directory(package)
    except (PackageNotFoundError, ValueError) as error:
        raise SubstitutionError(
            f"package {package!r} is not in AMENT_PREFIX_PATH; build the workspace with ./run setup"
        ) from error


def _directory(context: Context) -> str:
    return str(context.directory)


def _evaluate(context: Context, expression: str) -> str:
    try:
        value = _literal(ast.parse(expression.strip(), mode="eval").body)
    except (SyntaxError, TypeError) as error:
        raise SubstitutionError(f"cannot evaluate {expression!r}: {error}") from error
    if not isinstance(value, bool):
        raise SubstitutionError(f"{expression!r} is {value!r}, neither True nor False")
    return str(value)


_COMPARISONS = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda a, b: a in b,
    ast.NotIn: lambda a, b: a not in b,
}


def _literal(node: ast.expr):
    """Value of an expression made of literals, comparisons and boolean operators."""
    match node:
        case ast.Constant(value=bool() | int() | float() | str() as value):
            return value
        case ast.List(elts=elements) | ast.Tuple(elts=elements):
            return [_literal(element) for element in elements]
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return not _literal(operand)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_literal(operand)
        case ast.BoolOp(op=ast.And(), values=values):
            return all(_literal(value) for value in values)
        case ast.BoolOp(op=ast.Or(), values=values):
            return any(_literal(value) for value in values)
        case ast.Compare(left=left, ops=ops, comparators=comparators):
            values = [_literal(value) for value in (left, *comparators)]
            if all(type(op) in _COMPARISONS for op in ops):
                return all(
                    _COMPARISONS[type(op)](a, b)
                    for op, a, b in zip(ops, values, values[1:], strict=False)
                )
    raise SubstitutionError(
        f"{ast.unparse(node)!r} is not a comparison of literals; that is all $(eval) does here"
    )


_SUBSTITUTIONS = {
    "var": (_variable, 1, 1),
    "env": (_environment, 1, 2),
    "find-pkg-share": (_share, 1, 1),
    "dirname": (_directory, 0, 0),
    "eval": (_evaluate, 1, 1),
}
