"""Finished episodes on disk, a line each, so that an interrupted evaluation goes on; figures."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any


class EpisodeLog:
    """Records under a key, in a file that belongs to one recipe.

    A file of another recipe, or of other source code, is begun anew: its records would not be
    comparable.

    Attributes:
        records: what is known, by key.
        path: the file.
    """

    def __init__(self, path: Path, recipe: dict[str, Any]):
        self.path = path
        self.records: dict[str, dict] = {}
        header = json.dumps({"recipe": recipe}, sort_keys=True)
        lines = path.read_text().splitlines() if path.exists() else []
        if lines and lines[0] == header:
            for line in lines[1:]:
                try:
                    entry = json.loads(line)
                except json.JSONDecodeError:
                    break  # the process was killed while it wrote
                self.records[entry["key"]] = entry["record"]
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("w")
        self._file.write(header + "\n")
        for key, record in self.records.items():
            self._write(key, record)
        self._file.flush()

    def add(self, key: str, record: dict) -> None:
        """Keeps `record`, also if the process is killed right afterwards."""
        self.records[key] = record
        self._write(key, record)
        self._file.flush()

    def close(self) -> None:
        """Closes the file and leaves it for the next run."""
        self._file.close()

    def remove(self) -> None:
        """The evaluation is complete: the file has served."""
        self._file.close()
        self.path.unlink(missing_ok=True)

    def _write(self, key: str, record: dict) -> None:
        self._file.write(json.dumps({"key": key, "record": record}) + "\n")


def fingerprint(path: Path) -> str:
    """Sixteen hex digits that change with any file under `path`, or with the file itself."""
    digest = hashlib.sha256()
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    for file in files:
        digest.update(file.name.encode())
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()[:16]


def source_fingerprint(modules: Sequence[ModuleType]) -> str:
    """The same of the Python files of modules, and of packages with all that is in them."""
    digest = hashlib.sha256()
    for module in modules:
        inside = (
            Path(folder).resolve().rglob("*.py") for folder in getattr(module, "__path__", ())
        )
        for file in sorted(itertools.chain(*inside)) or [Path(module.__file__ or "")]:
            digest.update(file.name.encode() + file.read_bytes())
    return digest.hexdigest()[:16]
