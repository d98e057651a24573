"""Where things stand in the station and how large they are; all lengths in metres.

The frame is the camera's: x right and y up in the picture, z up from the table. The operator sits
below the picture, the arm stands behind its upper edge.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MM = 1e-3

# The product. The base lies long side along x before it is turned, the cover along y.
BASE_SIZE = (66 * MM, 48 * MM, 14 * MM)
COVER_SIZE = (50 * MM, 68 * MM, 9 * MM)
# Flanged button heads, ISO 7380-2. The shank is the same: the head alone tells M3 from M4.
HEAD_DIAMETER = {"screw_m3": 6.9 * MM, "screw_m4": 9.4 * MM}
HEAD_HEIGHT = 2.6 * MM
SHANK_DIAMETER, SHANK_LENGTH = 2.6 * MM, 9 * MM
PEG_DIAMETER, PEG_LENGTH, PEG_DEPTH = 9 * MM, 20 * MM, 13.5 * MM
CLOTH_SIZE = (40 * MM, 28 * MM, 5 * MM)

# Holes of the base in its own frame (x, y): the first of each is used, the second is a spare.
HOLES = {
    "screw_m3": ((-26 * MM, 17 * MM), (26 * MM, -17 * MM)),
    "screw_m4": ((26 * MM, 17 * MM), (-26 * MM, -17 * MM)),
    "peg": ((11 * MM, 0.0), (-11 * MM, 0.0)),
}

FIXTURE = np.array([0.0, -6 * MM, 5 * MM])  # middle of the plate on which the base is worked on
FIXTURE_SIDE = 86 * MM
BASE_SHELF = np.array([-86 * MM, 112 * MM, 1 * MM])  # under roofs at the upper edge
COVER_SHELF = np.array([-20 * MM, 122 * MM, 1 * MM])
ROOF_Z, ROOF_FRONT_Y = 46 * MM, 58 * MM
CLOTH_PLACE = np.array([-92 * MM, -22 * MM, 0.0])
BIN_TOP_Z = 11 * MM
BINS = {  # middles; x, y
    "screw_m3": np.array([89 * MM, 34 * MM]),
    "screw_m4": np.array([89 * MM, -12 * MM]),
    "peg": np.array([89 * MM, -56 * MM]),
}
BIN_SIZE = {
    "screw_m3": (46 * MM, 36 * MM),
    "screw_m4": (46 * MM, 36 * MM),
    "peg": (46 * MM, 30 * MM),
}
BIN_PLACES = {  # offsets from the middle, where parts stand upright in holes
    "screw_m3": tuple((x * MM, y * MM) for y in (-8.5, 8.5) for x in (-14, 0, 14)),
    "screw_m4": tuple((x * MM, y * MM) for y in (-8.5, 8.5) for x in (-14, 0, 14)),
    "peg": tuple((x * MM, 0.0) for x in (-14, 0, 14)),
}

READING = np.array([-45 * MM, -74 * MM, 160 * MM])  # the product's bottom, held up to the camera
HAND_HOME = np.array([30 * MM, -150 * MM, 20 * MM])
TOOL_HOME = np.array([60 * MM, 40 * MM, 48 * MM])
CARRY_Z = 40 * MM  # how high parts travel
HANDED_OVER = np.array([-190 * MM, -120 * MM, 40 * MM])  # outside the picture


@dataclass(frozen=True)
class PlanarPose:
    """Position [m], turn about z and tilt about the turned y axis [rad]."""

    x: float
    y: float
    z: float
    yaw: float = 0.0
    tilt: float = 0.0

    @classmethod
    def at(cls, point: np.ndarray, yaw: float = 0.0, tilt: float = 0.0) -> PlanarPose:
        """A pose at `point` [3]."""
        return cls(*(float(v) for v in point), float(yaw), float(tilt))

    @property
    def point(self) -> np.ndarray:
        """Position [3]."""
        return np.array([self.x, self.y, self.z])

    @property
    def array(self) -> np.ndarray:
        """x, y, z, yaw, tilt [5]."""
        return np.array([self.x, self.y, self.z, self.yaw, self.tilt])

    def times(self, local: PlanarPose) -> PlanarPose:
        """The pose in the station's frame of what is at `local` in this one."""
        c, s = np.cos(self.yaw), np.sin(self.yaw)
        return PlanarPose(
            self.x + c * local.x - s * local.y,
            self.y + s * local.x + c * local.y,
            self.z + local.z,
            self.yaw + local.yaw,
            local.tilt,
        )

    def inverse_times(self, other: PlanarPose) -> PlanarPose:
        """`other` as this pose sees it, so that `self.times(result)` is `other`."""
        c, s = np.cos(self.yaw), np.sin(self.yaw)
        dx, dy = other.x - self.x, other.y - self.y
        return PlanarPose(
            c * dx + s * dy, -s * dx + c * dy, other.z - self.z, other.yaw - self.yaw, other.tilt
        )

    def rotation(self) -> np.ndarray:
        """Columns: the axes of this pose, [3, 3]."""
        c, s = np.cos(self.yaw), np.sin(self.yaw)
        ct, st = np.cos(self.tilt), np.sin(self.tilt)
        return np.array([[c * ct, -s, c * st], [s * ct, c, s * st], [-st, 0.0, ct]])
