"""The shapes of everything in the station: upright prisms, few triangles each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vjepa_sim.core.station import layout
from vjepa_sim.core.station.layout import MM

PLATE = 0.4 * MM  # thickness of the textured top of a part
ROUND_CORNERS = 14  # of the polygon that stands for a circle
STEEL, BRASS = (0.78, 0.79, 0.82), (0.86, 0.66, 0.25)

Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Solid:
    """A prism: `outline` [n, 2] counter-clockwise in the part's frame, from z `low` to `high` [m].

    `texture` names the picture that its top shows; such a solid is white below the picture.
    """

    outline: np.ndarray
    low: float
    high: float
    colour: Colour
    texture: str = ""

    def mesh(self) -> tuple[list, list, list]:
        """Vertices, triangle indices and normals, flat shaded, as PyBullet takes them."""
        n = len(self.outline)
        vertices, normals, indices = [], [], []
        for z, up in ((self.high, 1.0), (self.low, -1.0)):
            first = len(vertices)
            vertices += [[float(x), float(y), z] for x, y in self.outline]
            normals += [[0.0, 0.0, up]] * n
            for i in range(1, n - 1):
                fan = [first, first + i, first + i + 1]
                indices += fan if up > 0 else fan[::-1]
        for (x0, y0), (x1, y1) in zip(self.outline, np.roll(self.outline, -1, axis=0)):
            first = len(vertices)
            outward = np.array([y1 - y0, x0 - x1, 0.0])
            outward /= np.linalg.norm(outward)
            vertices += [[x0, y0, self.low], [x1, y1, self.low]]
            vertices += [[x1, y1, self.high], [x0, y0, self.high]]
            normals += [outward.tolist()] * 4
            indices += [first, first + 1, first + 2, first, first + 2, first + 3]
        return [[float(v) for v in p] for p in vertices], indices, normals

    def corners(self) -> np.ndarray:
        """All corners [2n, 3]; their hull is the solid."""
        n = len(self.outline)
        low = np.column_stack([self.outline, np.full(n, self.low)])
        return np.vstack([low, low + [0.0, 0.0, self.high - self.low]])


def rectangle(width: float, depth: float, x: float = 0.0, y: float = 0.0) -> np.ndarray:
    """Outline of a rectangle around (x, y)."""
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * [0.5 * width, 0.5 * depth]
    return corners + [x, y]


def disc(diameter: float, x: float = 0.0, y: float = 0.0, corners: int = ROUND_CORNERS):
    """Outline of a circle around (x, y), as a polygon of the same area."""
    step = 2 * np.pi / corners
    radius = 0.5 * diameter * np.sqrt(step / np.sin(step))
    angles = np.arange(corners) * step + 0.5 * step
    return np.column_stack([x + radius * np.cos(angles), y + radius * np.sin(angles)])


def chamfered(size: tuple[float, float, float]) -> np.ndarray:
    """Outline of a part with its corners cut by 3 mm; the upper right corner comes first."""
    w, d, c = 0.5 * size[0], 0.5 * size[1], 3 * MM
    right = [[w, d - c], [w - c, d]]
    left = [[-w + c, d], [-w, d - c], [-w, -d + c], [-w + c, -d]]
    return np.array([*right, *left, [w - c, -d], [w, -d + c]])


def textured(outline: np.ndarray, height: float, side: Colour, texture: str) -> list[Solid]:
    """A block with a picture on top."""
    return [
        Solid(outline, 0.0, height - PLATE, side),
        Solid(outline, height - PLATE, height, (1.0, 1.0, 1.0), texture),
    ]


def screw(kind: str) -> list[Solid]:
    """A screw standing on its tip; the origin is under its head."""
    return [
        Solid(disc(layout.HEAD_DIAMETER[kind]), 0.0, layout.HEAD_HEIGHT, STEEL),
        Solid(disc(layout.SHANK_DIAMETER, corners=8), -layout.SHANK_LENGTH, 0.0, (0.5, 0.5, 0.53)),
    ]


def peg() -> list[Solid]:
    """A brass peg standing on its origin."""
    return [Solid(disc(layout.PEG_DIAMETER), 0.0, layout.PEG_LENGTH, BRASS)]


def foreign(kind: str) -> list[Solid]:
    """An object that has no business in the station."""
    if kind == "nut":
        return [
            Solid(disc(15 * MM, corners=6), 0.0, 7 * MM, (0.32, 0.32, 0.34)),
            Solid(disc(7 * MM), 7 * MM, 7.2 * MM, (0.06, 0.06, 0.06)),
        ]
    if kind == "coin":
        return [Solid(disc(20 * MM, corners=20), 0.0, 2 * MM, (0.72, 0.43, 0.22))]
    if kind == "clip":
        return [
            Solid(rectangle(26 * MM, 3 * MM, 0, s * 4 * MM), 0.0, 2 * MM, (0.85, 0.15, 0.2))
            for s in (-1, 1)
        ] + [
            Solid(rectangle(3 * MM, 11 * MM, s * 13 * MM), 0.0, 2 * MM, (0.85, 0.15, 0.2))
            for s in (-1, 1)
        ]
    if kind == "wrench":
        steel = (0.55, 0.57, 0.62)
        return [
            Solid(rectangle(34 * MM, 6 * MM), 0.0, 4 * MM, steel),
            Solid(disc(13 * MM, 19 * MM, corners=8), 0.0, 4 * MM, steel),
            Solid(disc(11 * MM, -19 * MM, corners=8), 0.0, 4 * MM, steel),
        ]
    raise ValueError(f"unknown foreign object {kind!r}")


def hand(glove: Colour) -> list[Solid]:
    """Four fingers, thumb and palm; the origin is between the finger tips, which point to +y."""
    shade = tuple(0.86 * v for v in glove)
    fingers = [
        Solid(
            rectangle(8.4 * MM, 36 * MM, x * MM, (-18 - 0.02 * x * x + tip) * MM),
            0.2 * MM,
            8 * MM,
            glove if i % 2 else shade,
        )
        for i, (x, tip) in enumerate(((-14.4, 1.5), (-4.8, 2.0), (4.8, 1.5), (14.4, -1.0)))
    ]
    thumb = rectangle(10 * MM, 32 * MM) @ _turn(-0.5).T + [-24 * MM, -26 * MM]
    palm = np.array([[-16, -72], [16, -72], [21, -56], [20, -32], [-20, -32], [-23, -54]]) * MM
    return [*fingers, Solid(thumb, -9 * MM, 0.0, shade), Solid(palm, -5 * MM, 13 * MM, glove)]


def forearm(sleeve: Colour) -> list[Solid]:
    """From the wrist, the origin, towards -y."""
    outline = np.array([[-15, 4], [-24, -260], [24, -260], [15, 4]]) * MM
    return [Solid(outline, -6 * MM, 20 * MM, sleeve)]


def tool(colour: Colour) -> list[Solid]:
    """Nozzle and quill of the arm; the origin is the tip."""
    return [
        Solid(disc(4 * MM, corners=8), 0.0, 14 * MM, (0.15, 0.15, 0.16)),
        Solid(disc(10 * MM, corners=8), 14 * MM, 120 * MM, colour),
    ]


def link(length: float, width: float, colour: Colour) -> list[Solid]:
    """A link of the arm from its origin along +x."""
    outline = rectangle(length + width, width, 0.5 * length)
    return [Solid(outline, 0.0, 22 * MM, colour)]


def _turn(angle: float) -> np.ndarray:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s], [s, c]])
