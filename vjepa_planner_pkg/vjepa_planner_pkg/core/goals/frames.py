"""Which pictures the encoder takes, and why it refuses the others."""

from __future__ import annotations

from dataclasses import dataclass

from node_kit.parameters import parameter
from robot_cell import Camera


@dataclass
class FrameParameters:
    """What a picture must be like."""

    crop: str = parameter(
        "center",
        "pictures that are not square: center takes the largest centre square, refuse refuses",
        choices=("center", "refuse"),
    )
    goal_size: str = parameter(
        "as_camera",
        "goal pictures must have the camera's size, for they should come from it; or any",
        choices=("as_camera", "any"),
    )


class FrameRefusal(ValueError):
    """A picture that is not encoded; the text names cause and remedy."""


class FrameGate:
    """Checks pictures before they are encoded, and remembers how large the camera's are."""

    def __init__(self, parameters: FrameParameters, image_size: int, camera: Camera):
        """`image_size` [px] is the side of the squares that the model sees."""
        self._p, self._camera = parameters, camera
        self._image_size = image_size
        self._camera_size: tuple[int, int] | None = None

    def check_camera(self, width: int, height: int, frame: str) -> None:
        """Takes the size [px] and frame of a picture of the camera's stream.

        Raises:
            FrameRefusal: too small, not square where that is refused, or not of the cell's camera.
        """
        self._check_shape(self._camera.topic, width, height)
        foreign = self._camera.refuse(width, height, frame)
        if foreign:
            raise FrameRefusal(foreign)
        self._camera_size = width, height

    def check_goal(self, name: str, width: int, height: int, frame: str) -> None:
        """Takes those of a goal picture. It may come without a frame, for it may be a file.

        Raises:
            FrameRefusal: as `check_camera`, or another size than the camera's.
        """
        self._check_shape(name, width, height)
        if self._camera.frame and frame not in ("", self._camera.frame):
            raise FrameRefusal(
                f"{name} is in frame {frame!r}, the camera's is {self._camera.frame!r}; take the "
                "goal with the same camera"
            )
        camera = self._camera_size
        if self._p.goal_size == "as_camera" and camera not in (None, (width, height)):
            raise FrameRefusal(
                f"{name} is {width}x{height}, the camera gives {camera[0]}x{camera[1]}; take the "
                "goal with the same camera, or set goal_size:=any if only the scale differs"
            )

    def _check_shape(self, name: str, width: int, height: int) -> None:
        needs = f"the model needs a square of at least {self._image_size} px"
        if min(width, height) < self._image_size:
            raise FrameRefusal(f"{name} is {width}x{height}, {needs}; send a larger picture")
        if width != height and self._p.crop == "refuse":
            raise FrameRefusal(f"{name} is {width}x{height}, {needs}; set crop:=center")
