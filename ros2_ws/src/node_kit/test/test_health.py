"""Promises of the stream monitors."""

import math

import pytest
from builtin_interfaces.msg import Time as TimeMsg
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from node_kit.health import HealthPublisher, StreamMonitor, status
from node_kit.lifecycle import KitNode
from node_kit.qos import RELIABLE
from rclpy.time import Time


class SteadyClock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_rate_jitter_and_age_are_those_of_the_stream():
    clock = SteadyClock()
    monitor = StreamMonitor("camera", clock=clock)
    assert (monitor.rate_hz, monitor.jitter_s, monitor.age_s()) == (0.0, 0.0, math.inf)
    for interval in (0.0, 0.1, 0.3, 0.1, 0.3):
        clock.now += interval
        monitor.tick(TimeMsg(sec=7), dropped=1)
    clock.now += 2.0
    assert monitor.rate_hz == pytest.approx(5.0)
    assert monitor.jitter_s == pytest.approx(0.1)
    assert monitor.age_s() == pytest.approx(2.0)
    assert monitor.stamp_age_s(Time(seconds=9)) == pytest.approx(2.0)
    assert (monitor.count, monitor.dropped) == (5, 5)


def test_a_silent_stream_is_an_error_and_a_slow_one_a_warning():
    clock = SteadyClock()
    monitor = StreamMonitor("camera", stale_after_s=0.5, minimum_hz=10.0, clock=clock)
    assert monitor.status().level == DiagnosticStatus.STALE
    for _ in range(5):
        clock.now += 0.1
        monitor.tick()
    assert monitor.status().level == DiagnosticStatus.OK
    clock.now += 0.4
    monitor.tick()
    assert monitor.status().level == DiagnosticStatus.WARN
    clock.now += 0.6
    assert monitor.status().level == DiagnosticStatus.ERROR
    assert "silent for 0.60 s" in monitor.status().message


def test_a_node_reports_its_streams_once_a_second(ros):
    class Watched(KitNode):
        def configure(self):
            self.monitor = StreamMonitor("camera/image_raw")
            HealthPublisher(self, [self.monitor], self.more, period_s=0.05)

        def more(self):
            return [status("planner", DiagnosticStatus.WARN, "far away", step="3")]

    node = ros.start(lambda **kwargs: Watched("watched", **kwargs))
    node.monitor.tick(node.get_clock().now().to_msg())
    received = ros.collect(DiagnosticArray, "/diagnostics", RELIABLE)
    ros.wait_for(lambda: len(received) > 1, "two reports")
    stream, planner = received[-1].status
    assert stream.name == "watched: camera/image_raw"
    assert {value.key for value in stream.values} == {
        "received", "dropped", "rate_hz", "jitter_ms", "age_s", "stamp_age_s",
    }  # fmt: skip
    assert (planner.name, planner.message, planner.values[0].value) == (
        "watched: planner", "far away", "3",
    )  # fmt: skip
