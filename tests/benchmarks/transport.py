"""`./run bench transport`: are pictures lost between two processes, and how long do they take?

One process publishes as a camera does, with the QoS of `camera/image_raw`; this one receives. Every
picture holds its number and the moment at which it was handed to ROS.
"""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import rclpy
import typer
from node_kit.images import to_msg
from node_kit.qos import SENSOR
from node_kit.testing import isolated_domain
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rich.console import Console
from sensor_msgs.msg import Image

from benchmarks.progress import ProgressView

TOPIC = "camera/image_raw"
# Best effort as the nodes subscribe, with room for a moment in which this process is not scheduled:
# what is measured is the transport, not the habit of the nodes to take only the newest picture.
RECEIVE = QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)
PROFILE = Path(__file__).resolve().parents[2] / "launch" / "config" / "fastdds.xml"
START_S = 30.0  # for the other process to come up
LAST_S = 2.0  # how long the other process stays for its last pictures to be taken
_MARK = struct.Struct("<qq")  # number, CLOCK_MONOTONIC [ns], which all processes share


def main(
    seconds: Annotated[float, typer.Option(min=0.1)] = 60.0,
    rate_hz: Annotated[float, typer.Option("--rate", min=1.0, help="pictures a second")] = 30.0,
    width: Annotated[int, typer.Option(min=16)] = 640,
    height: Annotated[int, typer.Option(min=16)] = 480,
) -> None:
    """Send rgb8 pictures to another process; the exit code is 1 if any is lost."""
    console = Console()
    profile = os.environ.setdefault("FASTDDS_DEFAULT_PROFILES_FILE", str(PROFILE))
    isolated_domain()
    count = max(1, round(seconds * rate_hz))
    console.print(
        f"{count} pictures of {width}x{height} at {rate_hz:g} Hz, DDS profile {profile}",
        highlight=False, soft_wrap=True,
    )  # fmt: skip
    try:
        latencies_ms = receive(count, rate_hz, width, height, console)
    except RuntimeError as error:
        console.print(f"[red]bench transport:[/red] {error}", highlight=False, soft_wrap=True)
        raise typer.Exit(1) from None
    lost = count - len(latencies_ms)
    console.print(f"sent {count}, received {len(latencies_ms)}, lost {lost}", highlight=False)
    if latencies_ms:
        p50, p99 = np.percentile(latencies_ms, (50, 99))
        console.print(
            f"latency p50 {p50:.1f} ms, p99 {p99:.1f} ms, longest {max(latencies_ms):.1f} ms",
            highlight=False,
        )
    if lost:
        raise typer.Exit(1)


def receive(count: int, rate_hz: float, width: int, height: int, console: Console) -> list[float]:
    """Starts the other process and gives the latency of every picture that came [ms].

    Raises:
        RuntimeError: the other process failed.
    """
    arrived: dict[int, float] = {}
    context = rclpy.Context()
    rclpy.init(context=context)
    node = rclpy.create_node("transport_receiver", context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    arguments = [str(value) for value in (count, rate_hz, width, height)]
    camera = subprocess.Popen([sys.executable, "-m", "benchmarks.transport", *arguments])
    try:
        with ProgressView(console, "pictures", count) as progress:

            def take(message: Image) -> None:
                now_ns = time.monotonic_ns()
                number, sent_ns = _MARK.unpack_from(message.data)
                arrived[number] = 1e-6 * (now_ns - sent_ns)
                progress.advance()

            node.create_subscription(Image, TOPIC, take, RECEIVE)
            while len(arrived) < count and camera.poll() is None:
                executor.spin_once(timeout_sec=0.05)
            if camera.poll():
                raise RuntimeError(f"the sending process ended, exit code {camera.returncode}")
            known = -1
            while known < len(arrived) < count:  # what has arrived may still wait to be taken
                known = len(arrived)
                executor.spin_once(timeout_sec=0.2)
        return list(arrived.values())
    finally:
        camera.kill()
        camera.wait()
        executor.shutdown()
        node.destroy_node()
        rclpy.shutdown(context=context)


def send(count: int, rate_hz: float, width: int, height: int) -> None:
    """The other process: publishes `count` pictures at `rate_hz`, once somebody listens.

    Raises:
        TimeoutError: nobody does.
    """
    rclpy.init()
    node = rclpy.create_node("transport_camera")
    publisher = node.create_publisher(Image, TOPIC, SENSOR)
    deadline_s = time.monotonic() + START_S
    while not publisher.get_subscription_count():
        rclpy.spin_once(node, timeout_sec=0.05)
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"no subscriber of {TOPIC} within {START_S:g} s")
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    begun_s = time.monotonic()
    for number in range(count):
        time.sleep(max(0.0, begun_s + number / rate_hz - time.monotonic()))
        _MARK.pack_into(pixels, 0, number, time.monotonic_ns())
        publisher.publish(to_msg(pixels, node.get_clock().now().to_msg(), "camera_optical_frame"))
    time.sleep(LAST_S)  # what was sent last would leave with this process
    node.destroy_node()
    rclpy.shutdown()


def _main(words: Sequence[str]) -> None:
    count, rate_hz, width, height = words
    send(int(count), float(rate_hz), int(width), int(height))


if __name__ == "__main__":
    _main(sys.argv[1:])
