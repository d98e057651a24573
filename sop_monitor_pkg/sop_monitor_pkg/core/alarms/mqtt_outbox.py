"""Journal entries to an MQTT broker: each at least once, in order, whatever restarts meanwhile.

The journal is the outbox. An entry counts as delivered when the broker has confirmed it (QoS 1);
until then it is sent again, also after a restart of this process. `number` and `hash` in each
message tell a receiver which it has seen, and let it prove later that the journal is the same.
"""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt

from sop_monitor_pkg.core.alarms.journal import Cursor, Entry, entries
from sop_monitor_pkg.core.alarms.table import Alarm, AlarmTable
from sop_monitor_pkg.core.procedure.procedure import Procedure

_LOOK_AGAIN_S = 0.5
_TRY_AGAIN_S = 5.0  # after something went wrong with the journal
_AT_ONCE = 100  # entries that are read before they are sent: a slow broker holds no journal open
_ANNOUNCED = ("raised", "reclassified", "returned")
_COMES_BACK = ("unshelved", "in_service")


@dataclass(frozen=True)
class Broker:
    """Where the broker is and under which topic to publish."""

    host: str
    port: int = 1883
    topic: str = "sop"
    user: str = ""
    password: str = ""


class MqttOutbox:
    """Sends the journal in a thread of its own; `wake` it after each change.

    Topics: `TOPIC/journal` each entry; `TOPIC/people/NAME` those who are told by MQTT, when an
    alarm is raised, changes its cause, returns, or comes back from the shelf or into service. All
    are JSON, QoS 1, not retained.
    """

    def __init__(self, broker: Broker, journal: Path, procedure: Procedure):
        self._broker = broker
        self._journal = journal
        self._procedure = procedure
        self._cursor = Cursor(journal, f"mqtt {broker.host}:{broker.port} {broker.topic}")
        self._table = AlarmTable()
        self._changed = threading.Condition()
        self._confirmed: set[int] = set()
        self._stopping = False
        self._problem = "not connected yet"
        self._failure = ""
        # The broker names the client: two monitors of one name would throw each other out.
        self._client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
        if broker.user:
            self._client.username_pw_set(broker.user, broker.password or None)
        self._client.reconnect_delay_set(min_delay=1, max_delay=10)
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = self._on_disconnect
        self._client.on_publish = self._on_publish
        self._thread = threading.Thread(target=self._run, name="mqtt outbox", daemon=True)

    def start(self) -> None:
        """Connects, now or when the broker is there, and sends what is due."""
        self._client.connect_async(self._broker.host, self._broker.port)
        self._client.loop_start()
        self._thread.start()

    def wake(self) -> None:
        """There is something new in the journal."""
        with self._changed:
            self._changed.notify_all()

    @property
    def delivered(self) -> int:
        """Number of the last entry that the broker has confirmed."""
        return self._cursor.number

    @property
    def problem(self) -> str:
        """Why nothing is sent; empty: all is well."""
        return self._failure or self._problem

    def stop(self) -> None:
        """Ends; what is not confirmed is sent after the next start."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._thread.join(5.0)
        self._client.disconnect()
        self._client.loop_stop()
        self._cursor.close()

    def _run(self) -> None:
        while not self._stopping:
            try:
                self._send()
            except Exception as error:  # whatever it is, it must be told, and must not end this
                self._failure = f"nothing is sent: {type(error).__name__}: {error}"
                with self._changed:
                    self._changed.wait_for(lambda: self._stopping, _TRY_AGAIN_S)

    def _send(self) -> None:
        """Sends what there is and what comes, until this is stopped."""
        self._table = AlarmTable()
        for entry in entries(self._journal, 0, self._cursor.number):
            self._table.apply(entry)
        while not self._stopping:
            due = list(entries(self._journal, self._cursor.number, _AT_ONCE))
            for entry in due:
                if not self._deliver(entry):
                    return
                self._cursor.advance(entry.number)
            self._failure = ""
            with self._changed:
                if not self._stopping and not due:
                    self._changed.wait(_LOOK_AGAIN_S)

    def _deliver(self, entry: Entry) -> bool:
        """Sends an entry and waits until it is confirmed; False: stopped before that."""
        with self._changed:
            self._confirmed.clear()
        # Without a connection the client keeps them, and sends them when there is one.
        sent = {
            self._client.publish(topic, json.dumps(message), qos=1).mid
            for topic, message in self._messages(entry)
        }
        with self._changed:
            self._changed.wait_for(lambda: self._stopping or sent <= self._confirmed)
            return sent <= self._confirmed

    def _messages(self, entry: Entry) -> list[tuple[str, dict[str, Any]]]:
        alarms = self._table.alarms.values()
        quiet = [a.number for a in alarms if self._table.state(a).is_quiet]
        alarm = self._table.apply(entry)
        message: dict[str, Any] = {
            "procedure": self._procedure.name,
            "number": entry.number,
            "stamp_ns": entry.stamp_ns,
            "kind": entry.kind,
            "body": entry.body,
            "hash": entry.hash,
        }
        whole = message if alarm is None else self._with_alarm(message, alarm)
        found = [(f"{self._broker.topic}/journal", whole)]
        if entry.kind in _COMES_BACK:
            news = [self._table.alarms[number] for number in quiet]
            news = [alarm for alarm in news if not alarm.acknowledged_by]
        else:
            news = [alarm] if alarm is not None and entry.kind in _ANNOUNCED else []
        for alarm in news:
            if not self._table.state(alarm).is_quiet:
                told = self._procedure.told(alarm.kind)
                names = [person.name for person in told if "mqtt" in person.told_by]
                topics = [f"{self._broker.topic}/people/{name}" for name in names]
                found += [(topic, self._with_alarm(message, alarm)) for topic in topics]
        return found

    def _with_alarm(self, message: dict[str, Any], alarm: Alarm) -> dict[str, Any]:
        about = {
            "number": alarm.number,
            "kind": str(alarm.kind),
            "step": alarm.step,
            "cycle": alarm.cycle,
            "priority": alarm.priority.name.lower(),
            "state": str(self._table.state(alarm)),
            "reason": alarm.reason,
        }
        return {**message, "alarm": about}

    # Called by the client's thread.

    def _on_connect(self, client: Any, data: Any, flags: Any, reason: Any, properties: Any) -> None:
        self._problem = f"the broker refuses: {reason}" if reason.is_failure else ""
        self.wake()

    def _on_disconnect(
        self, client: Any, data: Any, flags: Any, reason: Any, properties: Any
    ) -> None:
        self._problem = f"not connected: {reason}"

    def _on_publish(self, client: Any, data: Any, mid: int, reason: Any, properties: Any) -> None:
        with self._changed:
            self._confirmed.add(mid)
            self._changed.notify_all()
