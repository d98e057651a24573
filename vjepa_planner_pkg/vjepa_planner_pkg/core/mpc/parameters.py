"""When the MPC waits, ends and stops."""

from __future__ import annotations

from dataclasses import dataclass

from node_kit.parameters import parameter


@dataclass
class MpcParameters:
    """Limits of one run toward one goal or a sequence of sub-goals."""

    max_steps: int = parameter(12, "actions for a goal that brings no number of its own", minimum=1)
    timeout_s: float = parameter(
        120.0, "time for a whole sequence that brings none of its own", unit="s", minimum=0.1
    )
    advance_after_max_steps: bool = parameter(
        False, "a sub-goal out of steps is followed by the next one; false: the sequence ends"
    )

    reached_step_m: float = parameter(
        0.004, "a planned move this short may mean that the goal is reached", unit="m", minimum=0.0
    )
    reached_gain: float = parameter(
        0.02,
        "which it does if it would lower the energy by no larger share, or the last move did not",
        minimum=0.0,
        maximum=1.0,
    )
    reached_energy: float = parameter(
        0.0, "an energy this low is enough in any case; 0: not used", minimum=0.0
    )
    stuck_steps: int = parameter(
        5, "moves in a row without a new lowest energy that mean stuck", minimum=1
    )
    stuck_moves: int = parameter(
        2, "commands in a row that the arm did not follow that mean stuck", minimum=1
    )
    follow_share: float = parameter(
        0.2, "an arm that covers less of a commanded move did not follow", minimum=0.0, maximum=1.0
    )

    still_s: float = parameter(
        0.1, "how long the arm must keep its pose to count as settled", unit="s", minimum=0.0
    )
    still_m: float = parameter(
        0.001, "how far it may stray from that pose", unit="m", minimum=1e-5, maximum=0.1
    )
    still_rad: float = parameter(
        0.01, "how far it may turn from it", unit="rad", minimum=1e-4, maximum=1.0
    )
    still_closedness: float = parameter(
        0.03, "how far the gripper may open or close", minimum=1e-3, maximum=1.0
    )
    arrival_factor: float = parameter(
        3.0, "within so many times the still_* tolerances of its target, the arm has arrived",
        minimum=1.0,
    )  # fmt: skip
    no_motion_s: float = parameter(
        1.0, "an arm that is still elsewhere has settled after this long", unit="s", minimum=0.0
    )
    settle_timeout_s: float = parameter(
        5.0, "an arm that moves for longer is stuck", unit="s", minimum=0.1
    )

    latent_max_age_s: float = parameter(
        0.25, "silence of the encoder after which the arm holds", unit="s", minimum=0.01
    )
    state_max_age_s: float = parameter(
        0.25, "silence of end_effector_state after which the arm holds", unit="s", minimum=0.01
    )
    guard_max_age_s: float = parameter(
        0.25, "silence of guard_status after which nothing moves", unit="s", minimum=0.01
    )
    stamp_max_age_s: float = parameter(
        1.0, "oldest stamp of a latent or state, by the node's clock", unit="s", minimum=0.01
    )
    start_wait_s: float = parameter(
        30.0, "how long a new goal waits for inputs never received yet", unit="s", minimum=0.0
    )
    recover_wait_s: float = parameter(
        1.5, "how long a new goal waits for inputs that went silent, and a run for a late picture",
        unit="s", minimum=0.0,
    )  # fmt: skip
    plan_timeout_s: float = parameter(
        5.0, "longest time for a plan or for encoding a goal image", unit="s", minimum=0.1
    )
    guard: bool = parameter(True, "a command guard follows: move only while it reports ready")
