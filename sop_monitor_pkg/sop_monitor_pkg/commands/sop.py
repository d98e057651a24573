"""`./run sop`: look after procedure files and journals."""

from __future__ import annotations

import re
from pathlib import Path

import typer

from sop_monitor_pkg.commands import learn as learn_command
from sop_monitor_pkg.core.alarms import journal
from sop_monitor_pkg.core.procedure import file as procedure_file
from sop_monitor_pkg.core.procedure.examples import find_procedure
from sop_monitor_pkg.core.procedure.file import ProcedureError
from sop_monitor_pkg.core.procedure.procedure import Procedure

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

app.command()(learn_command.learn)
app.command()(learn_command.watch)


@app.callback()
def _sop() -> None:
    """The monitor of a standard operating procedure: its files."""


@app.command()
def check(
    procedure: str = typer.Argument(help="procedure file (YAML), or the name of an example"),
) -> None:
    """Say what is wrong with a procedure file, or how it is understood."""
    try:
        file = find_procedure(procedure)
    except FileNotFoundError as error:
        raise typer.BadParameter(str(error)) from error
    try:
        rules, problems = procedure_file.check(procedure_file.read_text(file))
    except ProcedureError as error:
        rules, problems = None, error.problems
    except OSError as error:
        raise typer.BadParameter(f"{file} cannot be read: {error.strerror}") from error
    for problem in problems:
        print(f"{file}: {problem}")
    if rules is None:
        wrong = sum(not problem.warning for problem in problems)
        print(f"{file}: {wrong} to mend")
        raise typer.Exit(1)
    print(describe(rules))


@app.command()
def verify(
    file: Path = typer.Argument(help="journal of the alarms (SQLite)"),
    anchor: list[str] = typer.Option([], help="NUMBER:HASH of an entry, noted elsewhere"),
) -> None:
    """Say whether a journal is as it was written; exit code 1 if not."""
    anchors = {}
    for text in anchor:
        number, _, digest = text.partition(":")
        if not number.isdecimal() or not re.fullmatch("[0-9a-f]{64}", digest):
            raise typer.BadParameter(f"--anchor {text}: write NUMBER:HASH, a hash of 64 digits")
        anchors[int(number)] = digest
    try:
        found = journal.verify(file, anchors)
    except journal.JournalError as error:
        raise typer.BadParameter(str(error)) from error
    if found.broken:
        print(f"{file}: {found.broken}; the {found.entries} entries before are sound")
        raise typer.Exit(1)
    print(f"{file}: {found.entries} entries, all sound; the last has hash {found.head}")


def describe(procedure: Procedure) -> str:
    """The procedure in words: one line a step, and who is told what."""
    lines = [f"{procedure.name}: {procedure.title}; {len(procedure.steps)} steps"]
    for number, step in enumerate(procedure.steps, 1):
        notes = []
        if step.after:
            after = [s.name for s in procedure.steps if s.name in step.after]
            notes.append(f"after {', '.join(after)}")
        if step.optional:
            notes.append("optional")
        if step.at_most != 1:
            notes.append(
                "any number of times" if not step.at_most else f"up to {step.at_most} times"
            )
        if step.parts:
            notes.append(f"takes {', '.join(step.parts)}")
        if step.takes_s:
            notes.append("{:g} to {:g} s".format(*step.takes_s))
        notes += [f"{c.kind} {c.value}" for c in (*step.labels, *step.checks)]
        lines.append(f"{number:3d} {step.name}: {'; '.join(notes) or 'at any time'}")
    for person in procedure.people:
        kinds = [str(kind) for kind, names in procedure.tell if person.name in names]
        ways = ", ".join(person.told_by)
        lines.append(f"    {person.name} is told by {ways} of {', '.join(kinds) or 'nothing'}")
    return "\n".join(lines)


if __name__ == "__main__":
    app(prog_name="./run sop")
