"""What can go wrong in a cycle, and the plan of a cycle in which it does."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from vjepa_sim.core.station.procedure import draw_order

KINDS = (
    "wrong_order",
    "skipped_step",
    "repeated_step",
    "hesitation",
    "too_fast",
    "dropped_part",
    "wrong_part",
    "defective_part",
    "wrong_label",
    "unreadable_label",
    "foreign_object",
)
DEFECT_KINDS = ("scratch", "crack", "missing_corner")
FOREIGN_KINDS = ("nut", "wrench", "coin", "clip")
SMEAR_KINDS = ("smeared", "scribbled", "blank")

FAULTY_SHARE = 0.5  # of the cycles of a recording that asks for neither clean nor faulty ones

PRODUCT = "VJ-3347-B"  # what the first line of a correct label says
LOT = r"L\d{2}-\d{4}"  # what the second line says, as a pattern
OTHER_PRODUCTS = ("VJ-3341-B", "VJ-8347-B", "VJ-3347-D", "VJ-2219-K")

PAUSE_S = (5.0, 8.0)  # of a hesitation
FAST = (2.6, 3.2)  # how much faster than a normal pace a step done too fast is


@dataclass(frozen=True)
class StepPlan:
    """One execution of a step.

    Attributes:
        step: its name.
        index: how often the step was done before in this cycle.
        speed: relative to the cycle's pace.
        pause_s: how long the actor stops in the middle; 0: it does not.
        drops: whether the part falls on its way.
        part: the kind of part taken, where it is not the right one.
    """

    step: str
    index: int = 0
    speed: float = 1.0
    pause_s: float = 0.0
    drops: bool = False
    part: str = ""


@dataclass(frozen=True)
class Fault:
    """A fault as it is planned.

    Attributes:
        kind: one of KINDS.
        step: the step in which it shows.
        at: index into the plan's steps of the execution that shows it.
        detail: what exactly.
    """

    kind: str
    step: str
    at: int
    detail: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Label:
    """What is printed on the cover; `smear` says how it became unreadable, empty if it did not."""

    product: str
    lot: str
    code_kind: str  # qr or datamatrix
    smear: str = ""

    @property
    def code(self) -> str:
        """What the code says: product and lot without dashes."""
        return (self.product + self.lot).replace("-", "")


@dataclass(frozen=True)
class Defect:
    """A defect of a part; `seed` draws its shape."""

    part: str  # base or cover
    kind: str
    seed: int


@dataclass(frozen=True)
class Restock:
    """The hand at a bin before the work begins; no step, and no fault.

    Attributes:
        kind: of the part and of its bin.
        into: whether it brings a part; else it takes a spare one away.
        seed: draws the place in the bin.
    """

    kind: str
    into: bool
    seed: int


@dataclass(frozen=True)
class CyclePlan:
    """What will be done in a cycle and with which parts."""

    steps: tuple[StepPlan, ...]
    label: Label
    faults: tuple[Fault, ...] = ()
    defect: Defect | None = None
    foreign: str = ""
    restock: Restock | None = None


class FaultError(ValueError):
    """A fault that does not exist; the text lists those that do."""


def check_kinds(kinds: list[str] | tuple[str, ...]) -> tuple[str, ...]:
    """`kinds` without doubles; raises FaultError for an unknown one."""
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown:
        raise FaultError(f"there is no fault {', '.join(unknown)}; known: {', '.join(KINDS)}")
    return tuple(dict.fromkeys(kinds))


def plan_cycle(
    rng: np.random.Generator, kind: str | None, code_kind: str, detail: str = ""
) -> CyclePlan:
    """Draw a cycle with a fault of `kind`, or a correct one when it is None.

    Args:
        rng: the cycle's randomness.
        kind: one of KINDS, or None.
        code_kind: of the labels of this station, "qr" or "datamatrix".
        detail: of a defect its kind, of a fault in one step the step; empty: drawn.

    Raises:
        FaultError: unknown kind, or a detail that this kind of fault cannot have.
    """
    label = Label(PRODUCT, f"L{rng.integers(10, 99)}-{rng.integers(0, 10000):04d}", code_kind)
    steps = [StepPlan(step) for step in draw_order(rng)]
    plan = CyclePlan(tuple(steps), label)
    if kind is None:
        return plan
    check_kinds((kind,))
    return _PLANS[kind](rng, plan, detail)


def _choose(rng: np.random.Generator, among: list[str], detail: str, kind: str) -> str:
    if not detail:
        return str(rng.choice(among))
    if detail not in among:
        raise FaultError(f"{kind} cannot have the detail {detail!r}; possible: {', '.join(among)}")
    return detail


def _at(plan: CyclePlan, step: str) -> int:
    return [s.step for s in plan.steps].index(step)


def _changed(plan: CyclePlan, at: int, kind: str, detail: dict, **changes: Any) -> CyclePlan:
    """`plan` with another execution at index `at` and the fault that this is."""
    steps = list(plan.steps)
    steps[at] = replace(steps[at], **changes)
    fault = Fault(kind, steps[at].step, at, detail)
    return replace(plan, steps=tuple(steps), faults=(fault,))


def _wrong_order(rng: np.random.Generator, plan: CyclePlan, detail: str) -> CyclePlan:
    names = [s.step for s in plan.steps]
    # Whatever is done too early can be done too early: nothing lies on it or under it yet.
    early = _choose(rng, ["rotate_part", "insert_peg"], detail, "wrong_order")
    at = names.index(early)
    earliest = names.index(
        "screw_m3" if names.index("screw_m3") < names.index("screw_m4") else "screw_m4"
    )
    target = int(rng.integers(earliest, at))
    names.insert(target, names.pop(at))
    fault = Fault("wrong_order", early, target, {"before": names[target + 1]})
    return replace(plan, steps=tuple(StepPlan(name) for name in names), faults=(fault,))


def _skipped(rng: np.random.Generator, plan: CyclePlan, detail: str) -> CyclePlan:
    among = ["screw_m3", "screw_m4", "rotate_part", "insert_peg", "read_label"]
    step = _choose(rng, among, detail, "skipped_step")
    names = [s.step for s in plan.steps]
    # Of two steps in either order the second is left out: before that, either may still come.
    if step in ("screw_m3", "screw_m4"):
        at = max(names.index("screw_m3"), names.index("screw_m4"))
        names[at - 1 : at + 1] = [n for n in names[at - 1 : at + 1] if n != step] + [step]
    at = names.index(step)
    names.pop(at)
    fault = Fault("skipped_step", step, at, {"next": names[at]})
    return replace(plan, steps=tuple(StepPlan(name) for name in names), faults=(fault,))


def _repeated(rng: np.random.Generator, plan: CyclePlan, detail: str) -> CyclePlan:
    among = ["screw_m3", "screw_m4", "rotate_part", "insert_peg", "read_label"]
    step = _choose(rng, among, detail, "repeated_step")
    steps = list(plan.steps)
    at = _at(plan, step) + 1
    steps.insert(at, StepPlan(step, index=1))
    return replace(plan, steps=tuple(steps), faults=(Fault("repeated_step", step, at),))


_MOVING = ["place_base", "screw_m3", "screw_m4", "rotate_part", "insert_peg", "place_cover"]


def _hesitation(rng: np.random.Generator, plan: CyclePlan, detail: str) -> CyclePlan:
    at = _at(plan, _choose(rng, _MOVING, detail, "hesitation"))
    pause_s = float(rng.uniform(*PAUSE_S))
    return _changed(plan, at, "hesitation", {"pause_s": round(pause_s, 2)}, pause_s=pause_s)


def _too_fast(rng: np.random.Generator, plan: CyclePlan, detail: str) -> CyclePlan:
    at = _at(plan, _choose(rng, _MOVING, detail, "too_fast"))
    speed = float(rng.uniform(*FAST))
    return _changed(plan, at, "too_fast", {"speed": round(speed, 2)}, speed=speed)


def _dropped(rng: np.random.Generator, plan: CyclePlan, detail: str) -> CyclePlan:
    among = ["place_base", "screw_m3", "screw_m4", "insert_peg"]
    step = _choose(rng, among, detail, "dropped_part")
    part = {"place_base": "base", "insert_peg": "peg"}.get(step, step)
    return _changed(plan, _at(plan, step), "dropped_part", {"part": part}, drops=True)


def _wrong_part(rng: np.random.Generator, plan: CyclePlan, detail: str) -> CyclePlan:
    step = _choose(rng, ["screw_m3", "screw_m4"], detail, "wrong_part")
    part = "screw_m4" if step == "screw_m3" else "screw_m3"
    return _changed(plan, _at(plan, step), "wrong_part", {"part": part}, part=part)


def _defective(rng: np.random.Generator, plan: CyclePlan, detail: str) -> CyclePlan:
    kind = _choose(rng, list(DEFECT_KINDS), detail, "defective_part")
    part = "base" if rng.random() < 0.65 else "cover"
    step = "pick_base" if part == "base" else "place_cover"
    fault = Fault("defective_part", step, _at(plan, step), {"part": part, "defect": kind})
    defect = Defect(part, kind, int(rng.integers(1 << 31)))
    return replace(plan, defect=defect, faults=(fault,))


def _wrong_label(rng: np.random.Generator, plan: CyclePlan, detail: str) -> CyclePlan:
    product = _choose(rng, list(OTHER_PRODUCTS), detail, "wrong_label")
    fault = Fault("wrong_label", "read_label", _at(plan, "read_label"), {"product": product})
    return replace(plan, label=replace(plan.label, product=product), faults=(fault,))


def _unreadable_label(rng: np.random.Generator, plan: CyclePlan, detail: str) -> CyclePlan:
    smear = _choose(rng, list(SMEAR_KINDS), detail, "unreadable_label")
    fault = Fault("unreadable_label", "read_label", _at(plan, "read_label"), {"how": smear})
    return replace(plan, label=replace(plan.label, smear=smear), faults=(fault,))


def _foreign(rng: np.random.Generator, plan: CyclePlan, detail: str) -> CyclePlan:
    foreign = _choose(rng, list(FOREIGN_KINDS), detail, "foreign_object")
    at = int(rng.integers(1, len(plan.steps) - 2))
    fault = Fault("foreign_object", plan.steps[at].step, at, {"object": foreign})
    return replace(plan, foreign=foreign, faults=(fault,))


_PLANS = {
    "wrong_order": _wrong_order,
    "skipped_step": _skipped,
    "repeated_step": _repeated,
    "hesitation": _hesitation,
    "too_fast": _too_fast,
    "dropped_part": _dropped,
    "wrong_part": _wrong_part,
    "defective_part": _defective,
    "wrong_label": _wrong_label,
    "unreadable_label": _unreadable_label,
    "foreign_object": _foreign,
}
