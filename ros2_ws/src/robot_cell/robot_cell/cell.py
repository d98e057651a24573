"""What a cell is: plain validated values with units in their names."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from robot_cell.layout import ACTION, STATE, ActionLayout, StateLayout

Finite = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]
Point = tuple[Finite, Finite, Finite]
Frame = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_/]*$")]
Topic = Annotated[str, Field(pattern=r"^/?[A-Za-z_][A-Za-z0-9_/]*$")]

FARTHEST_M = 20.0
"""No arm on a table reaches so far: such a number was meant in millimetres."""


class Described(BaseModel):
    """Base of everything in a cell file: fixed once read, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False)

    @model_validator(mode="before")
    @classmethod
    def _no_flags_for_numbers(cls, values: Any) -> Any:
        """YAML's true is no number, though Python would take it for 1."""
        if isinstance(values, dict):
            for name, value in values.items():
                info = cls.model_fields.get(str(name))
                if isinstance(value, bool) and info is not None and info.annotation is not bool:
                    raise ValueError(f"{name} is {str(value).lower()}; write a number or a text")
        return values


class Arm(Described):
    """An arm that takes poses of its tool.

    Attributes:
        name: for people. base_frame, tool_frame: states are the pose of the tool frame in the base
            frame. urdf: its description, a path beside the cell file or absolute; may be empty.
    """

    name: str = ""
    base_frame: Frame = "base_link"
    tool_frame: Frame = "tool0"
    urdf: str = ""


class Gripper(Described):
    """A gripper with one degree of freedom. Closedness is 0 when open, 1 when closed.

    Attributes:
        opening_m: between the fingers at closedness 0 [m].
    """

    opening_m: Positive

    @model_validator(mode="after")
    def _in_metres(self) -> Gripper:
        if self.opening_m > 1.0:
            raise ValueError(f"opening_m is {self.opening_m:g}; write metres")
        return self


class Box(Described):
    """An axis-aligned box in the base frame [m]."""

    low_m: Point
    high_m: Point

    @model_validator(mode="after")
    def _not_inverted(self) -> Box:
        for axis, low, high in zip("xyz", self.low_m, self.high_m, strict=True):
            if not low < high:
                raise ValueError(
                    f"{axis} goes from {low:g} to {high:g}; low_m must be below high_m"
                )
            if max(abs(low), abs(high)) > FARTHEST_M:
                far = max(abs(low), abs(high))
                raise ValueError(f"{axis} is {far:g} m away; write metres, not millimetres")
        return self

    def distance_m(self, position_m: Point) -> float:
        """How far a point lies outside the box [m]; 0 inside."""
        parts = zip(self.low_m, position_m, self.high_m, strict=True)
        return math.hypot(*(max(low - x, 0.0, x - high) for low, x, high in parts))


class Workspace(Box):
    """The box that the origin of the tool frame stays in.

    Attributes:
        keep_out: boxes inside it where the tool never goes. margin_m: how far a measured pose may
            be outside before the guard holds [m].
    """

    keep_out: tuple[Box, ...] = ()
    margin_m: Annotated[float, Field(ge=0.0, le=0.1, allow_inf_nan=False)] = 0.01


class Limits(Described):
    """How far and how fast the tool may move; the command guard lets nothing else pass.

    Attributes:
        step_m, turn_rad: from the measured pose to a target.
        linear_speed_m_s, angular_speed_rad_s: of the tool.
        closedness_rate_1_s: of the gripper.
    """

    step_m: Annotated[float, Field(gt=0.0, le=1.0, allow_inf_nan=False)]
    turn_rad: Annotated[float, Field(gt=0.0, le=math.pi, allow_inf_nan=False)]
    linear_speed_m_s: Annotated[float, Field(gt=0.0, le=3.0, allow_inf_nan=False)]
    angular_speed_rad_s: Annotated[float, Field(gt=0.0, le=6.3, allow_inf_nan=False)]
    closedness_rate_1_s: Annotated[float, Field(gt=0.0, le=100.0, allow_inf_nan=False)]


class CameraPose(Described):
    """Where a camera stands in the base frame.

    Attributes:
        position_m: of the optical centre. looks_at_m: a point on the optical axis.
    """

    position_m: Point
    looks_at_m: Point


class Camera(Described):
    """A camera of the cell.

    Attributes:
        name: unique in the cell. topic: of its pictures, sensor_msgs/Image. info_topic: of its
            intrinsics. frame: of its optical centre. size_px: width and height; None: any.
        rate_hz: of its pictures; None: not known. pose: None: not known.
        mm_per_px: width of a pixel at the height of the table; None: not calibrated.
    """

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    topic: Topic = "camera/image_raw"
    info_topic: Topic = "camera/camera_info"
    frame: Frame = "camera_optical_frame"
    size_px: tuple[Annotated[int, Field(gt=0)], Annotated[int, Field(gt=0)]] | None = None
    rate_hz: Positive | None = None
    pose: CameraPose | None = None
    mm_per_px: Positive | None = None


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
    cameras: Annotated[tuple[Camera, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _consistent(self) -> Cell:
        names = [camera.name for camera in self.cameras]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"camera {twice[0]} stands twice; give each a name of its own")
        parts = {"arm": self.arm, "workspace": self.workspace, "limits": self.limits}
        missing = [name for name, part in parts.items() if part is None]
        if self.arm is not None and missing:
            raise ValueError(f"an arm needs {' and '.join(missing)}, too; nothing is assumed")
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
