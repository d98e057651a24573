"""The house keeps its floors: imports only go down, type-only ones included, and never in a circle."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = {
    "robot_cell": (1, ROOT / "ros2_ws/src/robot_cell/robot_cell"),
    "vjepa_interfaces": (1, None),
    "node_kit": (2, ROOT / "ros2_ws/src/node_kit/node_kit"),
    "vjepa_world_model": (2, ROOT / "ros2_ws/src/vjepa_world_model/vjepa_world_model"),
    "vjepa_planner_pkg": (3, ROOT / "vjepa_planner_pkg/vjepa_planner_pkg"),
    "perception_pkg": (3, ROOT / "perception_pkg/perception_pkg"),
    "sop_monitor_pkg": (3, ROOT / "sop_monitor_pkg/sop_monitor_pkg"),
    "vjepa_sim": (3, ROOT / "sim/vjepa_sim"),
    "vjepa_bringup": (4, ROOT / "launch/vjepa_bringup"),
    "benchmarks": (4, ROOT / "tests/benchmarks"),
}
PACKAGES = [name for name, (_, folder) in SOURCES.items() if folder is not None]
FORBIDDEN = {"robot_cell": {"torch", "rclpy"}, "node_kit": {"torch"}, "vjepa_world_model": {"rclpy"}}


def imports(file: Path) -> set[str]:
    """Modules that a file imports anywhere, also in functions and for types alone."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_only_go_down(package: str) -> None:
    floor, folder = SOURCES[package]
    for file in folder.rglob("*.py"):
        used = {name.partition(".")[0] for name in imports(file)}
        for other in used & SOURCES.keys() - {package}:
            below = SOURCES[other][0] < floor or floor == 4
            assert below, f"{file.relative_to(ROOT)} imports {other}, which is not below it"
        wrong = used & FORBIDDEN.get(package, set())
        assert not wrong, f"{file.relative_to(ROOT)} imports {wrong}"


@pytest.mark.parametrize("package", [p for p in PACKAGES if SOURCES[p][0] == 3])
def test_a_core_knows_no_ros(package: str) -> None:
    for file in (SOURCES[package][1] / "core").rglob("*.py"):
        used = {name.partition(".")[0] for name in imports(file)}
        assert "rclpy" not in used and "vjepa_interfaces" not in used, file
        assert not any(f"{package}.nodes" in name for name in imports(file)), file


@pytest.mark.parametrize("package", PACKAGES)
def test_no_imports_in_a_circle(package: str) -> None:
    folder = SOURCES[package][1]
    names = {
        ".".join([package, *file.relative_to(folder).with_suffix("").parts]): file
        for file in folder.rglob("*.py")
    }
    uses = {name: imports(file) & names.keys() - {name} for name, file in names.items()}
    while free := [name for name, used in uses.items() if not used]:
        uses = {n: used - set(free) for n, used in uses.items() if n not in free}
    assert not uses, f"imported in a circle: {sorted(uses)}"


def test_a_class_name_stands_once() -> None:
    files = [f for p in PACKAGES for f in SOURCES[p][1].rglob("*.py")]
    files += [f for f in ROOT.glob("*/test/*.py")] + [f for f in ROOT.glob("tests/*.py")]
    names = Counter(
        node.name
        for file in files
        for node in ast.parse(file.read_text()).body
        if isinstance(node, ast.ClassDef)
    )
    assert [name for name, count in names.items() if count > 1] == []


def test_no_file_is_longer_than_400_lines() -> None:
    folders = [SOURCES[p][1] for p in PACKAGES] + [ROOT / "tests"]
    folders += [*ROOT.glob("*/test"), *ROOT.glob("ros2_ws/src/*/test")]
    long = {
        str(file.relative_to(ROOT)): lines
        for folder in folders
        for file in folder.rglob("*.py")
        if (lines := len(file.read_text().splitlines())) > 400
    }
    assert long == {}
