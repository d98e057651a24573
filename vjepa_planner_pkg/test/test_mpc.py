"""Promises of the MPC, told by events with made-up times."""

import itertools

import numpy as np
import pytest
from mpc_world import GOAL, START, MpcWorld
from vjepa_planner_pkg.core.mpc.io import (
    CancelPlan,
    Command,
    EncodeGoal,
    Finished,
    MpcState,
    PlannedAction,
    RequestPlan,
    SubGoal,
)

# The way to the goal.


def test_a_goal_is_reached_through_all_states_in_order(world):
    world.spend(1.0)
    assert world.status.state is MpcState.IDLE and not world.effects
    world.follow()
    world.spend_until(MpcState.REACHED)
    seen = [state for state, _ in itertools.groupby(s.state for s in world.changes)]
    step = [MpcState.PLANNING, MpcState.MOVING, MpcState.SETTLED]
    assert seen == [*step, *step, MpcState.PLANNING, MpcState.REACHED]
    assert np.linalg.norm(world.state[:3] - GOAL) < 0.002
    assert world.status.step == len(world.of(Command)) == 2
    (finished,) = world.of(Finished)
    assert finished.outcome is MpcState.REACHED and finished.goals_reached == 1
    assert "mm" in finished.reason
    assert world.status.energy < world.status.energy_start


def test_a_search_out_of_time_that_found_no_way_is_repeated(world):
    world.cut_short = True
    blind = iter([True, True, False])  # the first searches see no better place than here
    world.action = lambda r: np.zeros(3) if next(blind, False) else world.to_goal(r)
    world.spend(0.5)
    world.follow()
    world.spend_until(MpcState.MOVING)
    first = world.of(RequestPlan)
    assert len(first) == 3 and len({request.seed for request in first}) == 3
    assert world.status.step == 1
    world.spend_until(MpcState.REACHED)
    assert np.linalg.norm(world.state[:3] - GOAL) < 0.002


def test_three_searches_out_of_time_that_found_no_way_are_enough(world):
    world.cut_short = True
    world.action = lambda r: np.zeros(3)
    world.spend(0.5)
    world.follow()
    world.spend_until(MpcState.REACHED)
    assert len(world.of(RequestPlan)) == 3 and not world.of(Command)


def test_every_plan_sees_an_image_taken_after_the_arm_came_to_rest():
    world = MpcWorld()
    requests = []
    world.action = lambda r: requests.append((r, world.state.copy())) or world.to_goal(r)
    world.spend(0.5)
    world.follow()
    world.spend_until(MpcState.REACHED)
    assert len(requests) == 3
    for request, at in requests:
        assert np.allclose(request.latent.features[0], at[:3], atol=1e-3)
        assert np.allclose(request.state, at, atol=1e-3)


def test_an_image_from_before_the_arm_settled_is_not_planned_from(world):
    world.spend(0.5)
    world.follow()
    world.spend_until(MpcState.MOVING)
    world.camera = False
    commanded = len(world.of(RequestPlan))
    late = world.latent()  # shows the arm where it started
    world.spend(0.2)
    world.do(world.mpc.on_latent(late, world.now))
    world.spend(0.2, lambda: world.status.state is MpcState.SETTLED)
    assert len(world.of(RequestPlan)) == commanded


def test_a_goal_waits_until_a_moving_arm_has_come_to_rest(world):
    world.spend(0.5)
    world.target = world.state + np.array([0.0, 0.0, 0.4, 0, 0, 0, 0])
    world.spend(0.2)
    world.follow()
    assert "waiting for an image" in world.status.reason
    world.spend(0.3)
    assert not world.of(RequestPlan)
    world.spend_until(MpcState.REACHED)


def test_axes_without_action_keep_what_the_run_began_with(world):
    world.spend(0.5)
    world.follow()
    world.spend_until(MpcState.MOVING)
    world.state[3:6] += 0.005  # the arm sags a little
    world.state[6] = 0.25  # and its fingers press on a part
    world.spend_until(MpcState.REACHED)
    for command in world.of(Command):
        assert np.allclose(command.target[3:], START[3:])


def test_a_rotation_turns_the_tool_in_the_base_frame(world):
    world.spend(0.5)
    world.planner = False
    world.follow()
    world.spend_until(MpcState.PLANNING)
    world.spend(0.2)
    action = np.array([0.03, 0, 0, 0, 0, 0.2, 0.4])
    plan = PlannedAction(action, action[None], 0.1, 0.2, 1, 0.1)
    world.do(world.mpc.on_plan(world.of(RequestPlan)[0].id, plan, world.now))
    (command,) = world.of(Command)
    assert command.target == pytest.approx([0.43, 0.0, 0.2, 0.0, 0.0, 0.7, 0.7])


def test_a_command_carries_the_stamp_of_its_image(world):
    world.spend(0.5)
    world.follow()
    world.spend_until(MpcState.MOVING)
    assert world.of(Command)[0].stamp_ns == world.of(RequestPlan)[0].latent.stamp_ns


def test_the_next_plan_starts_from_the_last_one(world):
    world.spend(0.5)
    world.follow()
    world.spend_until(MpcState.REACHED)
    first, second, _ = world.of(RequestPlan)
    assert first.warm_start is None
    assert np.allclose(second.warm_start[0], world.of(Command)[0].action)


def test_the_seeds_of_a_run_repeat_in_the_next_one():
    seeds = []
    for _ in range(2):
        world = MpcWorld()
        world.spend(0.5)
        world.follow()
        world.spend_until(MpcState.REACHED)
        seeds.append([r.seed for r in world.of(RequestPlan)])
    assert seeds[0] == seeds[1] and len(set(seeds[0])) == 3


# Reached, stuck, timed out.


def test_a_short_move_that_still_promises_much_is_made(world):
    world.state[:3] = world.target[:3] = GOAL + [0.003, 0, 0]
    world.energy = lambda position: 0.001 + np.linalg.norm(position - GOAL)
    world.spend(0.5)
    world.follow()
    world.spend_until(MpcState.REACHED)
    assert len(world.of(Command)) == 1


def test_an_energy_threshold_ends_the_run_where_one_is_set():
    world = MpcWorld(reached_energy=0.15)
    world.spend(0.5)
    world.follow()
    world.spend_until(MpcState.REACHED)
    assert "at most 0.15" in world.status.reason


def test_an_arm_that_does_not_follow_is_stuck(world):
    world.spend(0.5)
    world.speed = 0.0
    world.follow()
    world.spend_until(MpcState.STUCK)
    assert "did not follow the last 2 commands" in world.status.reason
    *moves, hold = world.of(Command)
    assert len(moves) == 2
    assert not hold.action.any()  # lest it moves when whatever blocks it lets go


def test_an_arm_that_never_settles_is_stuck_and_told_to_hold(world):
    world.spend(0.5)
    world.speed = 0.05
    world.action = lambda request: np.array([0.5, 0, 0])
    world.follow()
    world.spend_until(MpcState.STUCK)
    assert "did not settle within 5 s" in world.status.reason
    assert not world.of(Command)[-1].action.any()


def test_an_energy_that_does_not_fall_is_stuck(world):
    world.spend(0.5)
    world.action = lambda r: np.array([0.03 if len(world.of(Command)) % 2 else -0.03, 0, 0])
    world.energy = lambda position: 1.0
    world.follow()
    world.spend_until(MpcState.STUCK)
    assert "5 moves brought no energy below 1" in world.status.reason
    assert len(world.of(Command)) == 5


def test_steps_run_out():
    world = MpcWorld(stuck_steps=50)
    world.spend(0.5)
    world.action = lambda request: np.array([0.0, 0.0, 0.005])
    world.follow([world.goal(max_steps=3)])
    world.spend_until(MpcState.TIMED_OUT)
    assert len(world.of(Command)) == 3
    assert world.status.reason == "not reached within 3 actions"


def test_the_last_allowed_step_may_still_reach_the_goal(world):
    world.spend(0.5)
    world.follow([world.goal(max_steps=2)])
    world.spend_until(MpcState.REACHED)


def test_time_runs_out_while_moving_and_the_arm_holds(world):
    world.spend(0.5)
    world.speed = 0.02
    world.follow(timeout_s=1.0)
    world.spend_until(MpcState.TIMED_OUT)
    assert world.status.reason == "not reached within 1 s"
    hold = world.of(Command)[-1]
    assert np.allclose(hold.target[:3], world.state[:3]) and not hold.action.any()


# Sequences.


def two_goals(world):
    """Goal images of the MPC's own goal, to be encoded on the way."""
    return [SubGoal(max_steps=4), SubGoal()]


def encode(world):
    request = world.of(EncodeGoal)[-1]
    world.do(world.mpc.on_goal_encoded(request.run, request.index, world.latent(), world.now))


def test_sub_goals_are_encoded_and_reached_one_after_the_other(world):
    world.spend(0.5)
    world.follow(two_goals(world))
    assert [e.index for e in world.of(EncodeGoal)] == [0]
    assert world.status.max_steps == 4 and world.status.goal_count == 2
    encode(world)
    world.spend(5.0, lambda: world.status.goal_index == 1)
    assert [e.index for e in world.of(EncodeGoal)] == [0, 1]
    assert world.status.max_steps == 12 and world.status.step == 0
    encode(world)
    world.spend_until(MpcState.REACHED)
    assert world.of(Finished)[0].goals_reached == 2
    assert world.status.reason.startswith("2 of 2 goals")


def test_a_sub_goal_out_of_steps_ends_the_sequence_or_is_passed_by():
    for advance, outcome, reached in [
        (False, MpcState.TIMED_OUT, 0),
        (True, MpcState.REACHED, 1),
    ]:
        world = MpcWorld(advance_after_max_steps=advance)
        world.spend(0.5)
        world.follow([world.goal(max_steps=1), world.goal()])
        world.spend_until(outcome)
        assert world.of(Finished)[0].goals_reached == reached


def test_a_rejected_sub_goal_stops_the_sequence(world):
    world.spend(0.5)
    world.follow(two_goals(world))
    encode(world)
    world.spend(5.0, lambda: world.status.goal_index == 1)
    world.do(world.mpc.on_goal_rejected("goal image 2 is empty", world.now))
    assert world.status.state is MpcState.STOPPED
    assert world.of(Finished)[0].goals_reached == 1
    assert world.status.reason == "goal image 2 is empty"


def test_an_encoder_that_does_not_answer_stops_the_sequence(world):
    world.spend(0.5)
    world.follow(two_goals(world))
    world.spend_until(MpcState.STOPPED)
    assert world.status.reason.startswith("encoder: no answer")


def test_a_late_answer_of_a_former_run_is_ignored(world):
    world.spend(0.5)
    world.follow(two_goals(world))
    world.follow(two_goals(world))
    first = world.of(EncodeGoal)[0]
    world.do(world.mpc.on_goal_encoded(first.run, first.index, world.latent(), world.now))
    world.spend(0.5)
    assert not world.of(RequestPlan)


def test_an_empty_sequence_is_refused(world):
    world.do(world.mpc.on_goals([], world.now))
    assert world.status.state is MpcState.STOPPED
    assert world.status.reason == "the goal holds no image"


# Pre-emption and stop.


def test_a_new_goal_pre_empts_the_old_one_and_its_plan(world):
    world.spend(0.5)
    world.planner = False
    world.follow()
    world.spend(0.5)
    (request,) = world.of(RequestPlan)
    world.planner = True
    world.follow()
    assert world.of(CancelPlan) == [CancelPlan(request.id)]
    (finished,) = world.of(Finished)
    assert finished.outcome is MpcState.STOPPED and "pre-empted" in finished.reason
    before = len(world.effects)
    world.do(world.mpc.on_plan(request.id, world.plan(request), world.now))
    assert len(world.effects) == before
    world.spend_until(MpcState.REACHED)
    assert [f.run for f in world.of(Finished)] == [1, 2]


def test_stop_while_moving_sends_the_arm_to_where_it_is(world):
    world.spend(0.5)
    world.speed = 0.1
    world.follow()
    world.spend_until(MpcState.MOVING)
    world.spend(0.1)
    world.do(world.mpc.stop("cancelled", world.now))
    assert world.status.state is MpcState.STOPPED and world.status.reason == "cancelled"
    assert np.allclose(world.of(Command)[-1].target[:3], world.state[:3])
    assert world.of(Command)[-1].stamp_ns > world.of(Command)[0].stamp_ns
    world.spend(1.0)
    assert len(world.of(Command)) == 2


def test_a_new_goal_that_fails_holds_the_arm_that_still_moves_for_the_old_one(world):
    world.spend(0.5)
    world.speed = 0.1
    world.follow()
    world.spend_until(MpcState.MOVING)
    world.follow([SubGoal()])
    assert len(world.of(Command)) == 1
    world.do(world.mpc.on_goal_rejected("subgoal_image is empty", world.now))
    assert not world.of(Command)[-1].action.any()
    assert np.allclose(world.of(Command)[-1].target[:3], world.state[:3])


def test_stop_without_a_goal_changes_nothing(world):
    assert world.mpc.stop("cancelled", world.now) == []
    assert world.status.state is MpcState.IDLE
