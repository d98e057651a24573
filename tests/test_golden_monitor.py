"""The golden station: real latents and sightings through the real learner, follower and alarm book.

The cycles are those of a station that no training saw (`./run bench golden` makes them again). The
floors have two sides: a change that flags everything is caught as well as one that flags nothing.
"""

from __future__ import annotations

import json
from functools import cache

import pytest
from benchmarks.golden import GOLDEN
from benchmarks.sop_scores import ANSWERS
from sop_monitor_pkg.core.following.watching import AlarmLine, StepLine, judge
from sop_monitor_pkg.core.normal import model, store
from sop_monitor_pkg.core.normal.conformal import ACCEPTED
from sop_monitor_pkg.core.normal.learning import Example, play
from sop_monitor_pkg.core.normal.model import NormalModel
from sop_monitor_pkg.core.procedure import file as procedure_file
from sop_monitor_pkg.core.procedure.examples import find_procedure
from sop_monitor_pkg.core.procedure.procedure import Procedure

STATION = GOLDEN / "station"
TRUTH = json.loads((STATION / "truth.json").read_text())["faults"]


@cache
def station() -> Procedure:
    return procedure_file.load(find_procedure("station"))


def cycle(name: str) -> Example:
    return store.load(STATION / f"{name}.npz")[0]


@cache
def normal() -> NormalModel:
    """As learned once (`./run bench golden --relearn`), with thresholds made anew."""
    known = model.load(GOLDEN / "normal")
    return known.calibrated(known.clean, ACCEPTED)


@cache
def followed(part: str) -> dict[str, tuple[tuple[str, ...], frozenset[str]]]:
    """Of each cycle of a part: the steps confirmed, and every kind of alarm raised."""
    found = {}
    for name in TRUTH:
        if name.startswith(part):
            lines = list(judge(station(), normal(), play(station(), normal(), cycle(name))))
            steps = tuple(line.step for line in lines if isinstance(line, StepLine))
            raised = {
                str(line.alarm.kind)
                for line in lines
                if isinstance(line, AlarmLine) and line.change in ("raised", "reclassified")
            }
            found[name] = (steps, frozenset(raised))
    return found


def named(name: str, kinds: frozenset[str]) -> bool:
    return bool(kinds & set(ANSWERS[TRUTH[name]]))


def test_clean_cycles_are_left_alone() -> None:
    flagged = [name for name, (_, kinds) in followed("clean").items() if kinds]
    assert len(followed("clean")) == 12
    assert len(flagged) <= 1, flagged


def test_faulty_cycles_are_named() -> None:
    missed = [n for n, (_, kinds) in followed("faulty").items() if not named(n, kinds)]
    assert len(followed("faulty")) == 12
    assert len(missed) <= 1, missed


def test_no_cycle_gets_alarms_of_many_kinds() -> None:
    """A monitor that raises everything would name every fault, too."""
    kinds = [len(kinds) for _, kinds in followed("faulty").values()]
    assert sum(kinds) <= 16, kinds


def test_the_steps_of_clean_cycles_are_read_in_order() -> None:
    segments = {name: [s.step for s in cycle(name).segments or ()] for name in followed("clean")}
    wrong = [n for n, (steps, _) in followed("clean").items() if list(steps) != segments[n]]
    assert len(wrong) <= 1, wrong


def test_the_threshold_is_neither_dull_nor_wild() -> None:
    assert 0.5 <= normal().threshold <= 3.0
    assert normal().cycles == 20


@pytest.mark.parametrize("part", ["learn", "clean", "faulty"])
def test_the_golden_folder_stays_small(part: str) -> None:
    files = list(STATION.glob(f"{part}_*.npz"))
    assert len(files) == {"learn": 20, "clean": 12, "faulty": 12}[part]
    assert sum(file.stat().st_size for file in STATION.iterdir()) < 5_000_000
