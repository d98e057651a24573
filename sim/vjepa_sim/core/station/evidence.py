"""When a fault can be seen: judged on what the frames show, not on when it was planned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from vjepa_sim.core.station.annotate import AnnotatedBox
from vjepa_sim.core.station.faults import CyclePlan, Fault
from vjepa_sim.core.station.layout import PlanarPose
from vjepa_sim.core.station.scene import StationScene
from vjepa_sim.core.station.script import Script

if TYPE_CHECKING:
    from vjepa_sim.core.station.frame import StationFrame

SEEN = 0.3  # share of an object that must be visible to be recognised
MOVED_PX = 3.0  # of its centre in the picture
TURNED = np.deg2rad(10.0)
FALLEN_PX = 4.0  # away from where it would be if it were still held
STILL_PX, STILL_S = 2.0, 1.5  # no correct cycle stands still for so long outside read_label
AHEAD_PX = 20.0  # further on than the fastest normal pace would have come
DEFECT_SHARE = 0.6
FASTEST_NORMAL = 1.7  # speed relative to the cycle's own pace that still occurs


@dataclass(frozen=True)
class FaultEvent:
    """A fault that happened.

    Attributes:
        kind: one of faults.KINDS.
        step: in which it shows.
        begin_s, end_s: from its cause to its end.
        visible_s: of the first frame from which it can be told; None: not yet.
        detail: what exactly.
    """

    kind: str
    step: str
    begin_s: float
    end_s: float
    visible_s: float | None
    detail: dict[str, Any]


class Witness:
    """Looks at every frame in turn and notes when each fault of the plan can be seen."""

    def __init__(
        self, plan: CyclePlan, script: Script, scene: StationScene, period_s: float
    ) -> None:
        self._plan, self._script, self._scene = plan, script, scene
        self._period_s = period_s
        self._visible: dict[int, float] = {}
        self._before: dict[int, Any] = {}
        self._still_since: tuple[float, dict[str, np.ndarray]] | None = None

    def events(self) -> list[FaultEvent]:
        """All faults of the plan, with what the frames so far say of each."""
        return [
            FaultEvent(
                fault.kind, fault.step, *self._span(fault), self._visible.get(i), fault.detail
            )
            for i, fault in enumerate(self._plan.faults)
        ]

    def see(self, frame: StationFrame, poses: dict[str, PlanarPose]) -> None:
        """Take a frame and where everything was in it."""
        boxes = {box.name: box for box in frame.boxes}
        for i, fault in enumerate(self._plan.faults):
            if i not in self._visible and self._shows(i, fault, frame, poses, boxes):
                self._visible[i] = frame.t

    def _span(self, fault: Fault) -> tuple[float, float]:
        """Begin and end [s]."""
        c, segment = self._script.choreography, self._script.segments[fault.at]
        if fault.kind == "hesitation":
            return c.pauses[0]
        if fault.kind == "dropped_part":
            return c.drops[0][0], segment.end_s
        if fault.kind == "foreign_object":
            return c.stays["foreign"][-1].begin_s, self._script.duration_s
        if fault.kind in ("defective_part", "wrong_label", "unreadable_label"):
            return segment.begin_s, self._script.duration_s
        return segment.begin_s, segment.end_s

    def _shows(
        self,
        i: int,
        fault: Fault,
        frame: StationFrame,
        poses: dict[str, PlanarPose],
        boxes: dict[str, AnnotatedBox],
    ) -> bool:
        if fault.kind == "defective_part":
            return frame.defect is not None and frame.defect.visible >= DEFECT_SHARE
        if fault.kind in ("wrong_label", "unreadable_label"):
            # Its first line is in view as large, still and whole as it must be to be read.
            return any(text.kind == "text" and text.legible for text in frame.texts)
        begin_s = self._span(fault)[0]
        if frame.t < begin_s:
            return False
        if fault.kind == "foreign_object":
            return "foreign" in boxes and boxes["foreign"].visible >= 0.5
        if fault.kind == "hesitation":
            return self._stands_still(frame, begin_s, boxes)
        if fault.kind == "dropped_part":
            return self._fallen(fault, poses, boxes, begin_s)
        if fault.kind == "too_fast":
            return self._ahead(fault, frame, boxes, begin_s)
        return self._under_way(i, fault, frame, poses, boxes)

    def _under_way(
        self,
        i: int,
        fault: Fault,
        frame: StationFrame,
        poses: dict[str, PlanarPose],
        boxes: dict[str, AnnotatedBox],
    ) -> bool:
        """Whether the execution `fault.at` can be seen: its part moved from where it stood."""
        part, step = self._script.taken[fault.at], self._script.segments[fault.at].step
        if step == "read_label":  # until it is held up, the product may be on its way out
            return any(text.legible for text in frame.texts)
        if step == "hand_over":  # until it leaves the picture, it may be on its way up
            height, width = frame.objects.shape
            x0, y0, x1, y1 = boxes[part].xyxy if part in boxes else (1, 1, 1, 1)
            return x0 == 0 or y0 == 0 or x1 == width or y1 == height
        if part not in boxes or boxes[part].visible < SEEN:
            self._before.setdefault(i, None)
            return False
        now = (self._centre(part, poses), poses[part].yaw)
        before = self._before.setdefault(i, now)
        if before is None:
            return True  # it came into view
        return bool(
            np.linalg.norm(now[0] - before[0]) > MOVED_PX or abs(now[1] - before[1]) > TURNED
        )

    def _stands_still(
        self, frame: StationFrame, begin_s: float, boxes: dict[str, AnnotatedBox]
    ) -> bool:
        """Whether the actors' boxes have not moved for STILL_S."""
        actors = {n: np.array(boxes[n].xyxy) for n in ("hand", "tool") if n in boxes}
        since = self._still_since
        if since is None or _difference(actors, since[1]) > STILL_PX:
            self._still_since = since = (max(frame.t, begin_s), actors)
        return frame.t - since[0] >= STILL_S - 1e-9

    def _fallen(
        self,
        fault: Fault,
        poses: dict[str, PlanarPose],
        boxes: dict[str, AnnotatedBox],
        begin_s: float,
    ) -> bool:
        """Whether the part is seen away from where its holder would have it."""
        part = self._script.taken[fault.at]
        if part not in boxes or boxes[part].visible < SEEN:
            return False
        c = self._script.choreography
        before = begin_s - 1e-6
        actor = c.holder(part, before)
        offset = c.pose(actor, before).inverse_times(c.pose(part, before))
        held = self._centre(part, {part: poses[actor].times(offset)})
        return bool(np.linalg.norm(self._centre(part, poses) - held) > FALLEN_PX)

    def _ahead(
        self, fault: Fault, frame: StationFrame, boxes: dict[str, AnnotatedBox], begin_s: float
    ) -> bool:
        """Whether the actor is seen further on than at the fastest normal pace."""
        c, step = self._script.choreography, self._plan.steps[fault.at]
        actor = "hand" if self._script.taken[fault.at] in ("base", "cover") else "tool"
        if actor not in boxes:
            return False
        normal_t = begin_s + (frame.t - begin_s) * FASTEST_NORMAL / step.speed
        here, there = (
            self._scene.camera.project(c.pose(actor, t).point) for t in (frame.t, normal_t)
        )
        return bool(np.linalg.norm(here - there) > AHEAD_PX)

    def _centre(self, part: str, poses: dict[str, PlanarPose]) -> np.ndarray:
        """The middle of a part's corners in the picture [2]."""
        corners = np.vstack([solid.corners() for solid in self._scene.solids[part]])
        return self._scene.project(poses[part], corners).mean(axis=0)


def _difference(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> float:
    """The largest difference of two sets of boxes; infinite if they show others."""
    if a.keys() != b.keys():
        return float("inf")
    return float(max((np.abs(a[n] - b[n]).max() for n in a), default=0.0))
