"""Between messages and the plain values of the MPC. What cannot be used raises ValueError."""

from __future__ import annotations

import numpy as np
from node_kit.convert import (
    latent_to_msg,
    msg_to_latent,
    msg_to_state,
    pose_to_msg,
)
from node_kit.stamps import stamp_ns
from rclpy.time import Time
from robot_cell import CLOSEDNESS, Arm
from std_msgs.msg import Header
from vjepa_interfaces.msg import EndEffectorCommand, EndEffectorState, Goal, PlannerStatus
from vjepa_interfaces.msg import Latent as LatentMsg
from vjepa_interfaces.srv import ScoreActions

from vjepa_planner_pkg.core.goals.terms import GoalTerms
from vjepa_planner_pkg.core.mpc.io import ArmState, Command, Latent, Status, SubGoal
from vjepa_planner_pkg.core.search.scorer import ScoreAnswer, ScoreRequest


def header(ns: int, frame: str) -> Header:
    """A header of this stamp [ns] and frame."""
    return Header(stamp=Time(nanoseconds=ns).to_msg(), frame_id=frame)


def to_latent(message: LatentMsg) -> Latent:
    """ValueError: sizes that do not fit, or numbers that are not finite."""
    return Latent(
        stamp_ns=stamp_ns(message.header.stamp),
        features=msg_to_latent(message),
        grid=(message.grid_height, message.grid_width),
        model=message.model,
        frame=message.header.frame_id,
    )


def from_latent(latent: Latent) -> LatentMsg:
    """The inverse of `to_latent`."""
    return latent_to_msg(
        latent.features, latent.grid, header(latent.stamp_ns, latent.frame), latent.model
    )


def to_arm(message: EndEffectorState, arm: Arm) -> ArmState:
    """ValueError: other frames than those of `arm`, or numbers that are no pose."""
    if message.header.frame_id != arm.base_frame or message.child_frame != arm.tool_frame:
        raise ValueError(
            f"is the pose of {message.child_frame!r} in frame {message.header.frame_id!r}; the "
            f"cell says {arm.tool_frame!r} in {arm.base_frame!r}"
        )
    return ArmState(stamp_ns(message.header.stamp), msg_to_state(message))


def from_command(command: Command, frame: str) -> EndEffectorCommand:
    """`frame` is the arm's base frame."""
    return EndEffectorCommand(
        header=header(command.stamp_ns, frame),
        pose=pose_to_msg(command.target),
        closedness=float(command.target[CLOSEDNESS]),
        action=np.asarray(command.action, dtype=np.float64),
    )


def from_status(status: Status, now_ns: int, frame: str) -> PlannerStatus:
    """`now_ns` stands in while no image was used yet; `frame` is the arm's base frame."""
    return PlannerStatus(
        header=header(status.stamp_ns or now_ns, frame),
        state=int(status.state),
        state_name=status.state.name.lower(),
        reason=status.reason,
        goal_index=int(status.goal_index),
        goal_count=int(status.goal_count),
        step=int(status.step),
        max_steps=int(status.max_steps),
        energy=float(status.energy),
        energy_start=float(status.energy_start),
        predicted_energy=float(status.predicted_energy),
        planning_s=float(status.planning_s),
        evaluations=int(status.evaluations),
        action=np.asarray(status.action, dtype=np.float64),
    )


def from_goal(terms: GoalTerms, max_steps: int = 0) -> Goal:
    return Goal(
        pictures=[from_latent(latent) for latent in terms.pictures.values()],
        cameras=list(terms.pictures),
        picture_weight=float(terms.picture_weight),
        pose=[] if terms.pose is None else [float(v) for v in terms.pose],
        pose_weight=float(terms.pose_weight),
        keep_out=[float(v) for v in np.ravel(terms.keep_out)],
        keep_out_weight=float(terms.keep_out_weight),
        effort_weight=float(terms.effort_weight),
        max_steps=max_steps,
    )


def to_goal_terms(message: Goal) -> GoalTerms:
    """ValueError: terms that cannot be used; says which."""
    cameras = list(message.cameras) or [""] * len(message.pictures)
    if len(cameras) != len(message.pictures) or len(set(cameras)) != len(cameras):
        raise ValueError(
            f"{len(message.pictures)} pictures of cameras {cameras}; name each camera once"
        )
    if len(message.pose) not in (0, 7) or len(message.keep_out) % 6:
        raise ValueError(
            f"pose holds {len(message.pose)} numbers and keep_out {len(message.keep_out)}; a pose "
            "has 7, each box 6"
        )
    terms = GoalTerms(
        pictures=dict(zip(cameras, map(to_latent, message.pictures))),
        pose=np.array(message.pose, dtype=np.float64) if len(message.pose) else None,
        keep_out=np.array(message.keep_out, dtype=np.float64).reshape(-1, 2, 3),
        picture_weight=message.picture_weight,
        pose_weight=message.pose_weight,
        keep_out_weight=message.keep_out_weight,
        effort_weight=message.effort_weight,
    )
    if problem := terms.problem():
        raise ValueError(problem)
    return terms


def to_sub_goal(message: Goal) -> SubGoal:
    """ValueError: as `to_goal_terms`."""
    return SubGoal(to_goal_terms(message), message.max_steps or None)


def from_score_request(request: ScoreRequest) -> ScoreActions.Request:
    samples, horizon, _ = request.actions.shape
    message = ScoreActions.Request(
        latent=from_latent(request.latent),
        goal=from_goal(request.goal),
        state=np.array(request.state, dtype=np.float64),  # a copy: the message would keep the array
        samples=samples,
        horizon=horizon,
        gradients=request.gradients,
    )
    message.actions.frombytes(np.ascontiguousarray(request.actions, np.float32).tobytes())
    return message


def to_score_request(message: ScoreActions.Request) -> ScoreRequest:
    """ValueError: lengths that do not fit, or latents that cannot be used."""
    count = message.samples * message.horizon * 7
    if count == 0 or len(message.actions) != count:
        raise ValueError(
            f"actions hold {len(message.actions)} numbers, {message.samples} samples of horizon "
            f"{message.horizon} need {count}"
        )
    actions = np.frombuffer(message.actions, np.float32)
    return ScoreRequest(
        latent=to_latent(message.latent),
        goal=to_goal_terms(message.goal),
        state=np.asarray(message.state, dtype=np.float64),
        actions=actions.reshape(message.samples, message.horizon, 7),
        gradients=message.gradients,
    )


def fill_score_response(response: ScoreActions.Response, answer: ScoreAnswer) -> None:
    response.success = True
    response.energies.frombytes(np.ascontiguousarray(answer.energies, np.float32).tobytes())
    if answer.gradients is not None:
        response.gradients.frombytes(np.ascontiguousarray(answer.gradients, np.float32).tobytes())


def to_score_answer(response: ScoreActions.Response, samples: int, horizon: int) -> ScoreAnswer:
    """ValueError: lengths that do not fit."""
    energies = np.frombuffer(response.energies, np.float32).copy()
    gradients = np.frombuffer(response.gradients, np.float32).copy()
    if len(energies) != samples * horizon:
        raise ValueError(f"{len(energies)} energies for {samples} samples of horizon {horizon}")
    return ScoreAnswer(
        energies.reshape(samples, horizon),
        gradients.reshape(samples, horizon, 7) if len(gradients) else None,
    )
