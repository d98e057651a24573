"""The steps as movements: turns the plan of a cycle into tracks, with the times of every step."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vjepa_sim.core.station import layout
from vjepa_sim.core.station.choreography import Choreography
from vjepa_sim.core.station.faults import CyclePlan
from vjepa_sim.core.station.layout import MM, PlanarPose
from vjepa_sim.core.station.parts import StationPart, draw_parts, draw_taken, restocked_name
from vjepa_sim.core.station.procedure import ACTORS
from vjepa_sim.core.station.work import StationWork

REST_S = 0.8  # at the end of a cycle
PACE = (0.78, 1.25)  # of the fastest and slowest cycles, relative to normal
# Where a foreign object comes to lie: on the corners of the fixture and around it (x, y) [m].
FOREIGN_PLACES = ((36, 24), (-36, -35), (-60, -62), (55, -28), (-55, 12))
SLIDE_S = 0.8


@dataclass(frozen=True)
class ScriptSegment:
    """One execution of a step, from the first movement for it to the last [s]."""

    step: str
    begin_s: float
    end_s: float


@dataclass(frozen=True)
class Script:
    """A cycle, decided: where everything is at any moment, and when which step is done."""

    choreography: Choreography
    parts: tuple[StationPart, ...]
    segments: tuple[ScriptSegment, ...]
    taken: tuple[str, ...]  # the part that each execution is about
    duration_s: float
    restocked_s: float = 0.0  # until when the hand restocks a bin, from the beginning on


def write_script(plan: CyclePlan, rng: np.random.Generator) -> Script:
    """Decide every movement of a cycle; the same plan and `rng` give the same one."""
    taken = draw_taken(plan, rng)
    parts = draw_parts(plan, taken, rng)
    pace = float(np.clip(rng.lognormal(0.05, 0.1), *PACE))
    actors = {
        "hand": PlanarPose.at(layout.HAND_HOME + rng.uniform(-6, 6, 3) * MM),
        "tool": PlanarPose.at(layout.TOOL_HOME + rng.uniform(-6, 6, 3) * MM),
    }
    work = StationWork(Choreography(actors, {p.name: p.start for p in parts}, rng, pace), rng)
    if plan.restock is not None:
        work.restock(restocked_name(plan.restock, taken), plan.restock.into)
    restocked_s = work.c.now
    segments = []
    for i, (step, part) in enumerate(zip(plan.steps, taken)):
        begin = work.c.now
        following = plan.steps[i + 1].step if i + 1 < len(plan.steps) else ""
        work.do(step, part, following)
        segments.append(ScriptSegment(step.step, begin, work.c.now))
        actor = ACTORS[step.step]
        if following and ACTORS[following] != actor:
            work.go_home(actor)
        work.c.wait(float(np.clip(rng.exponential(0.18), 0.0, 0.6)))
    work.c.now += REST_S
    if plan.foreign:
        _bring(plan, work.c, segments, rng)
    return Script(work.c, tuple(parts), tuple(segments), tuple(taken), work.c.now, restocked_s)


def _bring(
    plan: CyclePlan, c: Choreography, segments: list[ScriptSegment], rng: np.random.Generator
) -> None:
    """The foreign object slides into the picture during the step in which it is planned."""
    segment = segments[plan.faults[0].at]
    x, y = FOREIGN_PLACES[rng.integers(len(FOREIGN_PLACES))]
    on_plate = abs(x) < 40 and -50 < y < 38
    z = float(layout.FIXTURE[2]) if on_plate else 0.0
    yaw = float(rng.uniform(-np.pi, np.pi))
    rest = PlanarPose(x * MM, y * MM, z, yaw)
    side = np.array([-150 * MM, y * MM]) if x < 0 else np.array([x * MM, -130 * MM])
    begin = float(rng.uniform(segment.begin_s, segment.end_s))
    start = PlanarPose(*side.tolist(), z, yaw + float(rng.uniform(-2, 2)))
    c.slide("foreign", begin, start, rest, SLIDE_S)
