"""A tiny work for tests: four steps, of which latents and sightings are made from random means."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sop_monitor_pkg.core.alarms.kinds import Kind
from sop_monitor_pkg.core.following.watching import AlarmLine, StepLine, watch
from sop_monitor_pkg.core.normal.learning import RATE_HZ, Example
from sop_monitor_pkg.core.normal.model import NormalModel
from sop_monitor_pkg.core.procedure.file import check
from sop_monitor_pkg.core.procedure.procedure import Procedure
from sop_monitor_pkg.core.recognition.phases import PHASES, Segment, states_of
from sop_monitor_pkg.core.tracks.sightings import SeenPart, Sighting

TEXT = """
procedure: small
title: A small work
order: listed
parts: [nut_m3, nut_m4]
variants: [[nut_m3, nut_m4]]
holders: [hand, tool]
steps:
  - {step: take, title: Take it}
  - {step: turn, title: Turn it}
  - {step: wipe, title: Wipe it, optional: true}
  - {step: put, title: Put it down}
"""
STEPS = ("take", "turn", "wipe", "put")
LENGTH_S = {"take": 2.0, "turn": 3.0, "wipe": 2.0, "put": 2.5}
WIDTH = 16
MEANS = np.random.default_rng(0).normal(size=(len(STEPS) * (PHASES + 1), WIDTH))
PLACES = {"take": (0.2, 0.2), "turn": (0.5, 0.2), "wipe": (0.5, 0.5), "put": (0.8, 0.5)}


def procedure(text: str = TEXT) -> Procedure:
    found, problems = check(text)
    assert found is not None, problems
    return found


PROCEDURE = procedure()


def segments(
    steps: Sequence[str], rng: np.random.Generator, slower: dict[str, float] | None = None
) -> tuple[Segment, ...]:
    """The steps one after the other, a short pause between them."""
    found, now_s = [], 0.0
    for step in steps:
        length_s = LENGTH_S[step] * rng.uniform(0.9, 1.1) * (slower or {}).get(step, 1.0)
        found.append(Segment(step, now_s, now_s + length_s))
        now_s += length_s + rng.uniform(0.1, 0.3)
    return tuple(found)


def cycle(
    steps: Sequence[str] = STEPS,
    seed: int = 0,
    slower: dict[str, float] | None = None,
    labelled: bool = True,
    eyes: bool = True,
    extra: Sequence[SeenPart] = (),
) -> Example:
    """One cycle; `extra` parts are seen from its third second on."""
    rng = np.random.default_rng(seed)
    done = segments(steps, rng, slower)
    times = np.arange(0.0, done[-1].end_s, 1.0 / RATE_HZ)
    states = states_of(done, times, STEPS)
    latents = MEANS[states] + rng.normal(scale=0.3, size=(len(times), WIDTH))
    seen = []
    for time_s, state in zip(times, states):
        x, y = PLACES[STEPS[state // (PHASES + 1)]]
        parts = [part("nut_m3", 1, x, y), part("nut_m4", 2, 0.8, 0.2)]
        parts += extra if time_s >= 3.0 else ()
        seen.append(Sighting(float(time_s), tuple(parts), {"table": float(rng.uniform(0, 0.1))}))
    return Example(
        f"cycle {seed}",
        latents.astype(np.float32),
        times,
        done if labelled else None,
        tuple(seen) if eyes else (),
    )


def part(name: str, track: int, x: float, y: float) -> SeenPart:
    """A part of a twentieth of the picture's width."""
    return SeenPart(name, track, (x - 0.025, y - 0.025, x + 0.025, y + 0.025))


def cycles(count: int, first: int = 100, labelled: int | None = None, eyes: bool = True):
    """Correct cycles, every second one with the optional step; `labelled`: how many are."""
    return [
        cycle(
            STEPS if i % 2 else ("take", "turn", "put"),
            first + i,
            labelled=labelled is None or i < labelled,
            eyes=eyes,
        )
        for i in range(count)
    ]


def steps(example: Example, known: NormalModel) -> list[str]:
    """Those told, in order."""
    return [line.step for line in watch(PROCEDURE, known, example) if isinstance(line, StepLine)]


def raised(example: Example, known: NormalModel) -> list[tuple[Kind, float]]:
    """Kind (as it turned out) and time of each alarm."""
    found: dict[int, tuple[Kind, float]] = {}
    for line in watch(PROCEDURE, known, example):
        if isinstance(line, AlarmLine):
            begun_s = found.get(line.alarm.number, (None, line.time_s))[1]
            found[line.alarm.number] = (line.alarm.kind, begun_s)
    return list(found.values())
