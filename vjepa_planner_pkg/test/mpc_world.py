"""An arm, a camera and a planner around a real MPC, with made-up times."""

import numpy as np
from vjepa_planner_pkg.core.goals.terms import GoalTerms
from vjepa_planner_pkg.core.mpc.io import (
    ArmState,
    Command,
    Latent,
    Now,
    PlannedAction,
    RequestPlan,
    SubGoal,
)
from vjepa_planner_pkg.core.mpc.mpc import MPC
from vjepa_planner_pkg.core.mpc.parameters import MpcParameters

GOAL = np.array([0.5, 0.1, 0.2])
START = np.array([0.4, 0.0, 0.2, 0.0, 0.0, 0.5, 0.3])
PERIOD_S = 0.05  # of images and states


class MpcWorld:
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
        return SubGoal(GoalTerms.of(self.latent()), **changes)

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
                self.do(self.mpc.on_arm(ArmState(self.now.ros_ns, self.state.copy()), self.now))
            if self.camera:
                self.do(self.mpc.on_latent(self.latent(), self.now))
            self.do(self.mpc.tick(self.now))

    def spend_until(self, state, seconds=60.0):
        self.spend(seconds, lambda: self.status.state is state)
        assert self.status.state is state, self.status
