"""The limits of the command guard, each with its unit and range."""

from __future__ import annotations

from dataclasses import dataclass

from node_kit.parameters import parameter


@dataclass
class GuardConfig:
    """Limits of the command guard. Poses are of tool0 in base_link."""

    workspace_min_m: list[float] = parameter(
        [0.30, -0.28, 0.015], "lower corner of the box that targets stay in", unit="m"
    )
    workspace_max_m: list[float] = parameter(
        [0.68, 0.28, 0.42], "upper corner of the box that targets stay in", unit="m"
    )
    workspace_margin_m: float = parameter(
        0.01,
        "how far the measured pose may be outside the box before the guard holds",
        unit="m",
        minimum=0.0,
        maximum=0.1,
    )
    policy: str = parameter(
        "clip",
        "a target outside the box or too far away is clipped (by at most one step) or rejected",
        choices=("clip", "reject"),
    )
    max_step_m: float = parameter(
        0.13, "largest distance from measured pose to target", unit="m", minimum=0.001, maximum=1.0
    )
    max_step_rad: float = parameter(
        0.35, "largest turn from measured pose to target", unit="rad", minimum=0.001, maximum=3.1
    )
    max_linear_speed_m_s: float = parameter(
        0.25, "fastest motion", unit="m/s", minimum=0.001, maximum=3.0
    )
    max_angular_speed_rad_s: float = parameter(
        1.0, "fastest turn", unit="rad/s", minimum=0.001, maximum=6.0
    )
    max_closedness_rate_1_s: float = parameter(
        2.0, "fastest opening or closing of the gripper", unit="1/s", minimum=0.01, maximum=100.0
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
    base_frame: str = parameter("base_link", "frame of states, commands and targets")
    tool_frame: str = parameter("tool0", "frame whose pose they are")

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
