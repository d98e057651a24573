"""The procedures that come with the package."""

from __future__ import annotations

from pathlib import Path

from ament_index_python import get_package_share_directory

EXAMPLES = "config/procedures"


def find_procedure(name: str) -> Path:
    """A procedure file by its path, or an example by its name.

    Raises:
        FileNotFoundError: neither is there.
    """
    path = Path(name).expanduser()
    if path.is_file():
        return path
    folder = Path(__file__).resolve().parents[3] / EXAMPLES
    if not folder.is_dir():  # installed, not linked
        folder = Path(get_package_share_directory("sop_monitor_pkg")) / EXAMPLES
    if (folder / f"{name}.yaml").is_file():
        return folder / f"{name}.yaml"
    examples = ", ".join(sorted(file.stem for file in folder.glob("*.yaml")))
    raise FileNotFoundError(f"procedure {name!r} is no file and no example; there are {examples}")
