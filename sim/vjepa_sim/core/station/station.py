"""A station is a seed: its camera, its kind of label, and the plan of each of its cycles."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from vjepa_sim.core.station import layout
from vjepa_sim.core.station.camera import FPS, StationCamera, station_camera
from vjepa_sim.core.station.cycle import CLASSES, FilmedCycle
from vjepa_sim.core.station.faults import (
    FAULTY_SHARE,
    KINDS,
    LOT,
    PRODUCT,
    CyclePlan,
    Restock,
    plan_cycle,
)
from vjepa_sim.core.station.layout import MM
from vjepa_sim.core.station.procedure import STEPS
from vjepa_sim.core.station.textures import LABEL_CENTRE, LABEL_SIZE
from vjepa_sim.core.station.world import SolidsWorld

SCHEMA = 1
_REGION_MARGIN = 4 * MM


@dataclass(frozen=True)
class Station:
    """One station.

    Attributes:
        seed: of camera, labels and all cycles.
        kinds: the faults that happen, one per faulty cycle, in turn.
        faulty_share: of the cycles that have a fault.
        fps: frames per second.
        restock_share: of the cycles before which the hand puts a part into a bin or takes one out.
    """

    seed: int
    kinds: tuple[str, ...] = field(default=KINDS)
    faulty_share: float = FAULTY_SHARE
    fps: float = FPS
    restock_share: float = 0.0

    @cached_property
    def camera(self) -> StationCamera:
        """As it was mounted; a cycle's own differs by what the mount gives way."""
        return station_camera(self._rng(0))

    @property
    def code_kind(self) -> str:
        """Of the codes on this station's labels."""
        return ("qr", "datamatrix")[self.seed % 2]

    def cycle_seed(self, index: int) -> list[int]:
        """What cycle `index` is drawn from."""
        return [self.seed, 1, index]

    def plan(self, index: int, kind: str | None = "", detail: str = "") -> CyclePlan:
        """The plan of cycle `index`: with the fault `kind`, correct if None, drawn if empty.

        Raises:
            FaultError: unknown kind, or a detail that it cannot have.
        """
        if kind == "":
            kind = self._drawn_kind(index)
        plan = plan_cycle(self._rng(1, index), kind, self.code_kind, detail)
        rng = self._rng(5, index)
        if rng.random() >= self.restock_share:
            return plan
        kinds = list(layout.BINS)
        restock = Restock(kinds[rng.integers(len(kinds))], bool(rng.random() < 0.5), index)
        return replace(plan, restock=restock)

    def cycle(
        self, index: int, plan: CyclePlan | None = None, world: SolidsWorld | None = None
    ) -> FilmedCycle:
        """Cycle `index`, ready to be filmed."""
        plan = plan or self.plan(index)
        region = self.regions()["label"]
        return FilmedCycle(plan, self._rng(2, index), self.camera, region, self.fps, world)

    def describe(self) -> dict[str, Any]:
        """What station.json says."""
        camera = self.camera
        planes = {
            "table": 0.0,
            "base_top": float(layout.FIXTURE[2]) + layout.BASE_SIZE[2],
            "cover_top": float(layout.FIXTURE[2]) + layout.BASE_SIZE[2] + layout.COVER_SIZE[2],
            "screw_heads": layout.BIN_TOP_Z + layout.HEAD_HEIGHT,
            "label_presented": _presented_top(),
        }
        return {
            "schema": SCHEMA,
            "size": [camera.width_px, camera.height_px],
            "fps": self.fps,
            "seed": self.seed,
            "classes": list(CLASSES),
            "regions": self.regions(),
            "mm_per_px": {name: round(camera.mm_per_px(z), 5) for name, z in planes.items()},
            "procedure": list(STEPS),
            "label": {
                "product": PRODUCT,
                "lot": LOT,
                "code": f"{PRODUCT}{LOT}".replace("-", ""),
                "code_kind": self.code_kind,
            },
            "intrinsics": np.round(camera.intrinsics(), 3).tolist(),
        }

    def regions(self) -> dict[str, list[int]]:
        """Where in the picture labels are read and parts inspected: name to x0, y0, x1, y1 [px]."""
        side = max(layout.BASE_SIZE[0], layout.COVER_SIZE[1]) + 2 * _REGION_MARGIN
        height = float(layout.FIXTURE[2]) + layout.BASE_SIZE[2]
        x, y = layout.READING[:2]
        return {
            "label": self._region(
                (x + LABEL_CENTRE[0], y + LABEL_CENTRE[1]),
                (LABEL_SIZE[0] + 2 * _REGION_MARGIN, LABEL_SIZE[1] + 2 * _REGION_MARGIN),
                _presented_top(),
            ),
            "fixture": self._region(layout.FIXTURE[:2], (side, side), height),
            "presented": self._region(
                (x, y),
                tuple(v + 2 * _REGION_MARGIN for v in layout.COVER_SIZE[:2]),
                _presented_top(),
            ),
        }

    def _region(self, centre: tuple, size: tuple, z: float) -> list[int]:
        half = 0.5 * np.array(size)
        corners = [
            [*(np.array(centre) + half * s), z] for s in ((-1, -1), (-1, 1), (1, -1), (1, 1))
        ]
        pixels = self.camera.project(np.array(corners))
        limit = [self.camera.width_px, self.camera.height_px]
        low = np.clip(np.floor(pixels.min(axis=0)), 0, limit)
        high = np.clip(np.ceil(pixels.max(axis=0)), 0, limit)
        return [int(v) for v in (*low, *high)]

    def _drawn_kind(self, index: int) -> str | None:
        """Faulty cycles are spread evenly at random, and go through the kinds in a drawn order."""
        faulty = self._rng(3).permutation(_BLOCK) < round(self.faulty_share * _BLOCK)
        block, place = divmod(index, _BLOCK)
        if not faulty[place]:
            return None
        number = int(block * faulty.sum() + faulty[:place].sum())
        round_, at = divmod(number, len(self.kinds))
        return self.kinds[self._rng(4, round_).permutation(len(self.kinds))[at]]

    def _rng(self, *purpose: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, *purpose])


_BLOCK = 20  # cycles over which the share of faulty ones is kept


def _presented_top() -> float:
    return float(layout.READING[2]) + layout.BASE_SIZE[2] + layout.COVER_SIZE[2]
