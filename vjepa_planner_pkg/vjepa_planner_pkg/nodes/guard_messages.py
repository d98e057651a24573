"""Messages of the command guard, to and from plain values of its core. Nothing is judged here."""

from __future__ import annotations

import time

from builtin_interfaces.msg import Time
from geometry_msgs.msg import Pose, PoseStamped, TwistStamped
from node_kit.stamps import stamp_ns
from robot_cell import ANGULAR, LINEAR
from std_msgs.msg import Header
from vjepa_interfaces.msg import EndEffectorCommand, EndEffectorState

from vjepa_planner_pkg.core.guard.io import CommandInput, Output, StateInput

_S = 1_000_000_000  # [ns]


def state_input(message: EndEffectorState, info: dict) -> StateInput:
    """`info` is rclpy's MessageInfo of the message."""
    position, quaternion = _numbers(message.pose)
    return StateInput(
        stamp_ns=stamp_ns(message.header.stamp),
        received_s=_received_s(info),
        writer=_writer(info),
        frame=message.header.frame_id,
        child_frame=message.child_frame,
        position=position,
        quaternion=quaternion,
        closedness=message.closedness,
    )


def command_input(message: EndEffectorCommand, info: dict) -> CommandInput:
    """`info` is rclpy's MessageInfo of the message."""
    position, quaternion = _numbers(message.pose)
    return CommandInput(
        stamp_ns=stamp_ns(message.header.stamp),
        received_s=_received_s(info),
        writer=_writer(info),
        frame=message.header.frame_id,
        position=position,
        quaternion=quaternion,
        closedness=message.closedness,
        action=tuple(message.action),
    )


def target_message(output: Output, frame: str) -> PoseStamped:
    """The pose of an output that has one."""
    message = PoseStamped(header=_header(output, frame))
    p, q = message.pose.position, message.pose.orientation
    p.x, p.y, p.z = map(float, output.pose.position)
    q.x, q.y, q.z, q.w = map(float, output.pose.quaternion)
    return message


def twist_message(output: Output, frame: str) -> TwistStamped:
    """The twist of an output that has one."""
    message = TwistStamped(header=_header(output, frame))
    linear, angular = message.twist.linear, message.twist.angular
    linear.x, linear.y, linear.z = map(float, output.twist[LINEAR])
    angular.x, angular.y, angular.z = map(float, output.twist[ANGULAR])
    return message


def _header(output: Output, frame: str) -> Header:
    seconds, nanoseconds = divmod(output.stamp_ns, _S)
    return Header(stamp=Time(sec=seconds, nanosec=nanoseconds), frame_id=frame)


def _numbers(pose: Pose) -> tuple[tuple[float, ...], tuple[float, ...]]:
    p, q = pose.position, pose.orientation
    return (p.x, p.y, p.z), (q.x, q.y, q.z, q.w)


def _writer(info: dict) -> bytes:
    """Who sent it, as the graph names it; empty where the middleware does not say."""
    gid = info.get("publisher_gid")
    return bytes(gid["data"]) if gid else b""


def _received_s(info: dict) -> float:
    """When it came to this machine, by the steady clock: it may have waited in a queue since."""
    received_ns = info.get("received_timestamp") or time.time_ns()
    return time.monotonic() - max(0, time.time_ns() - received_ns) * 1e-9
