"""What a scene looks like: light, colours, camera, objects and distractors, all drawn from a seed.

A scene has two independent parts. The `SceneLayout` (camera place and task objects) is the same for
"now" and for the goal picture. The `SceneAppearance` (light, colours, distractors) may differ
between the two: the goal picture may have been taken on another day.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from robot_cell import POSITION, ROTATION
from scipy.spatial.transform import Rotation

from vjepa_sim.core.panda_cell import CAMERA_EYE, CAMERA_SIZE_PX, CAMERA_TARGET

CAMERA_FOV_DEG = 50.0
CAMERA_NEAR, CAMERA_FAR = 0.05, 4.0

# How far a varied scene moves the camera from its nominal place.
CAMERA_MAX_SHIFT = 0.03  # [m]
CAMERA_MAX_TURN = np.deg2rad(4.0)  # [rad]

# Task objects stand on this part of the table, distractors anywhere on it [m].
OBJECT_REGION = ((0.38, 0.62), (-0.18, 0.18))
DISTRACTOR_REGION = ((0.15, 0.80), (-0.45, 0.45))
OBJECT_CLEARANCE = 0.09  # between the centres of two task objects [m]

# Red, blue and green task objects: the palette of the nominal scene.
OBJECT_COLOURS = ((0.80, 0.12, 0.10), (0.12, 0.25, 0.80), (0.15, 0.60, 0.20))
FINGER_COLOUR = (1.0, 0.45, 0.0)


@dataclass(frozen=True)
class SceneCamera:
    """Pinhole camera, square picture: eye and target in base_link [m], up is a unit vector."""

    eye: tuple[float, float, float] = CAMERA_EYE
    target: tuple[float, float, float] = CAMERA_TARGET
    up: tuple[float, float, float] = (0.0, 0.0, 1.0)
    fov_deg: float = CAMERA_FOV_DEG
    size_px: int = CAMERA_SIZE_PX


@dataclass(frozen=True)
class SceneBox:
    """A coloured solid on the table; `shape` is box, cylinder or sphere."""

    shape: str
    half_extents: tuple[float, float, float]  # [m]; cylinder and sphere use x as the radius
    position: tuple[float, float, float]  # base_link [m]
    yaw: float  # [rad]
    colour: tuple[float, float, float]  # RGB, 0..1


@dataclass(frozen=True)
class SceneLayout:
    """What stays the same between now and the goal picture."""

    camera: SceneCamera
    objects: tuple[SceneBox, ...]


@dataclass(frozen=True)
class SceneAppearance:
    """What may differ between now and the goal picture."""

    light_direction: tuple[float, float, float] = (0.6, 0.5, 1.2)
    light_colour: tuple[float, float, float] = (1.0, 1.0, 1.0)
    ambient: float = 0.6
    diffuse: float = 0.35
    specular: float = 0.05
    table_colour: tuple[float, float, float] = (0.72, 0.66, 0.58)
    wall_colour: tuple[float, float, float] = (0.80, 0.82, 0.85)
    distractors: tuple[SceneBox, ...] = ()


NOMINAL_APPEARANCE = SceneAppearance()


def sample_layout(rng: np.random.Generator, varied: bool) -> SceneLayout:
    """Three task objects at random places; the camera is nominal, or moved when `varied`."""
    return SceneLayout(sample_camera(rng) if varied else SceneCamera(), _sample_objects(rng))


def sample_camera(rng: np.random.Generator) -> SceneCamera:
    """The nominal camera moved by up to 3 cm and turned by up to 4 degrees, uniform in both."""
    nominal = SceneCamera()
    eye = np.array(nominal.eye) + _unit_vector(rng) * rng.uniform(0.0, CAMERA_MAX_SHIFT)
    turn = _unit_vector(rng) * rng.uniform(0.0, CAMERA_MAX_TURN)
    view = np.array(nominal.target) - np.array(nominal.eye)
    target = eye + _rotate(view, turn)
    return replace(
        nominal,
        eye=tuple(eye.tolist()),
        target=tuple(target.tolist()),
        up=tuple(_rotate(np.array(nominal.up), turn).tolist()),
    )


def turn_about_scene(camera: SceneCamera, angle_rad: float) -> SceneCamera:
    """`camera` carried around the vertical through CAMERA_TARGET, counterclockwise from above."""
    eye, target = (_turned(np.array(p), angle_rad) for p in (camera.eye, camera.target))
    return replace(
        camera,
        eye=tuple(eye.tolist()),
        target=tuple(target.tolist()),
        up=tuple(_rotate(np.array(camera.up), np.array([0.0, 0.0, angle_rad])).tolist()),
    )


def along_camera(values: np.ndarray, turn_rad: float) -> np.ndarray:
    """Positions [..., 3] or states [..., 7] in axes that turned with a camera, float64.

    A camera that `turn_about_scene` carried around sees of them what the nominal camera sees of
    the values that are returned; only that the arm reaches in from another side.
    """
    values = np.array(values, dtype=float)
    values[..., POSITION] = _turned(values[..., POSITION], -turn_rad)
    if values.shape[-1] == 7:
        angles = values[..., ROTATION].reshape(-1, 3)
        turned = Rotation.from_rotvec([0.0, 0.0, -turn_rad]) * Rotation.from_euler("xyz", angles)
        values[..., ROTATION] = turned.as_euler("xyz").reshape(values[..., ROTATION].shape)
    return values


def _turned(points: np.ndarray, angle_rad: float) -> np.ndarray:
    """Points [..., 3] turned about the vertical through CAMERA_TARGET."""
    centre = np.array([CAMERA_TARGET[0], CAMERA_TARGET[1], 0.0])
    turn = Rotation.from_rotvec([0.0, 0.0, angle_rad])
    return centre + turn.apply((points - centre).reshape(-1, 3)).reshape(points.shape)


def sample_appearance(rng: np.random.Generator) -> SceneAppearance:
    """Another day: light from elsewhere, other table and wall, zero to five distractors."""
    azimuth = rng.uniform(-np.pi, np.pi)
    elevation = rng.uniform(np.deg2rad(25), np.deg2rad(85))
    direction = (
        np.cos(elevation) * np.cos(azimuth),
        np.cos(elevation) * np.sin(azimuth),
        np.sin(elevation),
    )
    ambient = rng.uniform(0.35, 0.75)
    return SceneAppearance(
        light_direction=tuple(float(v) for v in direction),
        light_colour=tuple(rng.uniform(0.8, 1.0, 3).tolist()),
        ambient=ambient,
        diffuse=rng.uniform(0.15, 1.0 - ambient + 0.15),
        specular=rng.uniform(0.0, 0.3),
        table_colour=tuple(rng.uniform(0.15, 0.95, 3).tolist()),
        wall_colour=tuple(rng.uniform(0.15, 0.95, 3).tolist()),
        distractors=tuple(_sample_distractor(rng) for _ in range(rng.integers(0, 6))),
    )


def _sample_objects(rng: np.random.Generator) -> tuple[SceneBox, ...]:
    places: list[np.ndarray] = []
    while len(places) < len(OBJECT_COLOURS):
        place = np.array([rng.uniform(*axis) for axis in OBJECT_REGION])
        if all(np.linalg.norm(place - other) > OBJECT_CLEARANCE for other in places):
            places.append(place)
    half = 0.02
    return tuple(
        SceneBox("box", (half, half, half), (float(x), float(y), half), 0.0, colour)
        for (x, y), colour in zip(places, OBJECT_COLOURS)
    )


def _sample_distractor(rng: np.random.Generator) -> SceneBox:
    # Low enough that the gripper passes above: distractors are pictures, not obstacles.
    half = rng.uniform((0.015, 0.015, 0.01), (0.05, 0.05, 0.03))
    x, y = (rng.uniform(*axis) for axis in DISTRACTOR_REGION)
    shape = str(rng.choice(["box", "cylinder", "sphere"]))
    height = min(half[0], 0.03) if shape == "sphere" else half[2]
    if shape == "sphere":
        half[0] = height
    return SceneBox(
        shape,
        tuple(half.tolist()),
        (float(x), float(y), float(height)),
        float(rng.uniform(-np.pi, np.pi)),
        tuple(rng.uniform(0.05, 1.0, 3).tolist()),
    )


def _unit_vector(rng: np.random.Generator) -> np.ndarray:
    vector = rng.normal(size=3)
    return vector / np.linalg.norm(vector)


def _rotate(vector: np.ndarray, rotation_vector: np.ndarray) -> np.ndarray:
    return Rotation.from_rotvec(rotation_vector).apply(vector)
