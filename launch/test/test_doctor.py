"""The doctor finds what is broken, says how to mend it, and its exit code can be relied on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner
from vjepa_bringup import shared_memory
from vjepa_bringup.commands import doctor


@pytest.fixture
def run_doctor():
    app = typer.Typer()
    app.command()(doctor.doctor)
    return lambda *arguments: CliRunner().invoke(app, arguments)


def test_rows_as_json(run_doctor, monkeypatch) -> None:
    monkeypatch.setattr(doctor, "CHECKS", {"Python": doctor.python, "disk": doctor.disk})
    result = run_doctor("--json")
    rows = json.loads(result.stdout)
    assert [row["name"] for row in rows] == ["Python", "disk"]
    assert rows[0]["status"] == "ok" and rows[0]["mend"] == ""
    assert result.exit_code == 0


def test_a_check_that_breaks_is_a_failure_with_its_error(run_doctor, monkeypatch) -> None:
    def broken() -> tuple[str, ...]:
        raise OSError("the disk is gone")

    monkeypatch.setattr(doctor, "CHECKS", {"disk": broken})
    result = run_doctor()
    assert result.exit_code == 1
    assert "the disk is gone" in result.stdout and "how to mend" in result.stdout


def test_the_profile_of_the_stack_is_good(monkeypatch) -> None:
    profile = doctor.ROOT / "launch" / "config" / "fastdds.xml"
    monkeypatch.setenv("FASTDDS_DEFAULT_PROFILES_FILE", str(profile))
    assert doctor.dds_profile() == ("ok", f"{profile}, segments of 64 MiB")


@pytest.mark.parametrize(
    ("content", "status", "finding"),
    [
        (None, "fail", "cannot be read"),
        ("not xml", "fail", "cannot be read"),
        ("<dds><segment_size>524288</segment_size></dds>", "warn", "images get lost"),
        ("<dds/>", "warn", "images get lost"),
    ],
)
def test_a_bad_profile_is_found(tmp_path: Path, monkeypatch, content, status, finding) -> None:
    path = tmp_path / "profile.xml"
    if content is not None:
        path.write_text(content)
    monkeypatch.setenv("FASTDDS_DEFAULT_PROFILES_FILE", str(path))
    found = doctor.dds_profile()
    assert found[0] == status and finding in found[1] and "./run" in found[2]


def test_no_profile_is_a_failure(monkeypatch) -> None:
    monkeypatch.delenv("FASTDDS_DEFAULT_PROFILES_FILE", raising=False)
    assert doctor.dds_profile()[0] == "fail"


def test_too_little_shared_memory_is_a_warning(monkeypatch) -> None:
    monkeypatch.setattr(shared_memory, "free_bytes", lambda: 64 << 20)
    status, finding, mend = doctor.memory()
    assert status == "warn" and "408 MiB" in finding and "--shm-size" in mend


def test_a_package_of_another_version_is_a_warning(tmp_path: Path, monkeypatch) -> None:
    for folder in ("requirements", ".venv"):
        (tmp_path / folder).mkdir()
    (tmp_path / ".venv/.groups").write_text("base\n")
    pins = "pytest==0.0.1\nno_such_package==1.0\n# x==1\n"
    (tmp_path / "requirements/base.in").write_text(pins)
    monkeypatch.setattr(doctor, "ROOT", tmp_path)
    status, finding, _ = doctor.packages()
    assert status == "warn"
    assert "pinned is 0.0.1" in finding and "no_such_package is missing" in finding


def test_everything_that_setup_builds_is_there() -> None:
    for check in (doctor.python, doctor.ros, doctor.interfaces, doctor.workspace):
        assert check()[0] == "ok"
