"""A package of small real executables, as an installation holds one, and launch files for it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

# `waiter` runs until a signal comes and says which; the others are what can go wrong with a node.
EXECUTABLES = {
    "waiter": """
import signal, sys
def leave(number, frame):
    print("leaving on", signal.Signals(number).name)
    sys.exit(0)
signal.signal(signal.SIGINT, leave)
signal.signal(signal.SIGTERM, leave)
print("up", sys.argv[1:])
while True:
    signal.pause()
""",
    "deaf": """
import signal
signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("up")
while True:
    signal.pause()
""",
    "failing": """
import sys
print("about to fail")
sys.exit("the weights are missing")
""",
    "finishing": "print('done')",
    "parent": """
import signal, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
print("child", child.pid)
signal.pause()
""",
    "show_environment": """
import os
print("COLOUR", os.environ.get("COLOUR"))
""",
}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Share folder of an installed package `things` with EXECUTABLES."""
    prefix = tmp_path / "prefix"
    share = prefix / "share" / "things"
    index = prefix / "share" / "ament_index" / "resource_index" / "packages"
    binaries = prefix / "lib" / "things"
    for folder in (share, index, binaries):
        folder.mkdir(parents=True)
    (index / "things").touch()
    for name, code in EXECUTABLES.items():
        file = binaries / name
        file.write_text(f"#!{sys.executable} -S\n{code}")
        file.chmod(0o755)
    paths = [str(prefix), os.environ.get("AMENT_PREFIX_PATH", "")]
    monkeypatch.setenv("AMENT_PREFIX_PATH", os.pathsep.join(paths))
    return share


@pytest.fixture
def launch_file(tmp_path: Path, package: Path):
    """Writes a launch file with this content between <launch> tags and returns its path."""

    def write(content: str, name: str = "test.launch.xml") -> Path:
        path = tmp_path / name
        path.write_text(f"<launch>\n{content}\n</launch>\n")
        return path

    return write
