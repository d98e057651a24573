"""Who is alive: a latched topic whose publisher DDS watches, so that a killed node is noticed.

The publisher renews its lease from a timer of its node, without sending a message: a node that
was killed, stopped, or whose executor hangs is missed after `LEASE_S`. (Leases that DDS renews by
itself do not hold in Fast DDS between nodes of one process.)
"""

from __future__ import annotations

from collections.abc import Callable

from rclpy.clock import Clock, ClockType
from rclpy.duration import Duration
from rclpy.event_handler import QoSLivelinessChangedInfo, SubscriptionEventCallbacks
from rclpy.node import Node
from rclpy.qos import (
    DurabilityPolicy,
    HistoryPolicy,
    LivelinessPolicy,
    QoSProfile,
    ReliabilityPolicy,
)
from std_msgs.msg import String

LEASE_S = 0.25
_RENEWALS = 6  # in each lease

PRESENCE = QoSProfile(
    history=HistoryPolicy.KEEP_LAST,
    depth=1,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
    liveliness=LivelinessPolicy.MANUAL_BY_TOPIC,
    liveliness_lease_duration=Duration(seconds=LEASE_S),
)


def announce(node: Node, topic: str, text: str) -> None:
    """Says on `topic`, for as long as the node lives, that it is there; `text` is its model."""
    publisher = node.create_publisher(String, topic, PRESENCE)
    publisher.publish(String(data=text))
    steady = Clock(clock_type=ClockType.STEADY_TIME)
    node.create_timer(LEASE_S / _RENEWALS, publisher.assert_liveliness, clock=steady)


def watch(
    node: Node,
    topic: str,
    present: Callable[[str], None],
    absent: Callable[[str], None],
) -> None:
    """Calls `present(text)` when a node announces itself on `topic`, `absent(reason)` when the
    last one that did has died or left."""

    last = ""

    def heard(message: String) -> None:
        nonlocal last
        last = message.data
        present(last)

    def changed(event: QoSLivelinessChangedInfo) -> None:
        if event.alive_count == 0 and event.alive_count_change < 0:
            absent(f"died or left: {topic} is no longer alive")
        elif event.alive_count > 0 and event.alive_count_change > 0 and last:
            present(last)  # it was only stopped for a while and does not speak again

    node.create_subscription(
        String,
        topic,
        heard,
        PRESENCE,
        event_callbacks=SubscriptionEventCallbacks(liveliness=changed),
    )
