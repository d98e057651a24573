"""A writer killed at any moment loses nothing that it has published."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from sop_monitor_pkg.core.alarms.journal import entries, verify
from sop_monitor_pkg.core.alarms.table import AlarmTable

KILLS = 8
STATION = Path(__file__).resolve().parents[1] / "config" / "procedures" / "station.yaml"


def test_nothing_published_is_lost_when_the_writer_is_killed_at_any_moment(folder):
    path = folder / "journal.db"
    rng = random.Random(0)
    told: dict[int, tuple[str, str]] = {}
    for _ in range(KILLS):
        lines = run_and_kill(path, rng.uniform(0.0, 0.15))
        for line in lines:
            number, kind, digest = line.split()
            assert int(number) not in told
            told[int(number)] = kind, digest
        found = verify(path)
        assert found.broken == ""
        written = {entry.number: (entry.kind, entry.hash) for entry in entries(path)}
        assert told.items() <= written.items()
        # At most the entry in work is on the disk and was not published yet.
        assert len(written) - len(told) <= KILLS
    assert len(told) > 5 * KILLS
    table = AlarmTable()
    for entry in entries(path):
        table.apply(entry)
    assert table.raised == sum(kind == "raised" for kind, _ in written.values())


def run_and_kill(path: Path, after_s: float) -> list[str]:
    """What the writer published until it was killed, so long after its start."""
    script = str(Path(__file__).with_name("busy_writer.py"))
    writer = subprocess.Popen(
        [sys.executable, script, str(path), str(STATION)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert writer.stdout.readline() == "ready\n"
    time.sleep(after_s)  # not waiting for anything: this is the random moment
    writer.send_signal(signal.SIGKILL)
    whole = writer.stdout.read().splitlines(keepends=True)
    writer.wait(20.0)
    writer.stdout.close()
    return [line.rstrip("\n") for line in whole if line.endswith("\n")]
