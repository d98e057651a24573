"""The documents say what there is: reference pages, commands, links, and the README's length."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from vjepa_bringup.commands.reference import FOLDER, pages

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
PAGES = sorted(
    page
    for page in ROOT.rglob("*.md")
    if not {".venv", "build", "install", "log", "out", "src"} & set(page.relative_to(ROOT).parts)
) + sorted((ROOT / "ros2_ws" / "src").glob("*/README.md"))


@pytest.mark.parametrize("name", ["parameters.md", "launch.md", "commands.md"])
def test_the_reference_is_what_the_code_says(name: str) -> None:
    assert (FOLDER / name).read_text() == pages()[name], "run ./run reference"


def test_the_readme_can_be_read_in_five_minutes() -> None:
    assert len(README.split()) <= 1000


def test_every_command_in_the_documents_exists():
    known = re.search(r"case \$command in(.*?)esac", (ROOT / "run").read_text(), re.S).group(1)
    for page in PAGES:
        for command in set(re.findall(r"\./run ([a-z]+)", page.read_text())):
            assert re.search(rf"\b{command}\b", known), f"{page}: ./run {command} is no command"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_picture_and_link_exists(page: Path):
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text()):
        if not target.startswith(("http", "mailto:")):
            assert (page.parent / target).exists(), f"{target} is missing"
