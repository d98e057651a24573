"""Parameters of the sim node; config/sim.yaml holds the same defaults."""

from __future__ import annotations

from dataclasses import dataclass

from node_kit.cells import CameraParameters
from node_kit.parameters import parameter


@dataclass
class SimParameters(CameraParameters):
    """Parameters of the sim node."""

    cell: str = parameter("panda_sim", "cell file, or name of a shipped cell, whose camera this is")
    mode: str = parameter(
        "lockstep",
        "lockstep: each target is one environment step, deterministic; realtime: wall clock",
        choices=("lockstep", "realtime"),
    )
    seed: int = parameter(0, "of the scene at the start", minimum=0)
    varied: bool = parameter(
        False, "light, colours, distractors and camera of the first scene vary, see reset_scene"
    )
    camera_turn_rad: float = parameter(
        0.0, "the camera is carried around the scene by this", "rad", minimum=-3.2, maximum=3.2
    )
    rate_hz: float = parameter(
        10.0, "of the camera; in lockstep also of states and clock", "Hz", minimum=0.5, maximum=60.0
    )
    state_rate_hz: float = parameter(
        60.0, "of states and clock in realtime", "Hz", minimum=10.0, maximum=240.0
    )
    max_speed: float = parameter(0.25, "of the tool in realtime", "m/s", minimum=0.01, maximum=1.0)
    max_turn_rate: float = parameter(
        1.5, "of the tool in realtime", "rad/s", minimum=0.1, maximum=6.0
    )
    gripper_rate: float = parameter(
        2.0, "closedness per second in realtime", "1/s", minimum=0.1, maximum=10.0
    )
