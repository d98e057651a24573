"""`./run station record`: options that do not fit are refused, and an interruption is no loss."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner
from vjepa_bringup.commands.station import app


def refusal(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["record", *arguments], env={"COLUMNS": "300"})
    assert result.exit_code == 2, result.output
    return " ".join(result.output.split())


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--cycles", "0"], "greater than or equal to 1"),
        (["--seed", "-1"], "greater than or equal to 0"),
        (["--workers", "0"], "greater than or equal to 1"),
        (["--fps", "90"], "less than or equal to 30"),
        (["--faults", "hesitation,flood"], "there is no fault flood; known: wrong_order"),
        (["--faults", ","], "there is no fault"),
        (["--clean", "--faults", "too_fast"], "exclude each other"),
    ],
)
def test_options_that_make_no_sense_are_refused(tmp_path: Path, options: list[str], reason: str):
    assert reason in refusal(str(tmp_path / "out"), *options)
    assert not (tmp_path / "out").exists()


def test_a_folder_with_other_things_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    assert "is no recording of a station; choose another folder" in refusal(str(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_an_interrupted_recording_goes_on_with_what_is_missing(tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = [
        *(sys.executable, "-m", "vjepa_bringup.commands.station", "record", str(out)),
        *("--cycles", "5", "--seed", "4", "--fps", "1", "--faults", "wrong_part,dropped_part"),
    ]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    process = subprocess.Popen(
        [*command, "--workers", "1"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    deadline = time.monotonic() + 60.0
    while not (out / "cycle_0000").exists():
        assert process.poll() is None and time.monotonic() < deadline, process.stdout.read()
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the workers as well
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert b"goes on where it stopped" in output and b"Traceback" not in output
    finished = sorted(path.name for path in out.iterdir())
    assert "cycle_0004" not in finished and not any(name.startswith(".") for name in finished)
    kept = (out / "cycle_0000" / "video.mp4").stat().st_mtime_ns

    again = subprocess.run(
        [*command, "--workers", "2"], env=environment, capture_output=True, text=True, timeout=120
    )
    assert again.returncode == 0, again.stderr
    assert again.stderr == "", "PyBullet and the workers are quiet"
    assert (out / "cycle_0000" / "video.mp4").stat().st_mtime_ns == kept
    said = [json.loads((out / f"cycle_{i:04d}" / "cycle.json").read_text()) for i in range(5)]
    kinds = [fault["kind"] for cycle in said for fault in cycle["faults"]]
    assert len(kinds) == 5 and set(kinds) == {"wrong_part", "dropped_part"}
