"""YOLO data sets, as ultralytics describes them in `data.yaml`.

    path: .                       # may be left out: where data.yaml is; relative: to there
    train: images/train           # a folder, whatever is nested in it, a .txt of paths of pictures,
    val: images/val               # or a list of these
    names: [screw_m3, screw_m4]   # or number: name
    pairs: [[screw_m3, screw_m4]] # ours: classes that differ in size only. Left out: every two
                                  # whose names differ in digits only; []: none
    mm_per_px: 0.5                # ours: of parts; left out: not calibrated

The label file of a picture lies beside it as .txt, the last folder `images` of its path being
called `labels`.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from perception_pkg.core.defects.data import SUFFIXES, read_image
from perception_pkg.core.detection.size_rule import size_pairs

PICTURES = (*SUFFIXES, ".tif", ".tiff", ".webp")


class DetectorDataError(ValueError):
    """A data set that cannot be used; the text names cause and remedy."""


@dataclass(frozen=True)
class YoloData:
    """A data set.

    Attributes:
        train, val: the pictures, absolute paths, sorted. names: of the classes, by number.
        pairs: classes that differ in size only. pairs_listed: whether `data.yaml` lists them;
            otherwise they are what the names suggest.
        mm_per_px: of the parts; 0: not calibrated.
    """

    train: tuple[Path, ...]
    val: tuple[Path, ...]
    names: tuple[str, ...]
    pairs: tuple[tuple[str, str], ...] = ()
    pairs_listed: bool = False
    mm_per_px: float = 0.0

    def fingerprint(self) -> str:
        """Sixteen hex digits that change with the classes and with every picture and label that is
        trained on."""
        digest = hashlib.sha256(repr(self.names).encode())
        for picture in self.train:
            digest.update(picture.name.encode())
            for path in (picture, labels_of(picture)):
                content = path.read_bytes() if path.is_file() else b""
                digest.update(hashlib.sha256(content).digest())
        return digest.hexdigest()[:16]

    def write(self, folder: Path) -> Path:
        """Writes a `data.yaml` in which nothing is left to be resolved, and returns its path."""
        for part in ("train", "val"):
            lines = (f"{path}\n" for path in getattr(self, part))
            (folder / f"{part}.txt").write_text("".join(lines))
        path = folder / "data.yaml"
        values = {"path": str(folder), "train": "train.txt", "val": "val.txt"}
        path.write_text(yaml.safe_dump({**values, "names": dict(enumerate(self.names))}))
        return path


def read_description(data: Path) -> YoloData:
    """What `data.yaml`, or a folder that holds one, describes.

    Raises:
        DetectorDataError: missing or unusable.
    """
    path = Path(data)
    path = (path / "data.yaml" if path.is_dir() else path).absolute()
    try:
        values = yaml.safe_load(path.read_text())
        root = path.parent / (values.get("path") or "")
        entries = {key: values[key] for key in ("train", "val")}
        names = _names(values["names"])
        pairs = list(values["pairs"] or []) if "pairs" in values else size_pairs(names)
        scale = float(values.get("mm_per_px") or 0.0)
    except OSError:
        raise DetectorDataError(
            f"{data} holds no data.yaml; give a YOLO data set, or make one with ./run label"
        ) from None
    except (yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise DetectorDataError(
            f"{path} needs train, val and names, as ultralytics describes a data set: {error}"
        ) from None
    for pair in pairs:
        if not isinstance(pair, list) or len(pair) != 2 or not set(pair) <= set(names):
            raise DetectorDataError(f"{path}: pair {pair} must be two of {sorted(names)}")
    parts = {key: _pictures(root, entry, f"{key} of {path}") for key, entry in entries.items()}
    if not any(labels_of(picture).is_file() for picture in parts["train"]):
        raise DetectorDataError(
            f"no picture of train of {path} has labels; those of {parts['train'][0]} would be "
            f"{labels_of(parts['train'][0])}"
        )
    pairs = tuple((first, second) for first, second in pairs)
    return YoloData(parts["train"], parts["val"], names, pairs, "pairs" in values, scale)


def labels_of(picture: Path) -> Path:
    """The label file of a picture, whether it exists or not."""
    folders = list(picture.parts[:-1])
    if "images" in folders:
        folders[len(folders) - 1 - folders[::-1].index("images")] = "labels"
    return Path(*folders, picture.name).with_suffix(".txt")


def labelled(
    pictures: Sequence[Path],
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Pictures uint8 [H, W, 3] RGB, boxes float64 [N, 4] in pixels, class numbers int64 [N].

    A picture that cannot be read, or whose labels cannot, is left out, as ultralytics does.
    """
    for path in pictures:
        labels = labels_of(path)
        try:
            image = read_image(path)
            lines = labels.read_text().splitlines() if labels.is_file() else []
            rows = [[float(value) for value in line.split()] for line in lines if line.strip()]
            boxes = np.array([_corners(row[1:]) for row in rows], float).reshape(-1, 4)
        except ValueError:
            continue
        height, width = image.shape[:2]
        numbers = np.array([row[0] for row in rows], int)
        yield image, boxes * (width, height, width, height), numbers


def _corners(values: list[float]) -> np.ndarray:
    """Box x0, y0, x1, y1 from a label's centre and size, or from the outline x, y, x, y ..."""
    if len(values) == 4:
        centre, size = np.array(values).reshape(2, 2)
        return np.concatenate([centre - size / 2, centre + size / 2])
    outline = np.array(values).reshape(-1, 2)
    return np.concatenate([outline.min(0), outline.max(0)])


def _names(entry: Any) -> tuple[str, ...]:
    """Of the classes, by number, from a list or a dictionary."""
    names = dict(enumerate(entry)) if isinstance(entry, list) else entry
    if not isinstance(names, dict) or not names or set(names) != set(range(len(names))):
        raise ValueError(
            f"names is {entry}; it lists the classes, or has one for each of 0, 1, ..."
        )
    return tuple(str(names[number]) for number in range(len(names)))


def _pictures(root: Path, entry: Any, what: str) -> tuple[Path, ...]:
    """Every picture that an entry of `data.yaml` stands for."""
    entries = entry if isinstance(entry, list) else [entry]
    found = {path for one in entries for path in _files(root, str(one), what)}
    pictures = sorted(path for path in found if path.suffix.lower() in PICTURES)
    if not pictures:
        raise DetectorDataError(f"{entry} ({what}) holds no pictures ({' '.join(PICTURES)})")
    return tuple(pictures)


def _files(root: Path, entry: str, what: str) -> list[Path]:
    place = root / entry
    if not place.exists() and entry.startswith("../"):
        # Roboflow writes it so, into a data.yaml that lies beside `train`; ultralytics takes it.
        place = root / entry.removeprefix("../")
    if place.is_dir():
        return [_absolute(path) for path in place.rglob("*")]
    if place.suffix != ".txt" or not place.is_file():
        raise DetectorDataError(
            f"{_absolute(place)} ({what}) is no folder of pictures and no .txt of their paths; "
            "correct the entry, or `path`, which it is relative to"
        )
    lines = [line.strip() for line in place.read_text("utf-8-sig").splitlines() if line.strip()]
    files = [_absolute(place.parent / line) for line in lines]
    lost = [path for path in files if not path.is_file()]
    if lost:
        raise DetectorDataError(
            f"{len(lost)} of {len(files)} paths in {place} ({what}) do not exist, the first is "
            f"{lost[0]}; relative ones are relative to that file"
        )
    return files


def _absolute(path: Path) -> Path:
    """Without `..`. Links stay what they are: labels lie beside the link."""
    return Path(os.path.abspath(path))
