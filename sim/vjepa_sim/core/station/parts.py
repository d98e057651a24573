"""The parts of a cycle: which there are, where they wait, and which one each step takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vjepa_sim.core.station import layout
from vjepa_sim.core.station.faults import CyclePlan, Restock, StepPlan
from vjepa_sim.core.station.layout import MM, PlanarPose

FULL_SHARE = 0.75  # of the places in the bins hold a part


@dataclass(frozen=True)
class StationPart:
    """A thing that is moved: `kind` is its class in the annotations."""

    name: str
    kind: str
    start: PlanarPose


def draw_taken(plan: CyclePlan, rng: np.random.Generator) -> list[str]:
    """The name of the part that each execution is about; from bins another one each time."""
    taken: list[str] = []
    for step in plan.steps:
        part = _part_of(step, rng)
        while step.index and part in taken and part[-1].isdigit():
            part = _part_of(step, rng)
        taken.append(part)
    return taken


def draw_parts(plan: CyclePlan, taken: list[str], rng: np.random.Generator) -> list[StationPart]:
    """Everything that can be moved, where it is at the start."""
    jitter = rng.uniform(-2, 2, (3, 2)) * MM
    parts = [
        StationPart("base", "base", PlanarPose.at(layout.BASE_SHELF + [*jitter[0], 0.0])),
        StationPart("cover", "cover", PlanarPose.at(layout.COVER_SHELF + [*jitter[1], 0.0])),
        StationPart(
            "cloth",
            "cloth",
            PlanarPose.at(layout.CLOTH_PLACE + [*jitter[2], 0.0], float(rng.uniform(-0.12, 0.12))),
        ),
    ]
    wrong = {name: step.part for step, name in zip(plan.steps, taken) if step.part}
    for kind, places in layout.BIN_PLACES.items():
        for i, place in enumerate(places):
            name = f"{kind}_{i}"
            if name not in taken and rng.random() > FULL_SHARE:
                continue  # bins are not always full
            offset = rng.uniform(-0.8, 0.8, 2) * MM
            parts.append(StationPart(name, wrong.get(name, kind), _in_bin(kind, place, offset)))
    if plan.restock is not None:
        name = restocked_name(plan.restock, taken)
        start = PlanarPose.at(layout.HAND_HOME) if plan.restock.into else place_in_bin(name)
        parts = [part for part in parts if part.name != name]
        parts.append(StationPart(name, plan.restock.kind, start))
    if plan.foreign:
        parts.append(StationPart("foreign", "foreign", PlanarPose(-200 * MM, 0.0, 0.0)))
    return parts


def place_in_bin(name: str) -> PlanarPose:
    """Where the part of this name stands in its bin."""
    kind, number = name.rsplit("_", 1)
    return _in_bin(kind, layout.BIN_PLACES[kind][int(number)], np.zeros(2))


def _in_bin(kind: str, place: tuple[float, float], offset: np.ndarray) -> PlanarPose:
    z = layout.BIN_TOP_Z - (8 * MM if kind == "peg" else 0.0)
    return PlanarPose(*(layout.BINS[kind] + place + offset).tolist(), z)


def restocked_name(restock: Restock, taken: Sequence[str]) -> str:
    """Of the part that the hand brings or takes, which is none that a step is about."""
    names = [f"{restock.kind}_{i}" for i in range(len(layout.BIN_PLACES[restock.kind]))]
    free = [name for name in names if name not in taken]
    return free[np.random.default_rng(restock.seed).integers(len(free))]


def _part_of(plan: StepPlan, rng: np.random.Generator) -> str:
    """The part that an execution is about; of the bins one at random."""
    if plan.step in ("pick_base", "place_base", "rotate_part"):
        return "base"
    if plan.step == "clean_base":
        return "cloth"
    if plan.step in ("place_cover", "read_label", "hand_over"):
        return "cover"
    kind = "peg" if plan.step == "insert_peg" else plan.step
    return f"{kind}_{rng.integers(len(layout.BIN_PLACES[kind]))}"
