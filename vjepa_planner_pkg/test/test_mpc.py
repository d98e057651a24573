"""Promises of the MPC, told by events with made-up times."""

import itertools

import numpy as np
import pytest
from vjepa_planner_pkg.core.mpc import MPC
from vjepa_planner_pkg.core.mpc_io import (
    Arm,
    CancelPlan,
    Command,
    EncodeGoal,
    Finished,
    Goal,
    Latent,
    MpcState,
    Now,
    PlannedAction,
    RequestPlan,
)
from vjepa_planner_pkg.core.mpc_parameters import MpcParameters

GOAL = np.array([0.5, 0.1, 0.2])
START = np.array([0.4, 0.0, 0.2, 0.0, 0.0, 0.5, 0.3])
PERIOD_S = 0.05  # of images and states


class World:
    """An arm, a camera and a planner that see the distance to the goal, around a real MPC.

    Time passes only in `spend`. Everything that the MPC puts out is kept in `effects`.
    """

    def __init__(self, **parameters):
        self.changes = []
        self.mpc = MPC(MpcParameters(**{"guard": False, **parameters}), watch=self.changes.append)
        self.time_s = 100.0
        self.state = START.copy()
        self.target = self.state.copy()
        self.speed = 0.5  # [m/s]; 0: the arm is stuck
        self.camera = self.arm = self.planner = True  # whether they work
        self.guard = None  # ready and reason, repeated as a sign of life; None: silent
        self.effects = []
        self.energy = lambda position: 0.1 + np.linalg.norm(position - GOAL)
        self.action = self.to_goal
        self.cut_short = False  # whether the time budget ends the plans

    def to_goal(self, request):
        return np.clip(GOAL - request.state[:3], -0.06, 0.06)

    @property
    def now(self):
        return Now(self.time_s, round(self.time_s * 1e9))

    @property
    def status(self):
        return self.mpc.status

    def of(self, kind):
        return [e for e in self.effects if isinstance(e, kind)]

    def latent(self, stamp_ns=None, **changes):
        features = np.zeros((4, 3), np.float32)
        features[0] = self.state[:3]
        values = {"features": features, "grid": (2, 2), "model": "m", **changes}
        return Latent(self.now.ros_ns if stamp_ns is None else stamp_ns, **values)

    def goal(self, **changes):
        return Goal(self.latent(), **changes)

    def follow(self, goals=None, **options):
        self.do(self.mpc.on_goals(goals or [self.goal()], self.now, **options))

    def do(self, effects):
        self.effects += effects
        for effect in effects:
            if isinstance(effect, Command):
                self.target = effect.target
            if isinstance(effect, RequestPlan) and self.planner:
                self.do(self.mpc.on_plan(effect.id, self.plan(effect), self.now))

    def plan(self, request):
        action = np.zeros(7)
        action[:3] = self.action(request)
        position = request.state[:3]
        return PlannedAction(
            action=action,
            warm_start=action[None],
            energy=float(self.energy(position + action[:3])),
            energy_stay=float(self.energy(position)),
            evaluations=100,
            seconds=0.1,
            cut_short=self.cut_short,
        )

    def spend(self, seconds, until=lambda: False):
        """Lets time pass in periods; ends early once `until()` holds."""
        end_s = self.time_s + seconds
        while self.time_s < end_s - 1e-9 and not until():
            self.time_s += PERIOD_S
            way = self.target[:3] - self.state[:3]
            share = min(1.0, self.speed * PERIOD_S / max(np.linalg.norm(way), 1e-9))
            self.state[:3] += share * way
            if self.guard is not None:
                self.do(self.mpc.on_guard(*self.guard, self.now))
            if self.arm:
                self.do(self.mpc.on_arm(Arm(self.now.ros_ns, self.state.copy()), self.now))
            if self.camera:
                self.do(self.mpc.on_latent(self.latent(), self.now))
            self.do(self.mpc.tick(self.now))

    def spend_until(self, state, seconds=60.0):
        self.spend(seconds, lambda: self.status.state is state)
        assert self.status.state is state, self.status


@pytest.fixture
def world():
    return World()


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
    world = World()
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
        world = World()
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
    world = World(reached_energy=0.15)
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
    world = World(stuck_steps=50)
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
    return [Goal(max_steps=4), Goal()]


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
        world = World(advance_after_max_steps=advance)
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
    world.follow([Goal()])
    assert len(world.of(Command)) == 1
    world.do(world.mpc.on_goal_rejected("subgoal_image is empty", world.now))
    assert not world.of(Command)[-1].action.any()
    assert np.allclose(world.of(Command)[-1].target[:3], world.state[:3])


def test_stop_without_a_goal_changes_nothing(world):
    assert world.mpc.stop("cancelled", world.now) == []
    assert world.status.state is MpcState.IDLE


# Inputs that fail: the arm holds, the reason is named, and afterwards a new goal works.


def recovers(world):
    world.camera = world.arm = world.planner = True
    world.spend(1.0)
    world.follow()
    world.spend_until(MpcState.REACHED)


@pytest.mark.parametrize("when", [MpcState.MOVING, MpcState.PLANNING])
@pytest.mark.parametrize(
    ("what", "named"),
    [("camera", "no latent for more than 0.25 s"), ("arm", "no end_effector_state for more than")],
)
def test_a_stream_that_falls_silent_stops_the_run_within_300_ms(world, what, named, when):
    world.spend(0.5)
    world.speed = 0.05
    world.planner = when is MpcState.MOVING
    world.follow()
    world.spend(1.0, lambda: world.status.state is when and bool(world.of(RequestPlan)))
    setattr(world, what, False)
    world.spend(0.3)
    assert world.status.state is MpcState.STOPPED
    assert named in world.status.reason
    holds = [c for c in world.of(Command) if not c.action.any()]
    assert len(holds) == (1 if (when is MpcState.MOVING and what == "camera") else 0)
    world.speed = 0.5
    recovers(world)


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
    world.do(world.mpc.on_arm(Arm(world.now.ros_ns, state), world.now))
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
    goal.latent.features[:] = np.nan
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
    world.follow([Goal(world.latent(**change))])
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
    world.do(world.mpc.on_arm(Arm(world.now.ros_ns, world.state.copy()), slow))
    assert world.status.state is MpcState.STOPPED
    assert "the stamp of end_effector_state is more than 1 s old" in world.status.reason
    recovers(world)


def test_a_simulation_that_stops_its_clock_between_moves_is_followed(world):
    """Stamps stand still while nothing moves: rest is then told by the steady clock."""
    frozen = world.now.ros_ns
    for i in range(8):
        now = Now(world.time_s + 0.05 * i, frozen)
        world.do(world.mpc.on_arm(Arm(frozen, world.state.copy()), now))
        world.do(world.mpc.on_latent(world.latent(frozen), now))
        if i == 4:
            world.do(world.mpc.on_goals([Goal(world.latent(frozen))], now))
    assert world.of(Command)


def test_a_goal_waits_for_inputs_that_never_came_and_then_names_them():
    world = World(start_wait_s=3.0)
    world.camera = False
    world.follow()
    world.spend(2.5)
    assert world.status.state is MpcState.PLANNING
    assert world.status.reason.startswith("waiting: no latent yet")
    world.camera = True
    world.spend_until(MpcState.REACHED)
    world = World(start_wait_s=3.0)
    world.camera = False
    world.follow()
    world.spend(3.5)
    assert world.status.state is MpcState.STOPPED and "no latent yet" in world.status.reason


def test_waiting_is_said_once_and_not_at_every_tick():
    world = World()
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
    world = World(guard=True, start_wait_s=1.0)
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
    world = World(guard=True)
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
    world = World()
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
