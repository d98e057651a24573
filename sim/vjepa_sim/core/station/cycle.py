"""One cycle of the station, frame by frame: pictures and everything that is known about them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from vjepa_sim.core.station import defects, layout, solids, textures
from vjepa_sim.core.station.annotate import Annotator
from vjepa_sim.core.station.camera import StationCamera, cycle_camera
from vjepa_sim.core.station.evidence import FaultEvent, Witness
from vjepa_sim.core.station.faults import CyclePlan
from vjepa_sim.core.station.frame import StationFrame
from vjepa_sim.core.station.layout import MM, PlanarPose
from vjepa_sim.core.station.look import draw_look
from vjepa_sim.core.station.scene import StationScene
from vjepa_sim.core.station.script import ScriptSegment, write_script
from vjepa_sim.core.station.solids import Solid
from vjepa_sim.core.station.world import SolidsWorld

TREMOR = 0.25 * MM  # of the hand
CLASSES = (
    "base",
    "cover",
    "screw_m3",
    "screw_m4",
    "peg",
    "cloth",
    "foreign",
    "hand",
    "tool",
)


class FilmedCycle:
    """A planned cycle that can be filmed.

    Args:
        plan: what is done.
        rng: draws movements and looks; the same plan, camera and state of `rng` give the same
            pixels.
        station: the camera of the station.
        label_region: where labels are read, x0, y0, x1, y1 [px].
        fps: frames per second.
        world: an empty one to build the scene in; left out: one of its own.
    """

    def __init__(
        self,
        plan: CyclePlan,
        rng: np.random.Generator,
        station: StationCamera,
        label_region: list[int],
        fps: float,
        world: SolidsWorld | None = None,
    ) -> None:
        self.plan, self.fps = plan, fps
        self.camera = cycle_camera(station, rng)
        self.script = write_script(plan, rng)
        self.look = draw_look(rng, self.script.duration_s)
        self._phases = rng.uniform(0, 2 * np.pi, (2, 3))
        kinds = {part.name: part.kind for part in self.script.parts}
        pictures = {
            "base": textures.base_picture(rng),
            "cover": textures.cover_picture(rng, plan.label),
        }
        if plan.defect is not None and plan.defect.kind != "missing_corner":
            defects.draw(pictures[plan.defect.part], plan.defect)
        for picture in pictures.values():
            textures.blurred(picture)
        self.scene = StationScene(self.camera, self.look, self._things(kinds), pictures, world)
        self.names = self.scene.names
        kinds |= {"hand": "hand", "tool": "tool"}
        self._annotator = Annotator(self.scene, kinds, plan.label, label_region, plan.defect)
        self.witness = Witness(plan, self.script, self.scene, 1.0 / fps)

    @property
    def frames_count(self) -> int:
        """How many frames the cycle has."""
        return int(self.script.duration_s * self.fps) + 1

    @property
    def segments(self) -> tuple[ScriptSegment, ...]:
        """The steps with their times."""
        return self.script.segments

    def events(self) -> list[FaultEvent]:
        """The faults that have become visible in the frames so far."""
        return self.witness.events()

    def frames(self) -> Iterator[StationFrame]:
        """Film the cycle from its beginning; can be done once."""
        try:
            for index in range(self.frames_count):
                yield self.frame(index)
        finally:
            self.close()

    def close(self) -> None:
        """Free or empty the world; nothing can be filmed afterwards."""
        self.scene.close()

    def poses(self, t: float) -> dict[str, PlanarPose]:
        """Where everything is at `t` [s], by name."""
        c = self.script.choreography
        poses = {part.name: c.pose(part.name, t) for part in self.script.parts}
        poses |= {actor: c.pose(actor, t) for actor in ("hand", "tool")}
        shake = self._tremor(t)
        for name, pose in poses.items():
            if name == "hand" or self._in_hand(name, t):
                poses[name] = PlanarPose(
                    pose.x + shake[0], pose.y + shake[1], pose.z, pose.yaw, pose.tilt
                )
        return poses

    def frame(self, index: int) -> StationFrame:
        """Film one frame; ask for them in ascending order."""
        t = index / self.fps
        poses = self.poses(t)
        rendered = self.scene.render(poses, t)
        boxes = self._annotator.boxes(rendered, poses, self._floors(poses, t))
        texts = self._annotator.texts(rendered, poses["cover"])
        defect, mask = self._annotator.defect(rendered, poses)
        step = next((s.step for s in reversed(self.segments) if s.begin_s <= t), "")
        frame = StationFrame(
            index, t, rendered.image, rendered.objects, boxes, texts, defect, mask, step
        )
        self.witness.see(frame, poses)
        return frame

    def _things(self, kinds: dict[str, str]) -> dict[str, list[Solid]]:
        """The solids of every part."""
        things = {}
        for name, kind in kinds.items():
            if kind in ("base", "cover"):
                size = layout.BASE_SIZE if kind == "base" else layout.COVER_SIZE
                side = (0.16, 0.18, 0.22) if kind == "base" else (0.60, 0.64, 0.60)
                outline = defects.outline(kind, self.plan.defect)
                things[name] = solids.textured(outline, size[2], side, kind)
            elif kind == "cloth":
                outline = solids.rectangle(*layout.CLOTH_SIZE[:2])
                things[name] = [Solid(outline, 0.0, layout.CLOTH_SIZE[2], self.look.cloth)]
            elif kind == "peg":
                things[name] = solids.peg()
            elif kind == "foreign":
                things[name] = solids.foreign(self.plan.foreign)
            else:
                things[name] = solids.screw(kind)
        return things

    def _floors(self, poses: dict[str, PlanarPose], t: float) -> dict[str, float]:
        """Below which height a part is hidden inside what it stands in."""
        c = self.script.choreography
        floors = {}
        for part in self.script.parts:
            holder = c.holder(part.name, t)
            if holder == "base":
                floors[part.name] = poses["base"].z + layout.BASE_SIZE[2]
            elif not holder and part.kind in layout.BINS and not poses[part.name].tilt:
                floors[part.name] = layout.BIN_TOP_Z
        return floors

    def _in_hand(self, part: str, t: float) -> bool:
        c = self.script.choreography
        while part not in c.tracks:
            part = c.holder(part, t)
            if not part:
                return False
        return part == "hand"

    def _tremor(self, t: float) -> np.ndarray:
        """Of the hand [2] [m]: a slow sway of a few tenths of a millimetre."""
        rates = np.array([0.6, 1.3, 2.9]) * 2 * np.pi
        return TREMOR * np.sin(rates * t + self._phases) @ np.array([0.6, 0.3, 0.15])
