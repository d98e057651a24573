"""The newest of every input of the MPC, and what is wrong with it now."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from vjepa_planner_pkg.core.mpc.io import ArmState, Latent, Now
from vjepa_planner_pkg.core.mpc.parameters import MpcParameters

_RESTART_NS = 500_000_000  # stamps that go back this far come from a restarted clock
_FUTURE_S = 0.2  # stamps this far ahead come from another clock


class Stream:
    """The newest item of one input. Items are ordered by stamp; ages go by both clocks."""

    def __init__(self, name: str, source: str, max_age_s: float, stamp_max_age_s: float):
        """`source` is who to blame for silence."""
        self.name, self._source = name, source
        self._max_age_s, self._stamp_max_age_s = max_age_s, stamp_max_age_s
        self.latest: Latent | ArmState | None = None
        self._received_s = -math.inf
        self._problem = ""

    @property
    def seen(self) -> bool:
        """Whether anything ever came."""
        return self.latest is not None or bool(self._problem)

    def take(self, item: Latent | ArmState, now: Now) -> bool:
        """Keeps `item` if it is newer and sound; returns whether it was kept."""
        numbers = item.features if isinstance(item, Latent) else item.state
        if not np.isfinite(numbers).all():
            self.refuse(f"holds {int((~np.isfinite(numbers)).sum())} numbers that are not finite")
            return False
        if self.latest is not None:
            back_ns = self.latest.stamp_ns - item.stamp_ns
            if 0 < back_ns < _RESTART_NS:
                return False  # overtaken on the way
        self.latest, self._received_s, self._problem = item, now.steady_s, ""
        return True

    def refuse(self, problem: str) -> None:
        """Notes that the newest item cannot be used; a sound one ends it."""
        self._problem = problem

    def silent(self, now: Now) -> bool:
        """Whether sound items came, and none of late."""
        late = now.steady_s - self._received_s > self._max_age_s
        return late and self.latest is not None and not self._problem

    def fault(self, now: Now) -> str:
        """Why the input cannot be used now; empty if it can."""
        if self._problem:
            return f"{self.name} {self._problem}"
        if self.latest is None:
            return f"no {self.name} yet: is {self._source} running?"
        if self.silent(now):
            return f"no {self.name} for more than {self._max_age_s:g} s: {self._source} fell silent"
        old_s = (now.ros_ns - self.latest.stamp_ns) * 1e-9
        if old_s > self._stamp_max_age_s:
            return (
                f"the stamp of {self.name} is more than {self._stamp_max_age_s:g} s old: "
                "compare clocks and use_sim_time"
            )
        if old_s < -_FUTURE_S:
            return (
                f"the stamp of {self.name} is more than {_FUTURE_S:g} s ahead of this node: "
                "compare clocks and use_sim_time"
            )
        return ""


class Inputs:
    """Latent, arm state, guard and peers."""

    def __init__(self, parameters: MpcParameters, peers: Sequence[str] = ()):
        """`peers` are nodes that must report before anything moves."""
        p = parameters
        self.latent = Stream("latent", "camera or encoder", p.latent_max_age_s, p.stamp_max_age_s)
        self.arm = Stream(
            "end_effector_state", "the arm's driver", p.state_max_age_s, p.stamp_max_age_s
        )
        self._guard_wanted = p.guard
        self._guard_max_age_s = p.guard_max_age_s
        self._guard: tuple[bool, str, float] | None = None
        self._missing = set(peers)
        self._problems: dict[str, str] = {}

    def guard(self, ready: bool, reason: str, now: Now) -> None:
        """Takes what the command guard says."""
        self._guard = (ready, reason, now.steady_s)

    def peer(self, name: str, problem: str) -> None:
        """Notes what is wrong with node `name`; an empty problem ends it."""
        self._missing.discard(name)
        self._problems.pop(name, None)
        if problem:
            self._problems[name] = f"{name}: {problem}"

    @property
    def seen(self) -> bool:
        """Whether every stream and peer was heard at least once."""
        guarded = self._guard is not None or not self._guard_wanted
        return self.latent.seen and self.arm.seen and guarded and not self._missing

    def fault(self, now: Now) -> str:
        """The first reason not to move; empty if there is none."""
        return (
            self._peer_fault()
            or self.arm.fault(now)
            or self.latent.fault(now)
            or (self._guard_fault(now))
        )

    def late(self, now: Now) -> bool:
        """Whether a picture is overdue and nothing else is wrong: nobody has died or refused, the
        arm is heard and the guard ready. A machine whose cores are all busy causes that, too."""
        others = self._peer_fault() or self.arm.fault(now) or self._guard_fault(now)
        return self.latent.silent(now) and not others

    def _peer_fault(self) -> str:
        for problem in self._problems.values():
            return problem
        for name in sorted(self._missing):
            return f"{name}: not heard of yet; is it running?"
        return ""

    def _guard_fault(self, now: Now) -> str:
        if self._guard_wanted:
            if self._guard is None:
                return "no guard_status yet: is command_guard running? Else set guard:=false"
            ready, reason, received_s = self._guard
            if now.steady_s - received_s > self._guard_max_age_s:
                return f"command guard: no guard_status for more than {self._guard_max_age_s:g} s"
            if not ready:
                return f"command guard: {reason}"
        return ""
