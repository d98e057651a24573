"""Promises of the journal: it only grows, tells when it was changed, and has one writer."""

import random
import sqlite3
from contextlib import closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sop_monitor_pkg.core.alarms.journal import (
    GENESIS,
    Cursor,
    Journal,
    JournalError,
    entries,
    verify,
)
from typer.testing import CliRunner

FLOATS = st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text() | FLOATS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@pytest.fixture
def path(folder):
    path = folder / "journal.db"
    with Journal(path) as journal:
        for i in range(5):
            journal.append("raised", {"alarm": i}, i)
    return path


def without_triggers(path, *statements: str) -> None:
    """Changes the file as somebody would who knows SQLite."""
    with closing(sqlite3.connect(path)) as db:
        kept = db.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for name, _ in kept:
            db.execute(f"DROP TRIGGER {name}")
        for statement in statements:
            db.execute(statement)
        for _, sql in kept:
            db.execute(sql)
        db.commit()


@settings(max_examples=30, deadline=None)
@given(bodies=st.lists(st.dictionaries(st.text(), JSON, max_size=4), max_size=6))
def test_what_goes_in_comes_out_and_the_chain_holds(tmp_path_factory, bodies):
    path = tmp_path_factory.mktemp("journal") / "journal.db"
    with Journal(path) as journal:
        written = [journal.append("kind", body, i) for i, body in enumerate(bodies)]
    assert list(entries(path)) == written
    assert [entry.body for entry in written] == bodies
    found = verify(path)
    assert (found.entries, found.broken) == (len(bodies), "")
    assert found.head == (written[-1].hash if written else GENESIS)


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM journal WHERE number = 5",
        "UPDATE journal SET body = '{}' WHERE number = 2",
        "INSERT OR REPLACE INTO journal SELECT 2, 0, 'x', '{}', previous, hash "
        "FROM journal WHERE number = 2",
        "INSERT INTO journal SELECT 9, 0, 'x', '{}', hash, hash FROM journal WHERE number = 5",
        "INSERT INTO journal SELECT 6, 0, 'x', '{}', previous, hash FROM journal WHERE number = 5",
    ],
)
def test_the_database_refuses_to_change_the_past(path, statement):
    with (
        closing(sqlite3.connect(path)) as db,
        pytest.raises(sqlite3.IntegrityError, match="append-only"),
    ):
        db.execute(statement)


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("UPDATE journal SET body = '{\"alarm\":7}' WHERE number = 3", "entry 3 was changed"),
        ("UPDATE journal SET stamp_ns = 9 WHERE number = 1", "entry 1 was changed"),
        ("DELETE FROM journal WHERE number = 4", "entry 4 is missing"),
        ("DELETE FROM journal WHERE number = 1", "entry 1 is missing"),
    ],
)
def test_a_change_around_the_triggers_is_found_and_the_monitor_does_not_go_on(
    path, statement, words
):
    without_triggers(path, statement)
    assert words in verify(path).broken
    with pytest.raises(JournalError, match=words):
        Journal(path)


def test_a_missing_end_shows_against_a_hash_kept_elsewhere(path):
    anchors = {entry.number: entry.hash for entry in entries(path)}
    assert verify(path, anchors).broken == ""
    without_triggers(path, "DELETE FROM journal WHERE number = 5")
    assert verify(path).broken == ""  # the chain alone cannot know
    assert "entry 5 was noted and is missing" in verify(path, anchors).broken


def test_missing_triggers_are_found(path):
    with closing(sqlite3.connect(path)) as db:
        db.execute("DROP TRIGGER journal_keeps")
    assert "journal_keeps" in verify(path).broken


def test_a_damaged_file_is_found(path):
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    content = bytearray(path.read_bytes())
    rng = random.Random(0)
    for i in range(4096, len(content)):
        content[i] = rng.randrange(256)
    path.write_bytes(content)
    with pytest.raises(JournalError):
        Journal(path)


def test_there_is_one_writer_and_the_next_goes_on_where_it_ended(path):
    with Journal(path) as journal:
        with pytest.raises(JournalError, match="another monitor"):
            Journal(path)
        assert journal.append("raised", {}, 0).number == 6
    with Journal(path) as journal:
        assert journal.append("raised", {}, 0).number == 7


def test_it_can_be_read_and_verified_while_it_is_written(path):
    with Journal(path) as journal:
        journal.append("raised", {}, 0)
        assert [entry.number for entry in entries(path, after=4)] == [5, 6]
        assert verify(path).entries == 6


def test_another_file_is_refused(tmp_path):
    (tmp_path / "text").write_text("not a database, but long enough to look at" * 100)
    with pytest.raises(JournalError, match="cannot be used"):
        Journal(tmp_path / "text")
    with pytest.raises(JournalError, match="there is no journal"):
        list(entries(tmp_path / "none"))


def test_a_body_that_is_not_json_is_refused_and_leaves_nothing(path):
    with Journal(path) as journal:
        with pytest.raises(ValueError):
            journal.append("raised", {"score": float("nan")}, 0)
        assert journal.append("raised", {}, 0).number == 6


def test_a_full_disk_is_told_and_leaves_the_journal_sound(path):
    with Journal(path) as journal:
        (pages,) = journal._db.execute("PRAGMA page_count").fetchone()
        journal._db.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(JournalError, match="cannot be written.*full"):
            for _ in range(1000):
                journal.append("raised", {"reason": "x" * 200}, 0)
        assert verify(path).broken == ""
        journal._db.execute("PRAGMA max_page_count = 1000000")
        number, _ = journal.head
        assert journal.append("raised", {}, 0).number == number + 1 == verify(path).entries


def test_every_commit_waits_for_the_disk(path):
    with Journal(path) as journal:
        (mode,) = journal._db.execute("PRAGMA journal_mode").fetchone()
        (synchronous,) = journal._db.execute("PRAGMA synchronous").fetchone()
    assert (mode, synchronous) == ("wal", 2)


def test_a_receiver_goes_on_where_it_was(path):
    cursor = Cursor(path, "mqtt")
    assert cursor.number == 0
    cursor.advance(3)
    cursor.advance(2)
    cursor.close()
    assert Cursor(path, "mqtt").number == 3
    assert Cursor(path, "other").number == 0
    assert verify(path).broken == ""


def test_the_command_says_whether_a_journal_is_sound(path):
    from sop_monitor_pkg.commands.sop import app

    last = list(entries(path))[-1]
    good = CliRunner().invoke(app, ["verify", str(path), "--anchor", f"5:{last.hash}"])
    assert good.exit_code == 0 and "5 entries, all sound" in good.output
    without_triggers(path, "DELETE FROM journal WHERE number = 5")
    cut = CliRunner().invoke(app, ["verify", str(path), "--anchor", f"5:{last.hash}"])
    assert cut.exit_code == 1 and "entry 5 was noted and is missing" in cut.output
    wrong = CliRunner().invoke(app, ["verify", str(path), "--anchor", "5"])
    assert wrong.exit_code == 2 and "NUMBER:HASH" in wrong.output
