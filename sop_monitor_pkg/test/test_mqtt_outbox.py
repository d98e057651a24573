"""Promises of the MQTT outbox, against a real broker: every entry arrives, whatever restarts."""

import json
import sqlite3
import threading
import time
from contextlib import closing

import paho.mqtt.client as mqtt
import pytest
from sop_monitor_pkg.core.alarms.book import SECOND_NS, AlarmBook, AlarmRules
from sop_monitor_pkg.core.alarms.journal import Journal, entries
from sop_monitor_pkg.core.alarms.kinds import Kind
from sop_monitor_pkg.core.alarms.mqtt_outbox import Broker, MqttOutbox
from sop_monitor_pkg.core.following.events import AnomalyEvent

TIMEOUT_S = 30.0


class Listener:
    """A subscriber with a session that the broker keeps."""

    def __init__(self, port):
        self.messages: list[tuple[str, dict]] = []
        self._subscribed = threading.Event()
        self._client = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2, client_id="listener", clean_session=False
        )
        self._client.reconnect_delay_set(1, 1)
        self._client.on_connect = lambda client, *_: client.subscribe("sop/#", qos=1)
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_message = self._on_message
        self._client.connect_async("127.0.0.1", port)
        self._client.loop_start()
        assert self._subscribed.wait(TIMEOUT_S)

    def _on_message(self, client, data, message):
        self.messages.append((message.topic, json.loads(message.payload)))

    def journal(self):
        """Numbers and hashes of the entries that came, each once, in the order of their coming."""
        found = {m["number"]: m["hash"] for topic, m in self.messages if topic == "sop/journal"}
        return list(found.items())

    def people(self, name):
        """Messages for somebody."""
        return [message for topic, message in self.messages if topic == f"sop/people/{name}"]

    def stop(self):
        self._client.disconnect()
        self._client.loop_stop()


def wait_for(condition, what):
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline, f"waited for {what}"
        time.sleep(0.02)


@pytest.fixture
def line(broker, station, folder):
    """A book on a journal, its outbox, and a listener."""
    broker.start()
    line = Line(broker, station, folder / "journal.db")
    yield line
    line.stop()


class Line:
    def __init__(self, broker, procedure, path):
        self.path, self.procedure, self.broker = path, procedure, broker
        self.journal = Journal(path)
        rules = AlarmRules(on_delay_s=0.0)
        self.book = AlarmBook(procedure, self.journal, lambda change: self.outbox.wake(), rules)
        self.listener = Listener(broker.port)
        self.start()

    def start(self):
        self.outbox = MqttOutbox(Broker("127.0.0.1", self.broker.port), self.path, self.procedure)
        self.outbox.start()

    def cycles(self, count):
        """Alarms in so many cycles: four entries each."""
        for _ in range(count):
            now_ns = time.time_ns()
            self.book.observe(AnomalyEvent(Kind.WRONG_ORDER, now_ns, "rotate_part"), now_ns)
            self.book.acknowledge(self.book.table.raised, "Ana", "", now_ns)
            self.book.end_cycle(now_ns, {})

    def everything_arrives(self):
        wanted = [(entry.number, entry.hash) for entry in entries(self.path)]
        wait_for(lambda: len(self.listener.journal()) >= len(wanted), f"{len(wanted)} entries")
        assert self.listener.journal() == wanted
        wait_for(lambda: self.outbox.delivered == len(wanted), "the broker's confirmation")

    def stop(self):
        self.outbox.stop()
        self.listener.stop()
        self.journal.close()


def test_every_entry_arrives_in_order_and_people_are_told(line):
    line.cycles(3)
    line.everything_arrives()
    told = line.listener.people("supervisor")
    assert [m["alarm"]["number"] for m in told] == [1, 2, 3]
    assert told[0]["alarm"]["state"] == "unacknowledged"
    assert told[0]["alarm"]["priority"] == "high"
    assert not [topic for topic, _ in line.listener.messages if topic == "sop/people/operator"]


def test_people_are_not_told_of_a_shelved_alarm_until_it_comes_back(line):
    now_ns = time.time_ns()
    line.book.shelve("wrong_order", 60.0, "Ana", "", now_ns)
    for step in ("rotate_part", "insert_peg"):
        line.book.observe(AnomalyEvent(Kind.WRONG_ORDER, now_ns, step), now_ns)
        now_ns += 20 * SECOND_NS
    line.book.acknowledge(2, "Ana", "", now_ns)
    line.everything_arrives()
    told = line.listener.people("supervisor")
    assert told == []
    line.book.tick(now_ns + 60 * SECOND_NS)
    line.everything_arrives()
    wait_for(lambda: line.listener.people("supervisor"), "the supervisor to be told")
    (message,) = line.listener.people("supervisor")
    assert (message["kind"], message["alarm"]["number"]) == ("unshelved", 1)
    assert message["alarm"]["state"] == "unacknowledged"


def test_nothing_is_lost_when_the_broker_restarts_mid_stream(line):
    line.cycles(5)
    wait_for(lambda: line.outbox.delivered >= 3, "the first entries")
    line.broker.stop()
    line.cycles(5)
    wait_for(lambda: line.outbox.problem, "the outbox to notice")
    assert "not connected" in line.outbox.problem
    line.broker.start()
    line.cycles(5)
    line.everything_arrives()
    assert line.outbox.problem == ""


def test_what_was_not_confirmed_is_sent_after_a_restart_of_the_monitor(line):
    line.cycles(2)
    line.everything_arrives()
    line.broker.stop()
    line.cycles(2)
    confirmed = line.outbox.delivered
    line.outbox.stop()
    line.start()
    assert line.outbox.delivered == confirmed == 8  # that much is not sent again
    line.broker.start()
    line.everything_arrives()


def test_a_broker_that_comes_later_gets_everything(broker, station, folder):
    path = folder / "journal.db"
    with Journal(path) as journal:
        for i in range(3):
            journal.append("cycle_ended", {"cycle": i + 1}, i)
        outbox = MqttOutbox(Broker("127.0.0.1", broker.port), path, station)
        outbox.start()
        broker.start()
        wait_for(lambda: outbox.delivered == 3, "delivery")
        outbox.stop()


def test_a_failure_is_told_and_tried_again(port, station, folder):
    path = folder / "journal.db"
    with Journal(path) as journal:
        journal.append("cycle_ended", {"cycle": 1}, 0)
        outbox = MqttOutbox(Broker("127.0.0.1", port, topic="sop/#"), path, station)
        outbox.start()
        wait_for(lambda: "wildcards" in outbox.problem, "the problem")
        assert outbox._thread.is_alive()
        outbox.stop()


def test_a_broker_that_is_away_keeps_nothing_of_the_journal_open(port, station, folder):
    path = folder / "journal.db"
    with Journal(path) as journal:
        for i in range(3):
            journal.append("cycle_ended", {"cycle": i + 1}, i)
        outbox = MqttOutbox(Broker("127.0.0.1", port), path, station)
        outbox.start()
        wait_for(lambda: outbox._client._out_messages, "the first entry to be waiting")
        journal.append("cycle_ended", {"cycle": 4}, 4)
        with closing(sqlite3.connect(path)) as db:
            busy, _, _ = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        outbox.stop()
    assert not busy
