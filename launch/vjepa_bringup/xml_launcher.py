"""Starts the nodes of an XML launch file without `ros2`, watches them and ends them cleanly.

    python -m vjepa_bringup.xml_launcher FILE [argument:=value ...] [--show-args]

    with Launch("sim_planner.launch.xml", {"device": "cpu"}) as launch:
        while launch.poll() is None: ...
        launch.processes["mpc"].signal(signal.SIGKILL)

As under `ros2 launch`, a node with on_exit="shutdown" takes the others with it when it ends, and
one without leaves them running. Exit code 1 when a node failed.

ROS's own `launch`, `launch_xml` and `launch_ros` cannot replace it: no package registry has them
(tried in December 2026). On PyPI, where rclpy comes from, the wheels `ros-*`, `ros-jazzy-*` and
`ros-kilted-*` hold rclpy, messages and build tools, but no launch, launch_xml, launch_ros or
ros2cli; the package `launch` (0.1.3) is another program. Debian has ROS 1's python3-roslaunch
alone. Their sources are on no registry either: a pinned copy would have to be kept in here.
`play-launch` (0.16.0, on PyPI), another reader of launch files, does not start beside the wheels:
composition_interfaces, which no package has, and libpython3.10 are missing.
Where `ros2` is installed, `./run up` uses it, on the same files.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from vjepa_bringup.launch_file import LaunchError, NodeCommand, declared_arguments, read
from vjepa_bringup.node_process import LaunchedProcess
from vjepa_bringup.shared_memory import remove_abandoned

# What a node gets to end by itself: after SIGINT (a loaded machine needs seconds to leave torch),
# then after SIGTERM, on which a node of this stack ends at once.
_STAGES = ((signal.SIGINT, 10.0), (signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0))
_USAGE = __doc__.partition("ROS's own")[0].strip()
_LOOK_S = 0.05  # how often the nodes are looked after


class Launch:
    """The nodes of a launch file.

    Start and poll it from one thread that lives as long as the nodes: they die with it.

    Attributes:
        processes: the nodes by name; by full name where two share a name.
        reason: why the launch ended, empty while it runs or after `stop`.
    """

    def __init__(
        self,
        path: str | Path,
        arguments: Mapping[str, object] | None = None,
        environment: Mapping[str, str] | None = None,
        echo: Callable[[str], object] | None = print,
        outlive_nodes: bool = False,
    ):
        """Reads the file; nothing is started yet.

        Args:
            path: the launch file.
            arguments: values of its arguments; True and False become true and false.
            environment: of the nodes; that of this process if None.
            echo: takes each line of output with the node's name before it; None: silent.
            outlive_nodes: leave on_exit="shutdown" aside, to watch what the others do when a node
                dies, and to `restart` it.

        Raises:
            LaunchError: the file or an argument cannot be used.
        """
        texts = {name: _text(value) for name, value in (arguments or {}).items()}
        commands = read(path, texts, environment)
        self._echo = _tolerant(echo)
        self._outlive_nodes = outlive_nodes
        self.processes = {
            label: LaunchedProcess(command, label, self._echo)
            for label, command in _labelled(commands).items()
        }
        self.reason = ""
        self._exit_code: int | None = None
        self._ended: set[str] = set()
        self._respawn_at: dict[str, float] = {}

    def start(self) -> None:
        """Starts all nodes, after making room in shared memory."""
        remove_abandoned()
        try:
            for label in self.processes:
                self._start(label)
        except BaseException:
            self.stop()
            raise

    def poll(self) -> int | None:
        """Looks after the nodes once, without waiting unless the launch ends.

        Returns:
            None while the launch runs. When it has ended, with every node gone: 1 if a node
            failed, else 0.
        """
        if self._exit_code is not None:
            return self._exit_code
        failed = False
        for label, process in self.processes.items():
            if label in self._respawn_at:
                if time.monotonic() >= self._respawn_at[label]:
                    del self._respawn_at[label]
                    self._start(label)
            elif label not in self._ended and process.returncode is not None:
                self._take_leave(label)
                if process.command.ends_launch and not self._outlive_nodes:
                    self.stop()
                    self._exit_code = int(process.returncode != 0)
                    return self._exit_code
            failed = failed or (label in self._ended and process.returncode != 0)
        if len(self._ended) == len(self.processes) and not self._outlive_nodes:
            self.reason = self.reason or "all nodes have ended"
            self._exit_code = int(failed)
        return self._exit_code

    def restart(self, label: str) -> None:
        """Starts a node again that has ended; kills it first if it still runs."""
        process = self.processes[label]
        process.signal(signal.SIGKILL)
        process.clean_up()
        self._ended.discard(label)
        self._start(label)

    def stop(self, hurry: Callable[[], bool] = lambda: False) -> None:
        """Ends all nodes: SIGINT, 10 s later SIGTERM, 5 s later SIGKILL. None is left.

        `hurry` is asked again and again; when it says True, the next signal is sent at once.
        """
        self._respawn_at.clear()
        if self._exit_code is None:
            self._exit_code = 0
        for number, patience_s in _STAGES:
            for process in self._running():
                process.signal(number)
            deadline = time.monotonic() + patience_s
            while self._running() and time.monotonic() < deadline and not hurry():
                time.sleep(_LOOK_S)
            if left := [process.label for process in self._running()]:
                self._echo(f"[launch] still running after {number.name}: {', '.join(left)}")
        for label, process in self.processes.items():
            if process.started and label not in self._ended:
                self._ended.add(label)
                process.clean_up()

    def __enter__(self) -> Launch:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def _start(self, label: str) -> None:
        process = self.processes[label]
        process.start()
        self._echo(f"[launch] {label} started, process {process.pid}")

    def _take_leave(self, label: str) -> None:
        """Of a node that ended by itself."""
        process = self.processes[label]
        process.clean_up()
        self._echo(f"[launch] {label} ended: {process.epitaph()}")
        if process.command.respawn_s is not None:
            self._respawn_at[label] = time.monotonic() + process.command.respawn_s
            return
        self._ended.add(label)
        if process.returncode != 0 or process.command.ends_launch:
            self.reason = f"{label} ended: {process.epitaph()}"

    def _running(self) -> list[LaunchedProcess]:
        return [p for p in self.processes.values() if p.started and p.returncode is None]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a launch file until it ends or a signal arrives. Returns the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    show = any(word in ("--show-args", "-s") for word in words)
    words = [word for word in words if word not in ("--show-args", "-s")]
    if not words or words[0].startswith("-"):
        print(_USAGE, file=sys.stderr)
        return 2
    try:
        values = _assignments(words[1:])
        if show:
            _show_arguments(words[0], values)
            return 0
        return _run(Launch(words[0], values))
    except LaunchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _run(launch: Launch) -> int:
    signals: list[int] = []
    bell = threading.Event()

    def note(number: int, frame: object) -> None:
        signals.append(number)
        bell.set()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, note)
    launch.start()
    while launch.poll() is None and not signals:
        bell.wait(_LOOK_S)
    if signals:
        print(f"[launch] {signal.Signals(signals[0]).name}: ending all nodes", flush=True)
        launch.stop(hurry=_each_further(signals))
        return 0
    print(f"[launch] ended: {launch.reason}", file=sys.stderr, flush=True)
    return launch.poll()


def _each_further(signals: list[int]) -> Callable[[], bool]:
    """True once for every signal after the first."""
    seen = 1

    def hurry() -> bool:
        nonlocal seen
        if len(signals) <= seen:
            return False
        seen += 1
        return True

    return hurry


def _assignments(words: Sequence[str]) -> dict[str, str]:
    values = {}
    for word in words:
        name, sign, value = word.partition(":=")
        if not sign or not name:
            raise LaunchError(f"{word!r} is not an argument; write name:=value")
        values[name] = value
    return values


def _show_arguments(path: str, values: Mapping[str, str]) -> None:
    print(f"Arguments of {path} (pass them as name:=value):")
    for argument in declared_arguments(path, values):
        default = "required" if argument.default is None else f"default {argument.default!r}"
        choices = f", one of {', '.join(argument.choices)}" if argument.choices else ""
        print(f"\n    {argument.name} ({default}{choices})\n        {argument.description}")


def _labelled(commands: Sequence[NodeCommand]) -> dict[str, NodeCommand]:
    names = [command.name for command in commands]
    labelled = {}
    for command in commands:
        label = command.name if names.count(command.name) == 1 else command.full_name
        if label in labelled:
            raise LaunchError(f"two nodes have the name {command.full_name}; give each its own")
        labelled[label] = command
    return labelled


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _tolerant(echo: Callable[[str], object] | None) -> Callable[[str], None]:
    """An echo whose reader may go away: the nodes must not block on it."""
    lock = threading.Lock()

    def say(line: str) -> None:
        if echo is None:
            return
        try:
            with lock:
                if echo is print:
                    print(line, flush=True)
                else:
                    echo(line)
        except (OSError, ValueError):
            pass

    return say


if __name__ == "__main__":
    sys.exit(main())
