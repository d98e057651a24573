"""`./run train probe`: an attentive probe on the features of the frozen encoder (V-JEPA's own way
of evaluation; Bardes et al., TMLR 2024).

Clips lie in a folder for each label. They are encoded once; only pooler and classifier learn.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from transformers import VJEPA2ForVideoClassification, VJEPA2Model

from vjepa_world_model.data.video import FILES, VideoError, VideoReader
from vjepa_world_model.model.classifier import spread
from vjepa_world_model.model.encoder import preprocess
from vjepa_world_model.training.loop import Run, Schedule, decay_groups


class ProbeDataError(ValueError):
    """Clips that cannot be learned from; the text says which and why."""


@dataclass
class ProbeRecipe:
    """What determines a probe training; stored with the weights."""

    frames: int = 8
    iterations: int = 400
    batch: int = 16
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    pooler_layers: int = 1
    held_back: float = 0.2  # share of the clips of each label, for accuracy
    seed: int = 0


@dataclass(frozen=True)
class Clips:
    """Files and the index of the label of each."""

    labels: tuple[str, ...]
    files: tuple[Path, ...]
    targets: tuple[int, ...]

    def split(self, held_back: float, seed: int) -> tuple[list[int], list[int]]:
        """Indices to train on and to measure on; every label keeps some to train on."""
        rng = np.random.default_rng(seed)
        train: list[int] = []
        held: list[int] = []
        for label in range(len(self.labels)):
            own = rng.permutation([i for i, t in enumerate(self.targets) if t == label]).tolist()
            count = min(len(own) - 1, round(held_back * len(own)))
            held += own[:count]
            train += own[count:]
        return train, held


def find_clips(folder: Path) -> Clips:
    """The clips of a folder with a subfolder for each label.

    Raises:
        ProbeDataError: fewer than two labels with clips.
    """
    labels = sorted(p.name for p in folder.glob("*") if p.is_dir() and any(_videos(p)))
    if len(labels) < 2:
        raise ProbeDataError(
            f"{folder} holds {len(labels)} labels with videos; put the clips of each label into a "
            "subfolder of its name, at least two"
        )
    pairs = [(path, i) for i, label in enumerate(labels) for path in _videos(folder / label)]
    return Clips(tuple(labels), tuple(p for p, _ in pairs), tuple(i for _, i in pairs))


def train_probe(
    data: Path, encoder: VJEPA2Model, out: Path, recipe: ProbeRecipe, device: torch.device
) -> float | None:
    """Trains and writes `out/model`; returns the accuracy on clips held back, None if there are
    none. Resumes.

    Raises:
        ProbeDataError: clips that cannot be read. RunError: `out` is of another recipe.
    """
    torch.manual_seed(recipe.seed)
    clips = find_clips(data)
    model = _classifier(encoder, clips.labels, recipe).to(device)
    features = _encode(model, clips, recipe, device)
    targets = torch.tensor(clips.targets)
    train, held = clips.split(recipe.held_back, recipe.seed)
    head = torch.nn.ModuleDict({"pooler": model.pooler, "classifier": model.classifier}).train()
    optimizer = torch.optim.AdamW(decay_groups([head], recipe.weight_decay))
    facts = {**asdict(recipe), "labels": list(clips.labels), "clips": len(clips.files)}
    run = Run(out, facts, head=head, optimizer=optimizer)
    schedule = Schedule(recipe.learning_rate, recipe.iterations, warmup=0.1)
    for iteration in run.iterations(recipe.iterations, "probe"):
        rng = np.random.default_rng([recipe.seed, iteration])
        chosen = rng.choice(train, min(recipe.batch, len(train)), replace=False)
        for group in optimizer.param_groups:
            group["lr"] = schedule.cosine(iteration)
        scores = _scores(head, features[chosen].to(device).float())
        loss = torch.nn.functional.cross_entropy(scores, targets[chosen].to(device))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(head.parameters(), 1.0)
        optimizer.step()
        run.log({"loss": float(loss.detach())}, iteration)
    head.eval()
    _write(model, out / "model")
    return _accuracy(head, features, targets, held, device)


def _classifier(
    encoder: VJEPA2Model, labels: tuple[str, ...], recipe: ProbeRecipe
) -> VJEPA2ForVideoClassification:
    config = encoder.config.__class__.from_dict(encoder.config.to_dict())
    config.frames_per_clip = recipe.frames
    config.num_pooler_layers = recipe.pooler_layers
    config.id2label = dict(enumerate(labels))
    config.label2id = {label: i for i, label in enumerate(labels)}
    config.architectures = ["VJEPA2ForVideoClassification"]
    model = VJEPA2ForVideoClassification(config)
    model.vjepa2.load_state_dict(encoder.state_dict())
    model.vjepa2.eval().requires_grad_(False)
    return model


@torch.no_grad()
def _encode(
    model: VJEPA2ForVideoClassification, clips: Clips, recipe: ProbeRecipe, device: torch.device
) -> torch.Tensor:
    """float16 [clips, tokens, width]."""
    found = []
    console = Console(stderr=True)
    for path in track(clips.files, "encoding clips", console=console):
        pixels = preprocess(read_clip(path, recipe.frames), model.config.crop_size, device)
        hidden = model.vjepa2(pixel_values_videos=pixels[None], skip_predictor=True)
        found.append(hidden.last_hidden_state[0].half().cpu())
    return torch.stack(found)


def read_clip(path: Path, frames: int) -> np.ndarray:
    """uint8 [frames, H, W, 3], spread evenly over a video file.

    Raises:
        ProbeDataError: it cannot be read.
    """
    try:
        with VideoReader(path) as video:
            pictures = [picture for _, picture in video.frames()]
    except VideoError as error:
        raise ProbeDataError(str(error)) from None
    return np.stack([pictures[i] for i in spread(len(pictures), frames)])


def _scores(head: torch.nn.ModuleDict, features: torch.Tensor) -> torch.Tensor:
    return head["classifier"](head["pooler"](features))


@torch.no_grad()
def _accuracy(
    head: torch.nn.ModuleDict,
    features: torch.Tensor,
    targets: torch.Tensor,
    held: list[int],
    device: torch.device,
) -> float | None:
    if not held:
        return None
    right = [
        int(_scores(head, features[i : i + 1].to(device).float()).argmax()) == int(targets[i])
        for i in held
    ]
    return float(np.mean(right))


def _write(model: VJEPA2ForVideoClassification, folder: Path) -> None:
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    model.save_pretrained(part)
    shutil.rmtree(folder, ignore_errors=True)
    part.rename(folder)


def _videos(folder: Path) -> Iterator[Path]:
    return iter(sorted(p for p in folder.glob("*") if p.suffix.lower() in FILES))
