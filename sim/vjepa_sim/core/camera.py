"""The camera as others need it: its intrinsics, and its pictures without needless rendering."""

from __future__ import annotations

import numpy as np

from vjepa_sim.core.environment import Environment
from vjepa_sim.core.scene import SceneCamera


def intrinsics(camera: SceneCamera) -> np.ndarray:
    """The pinhole matrix K, float64 [3, 3], in pixels.

    Pixel centres have whole coordinates, as in OpenCV and ROS. PyBullet's TinyRenderer samples
    the corner of each pixel, lower left in the picture: the axis meets column size/2 and, counted
    from the top, row size/2 - 1.
    """
    half = 0.5 * camera.size_px
    focal = half / np.tan(0.5 * np.deg2rad(camera.fov_deg))
    return np.array([[focal, 0.0, half], [0.0, focal, half - 1.0], [0.0, 0.0, 1.0]])


class CameraFeed:
    """The camera's pictures; one is rendered (30 ms) only when something in view has moved.

    Args:
        environment: already reset; call `restart` after each further reset.
        tolerance: joints and objects that moved less than this [rad, m] look the same.
    """

    def __init__(self, environment: Environment, tolerance: float = 0.0) -> None:
        self._environment = environment
        self._tolerance = tolerance
        self.restart()

    def restart(self) -> None:
        """Forget the last picture: the environment was reset."""
        self._seen: np.ndarray | None = None

    def picture(self) -> np.ndarray:
        """What the camera sees now, uint8 RGB [H, W, 3]. Do not write to it."""
        now = self._in_view()
        if self._seen is None or np.abs(now - self._seen).max() > self._tolerance:
            self._picture = self._environment.render()
            self._seen = now
        return self._picture

    def _in_view(self) -> np.ndarray:
        joints, objects = self._environment.physics.save()
        return np.concatenate([joints, *(np.concatenate(pose) for pose in objects)])
