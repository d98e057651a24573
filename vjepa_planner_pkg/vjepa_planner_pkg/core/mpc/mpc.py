"""Receding horizon: look, plan, send the first action, wait until the arm has settled, look again.

    idle -> planning -> moving -> settled -> planning ... -> reached | stuck | timed_out | stopped

`MPC` is a state machine without a clock, threads or ROS. Events come in as method calls with the
present time; each returns the effects to carry out. It plans only from an image taken after the
arm came to rest, from inputs that are fresh and finite, and on any doubt it stops and lets the
arm hold; for a late picture the run waits meanwhile. Reasons are written where decisions fall.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
from robot_cell import CLOSEDNESS, POSITION

from vjepa_planner_pkg.core.goals.terms import GoalTerms
from vjepa_planner_pkg.core.mpc.checks import mismatch, seed_of, target_of, unusable
from vjepa_planner_pkg.core.mpc.inputs import Inputs
from vjepa_planner_pkg.core.mpc.io import (
    ArmState,
    CancelPlan,
    Command,
    Effect,
    EncodeGoal,
    Finished,
    Latent,
    MpcState,
    Now,
    PlannedAction,
    RequestPlan,
    Status,
    SubGoal,
)
from vjepa_planner_pkg.core.mpc.parameters import MpcParameters
from vjepa_planner_pkg.core.mpc.progress import Progress
from vjepa_planner_pkg.core.mpc.settling import Settling


class MPC:
    """Follows one goal, or a sequence of sub-goals, at a time.

    Attributes:
        status: what is going on and why.
        run: number of the run in progress, or of the last one.
        inputs, settling: what it hears of, and when the arm rests; kept up to date while idle too.
    """

    def __init__(
        self,
        parameters: MpcParameters,
        seed: int = 0,
        peers: Sequence[str] = (),
        watch: Callable[[Status], None] = lambda status: None,
    ):
        """
        Args:
            parameters: see there.
            seed: makes the plans of a run repeatable.
            peers: nodes that `on_peer` must report before anything moves.
            watch: called with a copy of the status at each change, also of those that pass
                within one event.
        """
        self._p, self._seed, self._watch = parameters, seed, watch
        self.status = Status()
        self.run = 0
        self.inputs = Inputs(parameters, peers)
        self.settling = Settling(parameters)
        self._goals: list[SubGoal] = []
        self._requests = 0
        self._target: np.ndarray | None = None  # where the arm is on its way to
        self._forget_run()

    # Events.

    def on_goals(
        self, goals: Sequence[SubGoal], now: Now, timeout_s: float | None = None
    ) -> list[Effect]:
        """Starts a run toward these goals, one after the other; a run in progress is pre-empted."""
        effects = self._end(MpcState.STOPPED, "pre-empted by a new goal")
        self.run += 1
        self._forget_run()
        self._goals = list(goals)
        self._started_s = self._waiting_since_s = now.steady_s
        self._timeout_s = timeout_s or self._p.timeout_s
        self.status = Status(MpcState.PLANNING, "new goal", goal_count=len(self._goals))
        if not self._goals:
            return effects + self._end(MpcState.STOPPED, "the goal holds no image")
        return effects + self._begin_goal(0, now)

    def on_goal_encoded(self, run: int, index: int, latent: Latent, now: Now) -> list[Effect]:
        """Takes the latent that `EncodeGoal` asked for."""
        if run != self.run or not self.status.state.active or index != self._encoding:
            return []
        self._encoding = None
        self._goals[index] = SubGoal(GoalTerms.of(latent), self._goals[index].max_steps)
        return self._use_goal(now)

    def on_goal_rejected(self, reason: str, now: Now) -> list[Effect]:
        """A goal image could not be used. Whoever sent it wants the arm elsewhere: it holds."""
        if self.status.state.active:
            return self._stop(reason, now)
        self.status = Status()
        self._set(MpcState.STOPPED, reason)
        return []

    def on_latent(self, latent: Latent, now: Now) -> list[Effect]:
        """Takes the features of a camera image."""
        self.inputs.latent.take(latent, now)
        return self.tick(now)

    def on_arm(self, arm: ArmState, now: Now) -> list[Effect]:
        """Takes a measured state."""
        if self.inputs.arm.take(arm, now):
            self.settling.add(arm, now.steady_s)
        return self.tick(now)

    def on_bad_latent(self, reason: str, now: Now) -> list[Effect]:
        """A latent came that cannot be used."""
        self.inputs.latent.refuse(reason)
        return self.tick(now)

    def on_bad_arm(self, reason: str, now: Now) -> list[Effect]:
        """A state came that cannot be used."""
        self.inputs.arm.refuse(reason)
        return self.tick(now)

    def on_guard(self, ready: bool, reason: str, now: Now) -> list[Effect]:
        """Takes the state of the command guard."""
        self.inputs.guard(ready, reason, now)
        return self.tick(now)

    def on_peer(self, name: str, problem: str, now: Now) -> list[Effect]:
        """Node `name` is gone or unusable for the reason `problem`; empty: it is back."""
        self.inputs.peer(name, problem)
        return self.tick(now)

    def on_plan(self, id: int, plan: PlannedAction, now: Now) -> list[Effect]:
        """Takes the plan that `RequestPlan` asked for; an outdated one is ignored."""
        if self._request is None or id != self._request.id:
            return []
        request, self._request = self._request, None
        if reason := unusable(plan):
            return self._stop(reason, now)
        if fault := self.inputs.fault(now):
            self._made, self._asked_s = (request, plan), None
            return self._hold_or_stop(fault, now)
        return self._decide(request, plan, now)

    def on_plan_failed(self, id: int, reason: str, now: Now) -> list[Effect]:
        """The planner could not answer."""
        if self._request is None or id != self._request.id:
            return []
        self._request = None
        return self._stop(reason, now)

    def stop(self, reason: str, now: Now) -> list[Effect]:
        """Ends the run from outside; the arm holds."""
        return self._stop(reason, now) if self.status.state.active else []

    def tick(self, now: Now) -> list[Effect]:
        """Looks at the time; call it often, an arm that must hold waits for it."""
        if not self.status.state.active:
            return []
        if fault := self.inputs.fault(now):
            return self._wait_or_stop(fault, now)
        if self._late_since_s is not None:
            self._late_since_s, self._waiting_since_s = None, now.steady_s
        if now.steady_s - self._started_s > self._timeout_s:
            return self._end_and_hold(
                MpcState.TIMED_OUT, f"not reached within {self._timeout_s:g} s", now
            )
        if self._asked_s is not None and now.steady_s - self._asked_s > self._p.plan_timeout_s:
            what = "an encoded goal" if self._encoding is not None else "a plan"
            who = "encoder" if self._encoding is not None else "predictor"
            return self._stop(
                f"{who}: no answer to {what} within {self._p.plan_timeout_s:g} s", now
            )
        if self.status.state is MpcState.MOVING:
            return self._watch_move(now)
        return self._look(now)

    # One step of the receding horizon.

    def _look(self, now: Now) -> list[Effect]:
        """Asks for a plan once there is an image of the arm at rest."""
        if self._request is not None or self._encoding is not None:
            return []
        rest_ns = self.settling.still_since_ns
        made, self._made = self._made, None
        if made is not None and rest_ns is not None and made[0].latent.stamp_ns >= rest_ns:
            return self._decide(*made, now)  # the arm is where the plan begins
        latent, arm = self.inputs.latent.latest, self.inputs.arm.latest
        if rest_ns is None:
            return self._wait_for_rest(now)
        self._target = None
        if latent.stamp_ns < rest_ns:
            return []
        goal = self._goals[self.status.goal_index].terms
        assert goal is not None  # `_begin_goal` has asked for what was missing
        for picture in goal.pictures.values():
            if reason := mismatch(latent, picture):
                return self._stop(reason, now)
        self._started = True
        if self._rest_state is None:  # what is not planned keeps its value through the run
            self._rest_state = arm.state.copy()
        self._requests += 1
        self._request = RequestPlan(
            id=self._requests,
            latent=latent,
            goal=goal,
            state=arm.state.copy(),
            warm_start=self._warm_start,
            seed=seed_of(self._seed, self.status, self._progress.doubts),
        )
        self._asked_s = now.steady_s
        self._set(MpcState.PLANNING, f"planning action {self.status.step + 1}", latent.stamp_ns)
        return [self._request]

    def _decide(self, request: RequestPlan, plan: PlannedAction, now: Now) -> list[Effect]:
        """Judges the look and sends the action, or ends the sub-goal."""
        status, self._asked_s = self.status, None
        self._warm_start = plan.warm_start
        reached = self._progress.reached(plan)
        if reached and self._progress.doubted(plan):
            return self._look(now)
        self._progress.look(plan)
        status.energy, status.predicted_energy = plan.energy_stay, plan.energy
        status.energy_start = self._progress.energies[0]
        status.planning_s, status.evaluations = plan.seconds, plan.evaluations
        status.action = plan.action.copy()
        if reached:
            return self._end_goal(reached, now)
        if reason := self._progress.stuck():
            return self._end_and_hold(MpcState.STUCK, reason, now)
        if status.step >= status.max_steps:
            if self._p.advance_after_max_steps and status.goal_index + 1 < status.goal_count:
                return self._begin_goal(status.goal_index + 1, now)
            return self._end_and_hold(
                MpcState.TIMED_OUT, f"not reached within {status.max_steps} actions", now
            )
        self._target = target_of(request.state, plan.action, self._rest_state)
        self._moved_from, self._commanded_s = request.state, now.steady_s
        self.settling.reset()
        status.step += 1
        self._set(MpcState.MOVING, f"action {status.step} of at most {status.max_steps} sent")
        return [Command(request.latent.stamp_ns, self._target, plan.action)]

    def _watch_move(self, now: Now) -> list[Effect]:
        """Waits until the arm is still: at its target, or elsewhere for long enough."""
        arm, moving_s = self.inputs.arm.latest, now.steady_s - self._commanded_s
        if self.settling.still_since_ns is None:
            if moving_s > self._p.settle_timeout_s:
                off_m = float(np.linalg.norm(arm.state[POSITION] - self._target[POSITION]))
                return self._end_and_hold(
                    MpcState.STUCK,
                    f"the arm did not settle within {self._p.settle_timeout_s:g} s, "
                    f"{1e3 * off_m:.0f} mm from its target",
                    now,
                )
            return []
        arrived = self.settling.arrived(arm, self._target, self._moved_from)
        if not arrived and moving_s < self._p.no_motion_s:
            return []
        covered_m = float(np.linalg.norm(arm.state[POSITION] - self._moved_from[POSITION]))
        self._progress.moved(float(np.linalg.norm(self.status.action[POSITION])), covered_m)
        if arrived:
            self._target = None
        self._set(MpcState.SETTLED, "the arm is at rest; waiting for an image of it")
        if reason := self._progress.stuck():
            return self._end_and_hold(MpcState.STUCK, reason, now)
        return self._look(now)

    def _wait_for_rest(self, now: Now) -> list[Effect]:
        if now.steady_s - self._waiting_since_s > self._p.settle_timeout_s:
            return self._end_and_hold(
                MpcState.STUCK,
                f"the arm does not come to rest within {self._p.settle_timeout_s:g} s",
                now,
            )
        return []

    # Sub-goals.

    def _begin_goal(self, index: int, now: Now) -> list[Effect]:
        steps = self._goals[index].max_steps or self._p.max_steps
        self.status.goal_index, self.status.step, self.status.max_steps = index, 0, steps
        self._progress = Progress(self._p)
        self._warm_start = None
        self._waiting_since_s = now.steady_s
        if self._goals[index].terms is None:
            self._encoding, self._asked_s = index, now.steady_s
            self._set(MpcState.PLANNING, f"encoding goal image {index + 1}")
            return [EncodeGoal(self.run, index)]
        return self._use_goal(now)

    def _use_goal(self, now: Now) -> list[Effect]:
        """The sub-goal has its latent: look as soon as the inputs allow."""
        self._asked_s = None
        self._waiting_since_s = now.steady_s
        terms = self._goals[self.status.goal_index].terms
        assert terms is not None
        if problem := terms.problem():
            return self._stop(problem, now)
        for latent in terms.pictures.values():
            if bad := int((~np.isfinite(latent.features)).sum()):
                return self._stop(f"goal_latent holds {bad} numbers that are not finite", now)
        self._set(MpcState.PLANNING, f"waiting for an image for goal {self.status.goal_index + 1}")
        return self.tick(now)

    def _end_goal(self, reason: str, now: Now) -> list[Effect]:
        self._goals_reached += 1
        index, count = self.status.goal_index, self.status.goal_count
        if index + 1 < count:
            return self._begin_goal(index + 1, now)
        prefix = f"{self._goals_reached} of {count} goals: " if count > 1 else ""
        return self._end(MpcState.REACHED, prefix + reason)

    # Ends.

    def _wait_or_stop(self, fault: str, now: Now) -> list[Effect]:
        """Before the first plan a run waits for its inputs for a while; later it holds or stops."""
        limit_s = self._p.recover_wait_s if self.inputs.seen else self._p.start_wait_s
        if not self._started and now.steady_s - self._started_s < limit_s:
            if self._encoding is None:
                self._set(MpcState.PLANNING, f"waiting: {fault}")
            return []
        return self._hold_or_stop(fault, now)

    def _hold_or_stop(self, fault: str, now: Now) -> list[Effect]:
        """Where nothing but a picture is late, the arm is held, and the run goes on if one comes
        within `recover_wait_s`; a camera that died and a busy machine look the same until then."""
        if self._late_since_s is None:
            self._late_since_s = now.steady_s
        waited_s = now.steady_s - self._late_since_s
        if not self._started or not self.inputs.late(now) or waited_s > self._p.recover_wait_s:
            return self._stop(fault, now)
        hold: list[Effect] = []
        if self.status.state is MpcState.MOVING:
            hold = self._hold(now)
            self.settling.reset()
            self._set(MpcState.SETTLED, f"holding: {fault}")
        return hold

    def _stop(self, reason: str, now: Now) -> list[Effect]:
        return self._end_and_hold(MpcState.STOPPED, reason, now)

    def _end_and_hold(self, outcome: MpcState, reason: str, now: Now) -> list[Effect]:
        """Ends the run; an arm under way, be it for the run before, is sent to where it is."""
        return self._hold(now) + self._end(outcome, reason)

    def _hold(self, now: Now) -> list[Effect]:
        hold: list[Effect] = []
        if self._target is not None and not self.inputs.arm.fault(now):
            arm = self.inputs.arm.latest
            target = arm.state.copy()
            target[CLOSEDNESS] = self._target[CLOSEDNESS]  # a gripper around a part must not let go
            hold = [Command(arm.stamp_ns, target, np.zeros(7))]
            self._target = None
        return hold

    def _end(self, outcome: MpcState, reason: str) -> list[Effect]:
        if not self.status.state.active:
            return []
        effects: list[Effect] = [CancelPlan(self._request.id)] if self._request else []
        self._set(outcome, reason)
        self._request = self._made = self._encoding = self._asked_s = None
        return [
            *effects,
            Finished(self.run, outcome, reason, self._goals_reached, self.status.energy),
        ]

    # Small steps.

    def _forget_run(self) -> None:
        self._started = False  # whether a plan was asked for
        self._started_s = self._waiting_since_s = 0.0
        self._timeout_s = self._p.timeout_s
        self._goals_reached = 0
        self._request: RequestPlan | None = None
        self._made: tuple[RequestPlan, PlannedAction] | None = None  # while a picture is late
        self._late_since_s: float | None = None  # since when a picture is overdue
        self._encoding: int | None = None
        self._asked_s: float | None = None
        self._progress = Progress(self._p)
        self._warm_start: np.ndarray | None = None
        self._rest_state: np.ndarray | None = None
        self._moved_from = np.zeros(7)
        self._commanded_s = 0.0

    def _set(self, state: MpcState, reason: str, stamp_ns: int | None = None) -> None:
        if (state, reason) == (self.status.state, self.status.reason):
            return
        self.status.state, self.status.reason = state, reason
        if stamp_ns is not None:
            self.status.stamp_ns = stamp_ns
        self._watch(dataclasses.replace(self.status))
