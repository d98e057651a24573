"""Named regions of the picture: what is looked for in each, and how large a pixel is there.

They come from a YAML file (a procedure may hold the same keys beside its own) or from
`station.json` of a recorded station:

    size: [640, 480]              # of the picture [px]; pictures of another size are refused
    mm_per_px: 0.5                # of parts on the table, and of regions that bring none;
                                  # 0: not calibrated
    regions:
      label: {box: [400, 40, 520, 100], look_for: text, pattern: "LOT-[0-9]{4}"}
      plate: {box: [100, 80, 300, 280], look_for: defects, mm_per_px: 0.48}
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

TEXT, PART, DEFECTS = "text", "part", "defects"
LOOK_FOR = {"text": TEXT, "part": PART, "surface": DEFECTS, "defects": DEFECTS}
STATION_PLANES = {"fixture": "base_top"}  # planes of a station's regions that are called otherwise


class RegionError(ValueError):
    """A file of regions, or a picture, that cannot be used; the text says why and what to do."""


@dataclass(frozen=True)
class Region:
    """A rectangle of the picture.

    Attributes:
        box: x0, y0, x1, y1 [px], x1 and y1 not included.
        look_for: `text`, `part` or `defects`, which a file calls `surface`.
        pattern: regular expression that a whole text must match; empty: any.
        codes: kinds of code that count here, as `code_kind` calls them; empty: all.
        mm_per_px: 0: not calibrated.
    """

    name: str
    box: tuple[int, int, int, int]
    look_for: str
    pattern: str = ""
    codes: tuple[str, ...] = ()
    mm_per_px: float = 0.0

    def crop(self, image: np.ndarray) -> np.ndarray:
        """The part of [H, W, 3] inside the box; it shares the memory."""
        x0, y0, x1, y1 = self.box
        return image[y0:y1, x0:x1]


@dataclass(frozen=True)
class RegionLayout:
    """All regions of one camera.

    Attributes:
        size: width and height of its pictures [px]; None: any that holds every region.
        mm_per_px: of parts, at the height of the table; 0: not calibrated.
    """

    regions: tuple[Region, ...] = ()
    size: tuple[int, int] | None = None
    mm_per_px: float = 0.0

    def of(self, look_for: str) -> list[Region]:
        """The regions in which this is looked for."""
        return [region for region in self.regions if region.look_for == look_for]

    def check(self, image: np.ndarray) -> None:
        """Refuses a picture that these regions were not drawn for.

        Raises:
            RegionError: another size, or a region outside.
        """
        height, width = image.shape[:2]
        if self.size is not None and (width, height) != self.size:
            raise RegionError(
                f"the picture is {width}x{height}, the regions are for "
                f"{self.size[0]}x{self.size[1]}; use that camera, or draw the regions anew"
            )
        for region in self.regions:
            if region.box[2] > width or region.box[3] > height:
                raise RegionError(
                    f"region {region.name!r} reaches to {region.box[2:]}, the picture is "
                    f"{width}x{height}; correct its box"
                )


def load_layout(path: Path, mm_per_px: float = 0.0) -> RegionLayout:
    """Reads a YAML file of regions, or `station.json`.

    Args:
        mm_per_px: where the file says nothing, such as the scale of the cell's camera.

    Raises:
        RegionError: the file cannot be read, or something in it is wrong.
    """
    path = Path(path)
    try:
        text = path.read_text()
        values = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise RegionError(f"{path} cannot be read: {' '.join(str(error).split())}") from None
    return layout_from(values, str(path), mm_per_px)


def layout_from(values: Any, where: str, mm_per_px: float = 0.0) -> RegionLayout:
    """The layout in the values of a YAML file, or of `station.json`: `size`, `mm_per_px` and
    `regions`. Other keys, such as those of a procedure, are not looked at.

    Args:
        where: what the values are from, for the text of errors. mm_per_px: where they have none.

    Raises:
        RegionError: there are no regions, or something in them is wrong.
    """
    if not isinstance(values, dict) or not isinstance(values.get("regions"), dict):
        raise RegionError(f"{where} has no regions; see perception_pkg/config/regions.yaml")
    if "schema" in values:
        values = _from_station(values)
    try:
        scale = float(values.get("mm_per_px", mm_per_px))
        size = values.get("size")
        regions = tuple(_region(name, entry, scale) for name, entry in values["regions"].items())
        return RegionLayout(regions, None if size is None else (int(size[0]), int(size[1])), scale)
    except (TypeError, ValueError, IndexError, re.error) as error:
        raise RegionError(f"{where}: {error}") from None


def code_kind(name: str) -> str:
    """What a kind of code is called here: as zxing-cpp calls it, in small letters and digits alone,
    and `qr` for QR codes."""
    name = re.sub("[^a-z0-9]", "", name.lower())
    return "qr" if name == "qrcode" else name


def _region(name: str, entry: dict[str, Any], scale: float) -> Region:
    unknown = set(entry) - {"box", "look_for", "pattern", "codes", "mm_per_px"}
    if unknown:
        raise ValueError(f"region {name!r} has unknown entries {', '.join(sorted(unknown))}")
    box = tuple(int(number) for number in entry.get("box", ()))
    if len(box) != 4 or not (0 <= box[0] < box[2] and 0 <= box[1] < box[3]):
        raise ValueError(f"region {name!r} has the box {list(box)}; give x0, y0, x1, y1 in pixels")
    if entry.get("look_for") not in LOOK_FOR:
        raise ValueError(f"region {name!r}: look_for is {', '.join(LOOK_FOR)}")
    pattern = str(entry.get("pattern", ""))
    re.compile(pattern)
    codes = tuple(code_kind(str(code)) for code in entry.get("codes", ()))
    _check_codes(name, codes)
    return Region(
        name, box, LOOK_FOR[entry["look_for"]], pattern, codes, float(entry.get("mm_per_px", scale))
    )


def _check_codes(region: str, codes: tuple[str, ...]) -> None:
    if not codes:
        return
    from zxingcpp import BarcodeFormat

    groups = ("NONE", "OtherBarcode", "LinearCodes", "MatrixCodes")
    names = BarcodeFormat.__members__
    known = {code_kind(n) for n in names if n not in groups and not n.startswith("All")}
    unknown = sorted(set(codes) - known)
    if unknown:
        raise ValueError(
            f"region {region!r} has unknown kinds of code {', '.join(unknown)}; known are "
            + ", ".join(sorted(known))
        )


def _from_station(station: dict[str, Any]) -> dict[str, Any]:
    """`station.json` (schema 1) in the form of the YAML file. Regions with `label` in their name
    hold texts, as what `label` gives as patterns; the others are inspected."""
    if station["schema"] != 1:
        raise RegionError(f"the recording has schema {station['schema']}; 1 is known")
    planes = station.get("mm_per_px") or {}
    label = station.get("label") or {}
    pattern = "|".join(f"(?:{label[name]})" for name in ("product", "lot", "code") if name in label)
    texts, surfaces = {"look_for": TEXT, "pattern": pattern}, {"look_for": DEFECTS}
    regions = {}
    for name, box in station["regions"].items():
        entry = {"box": [round(number) for number in box], "mm_per_px": _scale(name, planes)}
        regions[name] = entry | (texts if "label" in name else surfaces)
    return {"size": station["size"], "mm_per_px": _scale("", planes), "regions": regions}


def _scale(region: str, planes: dict[str, float]) -> float:
    """[mm per px] of the plane that has the region in its name, or else the first; 0: none."""
    plane = STATION_PLANES.get(region)
    fitting = [name for name in planes if name == plane or (region and region in name)]
    return planes[fitting[0]] if fitting else next(iter(planes.values()), 0.0)
