"""A PyBullet world of solids that are only seen; it can be used for one cycle after another."""

from __future__ import annotations

import pybullet
from pybullet_utils import bullet_client

from vjepa_sim.core.station.solids import Solid


class SolidsWorld:
    """Bodies made of solids. Shapes are kept: PyBullet does not give back the memory of one."""

    def __init__(self) -> None:
        self.sim = bullet_client.BulletClient(pybullet.DIRECT)
        self._shapes: dict[bytes, int] = {}
        self._bodies: list[int] = []

    def add(self, solid: Solid) -> int:
        """A body of this solid, below the table; returns its id."""
        key = solid.corners().tobytes()
        if key not in self._shapes:
            vertices, indices, normals = solid.mesh()
            self._shapes[key] = self.sim.createVisualShape(
                pybullet.GEOM_MESH,
                vertices=vertices,
                indices=indices,
                normals=normals,
                uvs=[[0.0, 0.0]] * len(vertices),
                specularColor=[1.0, 1.0, 1.0],
            )
        body = self.sim.createMultiBody(0.0, -1, self._shapes[key], [0.0, 0.0, -1.0])
        self.sim.changeVisualShape(body, -1, rgbaColor=[*solid.colour, 1.0])
        self._bodies.append(body)
        return body

    def clear(self) -> None:
        """Remove all bodies."""
        for body in self._bodies:
            self.sim.removeBody(body)
        self._bodies = []

    def close(self) -> None:
        """Free the world for good."""
        self.sim.disconnect()
