"""Writes alarms as fast as it can, and says on standard output what it has published.

Started by test_killed_writer.py, to be killed at any moment.
"""

import sys
import time
from pathlib import Path

from sop_monitor_pkg.core.alarms.book import AlarmBook, AlarmRules
from sop_monitor_pkg.core.alarms.journal import Journal, entries
from sop_monitor_pkg.core.alarms.kinds import Kind
from sop_monitor_pkg.core.following.events import AnomalyEvent
from sop_monitor_pkg.core.procedure.file import load


def main(path: Path, procedure: Path) -> None:
    def publish(change) -> None:
        print(change.entry.number, change.entry.kind, change.entry.hash, flush=True)

    with Journal(path) as journal:
        past = list(entries(path))
        book = AlarmBook(load(procedure), journal, publish, AlarmRules(on_delay_s=0.0), past)
        print("ready", flush=True)
        while True:
            now_ns = time.time_ns()
            book.observe(AnomalyEvent(Kind.WRONG_ORDER, now_ns, "rotate_part"), now_ns)
            book.acknowledge(book.table.raised, "Ana", "", now_ns)
            book.end_cycle(now_ns, {})


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
