"""Promises of the keep-out boxes: the tool's origin is sent into none, and through none."""

import hypothesis.strategies as st
import numpy as np
import pytest
from guard_promises import BOTH, assert_accepted, assert_refused, ready
from guard_rig import HOME, Rig
from hypothesis import given, settings
from vjepa_planner_pkg.core.guard.io import GuardState, Verdict
from vjepa_planner_pkg.core.guard.limits import Pose, violation
from vjepa_planner_pkg.core.guard.space import AllowedSpace

# In front of HOME (0.5, 0, 0.2), 4 cm away, 3 cm thick, 8 cm wide.
WALL = ([0.54, -0.04, 0.10], [0.57, 0.04, 0.30])
WORKSPACE = (np.array([0.3, -0.28, 0.015]), np.array([0.68, 0.28, 0.42]))


def walled(**config) -> Rig:
    return ready(keep_out_m=[WALL], **config)


def inside(position, low, high, slack=1e-7) -> bool:
    return all(a + slack < x < b - slack for a, x, b in zip(low, position, high, strict=True))


@BOTH
def test_a_target_in_front_of_a_box_passes_and_beside_it_too(stream):
    rig = walled(stream=stream)
    assert_accepted(rig, position=(0.54, 0.0, 0.2))
    rig.run(1.0)
    np.testing.assert_allclose(rig.position, [0.54, 0.0, 0.2], atol=1e-9)
    rig.wait(0.5)
    rig.state()
    assert_accepted(rig, position=(0.53, 0.09, 0.2))


@BOTH
def test_a_way_through_a_box_is_refused(stream):
    assert_refused(walled(stream=stream), "keep-out box 1", position=(0.60, 0.0, 0.2))


def test_a_target_in_a_box_is_clipped_to_its_near_face():
    rig = walled()
    decision = rig.command(position=(0.55, 0.0, 0.2))
    assert decision.verdict is Verdict.CLIPPED
    assert "1.0 cm inside keep-out box 1" in decision.reason
    np.testing.assert_allclose(rig.tick().pose.position, [0.54, 0.0, 0.2])


def test_a_target_in_a_box_behind_its_middle_is_refused():
    assert_refused(walled(), "inside keep-out box 1", "leads through", position=(0.565, 0.0, 0.2))


def test_a_step_that_is_cut_short_inside_a_box_is_refused():
    thick = ([0.54, -0.2, 0.1], [0.67, 0.2, 0.3])
    rig = ready(keep_out_m=[thick], max_step_m=0.1)
    assert_refused(rig, "keep-out box 1", position=(0.675, 0.0, 0.2))


@BOTH
def test_an_arm_deep_in_a_box_holds_and_is_sent_nowhere(stream):
    rig = walled(stream=stream)
    rig.position = (0.555, 0.0, 0.2)
    rig.state()
    status, reason = rig.status()
    assert status is GuardState.HOLDING
    assert "1.5 cm inside keep-out box 1" in reason and "by hand" in reason
    rig.command(position=HOME)
    assert all(output.pose is None for output in rig.run(0.5))


@BOTH
def test_an_arm_in_the_margin_of_a_box_may_leave_it_by_the_same_face(stream):
    rig = walled(stream=stream)
    rig.position = (0.545, 0.0, 0.2)
    rig.state()
    assert_accepted(rig, position=(0.50, 0.0, 0.2))
    for output in rig.run(1.0):
        assert not inside(output.pose.position, *WALL)
    np.testing.assert_allclose(rig.position, [0.50, 0.0, 0.2], atol=1e-9)


def test_a_stream_whose_set_point_was_elsewhere_holds_before_a_box():
    """The arm slips sideways: the way from its last set-point cuts a corner, its own does not."""
    rig = walled(stream=True)
    assert_accepted(rig, position=(0.53, 0.03, 0.2))
    rig.run(1.0)
    rig.position = (0.53, 0.05, 0.2)
    rig.wait(0.02)
    rig.state()
    assert_accepted(rig, position=(0.58, 0.05, 0.2))
    for output in rig.run(1.0):
        assert output.pose is None or not inside(output.pose.position, *WALL)
    assert "keep-out box 1" in rig.status()[1]
    assert rig.status()[0] is not GuardState.EMERGENCY_STOPPED


def test_an_arm_that_slipped_before_the_target_was_passed_on_holds():
    rig = walled()
    assert_accepted(rig, position=(0.53, 0.05, 0.2))
    rig.position = (0.60, 0.0, 0.2)
    rig.state()
    output = rig.tick()
    assert output is None or output.hold


def test_the_last_look_sees_a_target_in_a_box():
    space = AllowedSpace(*WORKSPACE, ((np.array(WALL[0]), np.array(WALL[1])),))
    arm = Pose.of(HOME, (0.0, 0.0, 0.0, 1.0))
    target = Pose.of((0.555, 0.0, 0.2), (0.0, 0.0, 0.0, 1.0))
    assert "inside keep-out box 1" in violation(target, arm, space, 0.13, 0.35)


# Any boxes, any points.

number = st.integers(0, 12).map(lambda step: 0.05 * step)
point = st.tuples(number, number, number)
boxes = st.lists(
    st.tuples(point, point).filter(lambda b: all(x < y for x, y in zip(*b, strict=True))),
    max_size=4,
)


def a_space(keep_out) -> AllowedSpace:
    corners = tuple((np.array(low), np.array(high)) for low, high in keep_out)
    return AllowedSpace(np.full(3, 0.1), np.full(3, 0.5), corners)


@settings(deadline=None, derandomize=True)
@given(keep_out=boxes, position=point)
def test_the_nearest_point_is_allowed_and_no_grid_point_is_nearer(keep_out, position):
    space, position = a_space(keep_out), np.array(position)
    distance = space.distance(position)
    axis = np.linspace(0.1, 0.5, 9)  # all faces lie on it
    grid = np.stack(np.meshgrid(axis, axis, axis), -1).reshape(-1, 3)
    allowed = [p for p in grid if not any(inside(p, *box) for box in keep_out)]
    nearest = min((float(np.linalg.norm(p - position)) for p in allowed), default=np.inf)
    assert distance == pytest.approx(nearest)
    if np.isfinite(distance):
        assert np.linalg.norm(space.nearest(position) - position) == pytest.approx(distance)
        assert not any(inside(space.nearest(position), *box) for box in keep_out)


@settings(deadline=None, derandomize=True)
@given(keep_out=boxes, start=point, end=point)
def test_a_way_is_refused_exactly_if_a_point_of_it_lies_in_a_box(keep_out, start, end):
    start, end = np.array(start), np.array(end)
    shares = np.linspace(0.0, 1.0, 2521)[:, None]  # 2520: every multiple of 1/1 to 1/10
    line = start + shares * (end - start)
    hit = any(
        ((line > np.array(low) + 1e-7) & (line < np.array(high) - 1e-7)).all(axis=1).any()
        for low, high in keep_out
    )
    assert bool(a_space(keep_out).refuse_way(start, end)) == hit


@settings(deadline=None, derandomize=True, max_examples=60)
@given(
    stream=st.booleans(),
    targets=st.lists(
        st.tuples(st.floats(0.42, 0.66), st.floats(-0.12, 0.12), st.floats(0.08, 0.32)),
        min_size=1,
        max_size=6,
    ),
)
def test_no_commands_bring_the_tool_into_a_box(stream, targets):
    rig = walled(stream=stream)
    for target in targets:
        rig.wait(1.0)
        rig.state()
        before = np.array(rig.position)
        rig.command(position=target)
        for output in rig.run(0.4):
            if output.pose is not None:
                line = before + np.linspace(0, 1, 50)[:, None] * (output.pose.position - before)
                assert not any(inside(p, *WALL, slack=1e-6) for p in line)
                before = output.pose.position
    assert rig.status()[0] is not GuardState.EMERGENCY_STOPPED
