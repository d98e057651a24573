"""The pictures on the tops of parts, bins and table, with defects and labels drawn into them."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import cv2
import matplotlib
import numpy as np
import zxingcpp
from PIL import Image, ImageDraw, ImageFont

from vjepa_sim.core.station import layout
from vjepa_sim.core.station.faults import Label
from vjepa_sim.core.station.layout import MM

PX_PER_MM = 5.0
TABLE_PX_PER_MM = 2.0
LABEL_SIZE = (44 * MM, 45 * MM)
LABEL_CENTRE = (0.0, 9.5 * MM)  # on the cover
CODE_SIDE = 25 * MM
_MARGIN = 1.5  # of the label [mm]
_LINE, _GAP = 6.0, 2.4  # height of a line of text, and between two [mm]


@dataclass
class Picture:
    """The picture on a flat top.

    Attributes:
        albedo: uint8 RGB [H, W, 3]; row 0 is the edge at +y, column 0 the one at -x.
        size: of the top [m].
        defect: uint8 [H, W], 0 none, 1 scratch, 2 crack; None without defects.
        quads: name to corners [4, 2] of a marked area in the part's frame [m].
    """

    albedo: np.ndarray
    size: tuple[float, float]
    defect: np.ndarray | None = None
    quads: dict[str, np.ndarray] = field(default_factory=dict)

    def corners(self) -> np.ndarray:
        """Of the picture in the part's frame [4, 2] [m]: clockwise from the upper left."""
        w, d = 0.5 * self.size[0], 0.5 * self.size[1]
        return np.array([[-w, d], [w, d], [w, -d], [-w, -d]])

    def pixel_corners(self) -> np.ndarray:
        """The same corners in pixels of `albedo` [4, 2]."""
        height, width = self.albedo.shape[:2]
        return np.array([[0, 0], [width, 0], [width, height], [0, height]]) - 0.5


def base_picture(rng: np.random.Generator) -> Picture:
    """Dark anodised metal with holes."""
    picture = _plain(layout.BASE_SIZE[:2], (62, 70, 84), rng, grain=4.0, stretch=9.0)
    for kind, holes in layout.HOLES.items():
        wide = {"screw_m3": 3.4, "screw_m4": 3.4, "peg": 9.6}[kind] * MM
        for hole in holes:
            _disc(picture, hole, wide + 2 * MM, (96, 104, 116))
            _disc(picture, hole, wide, (14, 14, 16))
    return picture


def cover_picture(rng: np.random.Generator, label: Label) -> Picture:
    """Light plastic with the label."""
    picture = _plain(layout.COVER_SIZE[:2], (176, 188, 178), rng, grain=2.5, stretch=1.0)
    printed, quads = _label(label, rng)
    corner = np.array([-0.5 * LABEL_SIZE[0], 0.5 * LABEL_SIZE[1]]) + LABEL_CENTRE
    column, row = _pixel(picture, corner)
    column, row = round(column), round(row)
    picture.albedo[row : row + printed.shape[0], column : column + printed.shape[1]] = printed
    scale = MM / PX_PER_MM
    picture.quads = {
        name: np.array([corner[0], corner[1]]) + quad * [scale, -scale]
        for name, quad in quads.items()
    }
    return picture


def bin_picture(kind: str, rng: np.random.Generator) -> Picture:
    """The top of a bin: holes for the parts and its name."""
    colour = {"screw_m3": (92, 120, 150), "screw_m4": (150, 128, 88), "peg": (112, 140, 112)}[kind]
    picture = _plain(layout.BIN_SIZE[kind], colour, rng, grain=3.0, stretch=1.0)
    for place in layout.BIN_PLACES[kind]:
        _disc(picture, place, (10.5 if kind == "peg" else 3.6) * MM, (24, 24, 26))
    name = {"screw_m3": "M3", "screw_m4": "M4", "peg": "PEG"}[kind]
    image = Image.fromarray(picture.albedo)
    height = picture.albedo.shape[0]
    ImageDraw.Draw(image).text((6, height - 2), name, (240, 240, 240), _font(26), anchor="ls")
    picture.albedo[:] = np.asarray(image)
    return picture


def fixture_picture(rng: np.random.Generator) -> Picture:
    """A grey plate with the places where the base stands."""
    side = layout.FIXTURE_SIDE
    picture = _plain((side, side), (150, 152, 156), rng, grain=3.0, stretch=14.0)
    for w, d in (layout.BASE_SIZE[:2], layout.BASE_SIZE[1::-1]):
        a = _pixel(picture, (-0.5 * w - MM, 0.5 * d + MM))
        b = _pixel(picture, (0.5 * w + MM, -0.5 * d - MM))
        cv2.rectangle(picture.albedo, _whole(a), _whole(b), (118, 120, 124), 3)
    return picture


def table_picture(rng: np.random.Generator, size: tuple[float, float]) -> Picture:
    """Wood, a cutting mat or laminate, drawn at random."""
    style = rng.choice(["wood", "mat", "laminate"])
    shape = [round(v / MM * TABLE_PX_PER_MM) for v in size[::-1]]
    base = {
        "wood": (168 + rng.integers(-25, 26), 130 + rng.integers(-20, 21), 92),
        "mat": (60, 96 + rng.integers(-20, 21), 92 + rng.integers(-30, 31)),
        "laminate": (rng.integers(150, 215),) * 3,
    }[str(style)]
    stretch = 30.0 if style == "wood" else 1.0
    noise = _noise(shape, rng, stretch) * (11.0 if style == "wood" else 5.0)
    albedo = np.clip(np.array(base, dtype=float) + noise[..., None], 0, 255).astype(np.uint8)
    if style == "mat":
        for offset in range(0, max(shape), round(20 * TABLE_PX_PER_MM)):
            line = tuple(int(min(v + 45, 255)) for v in base)
            cv2.line(albedo, (offset, 0), (offset, shape[0]), line, 1)
            cv2.line(albedo, (0, offset), (shape[1], offset), line, 1)
    return Picture(albedo, size)


def blurred(picture: Picture) -> Picture:
    """Ready for being seen at half the resolution: without what would flicker there."""
    picture.albedo = cv2.GaussianBlur(picture.albedo, (0, 0), 0.6)
    return picture


def _label(label: Label, rng: np.random.Generator) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The printed label, uint8 RGB [H, W, 3], and corners [4, 2] of what is on it, in pixels."""
    width, height = (round(v / MM * PX_PER_MM) for v in LABEL_SIZE)
    image = Image.new("RGB", (width, height), (244, 243, 238))
    draw = ImageDraw.Draw(image)
    margin, line = _MARGIN * PX_PER_MM, _LINE * PX_PER_MM
    quads = {"label": _quad(0, 0, width, height)}
    font = _font(_fitting(label.product, width - 2 * margin))
    for i, (name, text) in enumerate((("product", label.product), ("lot", label.lot))):
        top = margin + i * (line + _GAP * PX_PER_MM)
        draw.text((0.5 * width, top + 0.5 * line), text, (16, 16, 18), font, anchor="mm")
        box = draw.textbbox((0.5 * width, top + 0.5 * line), text, font, anchor="mm")
        quads[name] = _quad(*box)
    side = round(CODE_SIDE / MM * PX_PER_MM)
    code = cv2.resize(_code(label), (side, side), interpolation=cv2.INTER_NEAREST)
    left, top = (width - side) // 2, height - side - round(0.8 * PX_PER_MM)
    printed = np.array(image)
    printed[top : top + side, left : left + side] = code[..., None]
    quads["code"] = _quad(left, top, left + side, top + side)
    return _smeared(printed, label.smear, rng), quads


def _code(label: Label) -> np.ndarray:
    formats = {
        "qr": (zxingcpp.BarcodeFormat.QRCode, {}),
        "datamatrix": (zxingcpp.BarcodeFormat.DataMatrix, {"forceSquare": True}),
    }
    kind, options = formats[label.code_kind]
    code = zxingcpp.create_barcode(label.code, kind, **options)
    return np.clip(np.array(code.to_image(scale=1)), 18, 244)


def _smeared(printed: np.ndarray, how: str, rng: np.random.Generator) -> np.ndarray:
    if not how:
        return printed
    if how == "blank":
        faint = 0.03 * (printed.astype(float) - 244)
        return np.clip(240 + faint, 0, 255).astype(np.uint8)
    if how == "smeared":
        long = round(9 * PX_PER_MM)
        kernel = np.zeros((long, long), np.float32)
        slope = float(rng.uniform(-0.5, 0.5))
        middle = long // 2
        end = round(slope * middle)
        cv2.line(kernel, (0, middle - end), (long - 1, middle + end), 1.0, 2)
        smeared = cv2.filter2D(printed, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REPLICATE)
        return cv2.GaussianBlur(smeared, (0, 0), 1.6 * PX_PER_MM)
    height, width = printed.shape[:2]
    for _ in range(3):  # scribbled: strokes of a marker across everything
        points = np.column_stack(
            [np.tile([0.02, 0.98], 11) * width, np.linspace(0.02, 0.98, 22) * height]
        )
        points += rng.uniform(-2, 2, points.shape) * PX_PER_MM
        cv2.polylines(printed, [points.astype(np.int32)], False, (30, 34, 60), 9, cv2.LINE_AA)
    return printed


def _plain(
    size: tuple[float, float], colour: tuple, rng: np.random.Generator, grain: float, stretch: float
) -> Picture:
    shape = [round(v / MM * PX_PER_MM) for v in size[::-1]]
    albedo = np.array(colour) + grain * _noise(shape, rng, stretch)[..., None]
    return Picture(np.clip(albedo, 0, 255).astype(np.uint8), tuple(size))


def _noise(shape: list[int], rng: np.random.Generator, stretch: float) -> np.ndarray:
    """Smooth noise of deviation 1, `stretch` times longer along x."""
    noise = cv2.GaussianBlur(
        rng.standard_normal(shape).astype(np.float32), (0, 0), sigmaX=1.5 * stretch, sigmaY=1.5
    )
    return noise / max(float(noise.std()), 1e-6)


def _disc(picture: Picture, centre: tuple, diameter: float, colour: tuple) -> None:
    radius = 0.5 * diameter / MM * PX_PER_MM
    centre = _whole(np.array(_pixel(picture, centre)) * 16)
    cv2.circle(picture.albedo, centre, round(radius * 16), colour, -1, cv2.LINE_AA, shift=4)


def _pixel(picture: Picture, point: tuple | np.ndarray) -> tuple[float, float]:
    """Column and row of a point (x, y) [m] of the top."""
    return (
        (point[0] + 0.5 * picture.size[0]) / MM * PX_PER_MM - 0.5,
        (0.5 * picture.size[1] - point[1]) / MM * PX_PER_MM - 0.5,
    )


def _whole(point: np.ndarray | tuple) -> tuple[int, int]:
    return round(float(point[0])), round(float(point[1]))


def _quad(x0: float, y0: float, x1: float, y1: float) -> np.ndarray:
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], dtype=float)


def _fitting(text: str, width: float) -> int:
    """The font size in which the text fills the width [px]."""
    return int(100 * width / _font(100).getlength(text))


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans-Bold.ttf"
    return ImageFont.truetype(str(path), size)
