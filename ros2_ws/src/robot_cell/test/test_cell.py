"""A cell file is read whole, or refused with the line and remedy of every mistake."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from robot_cell import ACTION, STATE, Cell, DescribedError, find_cell, load, shipped

GOOD = """\
cell: 1
name: lab
arm: {base_frame: fr3_link0, tool_frame: fr3_hand_tcp}
workspace:
  low_m: [0.2, -0.3, 0.02]
  high_m: [0.6, 0.3, 0.5]
limits:
  step_m: 0.1
  turn_rad: 0.3
  linear_speed_m_s: 0.2
  angular_speed_rad_s: 0.5
  closedness_rate_1_s: 1.0
cameras:
  - name: front
    topic: /zed/left/image
  - name: wrist
"""


def read(tmp_path: Path, text: str) -> Cell:
    file = tmp_path / "lab.yaml"
    file.write_text(text)
    return load(file)


def refused(tmp_path: Path, text: str) -> str:
    with pytest.raises(DescribedError) as error:
        read(tmp_path, text)
    return str(error.value)


def test_a_cell_is_read_with_its_defaults(tmp_path: Path) -> None:
    cell = read(tmp_path, GOOD)
    arm, workspace, limits = cell.needs_arm()
    assert (arm.base_frame, arm.tool_frame) == ("fr3_link0", "fr3_hand_tcp")
    assert workspace.distance_m((0.4, 0.0, 0.1)) == 0.0
    assert workspace.distance_m((0.7, 0.0, 0.1)) == pytest.approx(0.1)
    assert limits.step_m == 0.1
    assert cell.camera().topic == "/zed/left/image"
    assert cell.camera("wrist").topic == "camera/image_raw"
    assert (cell.state, cell.action) == (STATE, ACTION)


@pytest.mark.parametrize("name", ["panda_sim", "station"])
def test_shipped_cells_are_found_by_name(name: str) -> None:
    assert name in shipped() and load(name).name == name
    assert load(find_cell(name)) == load(name)


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("  step_m: 0.1", "  stepm: 0.1", 8, "did you mean step_m"),
        ("  step_m: 0.1", "  step_m: .nan", 8, "a NaN"),
        ("  step_m: 0.1", "  step_m: -1", 8, "greater than 0"),
        ("  step_m: 0.1", "  step_m: true", 7, "write a number"),
        ("  low_m: [0.2, -0.3, 0.02]", "  low_m: [0.7, -0.3, 0.02]", 4, "low_m must be below"),
        ("  high_m: [0.6, 0.3, 0.5]", "  high_m: [600, 300, 500]", 4, "write metres"),
        ("  high_m: [0.6, 0.3, 0.5]", "  high_m: [0.6, 0.3]", 6, "missing"),
        ("cell: 1", "cell: 2", 1, "cell is 2"),
        ("name: wrist", "name: front", 1, "camera front stands twice"),
        ("name: lab", "name: lab\nname: hall", 3, "stands twice"),
        ("name: lab", "name: &a lab\n", 0, ""),
        ("fr3_link0", "'fr3 link0'", 3, "arm.base_frame"),
    ],
)
def test_each_mistake_is_named_with_its_line(
    tmp_path: Path, old: str, new: str, line: int, words: str
) -> None:
    assert old in GOOD
    if not words:
        assert read(tmp_path, GOOD.replace(old, new)).name == "lab"
        return
    said = refused(tmp_path, GOOD.replace(old, new))
    assert words in said and f"line {line}:" in said, said


def test_all_mistakes_are_named_at_once(tmp_path: Path) -> None:
    said = refused(tmp_path, GOOD.replace("step_m", "step").replace("turn_rad", "turn"))
    assert said.count("did you mean") == 2


def test_an_arm_without_limits_is_refused(tmp_path: Path) -> None:
    start, _, cameras = GOOD.partition("limits:")
    said = refused(tmp_path, start + cameras[cameras.index("cameras:") :])
    assert "an arm needs limits, too; nothing is assumed" in said


def test_a_cell_without_an_arm_says_so_when_one_is_needed() -> None:
    with pytest.raises(ValueError, match="describes no arm; add arm, workspace and limits"):
        load("station").needs_arm()
    with pytest.raises(ValueError, match="no camera 'wrist'; it has overhead"):
        load("station").camera("wrist")


def test_what_is_no_file_is_refused_in_one_line(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.yaml")
    (tmp_path / "folder.yaml").mkdir()
    (tmp_path / "latin.yaml").write_bytes(b"name: \xff\xfe")
    (tmp_path / "large.yaml").write_text("#" * (2 << 20))
    for name, words in {
        "fifo.yaml": "no file",
        "folder.yaml": "no file",
        "latin.yaml": "UTF-8",
        "large.yaml": "bytes",
        "missing.yaml": "cannot be read",
    }.items():
        with pytest.raises(DescribedError, match=words):
            load(tmp_path / name)
    for name in ("", "panda", "yumi"):
        with pytest.raises(DescribedError, match="panda_sim"):
            load(name)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "- 1",
        "a: [",
        "[" * 2000,
        "a: *b",
        "x: " + "{a: " * 50 + "1" + "}" * 50,
        "a: \x00",
        "1: 2",
    ],
)
def test_what_is_no_cell_file_is_refused(tmp_path: Path, text: str) -> None:
    assert "cannot be used" in refused(tmp_path, text)


@given(text=st.text(max_size=60))
def test_any_text_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    file = tmp_path_factory.mktemp("cells") / "any.yaml"
    file.write_text(text, encoding="utf-8", errors="ignore")
    with pytest.raises(DescribedError):
        load(file)
