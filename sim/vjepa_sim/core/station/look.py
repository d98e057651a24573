"""How one cycle looks: light, colours, what else lies about and passes by; drawn from its seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vjepa_sim.core.station import solids
from vjepa_sim.core.station.layout import MM, PlanarPose
from vjepa_sim.core.station.solids import Solid

GLOVES = (
    (0.86, 0.62, 0.48),
    (0.55, 0.38, 0.28),
    (0.25, 0.42, 0.75),
    (0.80, 0.82, 0.85),
    (0.30, 0.55, 0.40),
)
SLEEVES = ((0.20, 0.25, 0.40), (0.45, 0.45, 0.47), (0.55, 0.20, 0.20), (0.85, 0.85, 0.82))
ARMS = ((0.92, 0.92, 0.93), (0.95, 0.55, 0.15), (0.95, 0.82, 0.20))

# Where things may lie that belong to nobody: away from every part and way (x, y) [mm].
CLUTTER_PLACES = ((-100, -72), (-62, -82), (50, -82), (-104, 28))


@dataclass(frozen=True)
class Passer:
    """Something that passes through the picture: from `start` to `end` in `seconds`."""

    solids: tuple[Solid, ...]
    begin_s: float
    seconds: float
    start: PlanarPose
    end: PlanarPose

    def pose(self, t: float) -> PlanarPose:
        """Where it is at `t` [s]."""
        share = float(np.clip((t - self.begin_s) / self.seconds, 0.0, 1.0))
        return PlanarPose(
            *(self.start.array + share * (self.end.array - self.start.array)).tolist()
        )


@dataclass(frozen=True)
class StationLook:
    """The appearance of a cycle."""

    light_direction: tuple[float, float, float]
    light_colour: tuple[float, float, float]
    ambient: float
    diffuse: float
    specular: float
    noise: float  # deviation of a pixel's noise [of 255]
    glove: tuple[float, float, float]
    sleeve: tuple[float, float, float]
    arm: tuple[float, float, float]
    cloth: tuple[float, float, float]
    clutter: tuple[tuple[Solid, PlanarPose], ...]
    passers: tuple[Passer, ...]
    texture_seed: int


def draw_look(rng: np.random.Generator, duration_s: float) -> StationLook:
    """The look of a cycle that lasts `duration_s`."""
    azimuth, elevation = rng.uniform(-np.pi, np.pi), rng.uniform(np.deg2rad(40), np.deg2rad(80))
    direction = (
        float(np.cos(elevation) * np.cos(azimuth)),
        float(np.cos(elevation) * np.sin(azimuth)),
        float(np.sin(elevation)),
    )
    ambient = float(rng.uniform(0.52, 0.68))
    warmth = float(rng.uniform(-0.05, 0.05))
    places = rng.permutation(len(CLUTTER_PLACES))[: rng.integers(0, 3)]
    return StationLook(
        light_direction=direction,
        light_colour=(1.0, 1.0 - abs(warmth) / 2, 1.0 - max(warmth, 0.0) * 2),
        ambient=ambient,
        diffuse=float(rng.uniform(0.30, 0.95 - ambient + 0.05)),
        specular=float(rng.uniform(0.0, 0.06)),
        noise=float(rng.uniform(0.5, 1.5)),
        glove=GLOVES[rng.integers(len(GLOVES))],
        sleeve=SLEEVES[rng.integers(len(SLEEVES))],
        arm=ARMS[rng.integers(len(ARMS))],
        cloth=tuple(rng.uniform([0.2, 0.45, 0.3], [0.5, 0.75, 0.6]).tolist()),
        clutter=tuple(_clutter(rng, CLUTTER_PLACES[i]) for i in places),
        passers=tuple(
            _passer(rng, duration_s) for _ in range(rng.choice([0, 1, 2], p=[0.4, 0.4, 0.2]))
        ),
        texture_seed=int(rng.integers(1 << 31)),
    )


def _clutter(rng: np.random.Generator, place: tuple[int, int]) -> tuple[Solid, PlanarPose]:
    x, y = np.array(place) * MM + rng.uniform(-4, 4, 2) * MM
    colour = tuple(rng.uniform(0.15, 0.9, 3).tolist())
    outline = [
        solids.rectangle(30 * MM, 4 * MM),  # a pen
        solids.rectangle(18 * MM, 18 * MM),  # a note
        solids.disc(16 * MM),  # a lid
    ][rng.integers(3)]
    pose = PlanarPose(float(x), float(y), 0.0, float(rng.uniform(-np.pi, np.pi)))
    return Solid(outline, 0.0, 4 * MM, colour), pose


def _passer(rng: np.random.Generator, duration_s: float) -> Passer:
    """A sheet, a box or somebody's sleeve along the lower, left or right margin."""
    colour = tuple(rng.uniform(0.2, 0.95, 3).tolist())
    wide, deep = rng.uniform(20, 60) * MM, rng.uniform(12, 22) * MM
    shape = Solid(solids.rectangle(wide, deep), 0.0, float(rng.choice([1, 14])) * MM, colour)
    margin = rng.choice(["bottom", "left", "right"])
    height = float(rng.uniform(1, 6)) * MM
    if margin == "bottom":
        y = float(rng.uniform(-92, -80)) * MM
        ways = [PlanarPose(-0.17, y, height, 0.1), PlanarPose(0.17, y, height, -0.1)]
    else:
        x = (-122 if margin == "left" else 122) * MM
        ways = [PlanarPose(x, -0.14, height, 1.5), PlanarPose(x, 0.14, height, 1.7)]
    start, end = ways if rng.random() < 0.5 else ways[::-1]
    seconds = float(rng.uniform(2.0, 5.0))
    begin = float(rng.uniform(0.0, max(duration_s - seconds, 0.1)))
    return Passer((shape,), begin, seconds, start, end)
