"""Rate, jitter, age and losses of streams, on /diagnostics."""

from __future__ import annotations

import collections
import itertools
import math
import statistics
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node
from rclpy.time import Time

from node_kit.qos import RELIABLE


class StreamMonitor:
    """Watches one stream of messages; `tick` it once per message. Safe to use from any thread.

    Args:
        name: of the stream, usually its topic.
        stale_after_s: older than this (by receive time) is an error; None: never.
        minimum_hz: slower than this is a warning; None: never.
        window: how many intervals rate and jitter are taken over.
    """

    def __init__(
        self,
        name: str,
        stale_after_s: float | None = None,
        minimum_hz: float | None = None,
        window: int = 30,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.name = name
        self.count = 0
        self.dropped = 0
        self._stale_after_s = stale_after_s
        self._minimum_hz = minimum_hz
        self._clock = clock
        self._received: collections.deque[float] = collections.deque(maxlen=window + 1)
        self._stamp: Time | None = None
        self._lock = threading.Lock()

    def tick(self, stamp: Any = None, dropped: int = 0) -> None:
        """A message came; `stamp` is its builtin_interfaces/Time, `dropped` what was lost since."""
        with self._lock:
            self.count += 1
            self.dropped += dropped
            self._received.append(self._clock())
            if stamp is not None:
                self._stamp = Time.from_msg(stamp)

    def age_s(self) -> float:
        """Seconds since the last message came, by this machine's steady clock; inf before any."""
        with self._lock:
            return self._clock() - self._received[-1] if self._received else math.inf

    def stamp_age_s(self, now: Time) -> float:
        """Seconds from the last message's stamp to `now` (the node's clock); inf before any."""
        with self._lock:
            if self._stamp is None:
                return math.inf
            return (now.nanoseconds - self._stamp.nanoseconds) * 1e-9

    @property
    def rate_hz(self) -> float:
        """Messages per second over the window; 0 before the second one."""
        intervals = self._intervals()
        total = sum(intervals)
        return len(intervals) / total if total > 0 else 0.0

    @property
    def jitter_s(self) -> float:
        """Standard deviation of the intervals over the window [s]."""
        intervals = self._intervals()
        return statistics.pstdev(intervals) if len(intervals) > 1 else 0.0

    def status(self, now: Time | None = None) -> DiagnosticStatus:
        """What /diagnostics shows of the stream; `now` is the node's clock."""
        age, rate = self.age_s(), self.rate_hz
        level, text = DiagnosticStatus.OK, "flowing"
        if not self.count:
            level, text = DiagnosticStatus.STALE, "nothing received yet"
        elif self._stale_after_s is not None and age > self._stale_after_s:
            level, text = DiagnosticStatus.ERROR, f"silent for {age:.2f} s"
        elif self._minimum_hz is not None and self.count > 1 and rate < self._minimum_hz:
            level, text = DiagnosticStatus.WARN, f"{rate:.1f} Hz, {self._minimum_hz:g} Hz expected"
        values = {
            "received": str(self.count),
            "dropped": str(self.dropped),
            "rate_hz": f"{rate:.2f}",
            "jitter_ms": f"{self.jitter_s * 1e3:.2f}",
            "age_s": f"{age:.3f}",
        }
        if now is not None:
            values["stamp_age_s"] = f"{self.stamp_age_s(now):.3f}"
        return status(self.name, level, text, **values)

    def _intervals(self) -> list[float]:
        with self._lock:
            times = list(self._received)
        return [later - earlier for earlier, later in itertools.pairwise(times)]


class HealthPublisher:
    """Publishes the state of streams and what else a node reports on /diagnostics.

    Args:
        node: in whose name; make this object in `configure`.
        monitors: the node's streams.
        extra: called each time, returns further `status(...)` messages.
        period_s: of publishing, by the steady clock so that a stopped /clock does not hide it.
    """

    def __init__(
        self,
        node: Node,
        monitors: Iterable[StreamMonitor],
        extra: Callable[[], Iterable[DiagnosticStatus]] = tuple,
        period_s: float = 1.0,
    ):
        from rclpy.clock import Clock, ClockType

        self._node = node
        self._monitors = list(monitors)
        self._extra = extra
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", RELIABLE)
        node.create_timer(period_s, self.publish, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def publish(self) -> None:
        """Publishes now; the timer does so every period."""
        now = self._node.get_clock().now()
        message = DiagnosticArray()
        message.header.stamp = now.to_msg()
        message.status = [m.status(now) for m in self._monitors] + list(self._extra())
        for item in message.status:
            item.name = f"{self._node.get_fully_qualified_name().lstrip('/')}: {item.name}"
        self._publisher.publish(message)


def status(name: str, level: bytes, text: str, **values: str) -> DiagnosticStatus:
    """A DiagnosticStatus with key-value pairs; `level` is one of its constants."""
    return DiagnosticStatus(
        level=level,
        name=name,
        message=text,
        values=[KeyValue(key=key, value=str(value)) for key, value in values.items()],
    )
