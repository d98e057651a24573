"""`./run doctor`: what works on this machine, in one table, and how to mend what does not."""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import os
import platform
import re
import shutil
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from vjepa_bringup import shared_memory

ROOT = Path(__file__).resolve().parents[3]
PACKAGES = (
    "robot_cell",
    "node_kit",
    "vjepa_world_model",
    "vjepa_planner_pkg",
    "sop_monitor_pkg",
    "perception_pkg",
    "vjepa_sim",
    "vjepa_bringup",
)
NODES = 6  # of sim_planner.launch.xml and the program that watches them
SEGMENT_BYTES = 16 << 20  # less does not hold a few of the largest images
MIB = 1 << 20
_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


@dataclass(frozen=True)
class DoctorRow:
    """One line of the table: `status` is ok, warn or fail; `mend` is empty where all is well."""

    name: str
    status: str
    finding: str
    mend: str = ""


def doctor(
    as_json: bool = typer.Option(False, "--json", help="print the rows as JSON"),
) -> None:
    """Check this installation; exit code 1 when something that is needed does not work."""
    rows = [examine(name, check) for name, check in CHECKS.items()]
    if as_json:
        print(json.dumps([asdict(row) for row in rows], indent=2))
    else:
        show(rows)
    if any(row.status == "fail" for row in rows):
        raise typer.Exit(1)


def examine(name: str, check: Callable[[], tuple[str, ...]]) -> DoctorRow:
    """Runs a check; what it raises is a finding too."""
    try:
        return DoctorRow(name, *check())
    except Exception as error:
        what = " ".join(f"{type(error).__name__}: {error}".split())
        return DoctorRow(name, "fail", what, "./run setup; if that does not help, this is a defect")


def show(rows: list[DoctorRow]) -> None:
    table = Table(title="vjepa-ros on this machine", title_justify="left")
    to_mend = any(row.mend for row in rows)
    for heading in ("", "", "found", "how to mend")[: 3 + to_mend]:
        table.add_column(heading, overflow="fold")
    for row in rows:
        cells = [Text(row.name), Text(row.status, style=_COLOURS[row.status]), Text(row.finding)]
        table.add_row(*cells, *([Text(row.mend)] if to_mend else []))
    Console().print(table)


# The checks: each returns status and finding, and how to mend it where it is not ok.


def python() -> tuple[str, ...]:
    finding = f"{platform.python_version()}, {sys.prefix}"
    if sys.version_info[:2] not in ((3, 11), (3, 12)) and "ROS_DISTRO" not in os.environ:
        return "fail", finding, "install Python 3.12 or 3.11, remove .venv, ./run setup"
    return "ok", finding


def ros() -> tuple[str, ...]:
    import rclpy

    home = Path(rclpy.__file__).parents[1]
    origin = f"from ROS 2 {os.environ.get('ROS_DISTRO', '')}".rstrip()
    if Path(sys.prefix) in home.parents:
        origin = f"{importlib.metadata.version('ros-rclpy')} from PyPI"
    domain = os.environ.get("ROS_DOMAIN_ID", "0")
    rmw = rclpy.get_rmw_implementation_identifier()
    return "ok", f"rclpy {origin}, {rmw}, domain {domain}"


def ros2_command() -> tuple[str, ...]:
    path = shutil.which("ros2")
    if path is None:
        return "ok", "not installed: ./run up uses the launcher of this project"
    return "ok", f"{path}: ./run up uses ros2 launch"


def interfaces() -> tuple[str, ...]:
    from rclpy.type_support import check_for_type_support

    source = ROOT / "ros2_ws" / "src" / "vjepa_interfaces"
    names = []
    for kind in ("msg", "srv", "action"):
        module = importlib.import_module(f"vjepa_interfaces.{kind}")
        for file in sorted((source / kind).glob(f"*.{kind}")):
            if not hasattr(module, file.stem):
                return "fail", f"{file.name} is not built", "./run setup"
            check_for_type_support(getattr(module, file.stem))
            names.append(file.stem)
    return "ok", f"{len(names)} built: {', '.join(names)}"


def workspace() -> tuple[str, ...]:
    from ament_index_python.packages import get_package_prefix

    executables = []
    for package in PACKAGES:
        folder = Path(get_package_prefix(package), "lib", package)
        executables += [path.name for path in folder.glob("*") if os.access(path, os.X_OK)]
    return "ok", f"{len(PACKAGES)} packages; {', '.join(sorted(executables))}"


def dds_profile() -> tuple[str, ...]:
    import rclpy

    rmw = rclpy.get_rmw_implementation_identifier()
    if "fastrtps" not in rmw:
        return "warn", f"{rmw} does not use it", "give it room for images, see its documentation"
    set_it = "start things through ./run, which sets FASTDDS_DEFAULT_PROFILES_FILE"
    name = os.environ.get("FASTDDS_DEFAULT_PROFILES_FILE")
    if not name:
        return "fail", "FASTDDS_DEFAULT_PROFILES_FILE is not set: images get lost", set_it
    try:
        sizes = [
            int(element.text)
            for element in ET.parse(name).iter()
            if element.tag.rpartition("}")[2] == "segment_size"
        ]
    except (OSError, ET.ParseError, TypeError, ValueError) as error:
        return "fail", f"{name} cannot be read: {error}", f"unset it; {set_it}"
    if not sizes or max(sizes) < SEGMENT_BYTES:
        finding = f"{name} has no shared-memory segment of {SEGMENT_BYTES // MIB} MiB or more"
        return "warn", f"{finding}: images get lost", f"unset it; {set_it}"
    return "ok", f"{name}, segments of {max(sizes) // MIB} MiB"


def gpu() -> tuple[str, ...]:
    import torch

    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        return "ok", f"{', '.join(names)} (CUDA {torch.version.cuda}): device:=auto picks cuda"
    picks = f"device:=auto picks the CPU, {torch.get_num_threads()} threads"
    if shutil.which("nvidia-smi"):
        mend = f"update the driver to one for CUDA {torch.version.cuda}; nvidia-smi shows its own"
        return "warn", f"there is an NVIDIA driver, but torch cannot use it; {picks}", mend
    return "ok", f"none; {picks}"


def weights() -> tuple[str, ...]:
    from vjepa_world_model.weights.checkpoints import load_world_model

    began = time.monotonic()
    try:
        model = load_world_model(None, device="cpu")
    except Exception as error:
        models = "ros2_ws/src/vjepa_world_model/models"
        mend = f"git checkout -- {models}, or make one: ./run train --help"
        return "fail", f"the shipped model does not load: {error}", mend
    seconds = time.monotonic() - began
    parts = [part for part in vars(model).values() if hasattr(part, "parameters")]
    millions = sum(tensor.numel() for part in parts for tensor in part.parameters()) / 1e6
    rows, columns = model.grid
    return "ok", (
        f"{model.name}: {millions:.1f} M parameters, {model.image_size} px, {rows}x{columns} "
        f"patches of width {model.width}, loaded in {seconds:.1f} s"
    )


def packages() -> tuple[str, ...]:
    pinned, wrong = 0, []
    for line in _pins(ROOT):
        pin = re.match(r"([\w.-]+)(?:\[.*\])?==([\w.]+)", line)
        if pin is None or (line.startswith("ros-") and "ROS_DISTRO" in os.environ):
            continue
        pinned += 1
        try:
            version = importlib.metadata.version(pin[1])
        except importlib.metadata.PackageNotFoundError:
            version = "missing"
        if version != pin[2]:
            wrong.append(f"{pin[1]} is {version}, pinned is {pin[2]}")
    if wrong:
        return "warn", "; ".join(wrong), "rm .venv/.stamp; ./run setup"
    return "ok", f"all {pinned} as pinned in requirements/"


def _pins(root: Path) -> list[str]:
    """Lines of the groups of packages that `./run` installed here."""
    groups = (root / ".venv" / ".groups").read_text().split()
    files = [root / "requirements" / f"{group}.in" for group in groups]
    return [line for file in files for line in file.read_text().splitlines()]


def memory() -> tuple[str, ...]:
    free = shared_memory.free_bytes()
    left = shared_memory.abandoned()
    finding = f"{free / (1 << 30):.1f} GiB free in {shared_memory.FOLDER}"
    if left:
        finding += f", {len(left)} segments of killed nodes, which the next launch removes"
    need = NODES * 68 * MIB
    if free < need:
        mend = "give it 1 GiB: docker run --shm-size=1g, or mount -o remount,size=1g /dev/shm"
        return (
            "warn",
            f"{finding}; {NODES} nodes take {need // MIB} MiB, else images get lost",
            mend,
        )
    return "ok", finding


def disk() -> tuple[str, ...]:
    free = shutil.disk_usage(ROOT).free
    finding = f"{free / (1 << 30):.1f} GiB free where the project is"
    if free < 2 << 30:
        return "warn", finding, "episodes and training runs need 2 GiB; make room"
    return "ok", finding


CHECKS: dict[str, Callable[[], tuple[str, ...]]] = {
    "Python": python,
    "ROS 2": ros,
    "ros2 command": ros2_command,
    "interfaces": interfaces,
    "workspace": workspace,
    "DDS profile": dds_profile,
    "GPU": gpu,
    "weights": weights,
    "packages": packages,
    "shared memory": memory,
    "disk": disk,
}


if __name__ == "__main__":
    typer.run(doctor)
