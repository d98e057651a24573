"""What both trainings share: resumable runs with progress and a TensorBoard log, schedules."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import nn
from torch.utils.tensorboard import SummaryWriter

SAVE_SECONDS = 60.0
LOG_EVERY = 20


class RunError(RuntimeError):
    """A training folder belongs to another recipe or holds a damaged checkpoint."""


class Run:
    """One training in a folder: `checkpoint.pt`, `recipe.json`, TensorBoard events.

    The same command goes on where an interrupted run stopped. Anything with a `state_dict` given as
    a keyword is saved and restored.
    """

    def __init__(self, folder: Path, recipe: dict, **parts) -> None:
        self.folder = folder
        self.minutes = 0.0
        self._parts = parts
        self._next = 0
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "recipe.json"
        recipe = json.loads(json.dumps(recipe))
        if path.exists() and json.loads(path.read_text()) != recipe:
            raise RunError(
                f"{folder} holds a training of another recipe ({path}); choose another --out "
                "or remove that folder"
            )
        path.write_text(json.dumps(recipe, indent=1) + "\n")
        self._checkpoint = folder / "checkpoint.pt"
        if self._checkpoint.exists():
            self._restore()
        self._writer = SummaryWriter(folder)
        self._console = Console()

    def iterations(self, total: int, title: str) -> Iterator[int]:
        """The iterations that are left; saves now and then, and when interrupted."""
        columns = (
            TextColumn(f"[bold]{title}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        started = saved = spoken = time.monotonic()
        earlier = self.minutes
        with Progress(*columns, console=self._console) as progress:
            bar = progress.add_task(title, total=total, completed=self._next, note="")
            self._note = lambda text: progress.update(bar, note=text)
            try:
                for iteration in range(self._next, total):
                    yield iteration
                    self._next = iteration + 1
                    self.minutes = earlier + (time.monotonic() - started) / 60.0
                    progress.advance(bar)
                    if time.monotonic() - saved > SAVE_SECONDS:
                        self._save()
                        saved = time.monotonic()
                    # Where there is no terminal to draw a bar on, a line a minute says the same.
                    if not self._console.is_terminal and time.monotonic() - spoken > 60.0:
                        spoken = time.monotonic()
                        self._console.print(f"{title} {self._next}/{total}, {self.minutes:.1f} min")
            finally:
                self._save()
                self._writer.flush()

    def log(self, values: dict[str, float], iteration: int, show: bool = False) -> None:
        """Write scalars to TensorBoard every LOG_EVERY iterations; `show` prints them as well."""
        if not show and iteration % LOG_EVERY:
            return
        for name, value in values.items():
            self._writer.add_scalar(name, value, iteration)
        text = "  ".join(f"{name.split('/')[-1]} {value:.3f}" for name, value in values.items())
        if show:
            self._console.print(f"[{iteration}] {text}", highlight=False)
        else:
            self._note(text)

    def due(self, iteration: int, total: int, every: int) -> bool:
        """Whether this iteration ends a period of `every` or the run."""
        return (iteration + 1) % every == 0 or iteration + 1 == total

    def _save(self) -> None:
        part = self._checkpoint.with_suffix(".part")
        state = {name: item.state_dict() for name, item in self._parts.items()}
        torch.save({"next": self._next, "minutes": self.minutes, "parts": state}, part)
        part.replace(self._checkpoint)

    def _restore(self) -> None:
        try:
            stored = torch.load(self._checkpoint, map_location="cpu", weights_only=True)
            for name, item in self._parts.items():
                item.load_state_dict(stored["parts"][name])
        except Exception as error:
            raise RunError(
                f"{self._checkpoint} cannot be read ({error}); remove it to start this run anew"
            ) from error
        self._next, self.minutes = stored["next"], stored["minutes"]


def start_from(module: nn.Module, tensors: Mapping[str, torch.Tensor]) -> None:
    """Gives `module` the weights of a finished model.

    Raises:
        RunError: that model has other sizes.
    """
    try:
        module.load_state_dict(dict(tensors))
    except RuntimeError as error:
        raise RunError(f"the model to start from does not fit this recipe: {error}") from error


class Schedule:
    """Learning rate over a run: linear warm-up, then cosine, or constant with a linear end."""

    def __init__(self, peak: float, total: int, warmup: float) -> None:
        self._peak, self._total = peak, total
        self._warmup = max(1, round(warmup * total))

    def cosine(self, iteration: int) -> float:
        """Warm-up, then half a cosine down to 1 % of the peak."""
        if iteration < self._warmup:
            return self._peak * (iteration + 1) / self._warmup
        progress = (iteration - self._warmup) / max(1, self._total - self._warmup)
        shape = (1.0 + torch.cos(torch.tensor(torch.pi * progress)).item()) / 2.0
        return self._peak * (0.01 + 0.99 * shape)

    def constant_then_decay(self, iteration: int, decay_share: float) -> float:
        """Warm-up, constant, and a linear fall to 1 % over the last `decay_share` of the run."""
        if iteration < self._warmup:
            return self._peak * (iteration + 1) / self._warmup
        left = (self._total - iteration) / max(1.0, decay_share * self._total)
        return self._peak * max(0.01, min(1.0, left))


def autocast(device: torch.device) -> torch.autocast:
    """bfloat16 matrix products: faster on GPUs and on CPUs that have them, harmless elsewhere."""
    return torch.autocast(device.type, torch.bfloat16)


def decay_groups(modules, weight_decay: float) -> list[dict]:
    """Parameter groups for AdamW: matrices decay, biases and norms do not."""
    parameters = [p for module in modules for p in module.parameters()]
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
