"""Promises of the two ways to follow targets."""

import numpy as np
import pytest
from vjepa_sim.core.environment import Environment
from vjepa_sim.core.following import MAX_CATCH_UP_S, LockStep, RealTime
from vjepa_sim.core.physics import UnreachableError

TICK = 1 / 60


@pytest.fixture
def environment():
    environment = Environment()
    environment.reset(2)
    yield environment
    environment.close()


def real_time(environment, max_speed=0.25):
    return RealTime(environment, max_speed, max_turn_rate=1.5, gripper_rate=2.0)


def near(environment, *shift):
    return environment.physics.state()[:6] + [*shift, 0, 0, 0]


def test_lockstep_moves_as_the_environment_does_and_not_with_time(environment):
    targets = [near(environment, 0.05, 0.0, -0.02), near(environment, 0.0, 0.04, 0.03)]
    expected = [environment.move_to(np.append(target, c)) for target, c in zip(targets, (0, 1))]
    environment.reset(2)
    arm = LockStep(environment, tick_s=0.1)
    for target, closedness, observation in zip(targets, (0.0, 1.0), expected):
        arm.grip(closedness)
        assert arm.advance(3.0) == 0.1
        arm.move_to(target)
        assert arm.advance(0.0) == 0.1
        np.testing.assert_array_equal(environment.physics.state(), observation.state)
        np.testing.assert_array_equal(environment.render(), observation.image)


def test_lockstep_closes_the_gripper_even_when_no_pose_follows(environment):
    arm = LockStep(environment, tick_s=0.1)
    before = environment.physics.state()
    arm.grip(1.0)
    for _ in range(4):
        arm.advance(0.1)
    after = environment.physics.state()
    assert before[6] < 0.05 and after[6] > 0.9
    np.testing.assert_allclose(after[:3], before[:3], atol=2e-3)


def test_realtime_reaches_the_target_and_never_exceeds_its_speed(environment):
    arm = real_time(environment)
    target = near(environment, 0.08, 0.05, -0.05)
    arm.move_to(target)
    fastest, previous = 0.0, environment.physics.state()[:3]
    for _ in range(120):
        arm.advance(TICK)
        position = environment.physics.state()[:3]
        fastest = max(fastest, np.linalg.norm(position - previous) / TICK)
        previous = position
    np.testing.assert_allclose(previous, target[:3], atol=2e-3)
    assert 0.15 < fastest <= 0.25 * 1.05


def test_realtime_holds_within_300_ms_wherever_it_is(environment):
    arm = real_time(environment)
    arm.move_to(near(environment, 0.1, 0.0, 0.0))
    arm.grip(1.0)
    for _ in range(20):
        arm.advance(TICK)
    arm.hold()
    for _ in range(18):
        arm.advance(TICK)
    held = environment.physics.state()
    for _ in range(60):
        arm.advance(TICK)
    np.testing.assert_allclose(environment.physics.state(), held, atol=1e-3)


def test_realtime_turns_round_for_a_new_target(environment):
    arm = real_time(environment)
    start = near(environment, 0.0, 0.0, 0.0)
    arm.move_to(near(environment, 0.1, 0.0, 0.0))
    for _ in range(15):
        arm.advance(TICK)
    arm.move_to(start)
    for _ in range(90):
        arm.advance(TICK)
    np.testing.assert_allclose(environment.physics.state()[:3], start[:3], atol=2e-3)


def test_realtime_keeps_pace_with_the_wall_clock(environment):
    arm = real_time(environment)
    waits = np.random.default_rng(0).uniform(0.001, 0.1, 100)
    assert sum(arm.advance(wait) for wait in waits) == pytest.approx(waits.sum(), abs=1 / 240)
    assert arm.lost_s == 0.0


def test_realtime_falls_behind_instead_of_jumping_after_a_pause(environment):
    arm = real_time(environment)
    assert arm.advance(5.0) == pytest.approx(MAX_CATCH_UP_S)
    assert arm.lost_s == pytest.approx(5.0 - MAX_CATCH_UP_S)


@pytest.mark.parametrize("make", [lambda e: LockStep(e, 0.1), real_time])
@pytest.mark.parametrize("position", [(0.9, 0.0, 0.2), (0.4, 0.0, -0.1), (0.4, np.nan, 0.2)])
def test_a_target_that_cannot_be_reached_moves_nothing(environment, make, position):
    arm = make(environment)
    before = environment.physics.state()
    with pytest.raises(UnreachableError):
        arm.move_to(np.array([*position, 0, 0, 0]))
    for _ in range(30):
        arm.advance(TICK)
    np.testing.assert_allclose(environment.physics.state(), before, atol=2e-3)
