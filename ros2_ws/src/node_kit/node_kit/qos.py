"""The quality-of-service profiles of the project's topics."""

from __future__ import annotations

from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy


def _profile(depth: int, reliable: bool, latched: bool = False) -> QoSProfile:
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=depth,
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
    )


SENSOR = _profile(depth=1, reliable=False)
"""Images and states: only the newest counts."""

COMMAND = _profile(depth=1, reliable=True)
"""Commands to the arm: arrive, and never queue up."""

LATCHED = _profile(depth=1, reliable=True, latched=True)
"""Goals, status, alerts: a late subscriber still gets the last one. A subscriber that needs every
change, not only the newest, asks for `LATCHED_HISTORY`."""

LATCHED_HISTORY = _profile(depth=100, reliable=True, latched=True)
"""For a subscriber of a latched topic that must not miss a change."""

RELIABLE = _profile(depth=10, reliable=True)
"""Events of which each one counts."""
