"""A cell file is read whole, or refused with the line and remedy of every mistake."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from robot_cell import ACTION, STATE, Camera, Cell, DescribedError, find_cell, load, shipped

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


def test_the_example_of_the_readme_is_a_cell(tmp_path: Path) -> None:
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    example = readme.split("```yaml\n")[1].split("```")[0]
    cell = read(tmp_path, example)
    described = cell.model_dump(exclude_unset=True)
    for part in (cell, cell.arm, cell.gripper, cell.workspace, cell.limits, cell.camera()):
        assert part is not None
        fields = type(part).model_fields.keys()
        assert fields == part.model_fields_set, f"{type(part).__name__} has more than it shows"
    assert described["workspace"]["keep_out"][0]["high_m"] == (0.4, 0.3, 0.2)


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("  step_m: 0.1", "  stepm: 0.1", 8, "did you mean step_m"),
        ("  step_m: 0.1", "  step_m: .nan", 8, "a NaN"),
        ("  step_m: 0.1", "  step_m: -1", 8, "greater than 0"),
        ("  step_m: 0.1", "  step_m: true", 8, "valid number"),
        ("  low_m: [0.2, -0.3, 0.02]", "  low_m: [0.7, -0.3, 0.02]", 6, "low_m must be below"),
        ("  high_m: [0.6, 0.3, 0.5]", "  high_m: [600, 300, 500]", 6, "write metres"),
        ("  high_m: [0.6, 0.3, 0.5]", "  high_m: [0.6, 0.3]", 6, "missing"),
        ("cell: 1", "cell: 2", 1, "cell is 2"),
        ("name: wrist", "name: front", 13, "camera front stands twice"),
        ("name: lab", "name: lab\nname: hall", 3, "stands twice"),
        ("name: lab", "name: &a lab\n", 0, ""),
        ("fr3_link0", "'fr3 link0'", 3, "arm.base_frame"),
        ("  step_m: 0.1", "  step_m: '0.1'", 8, "valid number"),
        ("  step_m: 0.1", "  step_m: 100", 8, "less than or equal to 1"),
        ("  turn_rad: 0.3", "  turn_rad: 17", 9, "less than or equal to 3"),
        ("  - name: wrist", "  - name: wrist\n    size_px: [640, 480.5]", 17, "size_px.1"),
        ("  - name: wrist", "  - name: wrist\n    topic: camera//image", 17, "topic"),
        ("  - name: wrist", "  - name: wrist\n    mm_per_px: 0", 17, "greater than 0"),
        ("name: lab", "name: lab\ngripper: {}", 3, "opening_m: is missing"),
        ("name: lab", "name: lab\ngripper: {opening_m: 80}", 3, "write metres"),
        ("name: lab", "name: lab\ngripper: {kind: suction, opening_m: 0.1}", 3, "no fingers"),
        ("arm: {", "arm: {home_rad: [0.0, -45.0], ", 3, "write radians"),
        ("limits:", "  keep_out: [{low_m: [0, 0, 0], high_m: [0, 1, 1]}]\nlimits:", 7, "x goes"),
        ("limits:", "  keep_out: [{low_m: [-1, -1, -1], high_m: [1, 1, 1]}]\nlimits:", 7, "whole"),
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


def test_limits_without_an_arm_are_refused(tmp_path: Path) -> None:
    said = refused(tmp_path, re.sub("^arm:.*\n", "", GOOD, flags=re.M))
    assert "workspace and limits without an arm" in said


def test_a_gripper_of_suction_needs_no_opening(tmp_path: Path) -> None:
    cell = read(tmp_path, GOOD + "gripper: {kind: suction, max_force_n: 20}\n")
    assert cell.gripper is not None and cell.gripper.opening_m is None


def test_a_picture_of_another_camera_is_named() -> None:
    camera = load("station").camera()
    assert camera.refuse(480, 360, "camera_optical_frame") == ""
    assert "is 640x480" in camera.refuse(640, 480, "camera_optical_frame")
    assert "frame 'world'" in camera.refuse(480, 360, "world")
    anything = Camera(name="any", frame="")
    assert anything.refuse(7, 5, "world") == ""


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


FINITE = st.integers(-1900, 1900).map(lambda hundredths: hundredths / 100)


@given(low=st.tuples(FINITE, FINITE, FINITE), high=st.tuples(FINITE, FINITE, FINITE))
def test_a_box_is_taken_exactly_if_it_is_not_inverted(
    tmp_path_factory: pytest.TempPathFactory,
    low: tuple[float, float, float],
    high: tuple[float, float, float],
) -> None:
    text = GOOD.replace("[0.2, -0.3, 0.02]", str(list(low)))
    text = text.replace("[0.6, 0.3, 0.5]", str(list(high)))
    file = tmp_path_factory.mktemp("boxes") / "lab.yaml"
    file.write_text(text)
    if all(a < b for a, b in zip(low, high, strict=True)):
        workspace = load(file).needs_arm()[1]
        assert (workspace.low_m, workspace.high_m) == (low, high)
    else:
        with pytest.raises(DescribedError, match="line 6: workspace.high_m"):
            load(file)


@given(text=st.text(max_size=60))
def test_any_text_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    file = tmp_path_factory.mktemp("cells") / "any.yaml"
    file.write_text(text, encoding="utf-8", errors="ignore")
    with pytest.raises(DescribedError):
        load(file)
