"""The journal: everything that happened to alarms, in one SQLite file that only grows.

An entry is on the disk (committed and synced) before `append` returns, so whoever publishes
afterwards publishes nothing that a crash could take back. Triggers refuse to change or remove
entries. Each carries a hash over itself and the hash before it: `verify` finds what was changed
around the triggers, and a hash kept elsewhere (MQTT messages carry it) also proves a missing end.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

GENESIS = "0" * 64
"""The hash before the first entry."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS journal (
    number INTEGER PRIMARY KEY, stamp_ns INTEGER NOT NULL, kind TEXT NOT NULL,
    body TEXT NOT NULL, previous TEXT NOT NULL, hash TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS delivered (
    receiver TEXT PRIMARY KEY, number INTEGER NOT NULL) STRICT;
CREATE TRIGGER IF NOT EXISTS journal_keeps BEFORE DELETE ON journal
BEGIN SELECT RAISE(ABORT, 'the journal is append-only: nothing is removed'); END;
CREATE TRIGGER IF NOT EXISTS journal_stays BEFORE UPDATE ON journal
BEGIN SELECT RAISE(ABORT, 'the journal is append-only: nothing is changed'); END;
CREATE TRIGGER IF NOT EXISTS journal_grows BEFORE INSERT ON journal
WHEN NEW.number IS NOT (SELECT COALESCE(MAX(number), 0) + 1 FROM journal)
  OR NEW.previous IS NOT COALESCE(
    (SELECT hash FROM journal ORDER BY number DESC LIMIT 1), printf('%064d', 0))
BEGIN SELECT RAISE(ABORT, 'the journal is append-only: an entry follows the last one'); END;
"""
_TRIGGERS = {"journal_keeps", "journal_stays", "journal_grows"}


class JournalError(RuntimeError):
    """A journal that cannot be used, or that was tampered with; the text says where."""


@dataclass(frozen=True)
class Entry:
    """One entry; `body` is plain JSON."""

    number: int
    stamp_ns: int
    kind: str
    body: dict[str, Any]
    previous: str
    hash: str


class Journal:
    """The one writer of a journal file.

    Args:
        path: of the SQLite file; made if it is not there.

    Raises:
        JournalError: another process writes it, it is no journal, or it does not verify.
    """

    def __init__(self, path: Path | str):
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = open(f"{self.path}.lock", "w")  # noqa: SIM115 (held until close)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.close()
            raise JournalError(
                f"{self.path} is written by another monitor; stop it, or give this one another file"
            ) from None
        try:
            self._db = _connect(self.path)
            self._db.executescript(_SCHEMA)
            _sync_folder(self.path.parent)
        except sqlite3.Error as error:
            self._lock.close()
            raise JournalError(f"{self.path} cannot be used as a journal: {error}") from error
        found = verify(self.path)
        if found.broken:
            self.close()
            raise JournalError(f"{self.path}: {found.broken}; move it away and start a new one")
        self._number, self._hash = found.entries, found.head

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def append(self, kind: str, body: dict[str, Any], stamp_ns: int) -> Entry:
        """Writes an entry; when this returns it is on the disk.

        Raises:
            JournalError: it could not be written; then it is not in the journal.
            ValueError: the body is not plain JSON.
        """
        number, text = self._number + 1, _canonical(body)
        digest = _digest(number, stamp_ns, kind, text, self._hash)
        row = (number, stamp_ns, kind, text, self._hash, digest)
        try:
            with self._db:
                self._db.execute("INSERT INTO journal VALUES (?, ?, ?, ?, ?, ?)", row)
        except sqlite3.Error as error:
            raise JournalError(f"{self.path} cannot be written: {error}") from error
        self._number, self._hash = number, digest
        return _entry(row)

    @property
    def head(self) -> tuple[int, str]:
        """Number and hash of the last entry."""
        return self._number, self._hash

    def close(self) -> None:
        """Closes the file and lets another writer in."""
        self._db.close()
        self._lock.close()


def entries(path: Path | str, after: int = 0, limit: int = -1) -> Iterator[Entry]:
    """Entries with a number above `after`, in order; may be read while a monitor writes.

    Raises:
        JournalError: there is no journal at `path`.
    """
    with closing(_open_to_read(path)) as db:
        query = "SELECT * FROM journal WHERE number > ? ORDER BY number LIMIT ?"
        for row in db.execute(query, (after, limit)):
            yield _entry(row)


@dataclass(frozen=True)
class Verification:
    """How far a journal holds together.

    Attributes:
        entries: number of sound entries.
        head: hash of the last one.
        broken: what is wrong after them; empty: nothing.
    """

    entries: int
    head: str
    broken: str = ""


def verify(path: Path | str, anchors: dict[int, str] | None = None) -> Verification:
    """Recomputes the chain; `anchors` are hashes by number that were kept elsewhere.

    Raises:
        JournalError: there is no journal at `path`.
    """
    number, head = 0, GENESIS
    anchors = dict(anchors or {})
    with closing(_open_to_read(path)) as db:
        try:
            query = "SELECT name FROM sqlite_master WHERE type = 'trigger'"
            names = {name for (name,) in db.execute(query)}
            if missing := sorted(_TRIGGERS - names):
                return Verification(0, GENESIS, f"triggers are missing: {', '.join(missing)}")
            for row in db.execute("SELECT * FROM journal ORDER BY number"):
                if row[0] != number + 1:
                    return Verification(number, head, f"entry {number + 1} is missing")
                if row[4] != head or row[5] != _digest(*row[:5]):
                    return Verification(number, head, f"entry {row[0]} was changed")
                if anchors.pop(row[0], row[5]) != row[5]:
                    return Verification(number, head, f"entry {row[0]} is not the one noted")
                number, head = row[0], row[5]
        except sqlite3.DatabaseError as error:
            return Verification(number, head, f"the file is damaged: {error}")
    if anchors:
        return Verification(number, head, f"entry {min(anchors)} was noted and is missing")
    return Verification(number, head)


class Cursor:
    """How far a receiver (MQTT) has got; kept beside the journal, so that it goes on from there."""

    def __init__(self, path: Path | str, receiver: str):
        self._db = _connect(Path(path))
        self._receiver = receiver
        row = self._db.execute("SELECT number FROM delivered WHERE receiver = ?", (receiver,))
        self.number: int = (row.fetchone() or (0,))[0]

    def advance(self, number: int) -> None:
        """Everything up to `number` has been received."""
        if number <= self.number:
            return
        with self._db:
            row = (self._receiver, number)
            self._db.execute("INSERT OR REPLACE INTO delivered VALUES (?, ?)", row)
        self.number = number

    def close(self) -> None:
        self._db.close()


def _connect(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=10.0, check_same_thread=False)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")  # in WAL mode: each commit waits for the disk
    return db


def _open_to_read(path: Path | str) -> sqlite3.Connection:
    if not Path(path).is_file():
        raise JournalError(f"there is no journal at {path}")
    # A download is read by whichever thread of the server is free, one after the other.
    db = sqlite3.connect(path, timeout=10.0, check_same_thread=False)
    try:
        db.execute("PRAGMA query_only = ON")
        db.execute("SELECT number FROM journal LIMIT 1")
    except sqlite3.Error as error:
        db.close()
        raise JournalError(f"{path} is no journal: {error}") from error
    return db


def _sync_folder(folder: Path) -> None:
    """Makes sure that the name of a new file is on the disk as well."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _entry(row: tuple) -> Entry:
    return Entry(row[0], row[1], row[2], json.loads(row[3]), row[4], row[5])


def _canonical(body: dict[str, Any]) -> str:
    return json.dumps(body, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _digest(number: int, stamp_ns: int, kind: str, body: str, previous: str) -> str:
    text = "\n".join((previous, str(number), str(stamp_ns), kind, body))
    return hashlib.sha256(text.encode()).hexdigest()
