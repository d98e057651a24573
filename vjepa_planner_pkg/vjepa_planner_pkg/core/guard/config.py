"""What the command guard goes by: its parameters, and the limits that the cell gives."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from node_kit.parameters import parameter
from robot_cell import Cell


@dataclass
class GuardParameters:
    """Parameters of the command guard. What the arm may do stands in the cell, not here."""

    cell: str = parameter(
        "", "cell file, or name of a shipped cell; without one the guard does not start"
    )
    policy: str = parameter(
        "clip",
        "a target outside the box or too far away is clipped (by at most one step) or rejected",
        choices=("clip", "reject"),
    )
    stream: bool = parameter(
        False, "send set-points at rate_hz; false: pass each accepted target on once"
    )
    rate_hz: float = parameter(
        50.0, "of the watch and of the set-points", unit="Hz", minimum=25.0, maximum=500.0
    )
    max_lead_m: float = parameter(
        0.05,
        "streaming: how far the set-point may run ahead of the arm",
        unit="m",
        minimum=0.001,
        maximum=1.0,
    )
    max_lead_rad: float = parameter(
        0.25,
        "streaming: how far the set-point may turn ahead of the arm",
        unit="rad",
        minimum=0.001,
        maximum=3.1,
    )
    state_max_age_s: float = parameter(
        0.24,
        "the arm holds when end_effector_state is silent for longer",
        unit="s",
        minimum=0.02,
        maximum=0.24,
    )
    state_max_stamp_age_s: float = parameter(
        0.5, "oldest stamp of end_effector_state, by the node's clock", unit="s", minimum=0.02
    )
    command_max_age_s: float = parameter(
        0.2, "oldest command, by the time it was received", unit="s", minimum=0.01
    )
    command_max_stamp_age_s: float = parameter(
        5.0,
        "oldest stamp of a command; that is its image's, so planning time counts",
        unit="s",
        minimum=0.01,
    )
    clock_tolerance_s: float = parameter(
        0.2,
        "how far a stamp may be in the future, or the clock step back",
        unit="s",
        minimum=0.0,
        maximum=1.0,
    )
    hold_s: float = parameter(
        1.0,
        "how long a refused command shows as HOLDING, and a silent arm is told to hold",
        unit="s",
        minimum=0.1,
    )


@dataclass(kw_only=True)
class GuardConfig(GuardParameters):
    """The parameters and what the cell says. Poses are of `tool_frame` in `base_frame`.

    Attributes:
        workspace_min_m, workspace_max_m: corners of the box that targets stay in [m].
        keep_out_m: corners, low and high, of the boxes inside it that targets stay out of [m].
        workspace_margin_m: how far the measured pose may be outside before the guard holds [m].
        max_step_m, max_step_rad: largest distance and turn from measured pose to target.
        max_linear_speed_m_s, max_angular_speed_rad_s, max_closedness_rate_1_s: fastest motion.
    """

    workspace_min_m: list[float]
    workspace_max_m: list[float]
    keep_out_m: list[tuple[list[float], list[float]]]
    workspace_margin_m: float
    max_step_m: float
    max_step_rad: float
    max_linear_speed_m_s: float
    max_angular_speed_rad_s: float
    max_closedness_rate_1_s: float
    base_frame: str
    tool_frame: str

    @classmethod
    def of(
        cls, cell: Cell, parameters: GuardParameters | None = None, **changes: Any
    ) -> GuardConfig:
        """What a guard of this cell goes by; `changes`: of any attribute.

        A set-point runs ahead of the arm by no more than a step, whatever the parameters say.

        Raises:
            ValueError: the cell has no arm, or values do not go together.
        """
        arm, workspace, limits = cell.needs_arm()
        described = {
            "workspace_min_m": list(workspace.low_m),
            "workspace_max_m": list(workspace.high_m),
            "keep_out_m": [(list(box.low_m), list(box.high_m)) for box in workspace.keep_out],
            "workspace_margin_m": workspace.margin_m,
            "max_step_m": limits.step_m,
            "max_step_rad": limits.turn_rad,
            "max_linear_speed_m_s": limits.linear_speed_m_s,
            "max_angular_speed_rad_s": limits.angular_speed_rad_s,
            "max_closedness_rate_1_s": limits.closedness_rate_1_s,
            "base_frame": arm.base_frame,
            "tool_frame": arm.tool_frame,
        }
        given = asdict(parameters or GuardParameters())
        given["max_lead_m"] = min(given["max_lead_m"], limits.step_m)
        given["max_lead_rad"] = min(given["max_lead_rad"], limits.turn_rad)
        return cls(**(given | described | changes))

    def __post_init__(self) -> None:
        corners = (self.workspace_min_m, self.workspace_max_m)
        if any(len(corner) != 3 for corner in corners):
            raise ValueError(f"workspace_min_m and _max_m are {corners}; give x, y and z each")
        if any(low >= high for low, high in zip(*corners, strict=True)):
            raise ValueError(
                f"workspace_min_m {corners[0]} is not below workspace_max_m {corners[1]}"
            )
        if not self.workspace_margin_m < self.max_lead_m <= self.max_step_m:
            raise ValueError(
                f"workspace_margin_m {self.workspace_margin_m} must be below max_lead_m "
                f"{self.max_lead_m}, and that not above max_step_m {self.max_step_m}"
            )
        if self.max_lead_rad > self.max_step_rad:
            raise ValueError(
                f"max_lead_rad {self.max_lead_rad} is above max_step_rad {self.max_step_rad}"
            )
