"""Promises of the command guard: one writer, holding, and the emergency stop."""

import dataclasses

import pytest
from guard_promises import BOTH, INF, NAN, assert_accepted, assert_refused, ready
from guard_rig import (
    HOME,
    PLANNER,
    STRANGER,
    Rig,
    distance,
)
from vjepa_planner_pkg.core.guard.io import GuardState, Now, Verdict

# One writer.


@BOTH
def test_a_second_writer_is_refused_while_the_first_is_there(stream):
    rig = ready(stream=stream)
    rig.guard.on_planners(frozenset({PLANNER}))
    assert_accepted(rig)
    rig.run(1.0)
    assert_refused(rig, "second writer", writer=STRANGER)
    rig.guard.on_planners(frozenset({STRANGER}))
    rig.wait(0.01)
    assert_accepted(rig, writer=STRANGER)


@BOTH
def test_the_arm_holds_while_two_planners_are_up(stream):
    rig = ready(stream=stream)
    assert_accepted(rig, position=(0.6, 0.0, 0.2))
    rig.run(0.1, follow=stream)
    rig.guard.on_planners(frozenset({PLANNER, STRANGER}))
    assert rig.tick().hold
    for writer in (PLANNER, STRANGER):
        assert_refused(rig, "2 writers", writer=writer)
    rig.guard.on_planners(frozenset({PLANNER}))
    rig.run(0.5)
    assert_accepted(rig)


@BOTH
def test_the_arm_holds_while_two_drivers_tell_its_state(stream):
    rig = ready(stream=stream)
    assert_accepted(rig, position=(0.6, 0.0, 0.2))
    rig.run(0.1, follow=stream)
    assert rig.state(writer=STRANGER, position=(0.6, 0.1, 0.2)).verdict is Verdict.REJECTED
    rig.state()  # the first one still speaks
    output = rig.tick()
    assert output.hold and distance(output, rig.position) < 1e-9
    assert_refused(rig, "two writers")
    rig.run(1.1)
    assert_accepted(rig)


def test_a_restarted_driver_is_believed_once_the_old_one_is_silent():
    rig = ready()
    rig.run(0.3, states=False)
    assert rig.state(writer=STRANGER).verdict is Verdict.ACCEPTED
    assert_accepted(rig)


@BOTH
def test_the_arm_holds_when_the_planner_leaves_in_the_middle_of_a_move(stream):
    rig = ready(stream=stream)
    assert_accepted(rig, position=(0.6, 0.0, 0.2))
    rig.run(0.1, follow=stream)
    rig.guard.on_planners(frozenset())
    output = rig.tick()
    assert output.hold and distance(output, rig.position) < 1e-9
    assert "gone" in rig.status()[1]


@BOTH
def test_the_arm_holds_when_the_planner_dies_and_its_successor_is_heard_at_once(stream):
    rig = ready(stream=stream)
    rig.guard.on_planners(frozenset({PLANNER}))
    assert_accepted(rig, position=(0.6, 0.0, 0.2))
    rig.run(0.1, follow=stream)
    rig.guard.on_planner_lost(rig.now)
    output = rig.tick()
    assert output.hold and distance(output, rig.position) < 1e-9
    assert "gone" in rig.status()[1]
    rig.guard.on_planners(frozenset({PLANNER, STRANGER}))  # the graph still shows the dead one
    rig.run(0.5)
    assert_accepted(rig, writer=STRANGER)


@BOTH
def test_a_planner_that_was_only_frozen_and_its_successor_are_two(stream):
    rig = ready(stream=stream)
    rig.guard.on_planners(frozenset({PLANNER}))
    assert_accepted(rig)
    rig.guard.on_planner_lost(rig.now)
    rig.guard.on_planners(frozenset({PLANNER, STRANGER}))
    rig.run(1.0)
    assert_accepted(rig, writer=STRANGER)
    rig.run(1.0)
    assert_refused(rig, "2 writers", writer=PLANNER)


# Holding.


@BOTH
def test_a_refused_command_stops_the_move_under_way(stream):
    rig = ready(stream=stream)
    assert_accepted(rig, position=(0.6, 0.0, 0.2))
    rig.run(0.1, follow=stream)
    rig.command(frame="world")
    output = rig.tick()
    assert output.hold and distance(output, rig.position) < 1e-9
    assert all(distance(o, rig.position) < 1e-9 for o in rig.run(1.0))


def test_a_refused_command_while_the_arm_stands_makes_no_lock_step_move():
    rig = ready()
    assert_accepted(rig)
    rig.position = tuple(rig.tick().pose.position)
    rig.wait(0.5)
    rig.state()
    rig.command(position=(NAN, 0.0, 0.0))
    assert rig.tick() is None


def test_a_holding_arm_that_sags_is_not_lowered_step_by_step():
    rig = ready(stream=True)
    rig.guard.on_emergency_stop("test", rig.now)
    for _ in range(20):
        rig.position = (*rig.position[:2], rig.position[2] - 0.001)
        outputs = rig.run(0.02, follow=False)
        assert distance(outputs[0], HOME) < 0.0015


def test_a_holding_arm_that_is_led_by_hand_is_not_pulled_back_far():
    rig = ready(stream=True)
    rig.guard.on_emergency_stop("test", rig.now)
    rig.run(0.1)
    for _ in range(20):
        rig.position = (*rig.position[:2], rig.position[2] + 0.01)
        rig.state()
        for output in rig.run(0.02, follow=False):
            assert distance(output, rig.position) <= 0.05 + 1e-9


@BOTH
def test_holding_does_not_let_go_of_the_part_in_the_gripper(stream):
    rig = ready(stream=stream)
    assert_accepted(rig, closedness=1.0)
    rig.run(0.6, follow=stream)
    rig.guard.on_emergency_stop("test", rig.now)
    rig.wait(0.02)
    rig.state(closedness=0.5)  # a part between the fingers
    assert rig.tick().closedness is None


@BOTH
def test_the_last_action_is_to_hold(stream):
    rig = ready(stream=stream)
    assert_accepted(rig, position=(0.6, 0.0, 0.2))
    rig.run(0.1, follow=stream)
    output = rig.guard.shut_down(rig.now)
    assert output.hold and distance(output, rig.position) < 1e-9
    if stream:
        assert not output.twist.any()


@BOTH
def test_the_last_action_of_an_idle_guard_is_to_hold_too(stream):
    rig = ready(stream=stream)
    assert distance(rig.guard.shut_down(rig.now), HOME) == 0.0


def test_a_guard_that_never_saw_the_arm_ends_in_silence():
    rig = Rig()
    assert rig.guard.shut_down(rig.now) is None


# Emergency stop.


@BOTH
def test_an_emergency_stop_holds_and_stays_until_reset(stream):
    rig = ready(stream=stream)
    assert_accepted(rig, position=(0.6, 0.0, 0.2))
    rig.run(0.1, follow=stream)
    rig.guard.on_emergency_stop("red button", rig.now)
    output = rig.tick()
    assert output.hold and distance(output, rig.position) < 1e-9
    rig.run(5.0)
    assert rig.status() == (GuardState.EMERGENCY_STOPPED, "emergency stop: red button")
    assert rig.command().verdict is Verdict.REJECTED
    assert "red button" in rig.command().reason
    assert rig.guard.reset(rig.now) == (True, "reset after emergency stop: red button")
    assert all(o.hold for o in rig.run(0.5))  # a reset moves nothing
    assert_accepted(rig)
    assert not rig.tick().hold


@BOTH
def test_an_arm_at_rest_is_told_to_hold_on_emergency_stop(stream):
    rig = ready(stream=stream)
    rig.guard.on_emergency_stop("test", rig.now)
    assert distance(rig.tick(), HOME) == 0.0


def test_pressing_the_button_again_makes_no_further_lock_step_move():
    rig = ready()
    for _ in range(5):
        rig.guard.on_emergency_stop_topic(True, rig.now)
    assert rig.tick().hold
    rig.guard.on_emergency_stop_topic(True, rig.now)
    assert rig.tick() is None


@BOTH
def test_reset_is_refused_while_the_topic_still_says_stop(stream):
    rig = ready(stream=stream)
    rig.guard.on_emergency_stop_topic(True, rig.now)
    assert rig.guard.reset(rig.now)[0] is False
    rig.guard.on_emergency_stop_topic(False, rig.now)
    assert rig.status()[0] is GuardState.EMERGENCY_STOPPED
    assert rig.guard.reset(rig.now)[0] is True


@BOTH
def test_reset_is_refused_while_the_state_is_silent(stream):
    rig = ready(stream=stream)
    rig.guard.on_emergency_stop("test", rig.now)
    rig.wait(1.0)
    reset, reason = rig.guard.reset(rig.now)
    assert not reset and "silent" in reason
    rig.state()
    assert rig.guard.reset(rig.now)[0] is True


@BOTH
def test_what_was_planned_before_an_emergency_stop_is_not_done_after_it(stream):
    rig = ready(stream=stream)
    before = rig.ros_ns
    rig.run(0.1)
    rig.guard.on_emergency_stop("test", rig.now)
    rig.run(0.1)
    rig.guard.reset(rig.now)
    assert_refused(rig, "before the emergency stop", stamp_ns=before)


@BOTH
@pytest.mark.parametrize("steady_s", [NAN, INF, 1.0])
def test_a_steady_clock_that_is_not_steady_is_an_emergency_stop(stream, steady_s):
    rig = ready(stream=stream)
    assert rig.guard.tick(Now(steady_s, rig.ros_ns)) is None
    assert rig.status()[0] is GuardState.EMERGENCY_STOPPED
    assert rig.command().verdict is Verdict.REJECTED


@BOTH
def test_an_exception_inside_the_guard_is_an_emergency_stop(stream):
    rig = ready(stream=stream)
    broken = dataclasses.replace(rig.a_command(), position=None)
    assert rig.guard.on_command(broken, rig.now).verdict is Verdict.REJECTED
    assert rig.status()[0] is GuardState.EMERGENCY_STOPPED
    assert "internal fault" in rig.status()[1]
    assert rig.tick().hold
    assert rig.guard.reset(rig.now)[0] is True
    rig.wait(0.02)
    rig.state()
    assert_accepted(rig)
