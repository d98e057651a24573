"""The station's camera: it looks straight down through a window beside its optical axis.

As with a shift lens, or a window read out of a larger sensor: the picture is parallel to the table,
so that every horizontal plane has one scale, and yet shows things a little from the front.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import robot_cell
from scipy.spatial.transform import Rotation

_SIZE_PX = robot_cell.load("station").camera("overhead").size_px
if _SIZE_PX is None:
    raise ValueError("camera overhead of cell 'station' has no size_px; describe it")
WIDTH_PX, HEIGHT_PX = _SIZE_PX
HEIGHT_M = 0.50  # above the table
SET_BACK_M = 0.20  # of the optical axis towards the operator, from the middle of the picture
FOCAL_PX = 1000.0  # 0.5 mm per pixel on the table
NEAR_M, FAR_M = 0.10, 0.80
FPS = 10.0  # frames per second

# How far the camera of another station is from the nominal one, and that of another cycle from the
# station's own: position [m] and angles [rad], uniform.
STATION_SHIFT_M, STATION_TURN = 0.003, np.deg2rad(0.6)
CYCLE_SHIFT_M, CYCLE_TURN = 0.0002, np.deg2rad(0.03)


@dataclass(frozen=True)
class StationCamera:
    """A pinhole camera in the station's frame: x right in the picture, y up in it, z up.

    `turn` is a rotation vector [rad] away from looking straight down with the picture upright.
    """

    eye: tuple[float, float, float] = (0.0, -SET_BACK_M, HEIGHT_M)
    turn: tuple[float, float, float] = (0.0, 0.0, 0.0)
    focal_px: float = FOCAL_PX
    width_px: int = WIDTH_PX
    height_px: int = HEIGHT_PX

    @property
    def centre_px(self) -> tuple[float, float]:
        """Where the optical axis meets the picture, below its lower edge; see `intrinsics`."""
        return 0.5 * self.width_px, 0.5 * self.height_px - self.focal_px * SET_BACK_M / HEIGHT_M

    def intrinsics(self) -> np.ndarray:
        """The pinhole matrix K, float64 [3, 3], in pixels.

        Pixel centres have whole coordinates, as in OpenCV and ROS; TinyRenderer samples the lower
        left corner of each pixel, hence the row less.
        """
        column, row_from_below = self.centre_px
        row = self.height_px - row_from_below - 1.0
        return np.array([[self.focal_px, 0, column], [0, self.focal_px, row], [0, 0, 1.0]])

    def rotation(self) -> np.ndarray:
        """Rows: the picture's right, its up, and backwards, in the station's frame, [3, 3]."""
        return Rotation.from_rotvec(self.turn).as_matrix().T

    def project(self, points: np.ndarray) -> np.ndarray:
        """Pixels [..., 2] (column, row) of points [..., 3] in the station's frame [m]."""
        local = (np.asarray(points, dtype=float) - self.eye) @ self.rotation().T
        scale = self.focal_px / -local[..., 2]
        k = self.intrinsics()
        return np.stack([k[0, 2] + local[..., 0] * scale, k[1, 2] - local[..., 1] * scale], axis=-1)

    def mm_per_px(self, z_m: float) -> float:
        """The scale of the horizontal plane `z_m` above the table."""
        return 1e3 * (self.eye[2] - z_m) / self.focal_px

    def view_matrix(self) -> list[float]:
        """OpenGL's view matrix, column by column [16]."""
        matrix = np.eye(4)
        matrix[:3, :3] = self.rotation()
        matrix[:3, 3] = -self.rotation() @ np.array(self.eye)
        return matrix.T.ravel().tolist()

    def projection_matrix(self, window: tuple[int, int, int, int]) -> list[float]:
        """OpenGL's projection matrix of the window x0, y0, x1, y1 of the picture [16]."""
        x0, y0, x1, y1 = window
        column, row_from_below = self.centre_px
        left, right = (x0 - column), (x1 - column)
        top = self.height_px - y0 - row_from_below
        bottom = self.height_px - y1 - row_from_below
        near, far = NEAR_M, FAR_M
        k = near / self.focal_px
        left, right, top, bottom = left * k, right * k, top * k, bottom * k
        matrix = np.array(
            [
                [2 * near / (right - left), 0, (right + left) / (right - left), 0],
                [0, 2 * near / (top - bottom), (top + bottom) / (top - bottom), 0],
                [0, 0, -(far + near) / (far - near), -2 * far * near / (far - near)],
                [0, 0, -1, 0],
            ]
        )
        return matrix.T.ravel().tolist()

    def moved(self, rng: np.random.Generator, shift_m: float, turn: float) -> StationCamera:
        """This camera moved by up to `shift_m` and turned by up to `turn` [rad] on each axis.

        Where it looks at the table stays the same: a turn does not lose the work place.
        """
        turned = replace(self, turn=tuple((self.turn + rng.uniform(-turn, turn, 3)).tolist()))
        eye = np.array(self.eye) + rng.uniform(-shift_m, shift_m, 3)
        turned = replace(turned, eye=tuple(eye.tolist()))
        away = turned.ground(0.5 * self.width_px, 0.5 * self.height_px)[:2]
        before = self.ground(0.5 * self.width_px, 0.5 * self.height_px)[:2]
        slip = away - before - (eye - self.eye)[:2]
        return replace(turned, eye=(*(eye[:2] - slip).tolist(), float(eye[2])))

    def ground(self, column: float, row: float) -> np.ndarray:
        """The point of the table [3] that the pixel shows."""
        k = self.intrinsics()
        ray = np.array([(column - k[0, 2]), (k[1, 2] - row), -self.focal_px])
        ray = self.rotation().T @ ray
        return np.array(self.eye) - ray * (self.eye[2] / ray[2])


def station_camera(rng: np.random.Generator) -> StationCamera:
    """The camera of one station, near the nominal one."""
    return StationCamera().moved(rng, STATION_SHIFT_M, STATION_TURN)


def cycle_camera(station: StationCamera, rng: np.random.Generator) -> StationCamera:
    """The station's camera in one cycle: fixed but for what a mount gives way."""
    return station.moved(rng, CYCLE_SHIFT_M, CYCLE_TURN)
