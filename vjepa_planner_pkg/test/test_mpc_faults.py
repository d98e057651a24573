"""Promises of the MPC when inputs, planner, predictor or guard fail."""

import numpy as np
import pytest
from mpc_world import MpcWorld
from vjepa_planner_pkg.core.goals.terms import GoalTerms
from vjepa_planner_pkg.core.mpc.io import (
    ArmState,
    CancelPlan,
    Command,
    MpcState,
    Now,
    RequestPlan,
    SubGoal,
)
from vjepa_planner_pkg.core.mpc.mpc import MPC
from vjepa_planner_pkg.core.mpc.parameters import MpcParameters

# Inputs that fail: the arm holds, the reason is named, and afterwards a new goal works.


def recovers(world):
    world.camera = world.arm = world.planner = True
    world.spend(1.0)
    world.follow()
    world.spend_until(MpcState.REACHED)


@pytest.mark.parametrize("when", [MpcState.MOVING, MpcState.PLANNING])
@pytest.mark.parametrize("what", ["camera", "arm"])
def test_a_stream_that_falls_silent_holds_the_arm_within_300_ms_and_stops_the_run(
    world, what, when
):
    world.spend(0.5)
    world.speed = 0.05
    world.planner = when is MpcState.MOVING
    world.follow()
    world.spend(1.0, lambda: world.status.state is when and bool(world.of(RequestPlan)))
    setattr(world, what, False)
    world.spend(0.3)
    holds = [c for c in world.of(Command) if not c.action.any()]
    assert len(holds) == (1 if (when is MpcState.MOVING and what == "camera") else 0)
    assert world.status.state is not MpcState.MOVING
    commands = len(world.of(Command))
    world.spend(1.6 if what == "camera" else 0.0)
    assert world.status.state is MpcState.STOPPED
    named = "latent" if what == "camera" else "end_effector_state"
    assert world.status.reason.startswith(f"no {named} for more than 0.25 s")
    assert len(world.of(Command)) == commands
    world.speed = 0.5
    recovers(world)


def test_a_run_goes_on_after_a_late_picture_from_where_the_arm_was_held(world):
    world.spend(0.5)
    world.speed = 0.05
    world.follow()
    world.spend_until(MpcState.MOVING)
    world.camera = False
    world.spend(1.0)
    assert world.status.state is MpcState.SETTLED
    assert world.status.reason.startswith("holding: no latent for more than 0.25 s")
    place = world.state.copy()
    world.spend(0.3)
    assert np.allclose(world.state, place)
    world.camera, world.speed = True, 0.5
    world.spend_until(MpcState.REACHED)
    assert world.mpc.run == 1


def test_a_plan_made_while_a_picture_is_late_moves_nothing_until_the_next_one(world):
    world.spend(0.5)
    world.planner = False
    world.follow()
    world.spend(0.2)
    request = world.of(RequestPlan)[0]
    world.camera = False
    world.spend(0.5)
    world.do(world.mpc.on_plan(request.id, world.plan(request), world.now))
    world.spend(0.5)
    assert not world.of(Command) and world.status.state is MpcState.PLANNING
    world.camera = True
    world.spend(0.1)
    assert len(world.of(Command)) == 1 and len(world.of(RequestPlan)) == 1


def test_a_plan_is_made_anew_if_the_arm_moved_while_a_picture_was_late(world):
    world.spend(0.5)
    world.planner = False
    world.follow()
    world.spend(0.2)
    request = world.of(RequestPlan)[0]
    world.camera = False
    world.spend(0.5)
    world.do(world.mpc.on_plan(request.id, world.plan(request), world.now))
    world.state[0] += 0.02  # somebody pushed it
    world.target = world.state.copy()
    world.spend(0.5)
    world.camera = True
    world.spend(0.5)
    assert not world.of(Command) and len(world.of(RequestPlan)) == 2


def test_nothing_waits_for_a_late_picture_while_the_guard_holds():
    world = MpcWorld(guard=True)
    world.guard = (True, "")
    world.spend(0.5)
    world.speed = 0.05
    world.follow()
    world.spend_until(MpcState.MOVING)
    world.camera = False
    world.spend(0.4)
    assert world.status.state is MpcState.SETTLED
    world.guard = (False, "emergency stop: pressed")
    world.spend(0.1)
    assert world.status.state is MpcState.STOPPED
    assert len(world.of(Command)) == 2  # the move and the hold


def test_a_latent_that_is_not_finite_is_never_planned_from(world):
    world.spend(0.5)
    world.follow()
    world.spend_until(MpcState.MOVING)
    bad = world.latent()
    bad.features[1, 2] = np.nan
    world.do(world.mpc.on_latent(bad, world.now))
    assert world.status.state is MpcState.STOPPED
    assert world.status.reason == "latent holds 1 numbers that are not finite"
    recovers(world)


def test_a_state_that_is_not_finite_stops_the_run(world):
    world.spend(0.5)
    world.follow()
    world.spend_until(MpcState.MOVING)
    state = world.state.copy()
    state[0] = np.inf
    world.do(world.mpc.on_arm(ArmState(world.now.ros_ns, state), world.now))
    assert "end_effector_state holds 1 numbers that are not finite" in world.status.reason
    assert world.status.state is MpcState.STOPPED
    recovers(world)


def test_a_refused_message_stops_the_run_with_its_reason(world):
    for refuse in (world.mpc.on_bad_arm, world.mpc.on_bad_latent):
        world.spend(0.5)
        world.follow()
        world.spend_until(MpcState.MOVING)
        world.do(refuse("is in frame 'map'", world.now))
        assert world.status.state is MpcState.STOPPED
        assert "is in frame 'map'" in world.status.reason
        world.spend(1.0)
    recovers(world)


def test_a_goal_that_is_not_finite_is_refused(world):
    world.spend(0.5)
    goal = world.goal()
    goal.terms.pictures[""].features[:] = np.nan
    world.follow([goal])
    assert world.status.state is MpcState.STOPPED
    assert "goal_latent holds 12 numbers that are not finite" in world.status.reason
    recovers(world)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"model": "other"}, "model 'other'"),
        ({"features": np.zeros((9, 3), np.float32)}, "[9, 3]"),
    ],
)
def test_a_goal_of_another_model_is_refused(world, change, named):
    world.spend(0.5)
    world.follow([SubGoal(GoalTerms.of(world.latent(**change)))])
    world.spend(0.5)
    assert world.status.state is MpcState.STOPPED
    assert named in world.status.reason
    recovers(world)


def test_old_stamps_stop_the_run_though_messages_arrive(world):
    world.spend(0.5)
    world.follow()
    world.spend_until(MpcState.MOVING)
    world.time_s += 0.01
    slow = Now(world.time_s, world.now.ros_ns + 2_000_000_000)
    world.do(world.mpc.on_arm(ArmState(world.now.ros_ns, world.state.copy()), slow))
    assert world.status.state is MpcState.STOPPED
    assert "the stamp of end_effector_state is more than 1 s old" in world.status.reason
    recovers(world)


def test_a_simulation_that_stops_its_clock_between_moves_is_followed(world):
    """Stamps stand still while nothing moves: rest is then told by the steady clock."""
    frozen = world.now.ros_ns
    for i in range(8):
        now = Now(world.time_s + 0.05 * i, frozen)
        world.do(world.mpc.on_arm(ArmState(frozen, world.state.copy()), now))
        world.do(world.mpc.on_latent(world.latent(frozen), now))
        if i == 4:
            world.do(world.mpc.on_goals([SubGoal(GoalTerms.of(world.latent(frozen)))], now))
    assert world.of(Command)


def test_a_goal_waits_for_inputs_that_never_came_and_then_names_them():
    world = MpcWorld(start_wait_s=3.0)
    world.camera = False
    world.follow()
    world.spend(2.5)
    assert world.status.state is MpcState.PLANNING
    assert world.status.reason.startswith("waiting: no latent yet")
    world.camera = True
    world.spend_until(MpcState.REACHED)
    world = MpcWorld(start_wait_s=3.0)
    world.camera = False
    world.follow()
    world.spend(3.5)
    assert world.status.state is MpcState.STOPPED and "no latent yet" in world.status.reason


def test_waiting_is_said_once_and_not_at_every_tick():
    world = MpcWorld()
    world.spend(0.5)
    world.camera = False
    world.spend(1.0)
    world.follow()
    world.spend(1.0)
    assert [s.reason.split(":")[0] for s in world.changes].count("waiting") == 1


def test_a_goal_while_the_camera_is_silent_stops_soon(world):
    world.spend(0.5)
    world.camera = False
    world.spend(2.0)
    world.follow()
    world.spend(2.0)
    assert world.status.state is MpcState.STOPPED
    assert not world.of(RequestPlan)
    recovers(world)


def test_a_restarted_simulation_whose_time_begins_anew_is_followed(world):
    world.spend(2.0)
    world.time_s -= 1.9  # stamps run backwards
    world.mpc.tick(world.now)
    world.spend(0.5)
    world.follow()
    world.spend_until(MpcState.REACHED)


# Planner, predictor and guard.


def test_a_plan_that_does_not_come_stops_the_run(world):
    world.spend(0.5)
    world.planner = False
    world.follow()
    world.spend(6.0)
    assert world.status.state is MpcState.STOPPED
    assert world.status.reason == "predictor: no answer to a plan within 5 s"
    assert world.of(CancelPlan)
    recovers(world)


def test_a_failed_plan_stops_the_run_with_its_reason(world):
    world.spend(0.5)
    world.planner = False
    world.follow()
    world.spend(0.3)
    request = world.of(RequestPlan)[0]
    world.do(world.mpc.on_plan_failed(request.id, "predictor: model 'a', not 'b'", world.now))
    assert world.status.state is MpcState.STOPPED
    assert world.status.reason == "predictor: model 'a', not 'b'"
    recovers(world)


def test_a_plan_that_is_not_finite_moves_nothing(world):
    world.spend(0.5)
    world.action = lambda request: np.array([np.nan, 0, 0])
    world.follow()
    world.spend(0.5)
    assert world.status.state is MpcState.STOPPED and "not finite" in world.status.reason
    assert not world.of(Command)
    world.action = world.to_goal
    recovers(world)


def test_a_plan_that_comes_when_inputs_are_old_moves_nothing(world):
    world.spend(0.5)
    world.planner = False
    world.follow()
    world.spend(0.2)
    request = world.of(RequestPlan)[0]
    world.time_s += 0.4  # all at once: no tick in between
    world.do(world.mpc.on_plan(request.id, world.plan(request), world.now))
    assert world.status.state is MpcState.STOPPED and not world.of(Command)


def test_the_arm_moves_only_while_the_guard_is_ready():
    world = MpcWorld(guard=True, start_wait_s=1.0)
    world.spend(0.5)
    world.follow()
    world.spend(0.5)
    assert "is command_guard running" in world.status.reason and not world.of(RequestPlan)
    world.guard = (True, "")
    world.spend_until(MpcState.MOVING)
    world.do(world.mpc.on_guard(False, "emergency stop: pressed", world.now))
    assert world.status.state is MpcState.STOPPED
    assert world.status.reason == "command guard: emergency stop: pressed"
    recovers(world)


def test_a_guard_that_falls_silent_stops_the_run_within_300_ms():
    world = MpcWorld(guard=True)
    world.guard = (True, "")
    world.spend(0.5)
    world.follow()
    world.spend_until(MpcState.MOVING)
    world.guard = None
    world.spend(0.3)
    assert world.status.state is MpcState.STOPPED
    assert world.status.reason.startswith("command guard: no guard_status for more")
    world.guard = (True, "")
    recovers(world)


def test_a_peer_that_dies_stops_the_run_at_once():
    world = MpcWorld()
    world.mpc = MPC(MpcParameters(guard=False), peers=["predictor"])
    world.spend(0.5)
    world.follow()
    world.spend(0.5)
    assert "predictor: not heard of yet" in world.status.reason and not world.of(RequestPlan)
    world.do(world.mpc.on_peer("predictor", "", world.now))
    world.spend_until(MpcState.MOVING)
    world.do(world.mpc.on_peer("predictor", "died", world.now))
    assert world.status.state is MpcState.STOPPED
    assert world.status.reason == "predictor: died"
    world.do(world.mpc.on_peer("predictor", "", world.now))
    recovers(world)


def test_a_rejected_goal_image_stops_a_run_and_is_named_without_one(world):
    world.do(world.mpc.on_goal_rejected("goal_image is empty", world.now))
    assert world.status.state is MpcState.STOPPED
    assert world.status.reason == "goal_image is empty"
    world.spend(0.5)
    world.follow()
    world.spend_until(MpcState.MOVING)
    world.do(world.mpc.on_goal_rejected("goal_image is 3x3", world.now))
    assert world.status.reason == "goal_image is 3x3"
    assert not world.of(Command)[-1].action.any()
    recovers(world)
