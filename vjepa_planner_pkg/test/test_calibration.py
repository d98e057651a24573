"""Promises of the camera calibration: the fit, what it refuses, how plans use it, and its moves."""

import json
from dataclasses import replace

import numpy as np
import pytest
import robot_cell
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from vjepa_planner_pkg.core.calibration.calibration import (
    CalibratedScore,
    Calibration,
    CalibrationError,
    calibrated,
)
from vjepa_planner_pkg.core.calibration.fit import (
    CalibrationParameters,
    Move,
    fit,
    fit_turn,
    targets,
)
from vjepa_planner_pkg.core.calibration.run import Aborted, CalibrationRun, RecordedMove
from vjepa_planner_pkg.core.goals.terms import GoalTerms
from vjepa_planner_pkg.core.mpc.episode import run_calibration
from vjepa_planner_pkg.core.mpc.inputs import Inputs
from vjepa_planner_pkg.core.mpc.io import ArmState, Command, Latent, Now, RequestPlan
from vjepa_planner_pkg.core.mpc.parameters import MpcParameters
from vjepa_planner_pkg.core.mpc.settling import Settling
from vjepa_planner_pkg.core.search.action_space import within
from vjepa_planner_pkg.core.search.planner import PlannerConfig, make_planner
from vjepa_planner_pkg.core.search.scorer import DirectScorer
from vjepa_world_model.model.poses import apply_action
from vjepa_world_model.weights.checkpoints import load_world_model

START = np.array([0.48, 0.02, 0.2, 0.0, 0.0, 0.0, 0.0])
CELL = robot_cell.load("panda_sim")
PLANNER = within(PlannerConfig(time_budget_ms=0.0), CELL)
LIMITS = CalibrationParameters()
KNOWN = Calibration(0.4, (0.49, 0.0), 0.1, 8, 0.05, "small", "camera")


class TurnedWorld:
    """Features are the arm's position along axes turned by `yaw_rad`, which the model knows.

    `noise_m` is added to what each picture shows.
    """

    def __init__(self, yaw_rad, noise_m=0.0, seed=0):
        self.turn = Rotation.from_rotvec([0.0, 0.0, yaw_rad])
        self.noise_m, self.rng = noise_m, np.random.default_rng(seed)

    def latent(self, state):
        seen = self.turn.apply(state[:3]) + self.rng.normal(0.0, self.noise_m, 3)
        return Latent(0, seen[None].astype(np.float32), (1, 1), "toy", "camera")

    def source(self, request):
        """A score of actions along the axes that the model knows."""
        start, goal = (
            torch.from_numpy(latent.features[0])
            for latent in (request.latent, request.goal.pictures[""])
        )
        return lambda actions: (start + actions[..., :3].cumsum(1) - goal).norm(dim=-1)

    def moves(self, to=None):
        to = targets(START, 0.05, PLANNER) if to is None else to
        states = [START, *to]
        latents = [self.latent(state) for state in states]
        return [Move(*latents[i : i + 2], *states[i : i + 2]) for i in range(len(to))]


# The fit.


@given(yaw=st.floats(-3.1, 3.1), seed=st.integers(0, 1000))
@settings(max_examples=50, deadline=None)
def test_the_turn_between_motions_is_found_under_noise(yaw, seed):
    rng = np.random.default_rng(seed)
    moved = np.diff([START, *targets(START, 0.05, PLANNER)], axis=0)[:, :3]
    imagined = Rotation.from_rotvec([0.0, 0.0, yaw]).apply(moved) + rng.normal(0, 0.005, (8, 3))
    found, left = fit_turn(moved, imagined)
    assert abs(np.angle(np.exp(1j * (found - yaw)))) < 0.2
    assert 0.02 < left < 0.4


@pytest.mark.parametrize("yaw_deg", [-35, -10, 0, 30, 90, 175])
def test_a_calibration_finds_how_the_model_s_axes_lie(yaw_deg):
    world = TurnedWorld(np.deg2rad(yaw_deg), noise_m=0.003)
    found = fit(world.moves(), world.source, PLANNER, LIMITS)
    assert np.rad2deg(found.yaw_rad) == pytest.approx(yaw_deg, abs=5)
    assert 0.0 < found.residual < 0.2
    assert (found.moves, found.model, found.camera_frame) == (8, "toy", "camera")
    assert found.move_m == pytest.approx(0.05)
    assert found.pivot_m == pytest.approx((0.49, 0.0))


def shifted(*steps):
    """Targets after these steps (x, y, z) [m]."""
    return [START + [*total, 0, 0, 0, 0] for total in np.cumsum(steps, axis=0)]


@pytest.mark.parametrize(
    ("steps", "named"),
    [
        ([(0.05, 0, 0), (0, 0.05, 0)], "2 moves"),
        ([(0.05, 0, 0), (-0.05, 0, 0)] * 4, "along one line"),
        ([(0, 0, 0.05), (0, 0, -0.05)] * 4, "0.0 mm"),
        ([(0.005, 0, 0), (0, 0.005, 0), (-0.005, 0, 0), (0, -0.005, 0)], "5.0 mm"),
        ([(0.05, 0, 0), (0, 0.05, 0), (-0.05, 0, 0), (0, np.nan, 0)], "not finite"),
    ],
)
def test_degenerate_moves_are_refused(steps, named):
    world = TurnedWorld(0.3)
    with pytest.raises(CalibrationError, match=named):
        fit(world.moves(shifted(*steps)), world.source, PLANNER, LIMITS)


def test_a_model_that_sees_other_motions_is_refused():
    world = TurnedWorld(0.3, noise_m=0.1)
    with pytest.raises(CalibrationError, match="unexplained"):
        fit(world.moves(), world.source, PLANNER, LIMITS)


def test_a_tilted_camera_shows_in_the_residual():
    tilted = TurnedWorld(0.0)
    tilted.turn = Rotation.from_rotvec([0.0, 0.6, 0.0])
    assert fit(tilted.moves(), tilted.source, PLANNER, LIMITS).residual > 0.2


def test_moves_stay_in_the_workspace_and_a_corner_is_refused():
    edge = np.array([0.66, 0.0, 0.2, 0.0, 0.0, 0.0, 0.3])
    there = np.array(targets(edge, 0.05, PLANNER))
    assert len(there) == 6 and np.array_equal(there[1::2], [edge] * 3)
    assert (there[:, 0] <= 0.68).all() and np.allclose(there[:, 2:], edge[2:])
    with pytest.raises(CalibrationError, match="2 of 4 directions"):
        targets(np.array([0.66, 0.27, 0.2, 0, 0, 0, 0]), 0.05, PLANNER)
    free = PlannerConfig()
    assert len(targets(edge, 0.05, free)) == 8


# How plans use it.


def test_turned_states_and_actions_keep_together():
    state = torch.tensor([0.5, 0.1, 0.2, 0.3, -0.2, 0.5, 0.4])
    action = torch.tensor([0.03, -0.02, 0.01, 0.2, 0.1, -0.3, 0.1])
    there = apply_action(
        torch.from_numpy(KNOWN.state(state.numpy())).float(), KNOWN.actions(action)
    )
    assert np.allclose(there, KNOWN.state(apply_action(state, action).numpy()), atol=1e-6)


@pytest.mark.parametrize("yaw_deg", [-30, 25, 90])
def test_a_plan_in_a_turned_world_is_the_turned_plan(yaw_deg):
    calibration = replace(KNOWN, yaw_rad=np.deg2rad(yaw_deg), model="toy")
    step = np.array([0.02, -0.03, 0.01, 0, 0, 0, 0])

    def plan(world, calibration):
        request = RequestPlan(
            0, world.latent(START), GoalTerms.of(world.latent(START + step)), START, None, seed=0
        )
        score = calibrated(world.source, request, calibration)
        generator = torch.Generator().manual_seed(0)
        return make_planner(PLANNER).plan(score, torch.from_numpy(START), generator=generator)

    straight = plan(TurnedWorld(0.0), None)
    turned = plan(TurnedWorld(calibration.yaw_rad), calibration)
    assert torch.allclose(turned.actions, straight.actions, atol=1e-5)
    assert turned.energy == pytest.approx(straight.energy, abs=1e-6)
    astray = plan(TurnedWorld(calibration.yaw_rad), None)
    assert float((astray.actions - straight.actions).norm()) > 0.015


def test_a_world_model_is_asked_along_the_axes_that_it_knows(small_model):
    model = load_world_model(small_model, "cpu")
    torch.manual_seed(1)
    features, goal = torch.randn(2, model.tokens, model.width)
    latents = [Latent(0, f.numpy(), model.grid, model.name, "camera") for f in (features, goal)]
    calibration = replace(KNOWN, model=model.name)

    def source(request):
        return DirectScorer(model, features, goal, torch.from_numpy(request.state).float())

    score = calibrated(
        source, RequestPlan(0, latents[0], GoalTerms.of(latents[1]), START, None, 0), calibration
    )
    actions = 0.05 * torch.randn(5, 2, 7)
    state = torch.from_numpy(calibration.state(START)).float()
    expected = model.score(features, goal, state, calibration.actions(actions))
    assert torch.allclose(score(actions), expected, atol=1e-6)

    energies, gradient = score.gradient(actions)
    leaf = actions.clone().requires_grad_(True)
    score(leaf)[:, -1].sum().backward()
    assert torch.allclose(energies, expected, atol=1e-6)
    assert torch.allclose(gradient, leaf.grad, atol=1e-6)


@pytest.mark.parametrize(("field", "value"), [("model", "large"), ("frame", "other_camera")])
def test_a_calibration_of_another_model_or_camera_is_refused(field, value):
    latent = replace(Latent(0, np.zeros((1, 3)), model="small", frame="camera"), **{field: value})
    request = RequestPlan(0, latent, GoalTerms.of(latent), START, None, 0)
    with pytest.raises(CalibrationError, match=f"'{value}'; calibrate anew"):
        calibrated(lambda turned: pytest.fail("scored"), request, KNOWN)


def test_without_a_calibration_nothing_is_turned():
    world = TurnedWorld(0.0)
    request = RequestPlan(0, world.latent(START), GoalTerms.of(world.latent(START)), START, None, 0)
    assert not isinstance(calibrated(world.source, request, None), CalibratedScore)


# The file.


def test_a_calibration_survives_on_disk(tmp_path):
    path = tmp_path / "new" / "calibration.json"
    KNOWN.write(path)
    assert Calibration.read(path) == KNOWN
    assert [p.name for p in path.parent.iterdir()] == ["calibration.json"]


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (lambda stored: None, "cannot be read"),
        (lambda stored: "{", "cannot be read"),
        (lambda stored: "[]", "no calibration"),
        (lambda stored: json.dumps({**stored, "format": "other"}), "no calibration"),
        (lambda stored: json.dumps({**stored, "yaw_rad": float("nan")}), "damaged"),
        (lambda stored: json.dumps({**stored, "yaw_rad": "left"}), "damaged"),
        (lambda stored: json.dumps({**stored, "pivot_m": [1.0]}), "damaged"),
        (lambda stored: json.dumps({k: v for k, v in stored.items() if k != "model"}), "damaged"),
        (lambda stored: json.dumps({**stored, "more": 1}), "damaged"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path, spoil, named):
    path = tmp_path / "calibration.json"
    KNOWN.write(path)
    text = spoil(json.loads(path.read_text()))
    path.unlink()
    if text is not None:
        path.write_text(text)
    with pytest.raises(CalibrationError, match=named):
        Calibration.read(path)


# The moves.


class CalibrationBench:
    """A calibration run with inputs that the test drives; time is made up."""

    def __init__(self):
        self.p = MpcParameters(guard=False)
        self.inputs, self.settling = Inputs(self.p), Settling(self.p)
        self.run = CalibrationRun(
            self.p, self.inputs, self.settling, lambda state: targets(state, 0.05, PLANNER)
        )
        self.s, self.state = 1.0, START.copy()

    @property
    def now(self):
        return Now(self.s, round(self.s * 1e9))

    def wait(self, seconds=0.1, camera=True, frame="camera"):
        """Lets time pass with the arm where it is; returns the effects."""
        effects = []
        for _ in range(max(1, round(seconds / 0.1))):
            self.s += 0.1
            arm = ArmState(self.now.ros_ns, self.state.copy())
            self.inputs.arm.take(arm, self.now)
            self.settling.add(arm, self.s)
            if camera:
                latent = Latent(self.now.ros_ns, np.ones((1, 3), np.float32), (1, 1), "m", frame)
                self.inputs.latent.take(latent, self.now)
            effects += self.run.tick(self.now)
        return effects

    def first_command(self):
        assert self.run.begin(self.now) == []
        effects = self.wait(0.5)
        assert [type(e) for e in effects] == [Command]
        return effects[0]


def test_an_arm_goes_out_and_back_and_is_seen_at_rest_each_time():
    p = MpcParameters(guard=False)
    inputs, settling = Inputs(p), Settling(p)
    state, sent = START.copy(), []

    def move(target):
        sent.append(target.copy())
        state[:] = target

    world = TurnedWorld(0.2)
    run = CalibrationRun(p, inputs, settling, lambda state: targets(state, 0.05, PLANNER))

    def look():
        return world.latent(state).features, state.copy()

    moves = run_calibration(run, inputs, settling, look, move, "toy", (1, 1))
    assert {m.before.grid for m in moves} == {(1, 1)}
    assert not run.active and run.done == run.count == len(moves) == 8
    assert np.allclose(sent, targets(START, 0.05, PLANNER)) and np.allclose(state, START)
    assert np.allclose([np.linalg.norm(m.moved) for m in moves], 0.05)
    assert fit(moves, world.source, PLANNER, LIMITS).yaw_rad == pytest.approx(0.2, abs=0.02)


def test_the_next_move_waits_for_rest_and_for_a_picture_of_it():
    bench = CalibrationBench()
    target = bench.first_command().target
    bench.state[:3] += 0.5 * (target[:3] - bench.state[:3])
    assert bench.wait() == [] and bench.run.done == 0
    bench.state = target.copy()
    assert bench.wait(0.2, camera=False) == []
    assert [type(e) for e in bench.wait()] == [Command] and bench.run.done == 1


def faults():
    def silent_camera(bench):
        return bench.wait(0.5, camera=False)

    def silent_arm(bench):
        bench.s += 0.5
        return bench.run.tick(bench.now)

    def stands_still(bench):
        return bench.wait(3.0)

    def other_camera(bench):
        bench.state = bench.first.target.copy()
        return bench.wait(0.5, frame="other")

    def stopped(bench):
        return bench.run.stop("the service stop was called", bench.now)

    return {
        "no latent": silent_camera,
        "no end_effector_state": silent_arm,
        "50 mm from the target": stands_still,
        "'other'": other_camera,
        "service stop": stopped,
    }


@pytest.mark.parametrize("named", faults())
def test_any_fault_ends_the_moves_and_an_arm_under_way_holds(named):
    bench = CalibrationBench()
    bench.first = bench.first_command()
    effects = faults()[named](bench)
    assert isinstance(effects[-1], Aborted) and named in effects[-1].reason
    holds = [e for e in effects if isinstance(e, Command)]
    for hold in holds:
        assert np.allclose(hold.target, bench.state) and not hold.action.any()
    # Without a state nobody knows where to hold; an arm at its target is not under way.
    assert len(holds) == (named not in ("no end_effector_state", "'other'"))
    assert not bench.run.active and bench.wait(1.0) == []


def test_moves_begin_only_with_every_input():
    bench = CalibrationBench()
    assert bench.run.begin(bench.now) == []
    bench.s += bench.p.start_wait_s + 1.0
    (aborted,) = bench.run.tick(bench.now)
    assert isinstance(aborted, Aborted) and "no end_effector_state yet" in aborted.reason


def test_a_run_can_be_made_again_after_an_abort():
    bench = CalibrationBench()
    bench.first_command()
    bench.run.stop("no more", bench.now)
    effects = bench.run.begin(bench.now)
    while not any(isinstance(e, RecordedMove) for e in effects):
        for effect in effects:
            bench.state = effect.target.copy()
        effects = bench.wait(0.2)
        assert bench.s < 60.0
    assert len(effects[-1].moves) == 8
