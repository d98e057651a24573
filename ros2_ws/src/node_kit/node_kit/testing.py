"""What the tests of every package share: a ROS domain of their own, nodes, processes, waiting.

In a package's `test/conftest.py`:

    from node_kit.testing import ros  # noqa: F401  (the fixture)

and in a test:

    def test_something(ros):
        node = ros.start(EncoderNode, crop="center")        # in this process
        sim = ros.process("vjepa_sim.nodes.sim_node")        # in a process of its own
        images = ros.collect(Image, "camera/image_raw", SENSOR)
        ros.wait_for(lambda: images, "the first image")

Nothing sleeps: whoever waits gives a condition, and says what for.
"""

from __future__ import annotations

import atexit
import fcntl
import gc
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile

from node_kit.lifecycle import KitNode

TIMEOUT_S = 20.0
"""How long tests wait for what should take moments: generous, for machines under load."""

_DOMAINS = range(1, 102)  # above, the ports of a domain reach into the ephemeral range
_locks: list = []


def free_port() -> int:
    """A port of this machine on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def isolated_domain() -> int:
    """Takes a ROS domain that no other test process of this machine has, until the process ends.

    Sets ROS_DOMAIN_ID, which child processes inherit, and keeps discovery on this machine.
    The first call decides; later ones return the same number.
    """
    if _locks:
        return int(os.environ["ROS_DOMAIN_ID"])
    folder = Path(tempfile.gettempdir()) / f"ros_test_domains_{os.getuid()}"
    folder.mkdir(exist_ok=True)
    for domain in _DOMAINS:
        lock = (folder / str(domain)).open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            continue
        _locks.append(lock)
        os.environ["ROS_DOMAIN_ID"] = str(domain)
        os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
        return domain
    raise RuntimeError(f"all {len(_DOMAINS)} test domains are taken (locks in {folder})")


class RosSession:
    """One test's nodes and processes; leaving it ends them all."""

    def __init__(self) -> None:
        isolated_domain()
        self.context = rclpy.Context()
        rclpy.init(context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.nodes: list[Node] = []
        self.processes: list[NodeProcess] = []
        self._probe: Node | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        for process in reversed(self.processes):
            process.end()
        for node in reversed(self.nodes):
            if isinstance(node, KitNode):
                node.shut_down()
            self.executor.remove_node(node)
            node.destroy_node()
        self.executor.shutdown()
        self.context.try_shutdown()
        # Nodes and what they hold refer to each other in circles. A DDS participant that only a
        # later collection ends goes on taking part in discovery: beyond some 20 of them, new
        # processes were no longer found.
        self.nodes.clear()
        self._probe = None
        self.context.destroy()
        gc.collect()

    @property
    def probe(self) -> Node:
        """A plain node of the test itself."""
        if self._probe is None:
            self._probe = self.add(Node("probe", context=self.context))
        return self._probe

    def add(self, node: Node) -> Node:
        """Spins a node that the test made with `context=ros.context`."""
        self.nodes.append(node)
        self.executor.add_node(node)
        return node

    def create(self, factory: Callable[..., KitNode], **parameters: Any) -> KitNode:
        """Makes a KitNode in this process with these parameters; it is not configured yet."""
        overrides = [Parameter(name, value=value) for name, value in parameters.items()]
        return self.add(factory(context=self.context, parameter_overrides=overrides))

    def start(self, factory: Callable[..., KitNode], **parameters: Any) -> KitNode:
        """Makes a KitNode, configures and activates it."""
        node = self.create(factory, **parameters)
        node.start()
        return node

    def process(self, module: str, *ros_args: str, **parameters: Any) -> NodeProcess:
        """Starts `python -m module` with these parameters and returns at once."""
        process = NodeProcess(module, *ros_args, **parameters)
        self.processes.append(process)
        return process

    def wait_for(
        self, condition: Callable[[], Any], what: str = "", timeout_s: float = TIMEOUT_S
    ) -> Any:
        """Spins until `condition()` is true and returns what it gave.

        Raises:
            TimeoutError: it never was; names `what` and the output of all processes.
        """
        deadline = time.monotonic() + timeout_s
        while not (result := condition()):
            if time.monotonic() > deadline:
                failed = [n.failure for n in self.nodes if isinstance(n, KitNode) and n.failure]
                processes = [process.describe() for process in self.processes]
                lines = [f"{timeout_s:g} s without {what}", *failed, *processes]
                raise TimeoutError("\n".join(lines))
            self.executor.spin_once(timeout_sec=0.02)
        return result

    def spin_for(self, duration_s: float) -> None:
        """Spins that long; to show that something does NOT happen, never to wait for something."""
        deadline = time.monotonic() + duration_s
        while (left := deadline - time.monotonic()) > 0:
            self.executor.spin_once(timeout_sec=min(left, 0.02))

    def collect(
        self, msg_type: type, topic: str, qos: QoSProfile, matched: bool = True
    ) -> list[Any]:
        """A list that grows with the topic's messages; waits for a publisher unless told not to."""
        received: list[Any] = []
        self.probe.create_subscription(msg_type, topic, received.append, qos)
        if matched:
            self.wait_for(lambda: self.probe.count_publishers(topic), f"a publisher of {topic}")
        return received

    def publisher(self, msg_type: type, topic: str, qos: QoSProfile, matched: int = 1) -> Any:
        """A publisher of the probe; waits until `matched` subscriptions are connected to it."""
        publisher = self.probe.create_publisher(msg_type, topic, qos)
        self.wait_for(
            lambda: publisher.get_subscription_count() >= matched, f"a subscriber of {topic}"
        )
        return publisher

    def publish_until(
        self, publisher: Any, message: Any, condition: Callable[[], Any], what: str = ""
    ) -> Any:
        """Publishes `message` 20 times a second until `condition()` is true; see `wait_for`.

        As a camera does: a publisher that never pauses starves every other callback.
        """
        timer = self.probe.create_timer(0.05, lambda: publisher.publish(message))
        try:
            return self.wait_for(condition, what)
        finally:
            self.probe.destroy_timer(timer)

    def call(
        self,
        srv_type: type,
        name: str,
        request: Any,
        timeout_s: float = TIMEOUT_S,
        retry_s: float | None = None,
    ) -> Any:
        """Calls a service of whatever node and returns the response.

        `retry_s`: ask again after so long, for a server that may have replaced a killed one: what
        discovery still believes of the dead one swallows a request.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            client = self.probe.create_client(srv_type, name)
            try:
                left_s = deadline - time.monotonic()
                self.wait_for(client.service_is_ready, f"service {name}", left_s)
                future = client.call_async(request)
                patience_s = min(retry_s or timeout_s, max(0.0, deadline - time.monotonic()))
                self.wait_for(future.done, f"an answer of {name}", patience_s)
                return future.result()
            except TimeoutError:
                if retry_s is None or time.monotonic() >= deadline:
                    raise
            finally:
                self.probe.destroy_client(client)


class NodeProcess:
    """`python -m module --ros-args ...` with its output kept."""

    def __init__(self, module: str, *ros_args: str, **parameters: Any):
        isolated_domain()
        self.module = module
        self._log = tempfile.NamedTemporaryFile("w+", prefix="node_", suffix=".log")
        command = [sys.executable, "-m", module, "--ros-args", *ros_args]
        for name, value in parameters.items():
            command += ["-p", f"{name}:={_yaml(value)}"]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        self._process = subprocess.Popen(
            command, stdout=self._log, stderr=subprocess.STDOUT, env=environment
        )
        atexit.register(self.end)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """None while it runs."""
        return self._process.poll()

    @property
    def output(self) -> str:
        """Standard output and error so far."""
        return Path(self._log.name).read_text() if not self._log.closed else ""

    def send(self, number: signal.Signals) -> None:
        """Sends a signal, for example SIGSTOP to freeze a camera and SIGCONT to thaw it."""
        self._process.send_signal(number)

    def wait(self, timeout_s: float = TIMEOUT_S) -> int:
        """Waits for the end; returns the exit code."""
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"still running after {timeout_s:g} s: {self.describe()}") from None

    def stop(self, timeout_s: float = TIMEOUT_S) -> int:
        """SIGINT, as a launcher sends it; returns the exit code."""
        self.send(signal.SIGINT)
        return self.wait(timeout_s)

    def end(self) -> None:
        """Ends it for good, politely if it lets: killed processes leave shared memory behind."""
        if self._process.poll() is None:
            self.send(signal.SIGTERM)
            self.send(signal.SIGCONT)
            try:
                self._process.wait(5.0)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        """Ends it without asking."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def describe(self) -> str:
        """Module, exit code and the last lines of output."""
        tail = "\n".join(self.output.splitlines()[-30:])
        return f"{self.module} (exit code {self.returncode}):\n{tail}"


@pytest.fixture
def ros() -> Iterator[RosSession]:
    """A `RosSession` for one test."""
    with RosSession() as session:
        yield session


def _yaml(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
