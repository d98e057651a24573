"""What a cell is: plain validated values with units in their names."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from robot_cell.layout import ACTION, STATE, ActionLayout, StateLayout

FARTHEST_M = 20.0
"""No arm on a table reaches so far: such a number was meant in millimetres."""

WIDEST_M = 1.0
"""No gripper opens so wide."""

WIDEST_TURN_RAD = 4.0 * math.pi
"""No joint turns so far: such a number was meant in degrees."""


def _in_metres(value: float) -> float:
    if abs(value) > FARTHEST_M:
        raise ValueError(f"{value:g} m is too far away; write metres, not millimetres")
    return value


def _in_radians(value: float) -> float:
    if abs(value) > WIDEST_TURN_RAD:
        raise ValueError(f"{value:g} rad is more than a joint turns; write radians, not degrees")
    return value


# Strict: YAML's true and "0.1" are no numbers, though Python would make some of them.
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Positive = Annotated[float, Field(strict=True, gt=0.0, allow_inf_nan=False)]
Metres = Annotated[Number, AfterValidator(_in_metres)]
Radians = Annotated[Number, AfterValidator(_in_radians)]
Pixels = Annotated[int, Field(strict=True, gt=0, le=16384)]
Point = tuple[Metres, Metres, Metres]
Frame = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_/]*$")]
Topic = Annotated[str, Field(pattern=r"^/?[A-Za-z_][A-Za-z0-9_]*(/[A-Za-z_][A-Za-z0-9_]*)*$")]


class Described(BaseModel):
    """Base of everything in a cell file: fixed once read, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Arm(Described):
    """An arm that takes poses of its tool.

    Attributes:
        name: for people. base_frame, tool_frame: states are the pose of the tool frame in the base
            frame. urdf: its description, a path beside the cell file or absolute; may be empty.
        home_rad: joint angles of its rest pose [rad]; empty: not known.
    """

    name: str = ""
    base_frame: Frame = "base_link"
    tool_frame: Frame = "tool0"
    urdf: str = ""
    home_rad: tuple[Radians, ...] = ()


class Gripper(Described):
    """A gripper with one degree of freedom.

    Closedness is what states, actions and `gripper_command` hold: 0 is open, 1 is closed, or for
    suction 0 off and 1 on. A driver that counts the other way round is turned there.

    Attributes:
        kind: parallel fingers, or suction. opening_m: between the fingers at closedness 0 [m];
            suction has none. max_force_n: for the gripper's driver [N]; None: not said. Nothing
            here measures forces.
    """

    kind: Literal["parallel", "suction"] = "parallel"
    opening_m: Positive | None = Field(default=None, validate_default=True)
    max_force_n: Positive | None = None

    @field_validator("opening_m")
    @classmethod
    def _fits_the_kind(cls, opening_m: float | None, info: ValidationInfo) -> float | None:
        kind = info.data.get("kind")
        if kind == "parallel" and opening_m is None:
            raise ValueError("is missing; write how far the fingers open in metres")
        if kind == "suction" and opening_m is not None:
            raise ValueError("suction has no fingers; leave this out, or write kind: parallel")
        if opening_m is not None and opening_m > WIDEST_M:
            raise ValueError(f"{opening_m:g} m is too wide; write metres, not millimetres")
        return opening_m


class Box(Described):
    """An axis-aligned box in the base frame [m]."""

    low_m: Point
    high_m: Point

    @field_validator("high_m")
    @classmethod
    def _not_inverted(cls, high_m: Point, info: ValidationInfo) -> Point:
        low_m: Point = info.data.get("low_m", high_m)
        if low_m is high_m:  # low_m was refused already
            return high_m
        for axis, low, high in zip("xyz", low_m, high_m, strict=True):
            if not low < high:
                raise ValueError(
                    f"{axis} goes from {low:g} to {high:g}; low_m must be below high_m"
                )
        return high_m

    def distance_m(self, position_m: Point) -> float:
        """How far a point lies outside the box [m]; 0 inside."""
        parts = zip(self.low_m, position_m, self.high_m, strict=True)
        return math.hypot(*(max(low - x, 0.0, x - high) for low, x, high in parts))

    def holds(self, other: Box) -> bool:
        """Whether the other box lies inside, faces included."""
        return all(a <= b for a, b in zip(self.low_m, other.low_m, strict=True)) and all(
            a >= b for a, b in zip(self.high_m, other.high_m, strict=True)
        )


class Workspace(Box):
    """The box that the origin of the tool frame stays in.

    Attributes:
        keep_out: boxes inside it that the origin of the tool frame never enters; the guard refuses
            a straight way through one.
        margin_m: how far a measured pose may be outside before the guard holds [m].
    """

    keep_out: tuple[Box, ...] = ()
    margin_m: Annotated[float, Field(strict=True, ge=0.0, le=0.1, allow_inf_nan=False)] = 0.01

    @field_validator("keep_out")
    @classmethod
    def _leaves_room(cls, keep_out: tuple[Box, ...], info: ValidationInfo) -> tuple[Box, ...]:
        if "low_m" in info.data and "high_m" in info.data:
            whole = Box(low_m=info.data["low_m"], high_m=info.data["high_m"])
            if any(box.holds(whole) for box in keep_out):
                raise ValueError("one of the boxes holds the whole workspace; make it smaller")
        return keep_out


class Limits(Described):
    """How far and how fast the tool may move; the command guard lets nothing else pass.

    Attributes:
        step_m, turn_rad: from the measured pose to a target.
        linear_speed_m_s, angular_speed_rad_s: of the tool.
        closedness_rate_1_s: of the gripper.
    """

    step_m: Annotated[Positive, Field(le=1.0)]
    turn_rad: Annotated[Positive, Field(le=math.pi)]
    linear_speed_m_s: Annotated[Positive, Field(le=3.0)]
    angular_speed_rad_s: Annotated[Positive, Field(le=6.3)]
    closedness_rate_1_s: Annotated[Positive, Field(le=100.0)]


class CameraPose(Described):
    """Where a camera stands in the base frame.

    Attributes:
        position_m: of the optical centre. looks_at_m: a point on the optical axis.
    """

    position_m: Point
    looks_at_m: Point

    @field_validator("looks_at_m")
    @classmethod
    def _elsewhere(cls, looks_at_m: Point, info: ValidationInfo) -> Point:
        if looks_at_m == info.data.get("position_m"):
            raise ValueError("this is where the camera stands; write a point that it looks at")
        return looks_at_m


class Camera(Described):
    """A camera of the cell.

    Attributes:
        name: unique in the cell. topic: of its pictures, sensor_msgs/Image. info_topic: of its
            intrinsics. frame: of its optical centre; empty: its pictures may carry any.
            size_px: width and height; None: any. rate_hz: of its pictures; None: not known.
            pose: None: not known.
        mm_per_px: width of a pixel at the height of the table; None: not calibrated.
    """

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    topic: Topic = "camera/image_raw"
    info_topic: Topic = "camera/camera_info"
    frame: Frame | Literal[""] = "camera_optical_frame"
    size_px: tuple[Pixels, Pixels] | None = None
    rate_hz: Annotated[Positive, Field(le=1000.0)] | None = None
    pose: CameraPose | None = None
    mm_per_px: Annotated[Positive, Field(le=100.0)] | None = None

    def refuse(self, width: int, height: int, frame: str) -> str:
        """Why a picture of this size [px] and frame is not of this camera; empty: it may be."""
        if self.size_px is not None and (width, height) != self.size_px:
            return (
                f"{self.topic} is {width}x{height}, camera {self.name!r} of the cell gives "
                f"{self.size_px[0]}x{self.size_px[1]}; connect that camera or correct size_px"
            )
        if self.frame and frame != self.frame:
            return (
                f"{self.topic} is in frame {frame!r}, not {self.frame!r}; connect the right "
                f"camera or correct frame of camera {self.name!r} in the cell"
            )
        return ""


class Cell(Described):
    """A cell: what of it a node needs, it asks for with `needs_arm` or `camera`.

    Attributes:
        cell: version of the format. name: of this cell. arm, gripper, workspace, limits: None where
            the cell has no arm. cameras: at least one.
    """

    cell: Literal[1]
    name: Annotated[str, Field(min_length=1)]
    arm: Arm | None = None
    gripper: Gripper | None = None
    workspace: Workspace | None = None
    limits: Limits | None = None
    cameras: tuple[Camera, ...]

    @field_validator("cameras")
    @classmethod
    def _named_once(cls, cameras: tuple[Camera, ...]) -> tuple[Camera, ...]:
        if not cameras:
            raise ValueError("there are none; describe at least one")
        names = [camera.name for camera in cameras]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"camera {twice[0]} stands twice; give each a name of its own")
        return cameras

    @model_validator(mode="after")
    def _consistent(self) -> Cell:
        parts: dict[str, Described | None] = {
            "arm": self.arm,
            "workspace": self.workspace,
            "limits": self.limits,
        }
        missing = [name for name, part in parts.items() if part is None]
        if self.arm is not None and missing:
            raise ValueError(f"an arm needs {' and '.join(missing)}, too; nothing is assumed")
        parts["gripper"] = self.gripper
        orphans = [name for name, part in parts.items() if part is not None]
        if self.arm is None and orphans:
            raise ValueError(f"{' and '.join(orphans)} without an arm; add arm or remove it")
        if self.limits and self.workspace and self.workspace.margin_m >= self.limits.step_m:
            raise ValueError(
                f"workspace.margin_m {self.workspace.margin_m:g} must be below limits.step_m "
                f"{self.limits.step_m:g}"
            )
        return self

    @property
    def state(self) -> StateLayout:
        """Layout of the arm's states."""
        return STATE

    @property
    def action(self) -> ActionLayout:
        """Layout of the planner's actions."""
        return ACTION

    def needs_arm(self) -> tuple[Arm, Workspace, Limits]:
        """Arm, workspace and limits.

        Raises:
            ValueError: the cell has no arm.
        """
        if self.arm is None or self.workspace is None or self.limits is None:
            raise ValueError(
                f"cell {self.name!r} describes no arm; add arm, workspace and limits to its file"
            )
        return self.arm, self.workspace, self.limits

    def camera(self, name: str = "") -> Camera:
        """The camera of this name; empty: the first one.

        Raises:
            ValueError: there is none of this name.
        """
        for camera in self.cameras:
            if name in ("", camera.name):
                return camera
        names = ", ".join(camera.name for camera in self.cameras)
        raise ValueError(f"cell {self.name!r} has no camera {name!r}; it has {names}")
