"""Images with surface defects and their masks, in one folder per kind.

    DATA/crack/NAME.jpg   DATA/crack/NAME.png    mask, bright where the defect is
    DATA/free/NAME.jpg                           without defect; a mask is not needed, or empty

The real magnetic tiles come like this, and `./run label --defects` writes station recordings so.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

FREE = "free"
SMALLEST_PX = 6  # of a mask: less marks nothing
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp")


class DefectDataError(ValueError):
    """A folder that cannot be used; the text names cause and remedy."""


@dataclass(frozen=True)
class Sample:
    """One picture.

    image: uint8 [H, W, 3] RGB. mask: bool [H, W], where the defect is. kind: name of its folder.
    """

    path: Path
    kind: str
    image: np.ndarray
    mask: np.ndarray

    @property
    def marked(self) -> bool:
        """Whether the mask says where the defect is: some real pictures of a kind have an empty
        one."""
        return self.kind == FREE or marks(self.mask)


def marks(mask: np.ndarray) -> bool:
    """Whether a mask, bool [H, W], marks anything."""
    return int(mask.sum()) >= SMALLEST_PX


def read_folder(folder: Path, kinds: Sequence[str] | None = None) -> list[Sample]:
    """Every picture of a folder of this layout, sorted by kind and name.

    Args:
        kinds: the subfolders there may be beside `free`; None: those there are.

    Raises:
        DefectDataError: no such folder, no pictures, an unreadable file, a missing mask, a mask of
            another size, a kind that is not in `kinds`.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DefectDataError(
            f"{folder} is no folder; give one with a subfolder per kind of defect"
        )
    found = sorted(path.name for path in folder.iterdir() if path.is_dir() and _images(path))
    if not found:
        raise DefectDataError(
            f"{folder} has no subfolder with pictures; make one per kind of defect, with NAME.jpg "
            f"and its mask NAME.png, and {FREE!r} for pictures without"
        )
    foreign = [] if kinds is None else sorted(set(found) - {*kinds, FREE})
    if foreign:
        raise DefectDataError(
            f"{folder} has the kinds {', '.join(foreign)}, which the model does not know; it knows "
            + ", ".join(kinds or ())
        )
    return [_sample(path, kind) for kind in found for path in _images(folder / kind)]


def kinds_of(samples: Sequence[Sample]) -> tuple[str, ...]:
    """The kinds of defect, sorted, without `free`."""
    return tuple(sorted({sample.kind for sample in samples} - {FREE}))


def fingerprint(samples: Sequence[Sample]) -> str:
    """Sixteen hex digits that change with any pixel of a picture or mask, and with any kind."""
    digest = hashlib.sha256()
    for sample in samples:
        digest.update(f"{sample.kind} {sample.image.shape}".encode())
        digest.update(sample.image.tobytes() + sample.mask.tobytes())
    return digest.hexdigest()[:16]


def read_image(path: Path) -> np.ndarray:
    """uint8 [H, W, 3] RGB.

    Raises:
        DefectDataError: not a picture.
    """
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise DefectDataError(f"{path} cannot be read as a picture; remove or replace it")
    return np.ascontiguousarray(image[..., ::-1])


def folds(samples: Sequence[Sample], count: int, seed: int) -> list[list[int]]:
    """Indices of the samples of each fold; every kind is spread evenly over the folds.

    Raises:
        DefectDataError: fewer pictures of a kind than folds.
    """
    parts: list[list[int]] = [[] for _ in range(count)]
    rng = np.random.default_rng(seed)
    turn = 0
    for kind in sorted({sample.kind for sample in samples}):
        members = [i for i, sample in enumerate(samples) if sample.kind == kind]
        if len(members) < count:
            raise DefectDataError(
                f"{len(members)} pictures of {kind!r} cannot be spread over {count} folds; "
                "add pictures or set --folds"
            )
        for index in rng.permutation(members):
            parts[turn % count].append(int(index))
            turn += 1
    return [sorted(part) for part in parts]


def _images(folder: Path) -> list[Path]:
    """The pictures of a folder; a .png beside a picture of the same name is its mask."""
    files = [path for path in sorted(folder.iterdir()) if path.suffix.lower() in SUFFIXES]
    others = {path.stem for path in files if path.suffix.lower() != ".png"}
    return [path for path in files if path.suffix.lower() != ".png" or path.stem not in others]


def _sample(path: Path, kind: str) -> Sample:
    image = read_image(path)
    if kind == FREE:
        return Sample(path, kind, image, np.zeros(image.shape[:2], bool))
    mask_path = path.with_suffix(".png")
    mask = None
    if mask_path != path:
        mask = cv2.imread(str(mask_path), cv2.IMREAD_GRAYSCALE)
    if mask is None:
        raise DefectDataError(
            f"{path} has no mask; put it beside the picture as {path.with_suffix('.png').name}, "
            f"bright where the defect is, the picture itself as .jpg"
        )
    if mask.shape != image.shape[:2]:
        raise DefectDataError(
            f"{mask_path} is {mask.shape[1]}x{mask.shape[0]}, its picture "
            f"{image.shape[1]}x{image.shape[0]}; both must have one size"
        )
    return Sample(path, kind, image, mask > 127)
