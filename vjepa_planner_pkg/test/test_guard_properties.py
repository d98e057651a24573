"""No sequence of inputs gets a command past the guard.

Hypothesis drives the guard through states, commands, writers, emergency stops, resets and leaps of
time, with any float in any place. What comes out is judged by rules written here anew, in plain
arithmetic, from the inputs that the guard said it accepted; and what it accepts is judged as well.
"""

import math
from dataclasses import replace

import hypothesis.strategies as st
import numpy as np
import pytest
from guard_rig import DRIVER, HOME, PLANNER, STRANGER, UPRIGHT, Rig
from hypothesis import HealthCheck, given, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from vjepa_planner_pkg.core.guard.io import GuardState, Verdict

EXACT = 1e-7  # [m], [rad]: more than rounding, less than any limit is worth
EFFORT = settings(
    max_examples=100,
    stateful_step_count=50,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)

any_float = st.floats(allow_nan=True, allow_infinity=True, allow_subnormal=True)
around = st.floats(-0.2, 0.2)
anywhere = st.tuples(any_float, any_float, any_float)
near_the_box = st.tuples(st.floats(0.2, 0.8), st.floats(-0.4, 0.4), st.floats(-0.1, 0.5))
any_quaternion = st.tuples(any_float, any_float, any_float, any_float)
frames = st.sampled_from(["base_link", "", "world", "tool0", "base_link/"])
writers = st.sampled_from([PLANNER, STRANGER, DRIVER, b""])
crowds = st.frozensets(writers, max_size=3)
stamps = st.one_of(
    st.integers(-600_000_000, 250_000_000),  # [ns] from now
    st.integers(-10_000_000_000, 10_000_000_000),
    st.integers(-(2**64), 2**64),
)
receptions = st.one_of(st.just(0.0), st.floats(-0.5, 0.3), any_float)  # [s] from now
closednesses = st.one_of(st.floats(0, 1), any_float)


def turn_of(first, second) -> float:
    """The angle between two unit quaternions [rad]."""
    first, second = np.array(first), np.array(second)
    opposite = min(np.linalg.norm(first - second), np.linalg.norm(first + second))
    return 4.0 * math.asin(min(opposite / 2.0, 1.0))


def small_turn(axis_angle) -> tuple[float, ...]:
    angle = math.hypot(*axis_angle)
    if angle == 0.0:
        return UPRIGHT
    share = math.sin(angle / 2.0) / angle
    return (*(share * a for a in axis_angle), math.cos(angle / 2.0))


def is_pose(position, quaternion) -> bool:
    finite = all(math.isfinite(v) for v in (*position, *quaternion))
    return finite and abs(math.sqrt(sum(v * v for v in quaternion)) - 1.0) <= 1.1e-3


class GuardMachine(RuleBasedStateMachine):
    """The subclasses choose streaming and policy."""

    stream = False
    policy = "clip"

    def __init__(self):
        super().__init__()
        self.rig = Rig(stream=self.stream, policy=self.policy)
        self.config = self.rig.config
        self.stopped = False
        self.stop_topic = False
        self.state = None  # the last one accepted
        self.state_in_doubt = True  # one with bad contents came after it
        self.command = None  # the last one accepted, None once anything forbids it
        self.command_clipped = False
        self.last_pose = None  # the last pose sent
        self.last_closedness = None
        self.last_tick_s = self.rig.steady_s

    # Inputs.

    @initialize(good=st.booleans())
    def begin(self, good):
        if good:
            self.send_state(self.rig.a_state())

    @rule(
        step=st.tuples(around, around, around),
        turn=st.tuples(around, around, around),
        closedness=st.floats(0, 1),
        ticks=st.integers(1, 12),
        follows=st.booleans(),
    )
    def all_is_well_for_a_while(self, step, turn, closedness, ticks, follows):
        self.make_well(follows)
        at = self.rig.position
        position = tuple(p + s for p, s in zip(at, step, strict=True))
        self.send_command(
            self.rig.a_command(
                position=position, quaternion=small_turn(turn), closedness=closedness
            )
        )
        for _ in range(ticks):
            self.tick()
            self.rig.wait(0.02)
            self.arm_reports(follows)

    def make_well(self, follows=True):
        """Most random inputs meet a guard that refuses everything: from here on it need not."""
        self.rig.wait(1.01)
        self.only_the_right_planner_is_up()
        self.emergency_stop_topic(stop=False)
        self.rig.wait(0.25)  # whoever told the state before is silent now
        self.arm_reports(follows)
        if self.stopped:
            self.reset()

    def arm_reports(self, follows):
        quaternion = UPRIGHT
        if follows and self.last_pose is not None:
            self.rig.position, quaternion = tuple(self.last_pose[0]), tuple(self.last_pose[1])
        self.send_state(self.rig.a_state(quaternion=quaternion))

    @rule(seconds=st.floats(0.001, 0.05))
    def time_passes(self, seconds):
        self.rig.wait(seconds)

    @rule(seconds=st.one_of(st.floats(0.05, 1.0), st.floats(0.0, 1e6)))
    def much_time_passes(self, seconds):
        self.rig.wait(seconds)

    @rule(ns=st.one_of(st.integers(-(10**9), 10**9), st.integers(-(2**62), 2**62)))
    def the_stamping_clock_leaps(self, ns):
        self.rig.ros_ns += ns
        if ns < 0:  # the guard may go on within its tolerance; that it holds is tested elsewhere
            self.clock_went_back = True

    @rule(
        step=st.tuples(around, around, around),
        turn=st.tuples(around, around, around),
        closedness=st.floats(0, 1),
    )
    def a_good_state(self, step, turn, closedness):
        position = tuple(h + s for h, s in zip(HOME, step, strict=True))
        self.send_state(
            self.rig.a_state(position=position, quaternion=small_turn(turn), closedness=closedness)
        )

    @rule(
        position=st.one_of(near_the_box, anywhere),
        quaternion=st.one_of(st.just(UPRIGHT), any_quaternion),
        closedness=closednesses,
        stamp=stamps,
        received=receptions,
        frame=frames,
        child_frame=frames,
        writer=writers,
        which=st.sets(
            st.sampled_from(
                ["place", "closedness", "stamp", "received", "frame", "child_frame", "writer"]
            ),
            max_size=2,
        ),
        all_was_well=st.booleans(),
    )
    def a_bad_state(self, position, quaternion, closedness, which, all_was_well, **spoils):
        if all_was_well:
            self.make_well()
        state = self.rig.a_state()
        if "place" in which:
            state = replace(state, position=position, quaternion=quaternion)
        if "closedness" in which:
            state = replace(state, closedness=closedness)
        self.send_state(self.spoiled(state, which, **spoils))

    @rule(step=st.tuples(around, around, around), turn=st.tuples(around, around, around))
    def a_good_command(self, step, turn):
        at = HOME if self.state is None else self.state.position
        position = tuple(p + s for p, s in zip(at, step, strict=True))
        self.send_command(self.rig.a_command(position=position, quaternion=small_turn(turn)))

    @rule(
        position=st.one_of(near_the_box, anywhere),
        quaternion=st.one_of(st.just(UPRIGHT), any_quaternion),
        closedness=closednesses,
        action=st.lists(any_float, max_size=7).map(tuple),
        stamp=stamps,
        received=receptions,
        frame=frames,
        writer=writers,
        which=st.sets(
            st.sampled_from(
                ["place", "closedness", "action", "stamp", "received", "frame", "writer"]
            ),
            max_size=2,
        ),
        all_was_well=st.booleans(),
    )
    def a_bad_command(
        self, position, quaternion, closedness, action, which, all_was_well, **spoils
    ):
        if all_was_well:
            self.make_well()
        command = self.rig.a_command()
        if "place" in which:
            command = replace(command, position=position, quaternion=quaternion)
        if "closedness" in which:
            command = replace(command, closedness=closedness)
        if "action" in which:
            command = replace(command, action=action)
        self.send_command(self.spoiled(command, which, **spoils))

    @rule(present=crowds)
    def planners_come_and_go(self, present):
        self.rig.guard.on_planners(present)
        self.planners = present

    @rule()
    def only_the_right_planner_is_up(self):
        self.planners_come_and_go(frozenset({PLANNER}))

    @rule()
    def the_planner_dies(self):
        self.rig.guard.on_planner_lost(self.rig.now)
        self.command = None
        self.lost = self.lost | {self.bound}
        self.bound = None

    @rule()
    def emergency_stop(self):
        self.rig.guard.on_emergency_stop("test", self.rig.now)
        self.stopped, self.command = True, None

    @rule(stop=st.booleans())
    def emergency_stop_topic(self, stop):
        self.rig.guard.on_emergency_stop_topic(stop, self.rig.now)
        self.stop_topic = stop
        if stop:
            self.stopped, self.command = True, None

    @precondition(lambda self: self.stopped)
    @rule()
    def reset(self):
        done, reason = self.rig.guard.reset(self.rig.now)
        if done:
            assert not self.stop_topic
            self.assert_state_is_fresh()
            self.stopped = False
        else:
            assert reason

    # Outputs.

    @rule()
    def tick(self):
        output = self.rig.tick()
        elapsed_s = self.rig.steady_s - self.last_tick_s
        self.last_tick_s = self.rig.steady_s
        if output is None:
            return
        if output.pose is not None:
            self.judge_pose(output)
        if output.closedness is not None:
            assert 0.0 <= output.closedness <= 1.0
        if output.twist is not None:
            assert self.stream
            assert np.isfinite(output.twist).all()
            assert np.linalg.norm(output.twist[:3]) <= self.config.max_linear_speed_m_s + EXACT
            assert np.linalg.norm(output.twist[3:]) <= self.config.max_angular_speed_rad_s + EXACT
        if output.hold:
            assert output.closedness is None
            assert output.twist is None or not output.twist.any()
        else:
            self.judge_move(output, elapsed_s)
        if output.pose is not None:
            self.last_pose = (output.pose.position, output.pose.quaternion)
        if output.closedness is not None:
            self.last_closedness = output.closedness

    def judge_pose(self, output):
        position, quaternion = output.pose.position, output.pose.quaternion
        c = self.config
        assert np.isfinite(position).all() and np.isfinite(quaternion).all()
        assert abs(np.linalg.norm(quaternion) - 1.0) < 1e-9
        assert (position >= np.array(c.workspace_min_m) - EXACT).all()
        assert (position <= np.array(c.workspace_max_m) + EXACT).all()
        way, turn = self.from_arm(position, quaternion)
        assert way <= c.max_step_m + EXACT and turn <= c.max_step_rad + EXACT
        if output.hold:  # where the arm is, or still the pose that it was told to hold
            still = self.last_pose is not None and (position == self.last_pose[0]).all()
            limit = c.max_lead_m if self.stream and still else c.workspace_margin_m
            assert way <= limit + EXACT

    def judge_move(self, output, elapsed_s):
        c, position, quaternion = self.config, output.pose.position, output.pose.quaternion
        assert not self.stopped
        self.assert_state_is_fresh()
        assert self.command is not None, "a move that no accepted command asked for"
        goal = self.command.position, self.command.quaternion
        if not self.stream:
            if not self.command_clipped:
                np.testing.assert_allclose(position, goal[0], atol=EXACT)
                assert turn_of(quaternion, goal[1]) < 1e-4
            self.command = None  # once
            return
        assert math.dist(position, self.state.position) <= c.max_lead_m + EXACT or (
            self.last_pose is not None and (position == self.last_pose[0]).all()
        )
        # From the last set-point, or from the arm where the stream begins anew.
        allowed_m = c.max_linear_speed_m_s * elapsed_s + EXACT
        allowed_rad = c.max_angular_speed_rad_s * elapsed_s + 1e-5
        starts = [(np.array(self.state.position), self.state.quaternion)]
        starts += [self.last_pose] if self.last_pose else []
        low, high = np.array(c.workspace_min_m), np.array(c.workspace_max_m)
        assert any(
            math.dist(position, np.clip(p, low, high)) <= allowed_m
            and turn_of(quaternion, q) <= allowed_rad
            for p, q in starts
        )
        if self.last_closedness is not None:
            change = abs(output.closedness - self.last_closedness)
            assert change <= c.max_closedness_rate_1_s * elapsed_s + EXACT

    @invariant()
    def the_last_look_never_had_to_step_in(self):
        state, reason = self.rig.status()
        assert "internal fault" not in reason
        assert (state is GuardState.EMERGENCY_STOPPED) == self.stopped

    def teardown(self):
        output = self.rig.guard.shut_down(self.rig.now)
        if output is not None:
            assert output.hold
            if output.pose is not None:
                self.judge_pose(output)

    # Judging what is accepted.

    def send_state(self, state):
        decision = self.rig.guard.on_state(state, self.rig.now)
        good = (
            is_pose(state.position, state.quaternion)
            and state.frame == "base_link"
            and state.child_frame == "tool0"
            and -0.1 <= state.closedness <= 1.1
        )
        if decision.verdict is Verdict.ACCEPTED:
            assert good
            assert self.is_of_now(state, 0.24, 0.5)
            speaks = self.state is not None and self.age_s(self.state) <= 0.24
            assert state.writer == self.state_writer or not speaks
            self.state, self.state_in_doubt = state, False
            self.state_writer = state.writer
        elif not good:
            self.state_in_doubt = True

    def send_command(self, command):
        decision = self.rig.guard.on_command(command, self.rig.now)
        if decision.verdict is Verdict.REJECTED:
            assert decision.reason
            self.command = None
            return
        assert not self.stopped
        self.assert_state_is_fresh()
        assert command.frame == "base_link"
        assert is_pose(command.position, command.quaternion)
        assert math.isfinite(command.closedness) and all(map(math.isfinite, command.action))
        assert self.is_of_now(command, 0.2, 5.0)
        self.lost = self.lost - {command.writer}
        assert len(self.planners - self.lost) <= 1
        assert self.bound in (None, b"", command.writer) or self.bound not in self.planners
        self.bound = command.writer
        way, turn = self.from_arm(np.array(command.position), command.quaternion)
        c = self.config
        inside = all(
            low <= v <= high
            for low, v, high in zip(
                c.workspace_min_m, command.position, c.workspace_max_m, strict=True
            )
        )
        self.command_clipped = decision.verdict is Verdict.CLIPPED
        if self.command_clipped:
            assert c.policy == "clip" and decision.reason
            # No farther off than one step.
            assert way <= 2.0 * c.max_step_m + EXACT and turn <= 2.0 * c.max_step_rad + 1e-5
        else:
            # Without clipping only what needs none: rounding at the very edge is all that is left.
            assert inside and way <= c.max_step_m + EXACT and turn <= c.max_step_rad + 1e-5
            assert 0.0 <= command.closedness <= 1.0
        self.command = command

    planners = lost = frozenset()
    bound = state_writer = None
    clock_went_back = False

    def age_s(self, message) -> float:
        return self.rig.steady_s - message.received_s

    def assert_state_is_fresh(self):
        assert self.state is not None and not self.state_in_doubt
        assert self.is_of_now(self.state, 0.24, 0.5)

    def is_of_now(self, message, max_age_s, max_stamp_age_s) -> bool:
        now = self.rig.now
        age_s = self.age_s(message)
        stamp_age_s = (now.ros_ns - message.stamp_ns) / 1e9
        tolerance_s = 0.2
        # A clock that steps back a little makes what was of now seem to come from the future.
        back_s = math.inf if self.clock_went_back else tolerance_s
        return -0.2 <= age_s <= max_age_s + 1e-9 and -back_s <= stamp_age_s <= max_stamp_age_s

    def from_arm(self, position, quaternion) -> tuple[float, float]:
        unit = np.array(self.state.quaternion) / np.linalg.norm(self.state.quaternion)
        quaternion = np.array(quaternion) / np.linalg.norm(quaternion)
        return math.dist(position, self.state.position), turn_of(quaternion, unit)

    def spoiled(self, message, which, stamp, received, frame, writer, child_frame=None):
        """The message with those of its fields that `which` names replaced."""
        if "stamp" in which:
            message = replace(message, stamp_ns=self.rig.ros_ns + stamp)
        if "received" in which:
            message = replace(message, received_s=self.rig.steady_s + received)
        if "frame" in which:
            message = replace(message, frame=frame)
        if "child_frame" in which:
            message = replace(message, child_frame=child_frame)
        if "writer" in which:
            message = replace(message, writer=writer)
        return message


@pytest.mark.parametrize("policy", ["clip", "reject"])
@pytest.mark.parametrize("stream", [False, True], ids=["once", "stream"])
def test_no_sequence_of_inputs_gets_a_command_past_the_guard(stream, policy):
    from hypothesis.stateful import run_state_machine_as_test

    machine = type("Machine", (GuardMachine,), {"stream": stream, "policy": policy})
    run_state_machine_as_test(machine, settings=EFFORT)


@settings(EFFORT, max_examples=300)
@given(
    position=st.one_of(near_the_box, anywhere),
    quaternion=st.one_of(any_quaternion, st.tuples(*[st.floats(-1.5, 1.5)] * 3).map(small_turn)),
    closedness=closednesses,
    stream=st.booleans(),
    start=st.tuples(st.floats(0.292, 0.688), st.floats(-0.28, 0.28), st.floats(0.015, 0.42)),
)
def test_whatever_one_command_says_the_arm_stays_within_a_step_and_the_box(
    position, quaternion, closedness, stream, start
):
    rig = Rig(stream=stream)
    rig.position = start
    rig.state()
    decision = rig.command(position=position, quaternion=quaternion, closedness=closedness)
    if is_pose(position, quaternion) and turn_of(quaternion, UPRIGHT) > 0.71:
        assert decision.verdict is Verdict.REJECTED
    for output in rig.run(0.3, follow=False):
        assert (output.pose.position >= np.array(rig.config.workspace_min_m) - EXACT).all()
        assert (output.pose.position <= np.array(rig.config.workspace_max_m) + EXACT).all()
        assert math.dist(output.pose.position, start) <= rig.config.max_step_m + EXACT
        assert turn_of(output.pose.quaternion, UPRIGHT) <= rig.config.max_step_rad + EXACT
        assert output.closedness is None or 0.0 <= output.closedness <= 1.0
    assert "internal fault" not in rig.status()[1]


def within(low, high):
    return lambda value: low <= value <= high


# What one field may be; and when a message that is good otherwise may be accepted.
COMMAND_FIELDS = {
    "stamp_ns": (stamps, within(-5_000_000_000, 200_000_000)),
    "received_s": (receptions, within(-0.2, 0.2)),
    "frame": (frames, lambda frame: frame == "base_link"),
    "closedness": (closednesses, within(-0.1, 1.1)),
    "action": (st.lists(any_float, max_size=7), lambda a: all(map(math.isfinite, a))),
    "position": (anywhere, lambda p: math.dist(p, HOME) <= 0.26),
    "quaternion": (any_quaternion, lambda q: is_pose(HOME, q)),
}
STATE_FIELDS = {
    "stamp_ns": (stamps, within(-500_000_000, 200_000_000)),
    "received_s": (receptions, within(-0.24, 0.2)),
    "frame": (frames, lambda frame: frame == "base_link"),
    "child_frame": (frames, lambda frame: frame == "tool0"),
    "closedness": (closednesses, within(-0.1, 1.1)),
    "position": (anywhere, lambda p: all(map(math.isfinite, p))),
    "quaternion": (any_quaternion, lambda q: is_pose(HOME, q)),
}


def in_its_place(rig, field, value):
    """Times are drawn relative to now."""
    now = {"stamp_ns": rig.ros_ns, "received_s": rig.steady_s}
    return now[field] + value if field in now else value


@pytest.mark.parametrize("field", COMMAND_FIELDS)
@settings(EFFORT, max_examples=100)
@given(data=st.data(), stream=st.booleans())
def test_whatever_one_field_of_a_command_says_it_passes_only_if_it_may(field, data, stream):
    strategy, good = COMMAND_FIELDS[field]
    value = data.draw(strategy)
    rig = Rig(stream=stream)
    rig.state()
    decision = rig.command(**{field: in_its_place(rig, field, value)})
    assert good(value) or decision.verdict is Verdict.REJECTED
    if decision.verdict is Verdict.REJECTED:
        assert all(output.hold for output in rig.run(0.1))


@pytest.mark.parametrize("field", STATE_FIELDS)
@settings(EFFORT, max_examples=100)
@given(data=st.data(), stream=st.booleans())
def test_whatever_one_field_of_the_state_says_it_is_believed_only_if_it_may(field, data, stream):
    strategy, good = STATE_FIELDS[field]
    value = data.draw(strategy)
    rig = Rig(stream=stream)
    decision = rig.state(**{field: in_its_place(rig, field, value)})
    assert good(value) or decision.verdict is Verdict.REJECTED
    if decision.verdict is Verdict.REJECTED:
        assert rig.command().verdict is Verdict.REJECTED
        assert rig.tick() is None


@settings(EFFORT, max_examples=100)
@given(stamps=st.lists(st.integers(-4_000_000_000, 0), min_size=2, max_size=6))
def test_commands_are_only_accepted_in_the_order_of_their_images(stamps):
    rig = Rig()
    accepted = []
    rig.state()
    for stamp in stamps:
        stamp_ns = rig.ros_ns + stamp
        if rig.command(stamp_ns=stamp_ns).verdict is Verdict.ACCEPTED:
            accepted.append(stamp_ns)
            rig.run(0.5)
    assert all(first < second for first, second in zip(accepted, accepted[1:], strict=False))


@settings(EFFORT, max_examples=100)
@given(
    steps=st.lists(st.tuples(around, around, around), min_size=1, max_size=8),
    pause_s=st.floats(0.0, 0.6),
)
def test_passed_on_targets_never_ask_for_more_than_the_speed_limit(steps, pause_s):
    rig = Rig()
    rig.state()
    way_m, began_ns, last_move_m = 0.0, rig.ros_ns, 0.0
    for step in steps:
        rig.command(position=tuple(p + s for p, s in zip(rig.position, step, strict=True)))
        output = rig.tick()
        if output is not None and not output.hold:
            last_move_m = math.dist(output.pose.position, rig.position)
            way_m += last_move_m
            rig.position = tuple(output.pose.position)
            rig.state()
        rig.run(pause_s)
        rig.wait(0.001)
        rig.state()
    seconds = (rig.ros_ns - began_ns) / 1e9
    assert way_m - last_move_m <= rig.config.max_linear_speed_m_s * seconds + EXACT


@settings(EFFORT, max_examples=100)
@given(
    step=st.tuples(*[st.floats(-0.07, 0.07)] * 3),
    turn=st.tuples(*[st.floats(-0.15, 0.15)] * 3),
    closedness=st.floats(0, 1),
    stream=st.booleans(),
)
def test_every_command_within_the_limits_passes_unchanged(step, turn, closedness, stream):
    rig = Rig(stream=stream, policy="reject")
    rig.state()
    target = tuple(h + s for h, s in zip(HOME, step, strict=True))
    decision = rig.command(position=target, quaternion=small_turn(turn), closedness=closedness)
    assert decision.verdict is Verdict.ACCEPTED
    output = rig.run(1.0)[-1]
    np.testing.assert_allclose(output.pose.position, target, atol=EXACT)
    assert turn_of(output.pose.quaternion, small_turn(turn)) < 1e-6
    assert output.closedness == pytest.approx(closedness)
