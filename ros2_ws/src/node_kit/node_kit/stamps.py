"""Stamps as whole nanoseconds."""

from __future__ import annotations

from builtin_interfaces.msg import Time


def stamp_ns(stamp: Time) -> int:
    """Any stamp, a negative one too: rclpy's own Time raises on those."""
    return stamp.sec * 1_000_000_000 + stamp.nanosec
