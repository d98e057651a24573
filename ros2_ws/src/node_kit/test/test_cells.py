"""Promises of how a node finds its cell and its camera."""

import numpy as np
import pytest
from node_kit.cells import CameraParameters, camera_of, load_cell, picture_of
from node_kit.images import ImageError, to_msg
from node_kit.parameters import ParameterError


def test_a_cell_is_found_by_name_and_by_path(tmp_path):
    assert load_cell("panda_sim", "mpc").name == "panda_sim"
    (tmp_path / "mine.yaml").write_text("cell: 1\nname: mine\ncameras: [{name: front}]\n")
    assert load_cell(str(tmp_path / "mine.yaml"), "mpc").name == "mine"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("", "mpc needs a cell.*set cell to your file, or to one of panda_sim, station"),
        ("yumi", "'cell' of mpc.*shipped are panda_sim, station"),
        ("/no/such/cell.yaml", "cannot be read"),
    ],
)
def test_a_cell_that_cannot_be_used_is_refused_in_one_line(name, words):
    with pytest.raises(ParameterError, match=words) as error:
        load_cell(name, "mpc")
    assert "\n" not in str(error.value)


def test_every_mistake_of_a_file_stands_in_the_line(tmp_path):
    file = tmp_path / "cell.yaml"
    file.write_text("cell: 1\nname: lab\ncamera: {}\ncameras: [{name: front, rate: 5}]\n")
    with pytest.raises(ParameterError) as error:
        load_cell(str(file), "mpc")
    assert "line 3: there is no key camera (did you mean cameras?)" in str(error.value)
    assert "(did you mean rate_hz?)" in str(error.value) and "\n" not in str(error.value)


def test_the_camera_is_the_first_or_the_named_one_of_the_cell(tmp_path):
    file = tmp_path / "cell.yaml"
    file.write_text("cell: 1\nname: lab\ncameras: [{name: a, topic: one}, {name: b, topic: two}]\n")
    assert camera_of(CameraParameters(str(file)), "detector").topic == "one"
    assert camera_of(CameraParameters(str(file), "b"), "detector").topic == "two"
    with pytest.raises(ParameterError, match="'camera' of detector.*no camera 'c'; it has a, b"):
        camera_of(CameraParameters(str(file), "c"), "detector")
    with pytest.raises(ParameterError, match="a camera without a cell"):
        camera_of(CameraParameters("", "b"), "detector")


def test_without_a_cell_any_picture_is_taken_with_one_only_those_of_its_camera():
    picture = to_msg(np.zeros((10, 20, 3), np.uint8), frame_id="somewhere")
    assert picture_of(camera_of(CameraParameters(), "detector"), picture).shape == (10, 20, 3)
    with pytest.raises(ImageError, match="is 20x10, camera 'overhead' of the cell gives 480x360"):
        picture_of(load_cell("station", "detector").camera(), picture)
    fitting = to_msg(np.zeros((360, 480, 3), np.uint8), frame_id="somewhere")
    with pytest.raises(ImageError, match="in frame 'somewhere'"):
        picture_of(load_cell("station", "detector").camera(), fitting)
