"""Shared memory that killed nodes left behind.

Each node holds a segment of 64 MiB in /dev/shm (config/fastdds.xml). A node that is killed cannot
give it back, and Fast DDS does not do it later: after some killed nodes the memory is full, and
images go by UDP and get lost. An owner that lives holds a lock on the segment's `_el` file.
"""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

FOLDER = Path("/dev/shm")
_NEW_S = 5.0  # Fast DDS makes the lock file a moment before it takes the lock


def abandoned() -> list[Path]:
    """Segments whose owner is gone."""
    found = []
    for lock_file in FOLDER.glob("fastdds_*_el"):
        segment = lock_file.with_name(lock_file.name.removesuffix("_el"))
        try:
            if time.time() - lock_file.stat().st_mtime < _NEW_S or not segment.exists():
                continue
            with lock_file.open("r+b") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:  # in use, of another user, or just removed
            continue
        found.append(segment)
    return found


def remove_abandoned() -> None:
    """Gives back what `abandoned` finds."""
    for segment in abandoned():
        lock_file = segment.with_name(f"{segment.name}_el")
        segment.unlink(missing_ok=True)
        lock_file.unlink(missing_ok=True)


def free_bytes() -> int:
    """What nodes can still take."""
    status = os.statvfs(FOLDER)
    return status.f_bavail * status.f_frsize


if __name__ == "__main__":
    remove_abandoned()
