"""`./run reference`: docs/reference from the code: parameters, launch arguments, commands."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import click
import typer
from node_kit.parameters import markdown

from vjepa_bringup.launch_file import declared_arguments

ROOT = Path(__file__).resolve().parents[3]
FOLDER = ROOT / "docs" / "reference"
HEAD = "<!-- Written by ./run reference from the code; a test compares. Do not edit. -->\n\n"
NODES = {
    "command_guard": "vjepa_planner_pkg.core.guard.config:GuardParameters",
    "mpc": "vjepa_planner_pkg.nodes.mpc_node:MpcNodeParameters",
    "encoder": "vjepa_planner_pkg.nodes.encoder_node:EncoderParameters",
    "predictor": "vjepa_planner_pkg.nodes.predictor_node:PredictorParameters",
    "detector": "perception_pkg.nodes.detector_node:DetectorParameters",
    "defect": "perception_pkg.nodes.defect_node:DefectParameters",
    "text": "perception_pkg.nodes.text_node:TextParameters",
    "action": "perception_pkg.nodes.action_node:ActionNodeParameters",
    "sop_follower": "sop_monitor_pkg.nodes.sop_follower_node:SopFollowerParameters",
    "sop_monitor": "sop_monitor_pkg.nodes.parameters:SopMonitorParameters",
    "sim": "vjepa_sim.nodes.parameters:SimParameters",
    "station": "vjepa_sim.nodes.station_parameters:StationParameters",
}
COMMANDS = {
    "demo": "vjepa_bringup.demo.__main__:main",
    "goal": "vjepa_bringup.commands.goal:app",
    "calibrate": "vjepa_bringup.commands.calibrate:calibrate",
    "collect": "vjepa_bringup.commands.collect:collect",
    "station": "vjepa_bringup.commands.station:app",
    "doctor": "vjepa_bringup.commands.doctor:doctor",
    "reference": "vjepa_bringup.commands.reference:reference",
    "train": "vjepa_world_model.commands.train:app",
    "train (perception)": "perception_pkg.commands.train:app",
    "convert": "vjepa_world_model.commands.convert:app",
    "weights": "vjepa_world_model.commands.weights:app",
    "energy": "vjepa_world_model.commands.energy:energy",
    "classify": "vjepa_world_model.commands.classify:classify",
    "label": "perception_pkg.commands.label:label",
    "perceive": "perception_pkg.commands.perceive:perceive",
    "sop": "sop_monitor_pkg.commands.sop:app",
}
BENCHES = {
    "eval and bench": "benchmarks.cli:app",
    "parity": "benchmarks.parity:main",
}


def reference(
    out: Annotated[Path, typer.Option(help="folder to write to")] = FOLDER,
) -> None:
    """Write the reference pages; needs tests/ on PYTHONPATH for the benches."""
    for name, text in pages().items():
        (out / name).write_text(text)
        typer.echo(f"written: {out / name}")


def pages() -> dict[str, str]:
    """File name to its text, for every page that the code gives."""
    return {
        "parameters.md": HEAD + "".join(_parameters()),
        "launch.md": HEAD + "".join(_launch()),
        "commands.md": HEAD + "".join(_commands()),
    }


def _parameters() -> Iterator[str]:
    yield "# Parameters of the nodes\n\n"
    yield "Each is declared once, in a dataclass. A file in `config/` of the package holds every\n"
    yield "default, and a test compares the two.\n"
    for node, where in NODES.items():
        yield f"\n## {node}\n\n{markdown(_found(where))}"


def _launch() -> Iterator[str]:
    yield "# Launch files and their arguments\n\n"
    yield "`./run up FILE argument:=value`, or `ros2 launch vjepa_bringup FILE argument:=value`.\n"
    for path in sorted((ROOT / "launch").glob("*.launch.xml")):
        yield f"\n## {path.name}\n\n| argument | default | what |\n|---|---|---|\n"
        for argument in sorted(declared_arguments(path), key=lambda a: a.name):
            default = "required" if argument.default is None else f"`{argument.default}`"
            yield f"| `{argument.name}` | {default} | {argument.description} |\n"


def _commands() -> Iterator[str]:
    yield "# Commands\n\n`./run help` lists them; `./run COMMAND --help` shows one.\n"
    for name, where in (COMMANDS | BENCHES).items():
        found = _found(where)
        if not isinstance(found, typer.Typer):
            app = typer.Typer(add_completion=False)
            app.command()(found)
            found = app
        word = "" if name == "eval and bench" else name.split(" ")[0]
        yield from _command(typer.main.get_command(found), f"./run {word}".strip())


def _command(command: Any, name: str) -> Iterator[str]:
    """A command with its options, and its subcommands."""
    if hasattr(command, "commands"):
        for sub in command.commands.values():
            yield from _command(sub, f"{name} {sub.name}")
        return
    about = " ".join((command.help or "").split("\n\n")[0].split())
    yield f"\n## {name}\n\n{about}\n"
    options = [p for p in command.params if p.name != "help"]
    if options:
        yield "\n| option | default | what |\n|---|---|---|\n"
    context = click.Context(click.Command(name))
    for option in options:
        flags = " ".join(f"`{flag}`" for flag in (*option.opts, *option.secondary_opts))
        default = option.get_default(context, call=False)
        shown = "required" if option.required else "" if default in (None, ()) else f"`{default}`"
        what = (getattr(option, "help", "") or "").replace("|", r"\|").replace("\n", " ")
        yield f"| {flags} | {shown.replace(str(ROOT), '.')} | {what} |\n"


def _found(where: str) -> Any:
    module, _, name = where.partition(":")
    return getattr(importlib.import_module(module), name)


if __name__ == "__main__":
    typer.run(reference)
