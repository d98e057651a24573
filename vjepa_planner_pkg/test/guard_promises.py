"""What the tests of the command guard share."""

import math

import pytest
from guard_rig import (
    Rig,
)
from vjepa_planner_pkg.core.guard.io import GuardState, Verdict

BOTH = pytest.mark.parametrize("stream", [False, True], ids=["once", "stream"])
NAN, INF = math.nan, math.inf


def ready(**config) -> Rig:
    rig = Rig(**config)
    assert rig.state().verdict is Verdict.ACCEPTED
    assert rig.status() == (GuardState.READY, "")
    return rig


def assert_refused(rig: Rig, *words: str, **overrides) -> None:
    """The command is refused for this reason, counted, shown, and nothing but a hold comes out."""
    rejected = rig.guard.rejected
    decision = rig.command(**overrides)
    assert decision.verdict is Verdict.REJECTED
    for word in words:
        assert word in decision.reason
    assert rig.guard.rejected == rejected + 1
    assert rig.status() == (GuardState.HOLDING, decision.reason)
    output = rig.tick()
    assert output is None or output.hold


def assert_accepted(rig: Rig, **overrides) -> None:
    assert rig.command(**overrides).verdict is Verdict.ACCEPTED
    assert rig.status() == (GuardState.READY, "")
