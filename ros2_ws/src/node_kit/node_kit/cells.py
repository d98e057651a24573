"""The cell of a node: a parameter names it; what is wrong with it ends the start in one line."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import robot_cell
from robot_cell import Arm, Camera, Cell, DescribedError
from sensor_msgs.msg import Image

from node_kit.images import ImageError, to_array
from node_kit.parameters import ParameterError, parameter

CAMERA_TOPIC = "camera/image_raw"
"""Where a node without a cell hears its camera; the default of `robot_cell.Camera.topic`."""


@dataclass
class CameraParameters:
    """Which camera a node hears."""

    cell: str = parameter(
        "", "cell file, or name of a shipped cell, whose camera is heard; empty: camera/image_raw"
    )
    camera: str = parameter("", "name of that camera in the cell; empty: its first one")


def load_cell(name: str, node: str) -> Cell:
    """The cell that parameter `cell` of `node` names.

    Raises:
        ParameterError: none is named, or it cannot be used; one line.
    """
    if not name:
        known = ", ".join(robot_cell.shipped())
        raise ParameterError(
            f"{node} needs a cell, the description of arm, workspace and limits: set cell to your "
            f"file, or to one of {known}"
        )
    try:
        return robot_cell.load(name)
    except DescribedError as error:
        raise ParameterError(f"parameter 'cell' of {node}: {one_line(error)}") from error


def load_arm(name: str, node: str) -> Arm:
    """The arm of the cell that parameter `cell` of `node` names.

    Raises:
        ParameterError: as `load_cell`, or the cell has no arm.
    """
    cell = load_cell(name, node)
    try:
        return cell.needs_arm()[0]
    except ValueError as error:
        raise ParameterError(f"parameter 'cell' of {node}: {error}") from error


def camera_of(parameters: CameraParameters, node: str) -> Camera:
    """The camera that a node hears; without a cell one of any size and frame.

    Raises:
        ParameterError: the cell cannot be used, or has no such camera; one line.
    """
    if not parameters.cell:
        if parameters.camera:
            raise ParameterError(f"{node} is given a camera without a cell: set cell as well")
        return Camera(name="camera", topic=CAMERA_TOPIC, frame="")
    cell = load_cell(parameters.cell, node)
    try:
        return cell.camera(parameters.camera)
    except ValueError as error:
        raise ParameterError(f"parameter 'camera' of {node}: {error}") from error


def picture_of(camera: Camera, message: Image) -> np.ndarray:
    """A picture of the camera as uint8 RGB [H, W, 3].

    Raises:
        ImageError: it cannot be read, or the cell describes its camera otherwise.
    """
    picture = to_array(message, camera.topic)
    foreign = camera.refuse(message.width, message.height, message.header.frame_id)
    if foreign:
        raise ImageError(foreign)
    return picture


def one_line(error: Exception) -> str:
    """The text of an error of several lines as one."""
    first, *rest = str(error).splitlines()
    return " ".join([first, "; ".join(line.strip() for line in rest)]).strip()
