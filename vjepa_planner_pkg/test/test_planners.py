"""Promises of the planners, on energies whose minimum is known."""

import itertools

import pytest
import torch
from vjepa_planner_pkg.core.search.plan import ScoreError
from vjepa_planner_pkg.core.search.planner import (
    ActionSpace,
    CEMPlanner,
    FastPlanner,
    PlannerConfig,
    make_planner,
    shifted,
)

STATE = torch.tensor([0.5, 0.0, 0.2, 0.0, 0.0, 0.0, 0.3])
GOALS = [torch.tensor(p) for p in ([0.03, -0.05, 0.01], [-0.052, 0.002, 0.04], [0.0, 0.03, -0.06])]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


class Energy:
    """An energy of the summed position moves, with its lowest point at `goal`."""

    def __init__(self, goal, shape="quadratic"):
        self.goal, self.shape, self.evaluations = goal, shape, 0
        # A valley ten times longer than wide, turned away from the axes.
        turn = torch.linalg.qr(torch.randn(3, 3, generator=generator(5)))[0]
        self.valley = turn @ torch.diag(torch.tensor([1.0, 0.3, 0.1])) @ turn.T

    def __call__(self, actions):
        self.evaluations += len(actions)
        offset = actions[..., :3].cumsum(1) - self.goal
        if self.shape == "quadratic":
            return (offset**2).sum(-1)
        if self.shape == "concave":  # as |x|^0.5: steep at the goal, flat far away
            return (offset**2).sum(-1).pow(0.25)
        if self.shape == "valley":
            return ((offset @ self.valley) ** 2).sum(-1)
        raise ValueError(self.shape)


BOX = {"workspace_min_m": [0.30, -0.28, 0.015], "workspace_max_m": [0.68, 0.28, 0.42]}


def config(**changes):
    return PlannerConfig(**{"max_step_m": 0.075, **BOX, **changes})


@pytest.mark.parametrize("goal", GOALS, ids=["a", "b", "c"])
@pytest.mark.parametrize(
    ("shape", "tolerance_m"), [("quadratic", 1e-4), ("concave", 1.5e-3), ("valley", 1e-4)]
)
def test_fast_planner_finds_the_minimum(shape, tolerance_m, goal):
    plan = FastPlanner(config(), config()).plan(Energy(goal, shape), STATE, generator=generator())
    assert (plan.actions[0, :3] - goal).norm() < tolerance_m
    assert plan.evaluations < 220
    assert plan.energy < plan.energy_stay


@pytest.mark.parametrize("shape", ["quadratic", "concave", "valley"])
def test_fast_planner_beats_cem_with_half_the_evaluations(shape):
    c = config(cem_samples=64, cem_iterations=4, cem_elites=8, cem_momentum_std=0.15)
    pairs = []
    for goal, seed in itertools.product(GOALS, range(4)):
        energy = Energy(goal, shape)
        pairs.append(
            [
                p.plan(energy, STATE, generator=generator(seed))
                for p in (FastPlanner(c, c), CEMPlanner(c, c))
            ]
        )
    assert sum(fast.energy for fast, _ in pairs) < sum(cem.energy for _, cem in pairs)
    evaluations = [sum(p.evaluations for p in side) for side in zip(*pairs)]
    assert evaluations[0] < 0.7 * evaluations[1]


@pytest.mark.parametrize("goal", GOALS, ids=["a", "b", "c"])
def test_cem_finds_the_minimum(goal):
    c = config()
    plan = CEMPlanner(c, c).plan(Energy(goal), STATE, generator=generator())
    assert (plan.actions[0, :3] - goal).norm() < 2e-3


def on_a_way(actions):
    """An energy that wants a way of its own, not only its end: a zigzag of three moves."""
    offset = actions[..., :3] - torch.stack(GOALS)
    return (offset**2).sum(-1).cumsum(1)


def test_gradients_free_the_actions_of_a_plan_from_each_other():
    plans = []
    for steps in (0, 30):
        c = config(horizon=3, fast_gradient_steps=steps)
        plans.append(FastPlanner(c, c).plan(on_a_way, STATE, generator=generator()))
    same, free = plans
    assert torch.allclose(same.actions[0], same.actions[1])
    assert (free.actions[:, :3] - torch.stack(GOALS)).abs().max() < 1e-3
    assert free.energy < 1e-3 * same.energy
    assert free.evaluations < 8000 / 30


def test_gradients_are_counted_at_their_cost():
    seen = {"sequences": 0, "gradients": 0}

    class Counted:
        def __call__(self, actions):
            seen["sequences"] += len(actions)
            return on_a_way(actions)

        def gradient(self, actions):
            seen["gradients"] += len(actions)
            leaf = actions.clone().requires_grad_(True)
            energies = on_a_way(leaf)
            return energies.detach(), torch.autograd.grad(energies[:, -1].sum(), leaf)[0]

    c = config(horizon=3)
    plan = FastPlanner(c, c).plan(Counted(), STATE, generator=generator())
    assert seen["gradients"] > 0
    assert plan.evaluations == seen["sequences"] + 3 * seen["gradients"]


def test_gradients_end_at_the_walls_of_the_workspace():
    c = config(horizon=2, workspace_min_m=[0.4, -0.1, 0.1], workspace_max_m=[0.55, 0.1, 0.3])
    space = ActionSpace(c)
    points = torch.tensor([[1.0, 0.5, 0.0, 0.2, 0.5, 0.0]], requires_grad=True)
    targets = STATE[:3] + space.actions(points, STATE)[..., :3].cumsum(1)
    (slope,) = torch.autograd.grad(targets[0, 1].sum(), points)
    assert float(targets[0, 1, 0].detach()) == pytest.approx(
        0.55, abs=1e-4
    )  # cut, whatever the points
    assert slope[0, [0, 3]].abs().max() == 0.0
    assert torch.allclose(slope[0, [1, 4]], torch.tensor(0.075))


def test_gradient_steps_refuse_a_score_without_gradient():
    c = config(horizon=2)
    energy = Energy(GOALS[0])
    with pytest.raises(ScoreError, match="fast_gradient_steps"):
        FastPlanner(c, c).plan(lambda a: energy(a).detach(), STATE, generator=generator())


def test_a_goal_beyond_the_limit_is_approached_at_full_step():
    plan = FastPlanner(config(), config()).plan(
        Energy(torch.tensor([0.3, 0.01, -0.2])), STATE, generator=generator()
    )
    assert torch.allclose(plan.actions[0, :3], torch.tensor([0.075, 0.01, -0.075]), atol=1e-3)


def test_at_the_goal_the_plan_is_to_stay():
    for shape in ("quadratic", "concave", "valley"):
        plan = FastPlanner(config(), config()).plan(
            Energy(torch.zeros(3), shape), STATE, generator=generator()
        )
        assert plan.actions.abs().max() == 0.0
        assert plan.energy == plan.energy_stay


def test_a_flat_energy_moves_nothing():
    plan = FastPlanner(config(), config()).plan(
        lambda a: torch.ones(a.shape[:2]), STATE, generator=generator()
    )
    assert plan.actions.abs().max() == 0.0


def test_a_plan_is_never_worse_than_its_warm_start():
    ragged = torch.randn(7, generator=generator(3)) * 400

    def energy(actions):  # so rough that no search could succeed
        return (actions @ ragged).sin().sum(1, keepdim=True) + (actions @ ragged * 37).sin().sum(
            1, keepdim=True
        )

    warm = torch.tensor([[0.03, 0.02, -0.01, 0, 0, 0, 0]])
    c = config()
    plan = FastPlanner(c, c).plan(energy, STATE, warm_start=warm, generator=generator())
    assert plan.energy <= float(energy(warm[:, None])[0, 0]) + 1e-6
    assert plan.energy <= plan.energy_stay


def test_a_good_warm_start_saves_evaluations():
    goal = GOALS[0]
    warm = torch.cat([goal, torch.zeros(4)])[None]
    c = config()
    cold, warmed = (
        sum(
            FastPlanner(c, c)
            .plan(Energy(goal, "concave"), STATE, warm_start=w, generator=generator(s))
            .evaluations
            for s in range(8)
        )
        for w in (None, warm)
    )
    assert warmed < cold


@pytest.mark.parametrize("name", ["fast", "cem"])
def test_the_same_seed_gives_the_same_plan(name):
    planner = make_planner(config(planner=name, horizon=2))
    a, b, other = (
        planner.plan(Energy(GOALS[0], "concave"), STATE, generator=generator(seed))
        for seed in (1, 1, 2)
    )
    assert torch.equal(a.actions, b.actions) and a.energy == b.energy
    assert not torch.equal(a.actions, other.actions)


@pytest.mark.parametrize("name", ["fast", "cem"])
def test_every_candidate_is_scored_once_and_counted(name):
    energy = Energy(GOALS[1], "valley")
    plan = make_planner(config(planner=name)).plan(energy, STATE, generator=generator())
    assert plan.evaluations == energy.evaluations


class Clock:
    """A score that takes its time on a clock of its own [s], and remembers when it was called."""

    def __init__(self, cost_s):
        """`cost_s`: from the number of sequences to the time of a call."""
        self.now_s, self._cost_s = 0.0, cost_s
        self.calls = []  # begun, ended

    def __call__(self, actions):
        return self._take(len(actions), Energy(GOALS[0], "concave")(actions))

    def gradient(self, actions):
        leaf = actions.clone().requires_grad_(True)
        energies = Energy(GOALS[0], "concave")(leaf)
        slope = torch.autograd.grad(energies[:, -1].sum(), leaf)[0]
        return self._take(3 * len(actions), (energies.detach(), slope))

    def _take(self, sequences, answer):
        begun, self.now_s = self.now_s, self.now_s + self._cost_s(sequences)
        self.calls.append((begun, self.now_s))
        return answer


def stalling():
    """A machine that now and then is busy with something else."""
    draw = generator(8)
    return lambda n: 0.01 * n * (1.0 + 20.0 * float(torch.rand(1, generator=draw) ** 6))


def plan_on_the_clock(cost_s, **changes):
    """A plan and the clock that timed it."""
    c, score = config(fast_resolution_m=1e-5, **changes), Clock(cost_s)
    kind = {"fast": FastPlanner, "cem": CEMPlanner}[c.planner]
    planner = kind(c, c, clock=lambda: score.now_s)
    return planner.plan(score, STATE, budget_s=c.budget_s, generator=generator()), score


@pytest.mark.parametrize("cost_s", [lambda n: 0.1, lambda n: 0.01 * n, stalling()])
@pytest.mark.parametrize(("name", "horizon"), [("fast", 1), ("fast", 3), ("cem", 1), ("cem", 2)])
@pytest.mark.parametrize("budget_ms", [10.0, 350.0, 650.0, 1500.0])
def test_a_plan_is_never_late_by_more_than_one_batch(name, horizon, budget_ms, cost_s):
    plan, score = plan_on_the_clock(
        cost_s, planner=name, horizon=horizon, time_budget_ms=budget_ms, cem_samples=20,
        cem_iterations=50, fast_iterations=50,
    )  # fmt: skip
    budget_s = budget_ms / 1000.0
    assert all(begun <= budget_s for begun, _ in score.calls[1:])
    begun, ended = score.calls[-1]
    assert plan.seconds - budget_s <= ended - begun
    assert plan.ended_by in ("budget", "converged")
    assert plan.energy <= plan.energy_stay
    energy = Energy(GOALS[0], "concave")(plan.actions[None])[0, -1]
    assert plan.energy == pytest.approx(float(energy), abs=1e-6)


def test_a_steady_machine_keeps_the_budget_to_the_millisecond():
    for budget_ms in (100.0, 200.0, 400.0, 800.0):
        plan, _ = plan_on_the_clock(lambda n: 0.01 * n, time_budget_ms=budget_ms)
        assert 0.9 * budget_ms <= 1e3 * plan.seconds <= budget_ms + 1e-6


def test_more_time_gives_a_better_plan():
    energies = [
        plan_on_the_clock(lambda n: 0.01 * n, time_budget_ms=budget_ms)[0].energy
        for budget_ms in (100.0, 500.0, 2000.0, 0.0)
    ]
    assert energies == sorted(energies, reverse=True)
    assert energies[-1] < energies[0]


@pytest.mark.parametrize("name", ["fast", "cem"])
def test_targets_stay_in_the_workspace(name):
    c = config(
        planner=name,
        horizon=3,
        workspace_min_m=[0.48, -0.02, 0.1],
        workspace_max_m=[0.52, 0.03, 0.22],
    )
    seen = []

    def energy(actions):
        seen.append(actions)
        return Energy(torch.tensor([0.2, -0.2, 0.2]))(actions)

    plan = make_planner(c).plan(energy, STATE, generator=generator())
    targets = STATE[:3] + torch.cat([*seen, plan.actions[None]])[..., :3].cumsum(1)
    low, high = torch.tensor(c.workspace_min_m), torch.tensor(c.workspace_max_m)
    assert (targets >= low - 1e-6).all() and (targets <= high + 1e-6).all()
    assert torch.allclose(targets[-1, -1], torch.tensor([0.52, -0.02, 0.22]), atol=2e-3)


def test_an_arm_outside_the_workspace_comes_back_by_allowed_steps():
    c = config()
    outside = STATE.clone()
    outside[2] = 0.6
    space = ActionSpace(c)
    actions = space.actions(torch.rand(50, 3, generator=generator()) * 2 - 1, outside)
    assert torch.allclose(actions[:, 0, 2], torch.tensor(-0.075))


def test_rotation_and_gripper_stay_zero_unless_asked_for():
    def energy(actions):  # would like to turn and to close
        return Energy(GOALS[0])(actions) - actions[..., 3:].sum(-1)

    plan = FastPlanner(config(), config()).plan(energy, STATE, generator=generator())
    assert plan.actions[:, 3:].abs().max() == 0.0
    c = config(rotation=True, gripper=True)
    plan = FastPlanner(c, c).plan(energy, STATE, generator=generator())
    assert (plan.actions[0, 3:6] > 0.19).all() and plan.actions[0, 6] > 0.7


def test_cem_keeps_the_gripper_unless_asked_and_drops_small_changes():
    def energy(wanted):
        return lambda a: Energy(GOALS[0])(a) + (a[..., 6] - wanted) ** 2

    for wanted, gripper, expected in [(0.6, False, 0.0), (0.6, True, 0.6), (0.1, True, 0.0)]:
        c = config(planner="cem", gripper=gripper)
        plan = make_planner(c).plan(energy(wanted), STATE, generator=generator())
        assert plan.actions[0, 6] == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize("name", ["fast", "cem"])
def test_a_non_finite_energy_is_refused(name):
    def energy(actions):
        energies = Energy(GOALS[0])(actions)
        energies[1] = torch.nan
        return energies

    with pytest.raises(ScoreError, match="not finite"):
        make_planner(config(planner=name)).plan(energy, STATE, generator=generator())


def test_the_warm_start_repeats_only_what_reached_the_limit():
    limits = ActionSpace(config()).limits
    actions = torch.zeros(2, 7)
    actions[0, 0], actions[1, :3] = 0.01, torch.tensor([0.075, 0.02, -0.0749])
    assert torch.allclose(
        shifted(actions, limits)[:, :3],
        torch.tensor([[0.075, 0.02, -0.0749], [0.075, 0.0, -0.0749]]),
    )


def test_settings_that_do_not_go_together_are_refused():
    with pytest.raises(ValueError, match="cem_elites 90"):
        make_planner(config(planner="cem", cem_samples=64, cem_elites=90))
    with pytest.raises(ValueError, match="workspace_min_m"):
        config(workspace_min_m=[0.0, 0.0, 0.5])
    with pytest.raises(ValueError, match="rotation"):
        make_planner(config(planner="cem", rotation=True))
