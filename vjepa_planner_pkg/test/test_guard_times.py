"""Promises of the command guard: old, early and nonsensical messages, and clocks."""

import pytest
from guard_promises import BOTH, INF, NAN, assert_accepted, assert_refused, ready
from guard_rig import (
    HOME,
    Rig,
    distance,
)
from vjepa_planner_pkg.core.guard.io import GuardState, Verdict

# Ages and stamps.


@BOTH
def test_a_command_planned_from_an_old_image_never_reaches_the_arm(stream):
    rig = ready(stream=stream)
    assert_refused(rig, "5.01 s old", stamp_ns=rig.ros_ns - 5_010_000_000)


@BOTH
def test_a_command_that_waited_in_a_queue_never_reaches_the_arm(stream):
    rig = ready(stream=stream)
    assert_refused(rig, "received", received_s=rig.steady_s - 0.25)


@BOTH
def test_a_command_from_the_future_never_reaches_the_arm(stream):
    rig = ready(stream=stream)
    assert_refused(rig, "future", stamp_ns=rig.ros_ns + 210_000_000)


@BOTH
def test_a_command_received_in_the_future_never_reaches_the_arm(stream):
    rig = ready(stream=stream)
    assert_refused(rig, "received", received_s=rig.steady_s + 0.25)


@BOTH
@pytest.mark.parametrize("older_ns", [0, 1, 1_000_000_000])
def test_a_command_that_was_overtaken_or_repeated_never_reaches_the_arm(stream, older_ns):
    rig = ready(stream=stream)
    stamp_ns = rig.ros_ns
    assert_accepted(rig)
    rig.run(1.0)
    assert_refused(rig, "the last one accepted", stamp_ns=stamp_ns - older_ns)


@BOTH
def test_no_command_passes_before_the_first_state(stream):
    rig = Rig(stream=stream)
    assert_refused(rig, "no end_effector_state yet")


@BOTH
def test_the_arm_holds_when_its_state_falls_silent(stream):
    rig = ready(stream=stream)
    assert_accepted(rig, position=(0.6, 0.0, 0.2))
    rig.run(0.1, follow=stream)
    silent_since, at = rig.steady_s, rig.position
    holds = []
    while rig.steady_s - silent_since < 0.3:
        outputs = rig.run(0.02, states=False, follow=False)
        holds += [(rig.steady_s - silent_since, o) for o in outputs if o.hold]
    assert holds and holds[0][0] <= 0.27
    assert all(distance(output, at) < 1e-9 for _, output in holds)
    assert len(holds) == 1 or stream
    assert rig.status()[0] is GuardState.HOLDING
    assert "silent" in rig.status()[1]
    assert_refused(rig, "silent")


def test_an_arm_long_silent_is_not_sent_to_where_it_once_was():
    rig = ready(stream=True)
    assert_accepted(rig)
    rig.run(0.1)
    outputs = rig.run(3.0, states=False)
    assert outputs[-1].pose is None and not outputs[-1].twist.any()


@BOTH
def test_a_state_with_an_old_stamp_is_no_state(stream):
    rig = Rig(stream=stream)
    decision = rig.state(stamp_ns=rig.ros_ns - 600_000_000)
    assert decision.verdict is Verdict.REJECTED
    assert_refused(rig, "no end_effector_state")


@BOTH
@pytest.mark.parametrize("late_s", [-0.25, 0.25])
def test_a_state_received_at_another_time_is_no_state(stream, late_s):
    rig = Rig(stream=stream)
    assert rig.state(received_s=rig.steady_s - late_s).verdict is Verdict.REJECTED
    assert_refused(rig, "no end_effector_state")


@BOTH
def test_a_state_from_the_future_is_no_state(stream):
    rig = Rig(stream=stream)
    assert rig.state(stamp_ns=rig.ros_ns + 210_000_000).verdict is Verdict.REJECTED
    assert_refused(rig, "no end_effector_state")


@BOTH
def test_a_state_grows_old_by_its_stamp_when_the_clock_leaps(stream):
    rig = ready(stream=stream)
    rig.ros_ns += 1_000_000_000
    assert_refused(rig, "stamp of end_effector_state is older")


def test_states_out_of_order_are_ignored():
    rig = ready()
    decision = rig.state(stamp_ns=rig.ros_ns - 10_000_000, position=(0.6, 0.0, 0.2))
    assert decision.verdict is Verdict.REJECTED
    assert_accepted(rig)
    assert distance(rig.tick(), HOME) == pytest.approx(0.05)


def test_a_lock_step_state_repeated_with_one_stamp_stays_fresh():
    rig = ready()
    for _ in range(50):
        rig.steady_s += 0.1
        assert rig.state().verdict is Verdict.ACCEPTED
    assert_accepted(rig)


def test_a_driver_restarted_with_a_slower_clock_is_believed_after_a_silence():
    rig = ready()
    rig.run(0.1)
    assert rig.state(stamp_ns=rig.ros_ns - 100_000_000).verdict is Verdict.REJECTED
    rig.run(0.3, states=False)
    assert rig.state(stamp_ns=rig.ros_ns - 450_000_000).verdict is Verdict.ACCEPTED


@BOTH
def test_the_arm_holds_when_the_clock_goes_back_and_works_again_in_the_new_time(stream):
    rig = ready(stream=stream)
    assert_accepted(rig, position=(0.6, 0.0, 0.2))
    rig.run(0.1, follow=stream)
    rig.ros_ns -= 3_600_000_000_000
    rig.steady_s += 0.02
    output = rig.tick()
    assert output.hold and distance(output, rig.position) < 1e-9
    assert "clock went back" in rig.status()[1]
    assert_refused(rig, "clock went back")
    rig.state()
    assert_accepted(rig)


def test_a_clock_that_creeps_back_is_noticed_too():
    rig = ready()
    for _ in range(3):
        rig.ros_ns -= 90_000_000
        rig.steady_s += 0.01
        rig.tick()
    assert "clock went back" in rig.status()[1]


# The measured state.


@BOTH
@pytest.mark.parametrize(
    "overrides",
    [
        {"position": (NAN, 0.0, 0.2)},
        {"position": (0.5, INF, 0.2)},
        {"quaternion": (0.0, 0.0, 0.0, 0.0)},
        {"quaternion": (NAN, 0.0, 0.0, 1.0)},
        {"closedness": NAN},
        {"closedness": 7.0},
        {"frame": "world"},
        {"child_frame": "panda_hand"},
    ],
    ids=str,
)
def test_the_arm_holds_at_once_when_its_state_is_nonsense(stream, overrides):
    rig = ready(stream=stream)
    assert_accepted(rig, position=(0.6, 0.0, 0.2))
    rig.run(0.1, follow=stream)
    assert rig.state(**overrides).verdict is Verdict.REJECTED
    output = rig.tick()
    assert output.hold and distance(output, rig.position) < 1e-9
    assert_refused(rig)
    rig.wait(0.02)
    rig.state()
    assert rig.status()[0] is GuardState.HOLDING  # the refused command still shows
    rig.wait(1.0)
    rig.state()
    assert rig.status()[0] is GuardState.READY
    assert_accepted(rig)
