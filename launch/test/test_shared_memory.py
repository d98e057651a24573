"""What killed nodes leave in shared memory is given back; what is in use is left alone."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest
from vjepa_bringup import shared_memory


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(shared_memory, "FOLDER", tmp_path)
    return tmp_path


def segment(folder: Path, name: str, age_s: float) -> Path:
    path = folder / f"fastdds_{name}"
    lock_file = folder / f"fastdds_{name}_el"
    path.write_bytes(b"x")
    lock_file.touch()
    made = lock_file.stat().st_mtime - age_s
    os.utime(lock_file, (made, made))
    return path


def test_only_what_nobody_holds_is_removed(folder: Path) -> None:
    abandoned = segment(folder, "abandoned", age_s=60)
    held = segment(folder, "held", age_s=60)
    new = segment(folder, "new", age_s=0)
    other = folder / "other"
    other.touch()
    with (folder / "fastdds_held_el").open("r+b") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        assert shared_memory.abandoned() == [abandoned]
        shared_memory.remove_abandoned()
    assert not abandoned.exists() and not (folder / "fastdds_abandoned_el").exists()
    assert held.exists() and new.exists() and other.exists()
