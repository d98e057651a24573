"""The launcher starts, watches and ends real processes, and never leaves one behind."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import psutil
import pytest
from vjepa_bringup.launch_file import LaunchError
from vjepa_bringup.xml_launcher import Launch

TIMEOUT_S = 30.0


def wait_for(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline, f"waited {TIMEOUT_S} s for {what}"
        time.sleep(0.01)


def exists(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_until_up(launch: Launch, *labels: str) -> None:
    for label in labels or launch.processes:
        wait_for(lambda label=label: launch.processes[label].lines, f"output of {label}")


def wait_until_over(launch: Launch) -> int:
    wait_for(lambda: launch.poll() is not None, "the end of the launch")
    return launch.poll()


@pytest.fixture
def output() -> list[str]:
    return []


@pytest.fixture
def start(launch_file, output: list[str]):
    """Starts a launch file of this content; it is stopped at the end of the test."""
    launches = []

    def start(content: str, **options) -> Launch:
        launch = Launch(launch_file(content), echo=output.append, **options)
        launches.append(launch)
        launch.start()
        return launch

    yield start
    for launch in launches:
        launch.stop()


WAITER = '<node pkg="things" exec="waiter" name="{}" output="screen" on_exit="shutdown"/>'
NAMED = '<node pkg="things" exec="{0}" name="{0}" output="screen" on_exit="shutdown"/>'


def test_stop_ends_every_node_with_sigint(start, output) -> None:
    launch = start(WAITER.format("a") + WAITER.format("b"))
    wait_until_up(launch)
    assert launch.poll() is None
    launch.stop()
    assert [p.returncode for p in launch.processes.values()] == [0, 0]
    assert "[a] leaving on SIGINT" in output and "[b] leaving on SIGINT" in output
    assert launch.poll() == 0


def test_output_carries_the_name_of_the_node(start, output) -> None:
    wait_until_over(start(NAMED.format("finishing")))
    assert "[finishing] done" in output


def test_output_log_is_kept_but_not_shown(start, output) -> None:
    launch = start('<node pkg="things" exec="finishing"/>')
    assert wait_until_over(launch) == 0
    assert list(launch.processes["finishing"].lines) == ["done"]
    assert not any("done" in line for line in output)


def test_a_node_that_fails_brings_the_launch_down_with_name_and_reason(start) -> None:
    launch = start(WAITER.format("a") + NAMED.format("failing"))
    assert wait_until_over(launch) == 1
    assert launch.reason == "failing ended: exit code 1: the weights are missing"
    assert launch.processes["a"].returncode is not None


def test_a_killed_node_brings_the_launch_down_with_its_signal(start) -> None:
    launch = start(WAITER.format("a") + WAITER.format("b"))
    wait_until_up(launch)
    launch.processes["b"].signal(signal.SIGKILL)
    assert wait_until_over(launch) == 1
    assert launch.reason == "b ended: killed by SIGKILL"
    assert launch.processes["a"].returncode == 0


def test_a_node_that_finishes_ends_the_launch_without_failure(start) -> None:
    launch = start(WAITER.format("a") + NAMED.format("finishing"))
    assert wait_until_over(launch) == 0
    assert launch.reason == "finishing ended: exit code 0"


def test_without_on_exit_the_others_go_on(start) -> None:
    launch = start(WAITER.format("a") + '<node pkg="things" exec="failing"/>')
    wait_until_up(launch, "a")
    wait_for(lambda: launch.processes["failing"].returncode == 1, "the failure")
    assert launch.poll() is None
    launch.processes["a"].signal(signal.SIGINT)
    assert wait_until_over(launch) == 0


def test_exit_code_is_1_when_all_ended_and_one_failed(start) -> None:
    launch = start('<node pkg="things" exec="failing"/><node pkg="things" exec="finishing"/>')
    assert wait_until_over(launch) == 1


def test_launch_that_outlives_its_nodes_restarts_one(start) -> None:
    launch = start(WAITER.format("a") + WAITER.format("b"), outlive_nodes=True)
    wait_until_up(launch)
    b = launch.processes["b"]
    first = b.pid
    b.signal(signal.SIGKILL)
    wait_for(lambda: b.returncode is not None, "the end of b")
    assert launch.poll() is None and launch.processes["a"].returncode is None
    launch.restart("b")
    assert launch.poll() is None
    assert b.pid != first and b.returncode is None
    wait_for(lambda: len(b.lines) == 2, "output of the new b")


def test_respawn_starts_a_node_again(start, output) -> None:
    launch = start('<node pkg="things" exec="waiter" name="a" output="screen" respawn="true"/>')
    wait_until_up(launch)
    first = launch.processes["a"].pid
    launch.processes["a"].signal(signal.SIGKILL)
    wait_for(lambda: launch.poll() is None and launch.processes["a"].pid != first, "the restart")
    assert launch.processes["a"].returncode is None
    wait_for(lambda: len(launch.processes["a"].lines) == 2, "output of the new one")


def test_a_node_deaf_to_signals_is_killed(start, output, monkeypatch) -> None:
    monkeypatch.setattr(
        "vjepa_bringup.xml_launcher._STAGES",
        ((signal.SIGINT, 0.2), (signal.SIGTERM, 0.2), (signal.SIGKILL, 5.0)),
    )
    launch = start(NAMED.format("deaf"))
    wait_until_up(launch)
    launch.stop()
    assert launch.processes["deaf"].returncode == -signal.SIGKILL
    assert "[launch] still running after SIGTERM: deaf" in output


def test_what_a_node_started_ends_with_it(start) -> None:
    launch = start(NAMED.format("parent"))
    wait_until_up(launch)
    child = int(re.search(r"child (\d+)", launch.processes["parent"].lines[0])[1])
    assert exists(child)
    os.kill(launch.processes["parent"].pid, signal.SIGKILL)  # the node alone, not its group
    wait_until_over(launch)
    wait_for(lambda: not exists(child), "the end of the node's child")


def test_environment_reaches_the_node(start, output) -> None:
    launch = start("""
      <set_env name="COLOUR" value="red"/>
      <node pkg="things" exec="show_environment" name="e" output="screen"/>""")
    wait_until_over(launch)
    assert "[e] COLOUR red" in output


def test_nodes_of_one_name_are_told_apart_by_namespace(launch_file) -> None:
    node = '<node pkg="things" exec="waiter" name="a" namespace="{}"/>'
    launch = Launch(launch_file(node.format("left") + node.format("right")))
    assert list(launch.processes) == ["/left/a", "/right/a"]
    with pytest.raises(LaunchError, match="two nodes have the name /left/a"):
        Launch(launch_file(node.format("left") + node.format("left")))


# The command.


@pytest.fixture
def command():
    """Starts the launcher as a command of its own; it is killed at the end of the test."""
    processes = []

    def command(*arguments: object) -> subprocess.Popen:
        process = subprocess.Popen(
            [sys.executable, "-m", "vjepa_bringup.xml_launcher", *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        processes.append(process)
        return process

    yield command
    for process in processes:
        process.kill()
        process.wait()
        process.stdout.close()


def read_until(process: subprocess.Popen, what: str) -> str:
    """Output of the process up to the line in which `what` is found."""
    text = ""
    deadline = time.monotonic() + TIMEOUT_S
    while not re.search(what, text):
        left = deadline - time.monotonic()
        assert left > 0, f"waited {TIMEOUT_S} s for {what!r}; the output is:\n{text}"
        if select.select([process.stdout], [], [], left)[0]:
            chunk = os.read(process.stdout.fileno(), 65536).decode()
            assert chunk, f"{what!r} is not in the output:\n{text}"
            text += chunk
    return text


def read_to_end(process: subprocess.Popen) -> str:
    return process.communicate(timeout=TIMEOUT_S)[0]


def started_pid(text: str, name: str) -> int:
    return int(re.search(rf"\[launch\] {name} started, process (\d+)", text)[1])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_the_launcher_ends_all_nodes_cleanly(command, launch_file, number) -> None:
    process = command(launch_file(WAITER.format("a")))
    text = read_until(process, r"\[a\] up")
    process.send_signal(number)
    rest = read_to_end(process)
    assert process.wait(TIMEOUT_S) == 0
    assert "[a] leaving on SIGINT" in rest
    assert not exists(started_pid(text, "a"))


def test_a_second_signal_hastens_the_end(command, launch_file) -> None:
    process = command(launch_file(NAMED.format("deaf")))
    read_until(process, r"\[deaf\] up")
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    read_until(process, "ending all nodes")
    process.send_signal(signal.SIGINT)
    read_until(process, "still running after SIGINT")
    process.send_signal(signal.SIGINT)
    read_to_end(process)
    assert process.wait(TIMEOUT_S) == 0
    assert time.monotonic() - began < 5.0


def test_no_node_outlives_a_killed_launcher(command, launch_file) -> None:
    process = command(launch_file(NAMED.format("deaf") + WAITER.format("a")))
    text = read_until(process, r"\[a\] up")
    pids = [started_pid(text, name) for name in ("deaf", "a")]
    assert all(exists(pid) for pid in pids)
    process.kill()
    wait_for(lambda: not any(exists(pid) for pid in pids), "the end of the nodes")


def test_a_dead_node_is_the_exit_code_and_the_last_line(command, launch_file) -> None:
    process = command(launch_file(WAITER.format("a") + NAMED.format("failing")))
    text = read_to_end(process)
    assert process.wait(TIMEOUT_S) == 1
    last = text.splitlines()[-1]
    assert last == "[launch] ended: failing ended: exit code 1: the weights are missing"


def test_unknown_argument_is_refused_with_the_known_ones(command, launch_file) -> None:
    path = launch_file('<arg name="device" default="auto"/>' + WAITER.format("a"))
    process = command(path, "devise:=cpu")
    text = read_to_end(process)
    assert process.wait(TIMEOUT_S) == 2
    assert "no argument 'devise'; it knows device" in text and "started" not in text


def test_show_args_lists_them(command, launch_file) -> None:
    path = launch_file("""
      <arg name="device" default="auto" description="where to compute"/>
      <arg name="mode"><choice value="a"/><choice value="b"/></arg>""")
    process = command(path, "--show-args")
    text = read_to_end(process)
    assert process.wait(TIMEOUT_S) == 0
    assert "device (default 'auto')" in text and "where to compute" in text
    assert "mode (required, one of a, b)" in text
