"""lerobot in an environment of its own: `.venv-lerobot`, made once and kept.

lerobot pins other versions of what this project uses. lock.txt is made from requirements.in:

    uv pip compile --universal --python-version 3.12 requirements.in --overrides overrides.txt \
        --excludes excludes.txt --no-annotate --no-header --generate-hashes -o lock.txt
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
ENVIRONMENT = HERE.parents[1] / ".venv-lerobot"
LOCK = HERE / "lock.txt"
VERSION = "3.12"  # the oldest Python that lerobot 0.6 runs on


class InstallError(RuntimeError):
    """lerobot could not be installed; says why and what to do."""


class NoPythonError(InstallError):
    """There is no Python for lerobot here."""


def python() -> Path:
    """The interpreter of an environment that holds what lock.txt says, made if need be.

    Raises:
        NoPythonError: Python 3.12 is neither installed nor can uv fetch it.
        InstallError: the packages could not be had.
    """
    interpreter, stamp = ENVIRONMENT / "bin/python", ENVIRONMENT / ".stamp"
    wanted = hashlib.sha256(LOCK.read_bytes()).hexdigest()
    if interpreter.exists() and stamp.exists() and stamp.read_text() == wanted:
        return interpreter
    shutil.rmtree(ENVIRONMENT, ignore_errors=True)
    beside = Path(sys.executable).parent / "uv"
    uv = str(beside) if beside.exists() else shutil.which("uv")
    packages = ["--no-deps", "--require-hashes", "-r", str(LOCK)]
    found = _installed_python()
    try:
        if uv:
            _run([uv, "venv", "--python", found or VERSION, str(ENVIRONMENT)])
        else:
            _run([found or f"python{VERSION}", "-m", "venv", str(ENVIRONMENT)])
    except InstallError as error:
        raise NoPythonError(f"lerobot needs Python {VERSION}: {error}") from None
    if uv:
        _run([uv, "pip", "install", "--python", str(interpreter), *packages])
    else:
        _run([str(interpreter), "-m", "pip", "install", "--no-input", *packages])
    stamp.write_text(wanted)
    return interpreter


def _installed_python() -> str | None:
    """Path of a Python 3.12 that runs; pyenv keeps some that are not on PATH."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    on_path = shutil.which(f"python{VERSION}")
    candidates = [sys.executable, on_path, *pyenv.glob(f"versions/{VERSION}.*/bin/python")]
    check = f"import sys, venv; sys.exit(sys.version[:4] != '{VERSION}')"
    for candidate in filter(None, candidates):
        if subprocess.run([candidate, "-c", check], capture_output=True).returncode == 0:
            return str(candidate)
    return None


def _run(command: list[str]) -> None:
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    pip = [sys.executable, "-m", "pip", "config", "get", "global.index-url"]
    index = subprocess.run(pip, capture_output=True, text=True)
    if index.returncode == 0:  # uv does not read pip's settings
        environment.setdefault("UV_DEFAULT_INDEX", index.stdout.strip())
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
    except OSError as error:
        raise InstallError(f"{command[0]} cannot be started ({error.strerror})") from None
    if done.returncode:
        reason = " ".join((done.stderr or done.stdout).split())[-400:]
        raise InstallError(
            f"{' '.join(command[:4])} failed ({reason}); it needs the package index once"
        )
