"""One started node: a process in its own group that cannot outlive the launcher."""

from __future__ import annotations

import collections
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

from vjepa_bringup.launch_file import NodeCommand, ParameterFile

# Runs in the child before the node: if the launcher dies, even by SIGKILL, the kernel kills the
# node (PR_SET_PDEATHSIG is 1). If it died before that took hold, nothing is started. SIGINT is
# ignored in what a shell starts with "&": the node shall have the default.
_GUARD = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL)
signal.signal(signal.SIGINT, signal.SIG_DFL)
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.argv[2], sys.argv[2:])
"""
_ERROR_LINE = re.compile(r"\b(ERROR|FATAL)\b|^[\w.]*(Error|Exception)\b")


class LaunchedProcess:
    """A running node.

    The kernel ties the life of the process to the thread that calls `start`: that thread must live
    as long as the node shall.

    Attributes:
        command: what was started.
        lines: the last lines it printed, standard output and error together.
    """

    def __init__(self, command: NodeCommand, label: str, echo: Callable[[str], object] | None):
        self.command = command
        self.label = label
        self.lines: collections.deque[str] = collections.deque(maxlen=200)
        self._echo = echo if command.shown else None
        self._process: subprocess.Popen | None = None
        self._reader: threading.Thread | None = None
        self._files: list[Path] = []

    def start(self) -> None:
        """Starts it, or starts it again."""
        self._files = []
        arguments = [self._written(part) for part in self.command.command]
        guard = [sys.executable, "-I", "-S", "-c", _GUARD, str(os.getpid())]
        self._process = subprocess.Popen(
            guard + arguments,
            env={"PYTHONUNBUFFERED": "1", **self.command.environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            text=True,
            errors="replace",
        )
        self._reader = threading.Thread(target=self._read, name=f"{self.label} output", daemon=True)
        self._reader.start()

    @property
    def started(self) -> bool:
        return self._process is not None

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """Exit code, minus the signal that killed it, or None while it runs."""
        return self._process.poll()

    def signal(self, number: int) -> None:
        """Sends a signal to the node and everything it started."""
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            pass

    def clean_up(self) -> None:
        """After its end: kills what it started and left behind, reads its last words."""
        self.signal(signal.SIGKILL)
        self._process.wait(timeout=5.0)
        self._reader.join(timeout=2.0)
        for path in self._files:
            path.unlink(missing_ok=True)

    def epitaph(self) -> str:
        """How it ended and the last error it printed."""
        code = self.returncode
        lines = [line.strip() for line in self.lines if line.strip()]
        if code == 0:
            return "exit code 0"
        if code > 0:  # a reason, or the end of a traceback, is what a node prints last
            return ": ".join([f"exit code {code}", *lines[-1:]])
        errors = [line for line in lines if _ERROR_LINE.search(line)]
        return ": ".join([f"killed by {signal.Signals(-code).name}", *errors[-1:]])

    def _written(self, part: str | ParameterFile) -> str:
        if isinstance(part, str):
            return part
        handle, path = tempfile.mkstemp(prefix=f"{self.label.replace('/', '_')}_", suffix=".yaml")
        with os.fdopen(handle, "w") as file:
            file.write(part.content)
        self._files.append(Path(path))
        return path

    def _read(self) -> None:
        for line in self._process.stdout:
            line = line.rstrip("\n")
            self.lines.append(line)
            if self._echo is not None:
                self._echo(f"[{self.label}] {line}")
