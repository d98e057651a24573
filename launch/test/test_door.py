"""`./run` does what its help says, from any folder."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

RUN = Path(__file__).parents[2] / "run"


def run(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [str(RUN), *arguments],
        cwd=cwd,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_second_setup_does_nothing_and_takes_seconds(tmp_path: Path) -> None:
    began = time.monotonic()
    result = run("setup", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("ready:") and time.monotonic() - began < 10.0


def test_setup_refuses_a_group_that_it_does_not_know(tmp_path: Path) -> None:
    result = run("setup", "--only", "coffee", cwd=tmp_path)
    assert result.returncode == 1 and "--only monitor" in result.stderr


def test_the_lock_holds_every_version_that_the_groups_pin() -> None:
    folder = RUN.parent / "requirements"
    locked = set(re.findall(r"^([\w.-]+==\S+)", (folder / "lock.txt").read_text(), re.M))
    names = {pin.lower().replace("_", "-") for pin in locked}
    for group in folder.glob("*.in"):
        for pin in re.findall(r"^([\w.\[\]-]+==\S+)", group.read_text(), re.M):
            plain = re.sub(r"\[.*?\]", "", pin).lower().replace("_", "-").replace("l.y", "l-y")
            assert plain in names, f"{pin} of {group.name}: see CONTRIBUTING on how to lock"


def test_unknown_command_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    result = run("dmeo", cwd=tmp_path)
    assert result.returncode == 1
    assert "no command 'dmeo'" in result.stderr and "doctor" in result.stderr


def test_exec_sets_the_environment_up(tmp_path: Path) -> None:
    code = (
        "import os, vjepa_interfaces.msg, rclpy; print(os.getcwd());"
        "print(os.environ['FASTDDS_DEFAULT_PROFILES_FILE'])"
    )
    nothing = dict.fromkeys(
        ("PYTHONPATH", "AMENT_PREFIX_PATH", "LD_LIBRARY_PATH", "FASTDDS_DEFAULT_PROFILES_FILE"), ""
    )
    result = run("exec", "python", "-c", code, cwd=tmp_path, **nothing)
    assert result.returncode == 0, result.stderr
    folder, profile = result.stdout.splitlines()
    assert Path(folder) == tmp_path
    assert Path(profile) == RUN.parent / "launch" / "config" / "fastdds.xml"


def test_a_profile_of_the_user_is_left_alone(tmp_path: Path) -> None:
    result = run(
        *("exec", "printenv", "FASTDDS_DEFAULT_PROFILES_FILE"),
        cwd=tmp_path,
        FASTDDS_DEFAULT_PROFILES_FILE="/mine.xml",
    )
    assert result.stdout == "/mine.xml\n"


@pytest.mark.parametrize("file", ["sim_planner.launch.xml", "launch/sim_planner.launch.xml"])
def test_up_finds_the_launch_files_by_name(tmp_path: Path, file: str) -> None:
    result = run("up", file, "--show-args", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "device" in result.stdout and "composed" in result.stdout


def test_a_disk_without_room_is_told_before_anything_is_made(tmp_path: Path) -> None:
    clone, tools = tmp_path / "clone", tmp_path / "tools"
    (clone / "ros2_ws/src").mkdir(parents=True)
    shutil.copy(RUN, clone)
    shutil.copytree(RUN.parent / "requirements", clone / "requirements")
    tools.mkdir()
    (tools / "df").write_text("#!/bin/sh\necho head\necho disk 9999999 7000000 2999999 70% /\n")
    (tools / "df").chmod(0o755)
    result = subprocess.run(
        [str(clone / "run"), "setup"],
        env=os.environ | {"PATH": f"{tools}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == 1
    assert "2 GB free" in result.stderr and "free some" in result.stderr
    assert not (clone / ".venv").exists()
