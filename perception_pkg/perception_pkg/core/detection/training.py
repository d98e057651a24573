"""Training a YOLO detector with ultralytics (AGPL-3.0), from an architecture without weights.

Nothing is downloaded: the architecture is the small YOLO11 of the installed package. The trained
model is exported to ONNX, which is all that the node needs.
"""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from vjepa_world_model.training.loop import RunError

from perception_pkg.core.detection import size_rule
from perception_pkg.core.detection.boxes import overlaps
from perception_pkg.core.detection.data import (
    DetectorDataError,
    YoloData,
    labelled,
    read_description,
)
from perception_pkg.core.detection.detector import DetectorConfig, OnnxDetector
from perception_pkg.core.model_folder import write_json

logger = logging.getLogger(__name__)

ARCHITECTURE = "yolo11n.yaml"
WEIGHTS = "weights.safetensors"
"""In a model folder: what another training may begin with; to detect, the ONNX file is enough."""


@dataclass(frozen=True)
class DetectorRecipe:
    """What decides the outcome of a training, beside the pictures."""

    image_px: int = 320
    epochs: int = 60
    batch: int = 16
    mosaic: float = 0.5  # share of the training pictures that are put together from four
    seed: int = 0
    device: str = "cpu"
    start: Path | None = None  # model folder whose weights it begins with


def train(data: Path, out: Path, recipe: DetectorRecipe, threads: int = 0) -> Path:
    """Trains on a YOLO data set and writes a model folder.

    Args:
        data: `data.yaml`, or a folder that holds one.
        out: `out/run` is ultralytics' own folder; a run of the same recipe and data that was
            interrupted goes on from its last epoch. The model folder is `out/model`.
        threads: CPU threads; 0: all cores.

    Returns:
        the model folder.

    Raises:
        DetectorDataError: the data set cannot be used.
        RunError: the folder holds a training of another recipe, or of other data.
    """
    description = read_description(data)
    weights = None if recipe.start is None else read_weights(recipe.start)
    out = out.resolve()  # ultralytics works in a folder of its own
    ultralytics = _ultralytics(out)
    last = out / "run" / "weights" / "last.pt"
    done = out / "run" / "finished"
    _check_recipe(out, last.exists(), recipe, description)
    if not done.exists():
        path = description.write(out)
        with _here(out):
            model = ultralytics.YOLO(str(last) if last.exists() else ARCHITECTURE)
            quicker = functools.partial(_fast_on_cpu, threads or os.cpu_count() or 1)
            model.add_callback("on_pretrain_routine_end", quicker)
            if last.exists():
                model.train(resume=True)
            else:
                if weights is not None:
                    start = functools.partial(_start_with, weights)
                    model.add_callback("on_pretrain_routine_end", start)
                shutil.rmtree(out / "run", ignore_errors=True)  # it ended before its first epoch
                _begin(model, path, out, recipe)
        done.touch()
    return export(out, description, recipe)


def export(out: Path, data: YoloData, recipe: DetectorRecipe) -> Path:
    """Makes the model folder of a finished run; fits how pairs of sizes are told apart on the
    pictures of the validation part."""
    ultralytics = _ultralytics(out)
    trained = ultralytics.YOLO(str(out / "run" / "weights" / "last.pt"))
    folder = out / "model"
    folder.mkdir(parents=True, exist_ok=True)
    with _here(out):
        written = trained.export(format="onnx", imgsz=recipe.image_px, opset=17, simplify=False)
    shutil.move(written, folder / "model.onnx")
    names = tuple(trained.names[index] for index in sorted(trained.names))
    config = DetectorConfig(classes=names, image_px=recipe.image_px)
    config.write(folder)
    _write_weights(trained.model, folder / WEIGHTS)
    if data.pairs:
        replace(config, pairs=fit_pairs(folder, data)).write(folder)
    return folder


def read_weights(folder: Path) -> dict[str, torch.Tensor]:
    """Weights of a model folder, by name, to begin another training with.

    Raises:
        DetectorDataError: it holds none, or a damaged file.
    """
    try:
        return load_file(folder / WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise DetectorDataError(
            f"{folder} holds no usable {WEIGHTS} ({error}); name the model folder of a training"
        ) from None


def fit_pairs(folder: Path, data: YoloData) -> tuple[size_rule.SizePair, ...]:
    """How the classes of each pair are told apart, from the validation pictures.

    A pair that they cannot tell apart is left out, with a message, unless the data set lists it.

    Raises:
        DetectorDataError: a pair that it lists cannot be told apart.
    """
    detector = OnnxDetector(folder, threads=0, confidence=0.1)
    scale = data.mm_per_px
    rows: dict[tuple[str, str], list[tuple[float, float, bool]]] = {p: [] for p in data.pairs}
    for image, boxes, numbers in labelled(data.val):
        found = detector.find(image)
        if not found or not len(boxes):
            continue
        shared = overlaps(np.stack([item.box for item in found]), boxes)
        for names in data.pairs:
            first, second = (detector.classes.index(name) for name in names)
            for row, item in enumerate(found):
                truth = int(shared[row].argmax())
                if shared[row, truth] < 0.5 or numbers[truth] not in (first, second):
                    continue
                odds = size_rule.log_odds(item.scores[first], item.scores[second])
                side = size_rule.size_of(item.box, scale)
                if side is not None or not scale:
                    rows[names].append((odds, side or 0.0, numbers[truth] == first))
    fitted = []
    for names, seen in rows.items():
        try:
            odds, sides, is_first = zip(*seen) if seen else ((), (), ())
            fitted.append(size_rule.fit(names, odds, sides if scale else None, is_first))
        except ValueError as error:
            text = f"{' and '.join(names)} cannot be told apart by size: {error}"
            if data.pairs_listed:
                raise DetectorDataError(f"{text}; validation pictures must show both") from None
            logger.warning("%s; they stay two classes like any others", text)
    return tuple(fitted)


def _check_recipe(out: Path, begun: bool, recipe: DetectorRecipe, data: YoloData) -> None:
    """Refuses to go on with a training of another recipe or other data; notes those of a new one.

    Where and on how many threads it runs may differ.
    """
    facts = asdict(recipe) | {"start": recipe.start and str(recipe.start.resolve())}
    facts |= {"classes": list(data.names), "data": data.fingerprint()}
    del facts["device"]
    path = out / "recipe.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    differ = sorted(key for key in facts if known.get(key) != facts[key])
    if begun and differ:
        raise RunError(
            f"{out} holds a training of another recipe or other data ({', '.join(differ)} differ "
            f"from {path}); choose another --out or remove that folder"
        )
    write_json(path, facts)


def _begin(model: Any, path: Path, out: Path, recipe: DetectorRecipe) -> None:
    model.train(
        data=str(path), imgsz=recipe.image_px, epochs=recipe.epochs, batch=recipe.batch,
        seed=recipe.seed, device=recipe.device, pretrained=False, project=str(out.resolve()),
        name="run", exist_ok=True, workers=0, amp=False, plots=False, val=False, cache="ram",
        optimizer="AdamW", lr0=0.002 if recipe.start is None else 0.001,
        warmup_epochs=min(1.0, recipe.epochs / 8), hsv_h=0.01, scale=0.2,
        translate=0.05, fliplr=0.5, mosaic=recipe.mosaic, erasing=0.0,
        close_mosaic=recipe.epochs // 4,
    )  # fmt: skip


def _start_with(weights: dict[str, torch.Tensor], trainer: Any) -> None:
    """Puts in what fits: with other classes, all but the last layer."""
    for model in (trainer.model, trainer.ema.ema):
        own = model.state_dict()
        fitting = {k: v for k, v in weights.items() if k in own and own[k].shape == v.shape}
        if len(fitting) < len(own) / 2:
            raise DetectorDataError(f"{len(fitting)} of {len(own)} weights fit this architecture")
        model.load_state_dict(fitting, strict=False)


def _write_weights(model: torch.nn.Module, path: Path) -> None:
    """Half precision: the next training changes them anyway."""
    state = {
        name: (value.half() if value.is_floating_point() else value).contiguous()
        for name, value in model.state_dict().items()
    }
    save_file(state, path)


def _fast_on_cpu(threads: int, trainer: Any) -> None:
    """bfloat16 on a CPU, which ultralytics only knows on a GPU: less than half the time."""
    if trainer.device.type != "cpu":
        return
    torch.set_num_threads(threads)  # ultralytics leaves one core unused
    model = trainer.model.to(memory_format=torch.channels_last)
    forward = model.forward

    def cast(*arguments: Any, **options: Any) -> Any:
        with torch.autocast("cpu", torch.bfloat16):
            return forward(*arguments, **options)

    model.forward = cast


def _ultralytics(out: Path) -> Any:
    """The package, kept from the network and from the home directory."""
    (out / "settings").mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("YOLO_CONFIG_DIR", str((out / "settings").resolve()))
    os.environ.setdefault("YOLO_OFFLINE", "true")
    os.environ.setdefault("YOLO_AUTOINSTALL", "false")
    import ultralytics

    ultralytics.settings.update({"sync": False, "tensorboard": False})
    return ultralytics


@contextlib.contextmanager
def _here(out: Path) -> Iterator[None]:
    """Ultralytics leaves files in the working directory: let it be `out`."""
    before = Path.cwd()
    os.chdir(out)
    try:
        yield
    finally:
        os.chdir(before)
