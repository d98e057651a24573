"""How each step is done: the movements of hand and arm."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from vjepa_sim.core.station import layout
from vjepa_sim.core.station.choreography import Choreography
from vjepa_sim.core.station.faults import StepPlan
from vjepa_sim.core.station.layout import MM, PlanarPose
from vjepa_sim.core.station.parts import place_in_bin

LIFT = layout.CARRY_Z
OVERLAP = 7 * MM  # how far the fingers reach over the edge of what they hold
QUARTER = 0.5 * np.pi
RESTOCK_YAW = -0.9  # of the hand at a bin


class StationWork:
    """Knows how each step is done."""

    def __init__(self, choreography: Choreography, rng: np.random.Generator) -> None:
        self.c = choreography
        self._rng = rng
        self._plan, self._following = StepPlan(""), ""
        self._homes = {name: track.start for name, track in choreography.tracks.items()}

    def do(self, plan: StepPlan, part: str, following: str) -> None:
        """One execution of a step with `part`; `following` is the step after it."""
        self._plan, self._following = plan, following
        self.c.speed = plan.speed
        steps: dict[str, Callable[[str], None]] = {
            "pick_base": self.pick_base,
            "place_base": self.place_base,
            "clean_base": self.clean_base,
            "screw_m3": self.screw,
            "screw_m4": self.screw,
            "rotate_part": self.rotate_part,
            "insert_peg": self.insert_peg,
            "place_cover": self.place_cover,
            "read_label": self.read_label,
            "hand_over": self.hand_over,
        }
        steps[plan.step](part)
        self.c.speed = 1.0

    def go_home(self, actor: str) -> None:
        self.c.move_aside(actor, PlanarPose(*self._homes[actor].tolist()), 1.0)

    # What the hand does.

    def restock(self, part: str, into: bool) -> None:
        """Bring `part` into its bin, or take it from there out of the picture."""
        c, place = self.c, place_in_bin(part)
        height = layout.PEG_LENGTH if part.startswith("peg") else layout.HEAD_HEIGHT
        # From the left, over the empty fixture, so that the forearm hides no other bin.
        tips = PlanarPose(place.x, place.y, place.z + height, RESTOCK_YAW)
        if into:
            c.grip("hand", part, PlanarPose(0.0, 0.0, -height))
        c.move("hand", _raised(tips, 30 * MM), 1.4, 0.1)
        c.move("hand", tips, 0.5)
        if into:
            c.release(part, tips.times(PlanarPose(0.0, 0.0, -height)))
        else:
            c.grip("hand", part, PlanarPose(0.0, 0.0, -height))
        c.move("hand", _raised(tips, 30 * MM), 0.5, 0.2)
        home = PlanarPose(*self._homes["hand"].tolist())
        c.move("hand", home, 1.2)
        if not into:
            c.release(part, home)

    def pick_base(self, base: str) -> None:
        self._take_from_shelf(base, layout.BASE_SIZE)

    def place_base(self, base: str) -> None:
        self._put_into_fixture(base, PlanarPose.at(layout.FIXTURE))

    def clean_base(self, cloth: str) -> None:
        c, place = self.c, self.c.pose(cloth, self.c.now)
        self._reach(place, layout.CLOTH_SIZE, 0.9)
        c.grip("hand", cloth, _held(layout.CLOTH_SIZE))
        top = self.c.pose("base", c.now)
        over = np.array([0.0, 0.0, layout.BASE_SIZE[2]]) + top.point
        hand = _hand_for(PlanarPose.at(over), layout.CLOTH_SIZE)
        self._carry("hand", cloth, _raised(hand, 15 * MM), 0.9)
        for stroke in range(4):
            side = (14 if stroke % 2 else -14) * MM
            c.move(
                "hand",
                PlanarPose(hand.x + side, hand.y + (stroke - 1.5) * 4 * MM, hand.z),
                0.5,
                0.15,
            )
        c.move("hand", _raised(hand, 15 * MM), 0.4, 0.2)
        c.move("hand", _hand_for(place, layout.CLOTH_SIZE), 0.9)
        c.release(cloth, place)
        self._withdraw()

    def rotate_part(self, base: str) -> None:
        c, pose = self.c, self.c.pose(base, self.c.now)
        centre, radius = pose.point, 0.5 * layout.BASE_SIZE[0] - 1 * MM
        grips = [self._around(centre, angle, radius) for angle in (0.5, 0.17, -0.17, -0.5)]
        c.move("hand", _raised(grips[0], 25 * MM), 0.9, 0.25)
        c.move("hand", grips[0], 0.4)
        offset = grips[0].inverse_times(pose)
        c.grip("hand", base, offset)
        c.move("hand", _raised(grips[0], 12 * MM), 0.3, 0.3)
        self._carry("hand", base, _raised(grips[1], 16 * MM), 0.5, 0.35)
        c.move("hand", _raised(grips[2], 16 * MM), 0.45, 0.35)
        c.move("hand", _raised(grips[3], 12 * MM), 0.5, 0.2)
        c.move("hand", grips[3], 0.35)
        c.release(base, PlanarPose.at(centre, pose.yaw - QUARTER))
        self._withdraw()

    def place_cover(self, cover: str) -> None:
        self._take_from_shelf(cover, layout.COVER_SIZE)
        base = self.c.pose("base", self.c.now)
        on = PlanarPose.at(base.point + [0.0, 0.0, layout.BASE_SIZE[2]])
        self._put_into_fixture(cover, on, onto="base")

    def read_label(self, cover: str) -> None:
        c = self.c
        seat = c.pose("base", c.now)
        grip = self._grip_product(cover)
        c.grip("hand", "base", grip.inverse_times(seat))
        up = layout.READING + self._rng.uniform(-1.5, 1.5, 3) * MM
        lift = up - seat.point
        hand = PlanarPose.at(grip.point + lift)
        c.move("hand", _raised(grip, 30 * MM), 0.5, 0.4)
        c.move("hand", hand, 1.1)
        c.wait(float(self._rng.uniform(1.8, 2.5)))
        if self._following != "hand_over":
            c.move("hand", _raised(grip, 25 * MM), 0.9, 0.2)
            c.move("hand", grip, 0.4)
            c.release("base", seat)
            self._withdraw()

    def hand_over(self, cover: str) -> None:
        c = self.c
        if c.holder("base", c.now) != "hand":
            grip = self._grip_product(cover)
            c.grip("hand", "base", grip.inverse_times(c.pose("base", c.now)))
            c.move("hand", _raised(grip, 30 * MM), 0.5, 0.4)
        c.move("hand", PlanarPose.at(layout.HANDED_OVER), 1.3)
        c.wait(0.2)

    # What the arm does.

    def screw(self, screw: str) -> None:
        self._fetch(screw, layout.HEAD_HEIGHT)
        hole = self._hole(self._plan.step, layout.BASE_SIZE[2])
        above = _raised(hole, layout.HEAD_HEIGHT)
        self._carry("tool", screw, _raised(above, LIFT - 10 * MM), 1.0, 0.1)
        self.c.move("tool", _raised(above, 6 * MM), 0.4)
        self.c.move("tool", above, 0.9)
        self.c.release(screw, hole, onto="base")
        self.c.move("tool", _raised(above, LIFT - 5 * MM), 0.4)

    def insert_peg(self, peg: str) -> None:
        self._fetch(peg, layout.PEG_LENGTH)
        hole = self._hole("peg", layout.BASE_SIZE[2] - layout.PEG_DEPTH)
        above = _raised(hole, layout.PEG_LENGTH)
        self._carry("tool", peg, _raised(above, layout.PEG_DEPTH + 16 * MM), 1.0, 0.1)
        self.c.move("tool", _raised(above, layout.PEG_DEPTH), 0.4)
        self.c.move("tool", above, 0.8)
        self.c.release(peg, hole, onto="base")
        self.c.move("tool", _raised(above, LIFT - 5 * MM), 0.4)

    # Parts of several steps.

    def _take_from_shelf(self, part: str, size: tuple[float, float, float]) -> None:
        c, grip = self.c, _hand_for(self.c.pose(part, self.c.now), size)
        raised = _raised(grip, 22 * MM)  # higher than a base that stands in the fixture
        out = PlanarPose(raised.x, 4 * MM - 0.5 * size[1], raised.z)
        c.move("hand", PlanarPose(grip.x, 22 * MM, grip.z + 4 * MM), 1.2, 0.15)
        c.move("hand", grip, 0.6)
        c.grip("hand", part, _held(size))
        c.move("hand", raised, 0.3, 0.3)
        c.move("hand", out, 0.8)

    def _put_into_fixture(self, part: str, pose: PlanarPose, onto: str = "") -> None:
        size = layout.COVER_SIZE if onto else layout.BASE_SIZE
        hand = _hand_for(pose, size)
        self._carry("hand", part, _raised(hand, 26 * MM), 1.0, 0.15)
        self.c.move("hand", hand, 0.5)
        self.c.release(part, pose, onto)
        self._withdraw()

    def _grip_product(self, cover: str) -> PlanarPose:
        c = self.c
        if cover and c.holder(cover, c.now) == "base":
            grip = _hand_for(c.pose(cover, c.now), layout.COVER_SIZE)
        else:
            base = c.pose("base", c.now)
            turned = (
                layout.BASE_SIZE[::-1][1:]
                if abs(np.sin(base.yaw)) > 0.5
                else (layout.BASE_SIZE[:2])
            )
            grip = _hand_for(PlanarPose.at(base.point), (*turned, layout.BASE_SIZE[2]))
        c.move("hand", PlanarPose(grip.x, grip.y - 25 * MM, grip.z + 8 * MM), 0.7, 0.2)
        c.move("hand", grip, 0.35)
        return grip

    def _fetch(self, part: str, height: float) -> None:
        above = _raised(self.c.pose(part, self.c.now), height)
        self.c.move("tool", _raised(above, LIFT - 10 * MM), 0.9, 0.1)
        self.c.move("tool", above, 0.45)
        self.c.grip("tool", part, PlanarPose(0.0, 0.0, -height))
        self.c.move("tool", _raised(above, LIFT - 10 * MM), 0.45)

    def _carry(
        self, actor: str, part: str, goal: PlanarPose, seconds: float, blend: float = 0.0
    ) -> None:
        """The movement in which a step goes wrong, when it does."""
        c, plan = self.c, self._plan
        if plan.pause_s:
            half = _between(c.tracks[actor].pose(1e9), goal, self._rng.uniform(0.3, 0.6))
            c.move(actor, half, 0.5 * seconds)
            c.pause(plan.pause_s)
            seconds *= 0.6
        elif plan.drops:
            self._drop(actor, part)
        c.move(actor, goal, seconds, blend)

    def _drop(self, actor: str, part: str) -> None:
        """Lose the part on the way and take it up again."""
        c, rng = self.c, self._rng
        offset = self._offset(actor, part)
        kind = part.rsplit("_", 1)[0] if actor == "tool" else part
        goal = c.tracks[actor].pose(1e9)
        if actor == "tool":
            spot = np.array([56 * MM, float(rng.uniform(-60, 50)) * MM, goal.z])
        else:
            spot = goal.point + np.array([22, -6, 20]) * MM
        c.move(actor, PlanarPose.at(spot), 0.7)
        landing = _landing(kind, c.pose(part, c.now), rng)
        c.drop(part, landing)
        c.wait(float(rng.uniform(0.7, 1.1)))
        grip = c.pose(part, c.now)
        if actor == "tool":
            length = layout.PEG_LENGTH if kind == "peg" else layout.SHANK_LENGTH
            middle = 0.5 * length if kind == "peg" else -0.5 * length
            axis = grip.rotation()[:, 2]
            grip = PlanarPose.at(grip.point + middle * axis + [0, 0, 4 * MM])
        else:
            grip = _hand_for(PlanarPose.at(grip.point), layout.BASE_SIZE)
        c.move(actor, _raised(grip, 20 * MM), 0.6, 0.1)
        c.move(actor, grip, 0.4)
        c.grip(actor, part, offset)
        c.move(actor, _raised(grip, LIFT - 10 * MM), 0.5)

    def _offset(self, actor: str, part: str) -> PlanarPose:
        now = self.c.now
        return self.c.pose(actor, now).inverse_times(self.c.pose(part, now))

    def _hole(self, kind: str, depth: float) -> PlanarPose:
        x, y = layout.HOLES[kind][min(self._plan.index, 1)]
        hole = self.c.pose("base", self.c.now).times(PlanarPose(x, y, depth))
        return PlanarPose(hole.x, hole.y, hole.z, hole.yaw)

    def _reach(self, part: PlanarPose, size: tuple[float, float, float], seconds: float) -> None:
        grip = _hand_for(part, size)
        self.c.move("hand", PlanarPose(grip.x, grip.y - 15 * MM, grip.z + 15 * MM), seconds, 0.2)
        self.c.move("hand", grip, 0.35)

    def _around(self, centre: np.ndarray, quarters: float, radius: float) -> PlanarPose:
        """The hand at the edge of the base, `quarters` of a turn from straight in front."""
        angle = quarters * QUARTER
        direction = np.array([-np.sin(angle), np.cos(angle), 0.0])
        point = centre - direction * radius + [0.0, 0.0, layout.BASE_SIZE[2]]
        return PlanarPose.at(point, angle)

    def _withdraw(self) -> None:
        hand = self.c.tracks["hand"].pose(1e9)
        back = np.array([np.sin(hand.yaw), -np.cos(hand.yaw), 0.4]) * 24 * MM
        self.c.move("hand", PlanarPose.at(hand.point + back), 0.4)


def _hand_for(part: PlanarPose, size: tuple[float, float, float]) -> PlanarPose:
    """Where the finger tips are to hold a part of this size, standing at `part`, by its front."""
    return PlanarPose(part.x, part.y - 0.5 * size[1] + OVERLAP, part.z + size[2])


def _held(size: tuple[float, float, float]) -> PlanarPose:
    """The part in the frame of the hand that holds it as `_hand_for` says."""
    return PlanarPose(0.0, 0.5 * size[1] - OVERLAP, -size[2])


def _raised(pose: PlanarPose, by: float) -> PlanarPose:
    return PlanarPose(pose.x, pose.y, pose.z + by, pose.yaw)


def _between(a: PlanarPose, b: PlanarPose, share: float) -> PlanarPose:
    return PlanarPose(*(a.array + share * (b.array - a.array)).tolist())


def _landing(kind: str, pose: PlanarPose, rng: np.random.Generator) -> PlanarPose:
    """How and where a part of this kind comes to lie when it falls from `pose`."""
    yaw = pose.yaw + float(rng.uniform(-0.5, 0.5))
    if kind == "base":
        askew = float(rng.uniform(0.25, 0.5) * rng.choice([-1, 1]))
        return PlanarPose(-78 * MM, 14 * MM, 0.0, askew)
    turned = float(rng.uniform(1.2, 1.9))  # lying across the way to the fixture
    if kind == "peg":
        radius = 0.5 * layout.PEG_DIAMETER
        return PlanarPose(pose.x, pose.y - 0.5 * layout.PEG_LENGTH, radius, turned, QUARTER)
    return PlanarPose(pose.x, pose.y, 0.5 * layout.HEAD_DIAMETER[kind], yaw + turned, QUARTER)
