"""The station in PyBullet: what the camera sees of it, and which object each pixel shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
import pybullet

from vjepa_sim.core.station import layout, solids, textures
from vjepa_sim.core.station.camera import FAR_M, NEAR_M, StationCamera
from vjepa_sim.core.station.layout import MM, PlanarPose
from vjepa_sim.core.station.look import StationLook
from vjepa_sim.core.station.solids import Solid
from vjepa_sim.core.station.textures import Picture
from vjepa_sim.core.station.windows import Window, grown, merged, slices
from vjepa_sim.core.station.world import SolidsWorld

TABLE_SIZE = (320 * MM, 260 * MM)
SHOULDER, LINK_Z = np.array([24 * MM, 250 * MM]), 112 * MM
UPPER_ARM, FORE_ARM = 165 * MM, 165 * MM
ELBOW = np.array([-30 * MM, -330 * MM])  # the operator's: where the forearm comes from
NOTHING = -1
SHADOW_PX = 16  # how far a shadow reaches


@dataclass(frozen=True)
class Rendered:
    """A frame.

    Attributes:
        image: uint8 RGB [H, W, 3].
        objects: int16 [H, W], the index in `Scene.names` of what each pixel shows, or -1.
        tops: int16 [H, W], the same, only where the textured top of an object is seen.
        depth: float32 [H, W], distance from the camera along its axis [m].
    """

    image: np.ndarray
    objects: np.ndarray
    tops: np.ndarray
    depth: np.ndarray


@dataclass
class _Body:
    name: str
    solid: Solid
    owner: int
    texture: Picture | None
    laid: tuple[PlanarPose, Window, np.ndarray] | None = None


class StationScene:
    """One cycle's world. `things` are rendered under their names, in the order given.

    Args:
        camera: of this cycle.
        look: of this cycle.
        things: name to solids, for everything that moves and is told apart; hand and tool are
            added.
        pictures: texture name to picture, for the solids that name one.
        world: an empty one to build it in; left out: one of its own.
    """

    def __init__(
        self,
        camera: StationCamera,
        look: StationLook,
        things: Mapping[str, list[Solid]],
        pictures: Mapping[str, Picture],
        world: SolidsWorld | None = None,
    ) -> None:
        self.camera, self.look = camera, look
        self.names = [*things, "hand", "tool"]
        self.solids = {
            **things,
            "hand": solids.hand(look.glove),
            "tool": solids.tool(look.arm),
        }
        self._pictures = dict(pictures)
        self._own_world = world is None
        self._world = world or SolidsWorld()
        self._sim = self._world.sim
        self._bodies: dict[int, _Body] = {}
        self._of: dict[str, list[int]] = {}
        self._poses: dict[str, PlanarPose] = {}
        self._corners: dict[str, np.ndarray] = {}
        for index, name in enumerate(self.names):
            self._add(name, self.solids[name], index)
        self._add("forearm", solids.forearm(look.sleeve))
        self._add("upper link", solids.link(UPPER_ARM, 34 * MM, look.arm))
        self._add("lower link", solids.link(FORE_ARM, 28 * MM, look.arm))
        for i, passer in enumerate(look.passers):
            self._add(f"passer {i}", list(passer.solids))
        self._furnish()
        lookup = np.full(max(self._bodies) + 2, NOTHING, np.int16)
        tops = lookup.copy()
        for body, made in self._bodies.items():
            lookup[body] = made.owner
            if made.texture is not None:
                tops[body] = made.owner
        self._owner_of, self._top_of = lookup, tops  # the last entry stands for body -1
        self._rng = np.random.default_rng(look.texture_seed)
        width, height = camera.width_px, camera.height_px
        noise = self._rng.normal(0, look.noise, (3 * height // 2, 3 * width // 2, 3))
        self._noise = noise.astype(np.int16)
        self._background = self._table(look)
        # The frame before, and the windows of it that are no longer true.
        self._shaded = np.empty((height, width, 3), np.uint8)
        self._composed = np.empty_like(self._shaded)
        self._seen = np.empty((height, width), np.int32)
        self._depth = np.empty((height, width), np.float32)
        self._stale: list[Window] = [(0, 0, width, height)]

    def close(self) -> None:
        """Empty the world, and free it if it is the scene's own."""
        if self._own_world:
            self._world.close()
        else:
            self._world.clear()

    def render(self, poses: Mapping[str, PlanarPose], t: float) -> Rendered:
        """The frame with everything at `poses` (by name; hand and tool included), `t` [s].

        Only what has changed since the frame before is drawn again.
        """
        for name, pose in poses.items():
            self._place(name, pose)
        self._place_arms(poses["hand"], poses["tool"])
        for i, passer in enumerate(self.look.passers):
            self._place(f"passer {i}", passer.pose(t))
        windows = merged([w for w in map(self._clipped, self._stale) if w is not None])
        self._stale = []
        for window in windows:
            here = slices(window)
            shaded, bodies, depth = self._capture(window)
            self._shaded[here], self._seen[here], self._depth[here] = shaded, bodies, depth
        for window in merged([self._clipped(grown(w, SHADOW_PX)) for w in windows]):
            self._compose(window)
        return Rendered(
            self._finish(), self._owner_of[self._seen], self._top_of[self._seen], self._depth.copy()
        )

    def top_map(self, name: str, pose: PlanarPose) -> tuple[Picture, np.ndarray]:
        """The picture on an object's top, and the homography [3, 3] from it to the image."""
        body = next(b for b in self._of[name] if self._bodies[b].texture is not None)
        made = self._bodies[body]
        return made.texture, self._homography(made.texture, pose, made.solid.high)

    def project(self, pose: PlanarPose, points: np.ndarray) -> np.ndarray:
        """Pixels [n, 2] of points [n, 3] given in the frame `pose`."""
        return self.camera.project(pose.point + points @ pose.rotation().T)

    # Building.

    def _add(self, name: str, shapes: list[Solid], owner: int = NOTHING) -> None:
        self._of[name] = []
        self._corners[name] = np.vstack([solid.corners() for solid in shapes])
        for solid in shapes:
            body = self._world.add(solid)
            texture = self._pictures[solid.texture] if solid.texture else None
            self._bodies[body] = _Body(name, solid, owner, texture)
            self._of[name].append(body)

    def _furnish(self) -> None:
        """What stands still: fixture, bins, roofs, clutter."""
        rng = np.random.default_rng(self.look.texture_seed + 1)
        side = layout.FIXTURE_SIDE
        self._pictures["fixture"] = textures.fixture_picture(rng)
        plate = solids.textured(
            solids.rectangle(side, side), float(layout.FIXTURE[2]), (0.5, 0.5, 0.52), "fixture"
        )
        self._stand("fixture", plate, PlanarPose(*layout.FIXTURE[:2].tolist(), 0.0))
        for kind, centre in layout.BINS.items():
            self._pictures[f"bin {kind}"] = textures.bin_picture(kind, rng)
            outline = solids.rectangle(*layout.BIN_SIZE[kind])
            block = solids.textured(outline, layout.BIN_TOP_Z, (0.4, 0.42, 0.45), f"bin {kind}")
            self._stand(f"bin {kind}", block, PlanarPose(*centre.tolist(), 0.0))
        for shelf, size in (
            (layout.BASE_SHELF, layout.BASE_SIZE),
            (layout.COVER_SHELF, layout.COVER_SIZE),
        ):
            self._stand(
                f"roof {shelf[0]}", _roof(size[0] + 8 * MM), PlanarPose(float(shelf[0]), 0, 0)
            )
        for i, (solid, pose) in enumerate(self.look.clutter):
            self._stand(f"clutter {i}", [solid], pose)

    def _stand(self, name: str, shapes: list[Solid], pose: PlanarPose) -> None:
        self._add(name, shapes)
        self._set(name, pose)

    def _table(self, look: StationLook) -> np.ndarray:
        """The picture of the empty table, uint8 RGB [H, W, 3]."""
        rng = np.random.default_rng(look.texture_seed)
        picture = textures.table_picture(rng, TABLE_SIZE)
        size = (self.camera.width_px, self.camera.height_px)
        centre = PlanarPose(0.0, 0.0, 0.0)
        albedo = cv2.warpPerspective(
            picture.albedo, self._homography(picture, centre, 0.0), size, flags=cv2.INTER_LINEAR
        )
        # TinyRenderer's light on a white horizontal plane, as on the tops of the parts.
        direction = np.array(look.light_direction)
        lambert = look.ambient + look.diffuse * direction[2] / np.linalg.norm(direction)
        light = np.clip(lambert, 0, 1) * np.array(look.light_colour)
        return np.clip(albedo * light, 0, 255).astype(np.uint8)

    # Rendering.

    def _place(self, name: str, pose: PlanarPose) -> None:
        if self._poses.get(name) != pose:
            if name in self._poses:
                self._stale.append(self._extent(name))
            self._set(name, pose)
            self._stale.append(self._extent(name))

    def _set(self, name: str, pose: PlanarPose) -> None:
        turn = pybullet.getQuaternionFromEuler((0.0, pose.tilt, pose.yaw))
        for body in self._of[name]:
            self._sim.resetBasePositionAndOrientation(body, (pose.x, pose.y, pose.z), turn)
        self._poses[name] = pose

    def _extent(self, name: str) -> Window:
        """The window that contains the thing where it is now; may reach out of the picture."""
        pixels = self.project(self._poses[name], self._corners[name])
        low, high = np.floor(pixels.min(axis=0)) - 2, np.ceil(pixels.max(axis=0)) + 3
        return int(low[0]), int(low[1]), int(high[0]), int(high[1])

    def _clipped(self, window: Window) -> Window | None:
        """What of the window is inside the picture."""
        x0, y0 = max(window[0], 0), max(window[1], 0)
        x1, y1 = min(window[2], self.camera.width_px), min(window[3], self.camera.height_px)
        return (x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None

    def _place_arms(self, hand: PlanarPose, tool: PlanarPose) -> None:
        wrist = hand.times(PlanarPose(0.0, -66 * MM, 0.0))
        away = ELBOW - [wrist.x, wrist.y]
        angle = float(np.arctan2(away[0], -away[1]))
        self._place("forearm", PlanarPose(wrist.x, wrist.y, wrist.z, angle))
        reach = np.array([tool.x, tool.y]) - SHOULDER
        distance = float(np.linalg.norm(reach))
        share = (UPPER_ARM**2 + distance**2 - FORE_ARM**2) / (2 * UPPER_ARM * distance)
        bend = float(np.arccos(np.clip(share, -1.0, 1.0)))
        first = float(np.arctan2(reach[1], reach[0])) + bend
        elbow = SHOULDER + UPPER_ARM * np.array([np.cos(first), np.sin(first)])
        second = float(np.arctan2(tool.y - elbow[1], tool.x - elbow[0]))
        self._place("upper link", PlanarPose(*SHOULDER.tolist(), LINK_Z + 24 * MM, first))
        self._place("lower link", PlanarPose(*elbow.tolist(), LINK_Z, second))

    def _capture(self, window: Window) -> tuple:
        """Shaded pixels uint8 [h, w, 3], bodies int [h, w], depth [m] float32 [h, w]."""
        width, height = window[2] - window[0], window[3] - window[1]
        look = self.look
        _, _, pixels, depth, bodies = self._sim.getCameraImage(
            width,
            height,
            self.camera.view_matrix(),
            self.camera.projection_matrix(window),
            lightDirection=look.light_direction,
            lightColor=look.light_colour,
            lightAmbientCoeff=look.ambient,
            lightDiffuseCoeff=look.diffuse,
            lightSpecularCoeff=look.specular,
            shadow=0,
            renderer=pybullet.ER_TINY_RENDERER,
        )
        shaded = np.asarray(pixels, np.uint8).reshape(height, width, 4)[:, :, :3]
        depth = np.asarray(depth, np.float32).reshape(height, width)
        depth = FAR_M * NEAR_M / (FAR_M - (FAR_M - NEAR_M) * depth)
        return shaded, np.asarray(bodies).reshape(height, width), depth

    def _compose(self, window: Window) -> None:
        """Lay table, shadow and textures into the shaded window."""
        here = slices(window)
        empty = self._seen[here] < 0
        wide = self._clipped(grown(window, SHADOW_PX))
        shadow = self._shadow(self._seen[slices(wide)] >= 0)
        top, left = window[1] - wide[1], window[0] - wide[0]
        shadow = shadow[top : top + empty.shape[0], left : left + empty.shape[1]]
        table = (self._background[here] * shadow[..., None]).astype(np.uint8)
        np.copyto(self._composed[here], np.where(empty[..., None], table, self._shaded[here]))
        for body, made in self._bodies.items():
            if made.texture is not None:
                self._lay(body, made, window)

    def _finish(self) -> np.ndarray:
        """Blur of the lens and noise of the sensor, a new picture."""
        image = cv2.GaussianBlur(self._composed, (3, 3), 0.5)
        y, x = (int(self._rng.integers(0, s // 3)) for s in self._noise.shape[:2])
        noise = self._noise[y : y + image.shape[0], x : x + image.shape[1]]
        return cv2.add(image, noise, dtype=cv2.CV_8U)

    def _shadow(self, things: np.ndarray) -> np.ndarray:
        """Light that reaches the table beside the `things`, float32 [h, w] in 0..1."""
        direction = np.array(self.look.light_direction)
        shift = -direction[:2] / max(direction[2], 0.3) * 5.0  # [px], of things 2.5 mm high
        matrix = np.array([[1, 0, shift[0]], [0, 1, -shift[1]]], np.float32)
        mask = cv2.warpAffine(things.astype(np.float32), matrix, things.shape[::-1])
        return 1.0 - 0.35 * cv2.blur(mask, (9, 9))

    def _lay(self, body: int, made: _Body, window: Window) -> None:
        """Multiply what the window shows of a body's shaded white top by its picture."""
        pose = self._poses[made.name]
        if made.laid is None or made.laid[0] != pose:
            made.laid = (pose, *self._warped(made.texture, pose, made.solid.high))
        _, extent, albedo = made.laid
        x0, y0 = max(extent[0], window[0]), max(extent[1], window[1])
        x1, y1 = min(extent[2], window[2]), min(extent[3], window[3])
        if x0 >= x1 or y0 >= y1:
            return
        seen = self._seen[y0:y1, x0:x1] == body
        if seen.any():
            part = self._composed[y0:y1, x0:x1]
            albedo = albedo[y0 - extent[1] : y1 - extent[1], x0 - extent[0] : x1 - extent[0]]
            part[seen] = cv2.multiply(part, albedo, scale=1 / 255)[seen]

    def _warped(self, picture: Picture, pose: PlanarPose, z: float) -> tuple[Window, np.ndarray]:
        """Where a top shows its picture, and the picture as it is seen there, uint8 [h, w, 3]."""
        homography = self._homography(picture, pose, z)
        corners = cv2.perspectiveTransform(picture.pixel_corners()[None], homography)[0]
        low, high = np.floor(corners.min(axis=0)) - 1, np.ceil(corners.max(axis=0)) + 2
        extent = self._clipped((int(low[0]), int(low[1]), int(high[0]), int(high[1])))
        if extent is None:
            return (0, 0, 0, 0), np.empty((0, 0, 3), np.uint8)
        x0, y0, x1, y1 = extent
        shift = np.array([[1, 0, -x0], [0, 1, -y0], [0, 0, 1]], float)
        return extent, cv2.warpPerspective(
            picture.albedo,
            shift @ homography,
            (x1 - x0, y1 - y0),
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )

    def _homography(self, picture: Picture, pose: PlanarPose, z: float) -> np.ndarray:
        local = np.column_stack([picture.corners(), np.full(4, z)])
        seen = self.project(pose, local).astype(np.float32)
        return cv2.getPerspectiveTransform(picture.pixel_corners().astype(np.float32), seen)


def _roof(width: float) -> list[Solid]:
    """A roof over the shelf, on two walls, open to the front; the origin is at y = 0."""
    front, deep = layout.ROOF_FRONT_Y, 110 * MM
    middle = front + 0.5 * deep
    wall = [
        Solid(
            solids.rectangle(2 * MM, deep, side * 0.5 * width, middle),
            0.0,
            layout.ROOF_Z,
            (0.45, 0.48, 0.52),
        )
        for side in (-1, 1)
    ]
    roof = solids.rectangle(width + 2 * MM, deep, 0.0, middle)
    return [*wall, Solid(roof, layout.ROOF_Z, layout.ROOF_Z + 2 * MM, (0.62, 0.66, 0.70))]
