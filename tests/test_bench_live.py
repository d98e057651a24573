"""`./run bench live`: what it counts; the nodes themselves have tests of their own."""

from __future__ import annotations

import os
import socket
from types import SimpleNamespace

import pytest
from benchmarks import live


@pytest.mark.parametrize("topic", ["detections", "camera/image_raw"])
def test_a_window_has_rates_delays_and_memory(topic):
    ear = SimpleNamespace(delays_s={topic: [0.1, 0.2, 0.3, 0.4]})
    launch = SimpleNamespace(processes={"me": SimpleNamespace(pid=os.getpid())})
    window = live._window(ear, 2.0, [launch])
    assert window.rate_hz[topic] == 2.0 and window.delay_median_s == {topic: 0.25}
    assert sum(window.rate_hz.values()) == 2.0  # nothing came on the others
    assert window.memory_mib["me"] > 10.0


def test_nobody_listens_on_the_port_of_the_page():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", live.free_port()))
