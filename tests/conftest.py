"""What the tests of whole commands share: a way to run a command."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from node_kit.testing import isolated_domain

TESTS = Path(__file__).resolve().parent
sys.path.insert(0, str(TESTS))  # `./run` does the same, for `benchmarks`


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., subprocess.Popen]]:
    """`command("benchmarks.cli", "eval", ...)`: starts a module as `./run` does, in a new folder.

    Standard output and error come together, as text. What still runs at the end is ended.
    """
    isolated_domain()
    folder = tmp_path_factory.mktemp("command")
    started: list[subprocess.Popen] = []
    paths = [str(TESTS), *filter(None, sys.path)]

    def start(module: str, *arguments: object) -> subprocess.Popen:
        process = subprocess.Popen(
            [sys.executable, "-m", module, *(str(argument) for argument in arguments)],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            # Shells start what runs in the background with SIGINT ignored, and that is inherited.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.terminate()
            process.wait(30.0)
