"""Training the U-Net on pictures and masks.

Pictures are scaled to one area, then cropped: half of the crops around a defect. The loss is the
cross entropy of any defect in each pixel, plus its soft Dice per picture, plus the cross entropy of
the kind where there is a defect, likewise per picture (small defects weigh as much as large ones),
plus the cross entropy of any defect in the whole picture. What is kept is the moving average of the
weights.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from vjepa_world_model.training.loop import Run, Schedule, autocast

from perception_pkg.core.defects import unet
from perception_pkg.core.defects.config import STRIDE, normalise, resize, target_size
from perception_pkg.core.defects.data import FREE, SMALLEST_PX, DefectDataError, Sample, fingerprint
from perception_pkg.core.model_folder import ModelError


@dataclass(frozen=True)
class DefectRecipe:
    """What decides the outcome of a training, beside the pictures."""

    iterations: int = 2000
    batch: int = 12
    crop_px: int = 192
    area_px: int = 256 * 320
    learning_rate: float = 2e-3
    encoder_share: float = 0.5  # of the learning rate
    weight_decay: float = 0.02
    average: float = 0.98  # of the moving average of the weights
    focus: float = 0.5  # share of the crops around a defect
    free_share: float = 0.35  # share of the crops from pictures without defects
    pretrained: bool = True
    seed: int = 0
    start: str | None = None  # model folder whose weights it begins with


def sized(recipe: DefectRecipe, side_px: int) -> DefectRecipe:
    """The recipe for pictures that are fed at about this side instead."""
    crop = max(STRIDE, STRIDE * round(side_px / STRIDE))
    return replace(recipe, area_px=side_px * side_px, crop_px=crop)


def train(
    samples: Sequence[Sample],
    kinds: Sequence[str],
    folder: Path,
    recipe: DefectRecipe,
    device: torch.device,
    title: str = "defects",
) -> torch.nn.Module:
    """Trains in `folder`, going on where an interrupted run of the same recipe stopped.

    Pictures and masks belong to the recipe. Pictures with a defect that is not marked are left out.

    Returns:
        the averaged network, in evaluation mode.

    Raises:
        RunError: the folder holds a training of another recipe, or a damaged checkpoint.
        DefectDataError: no picture marks a defect.
        ModelError: `recipe.start` is unusable, or finds other kinds.
    """
    torch.manual_seed(recipe.seed)
    samples = [sample for sample in samples if sample.marked]
    if all(sample.kind == FREE for sample in samples):
        raise DefectDataError(
            f"no picture of a defect has a mask that marks {SMALLEST_PX} pixels or more; give a "
            "subfolder per kind of defect, its masks bright where the defect is"
        )
    model = _begin(kinds, recipe).to(device)
    average = copy.deepcopy(model).eval()
    head = [p for name, p in model.named_parameters() if not name.startswith("encoder.")]
    optimizer = torch.optim.AdamW(
        [{"params": list(model.encoder.parameters())}, {"params": head}],
        weight_decay=recipe.weight_decay,
    )
    facts = {**asdict(recipe), "kinds": list(kinds), "pictures": fingerprint(samples)}
    run = Run(folder, facts, model=model, average=average, optimizer=optimizer)
    schedule = Schedule(recipe.learning_rate, recipe.iterations, warmup=0.05)
    crops = Crops(samples, kinds, recipe)
    model.train()
    for iteration in run.iterations(recipe.iterations, title):
        torch.manual_seed(hash((recipe.seed, iteration)))  # dropout, also after an interruption
        rate = schedule.cosine(iteration)
        for group, share in zip(optimizer.param_groups, (recipe.encoder_share, 1.0)):
            group["lr"] = rate * share
        images, targets = (part.to(device) for part in crops.batch(iteration))
        with autocast(device):
            maps, whole = model(images.to(memory_format=torch.channels_last))
        losses = _losses(maps.float(), whole.float(), targets)
        loss = sum(losses.values())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        keep = min(recipe.average, (iteration + 1) / (iteration + 10))
        _move_average(average, model, keep)
        run.log({name: float(value.detach()) for name, value in losses.items()}, iteration)
    return average


class Crops:
    """Random crops of pictures; the same seed and iteration give the same batch."""

    def __init__(self, samples: Sequence[Sample], kinds: Sequence[str], recipe: DefectRecipe):
        self.recipe = recipe
        self.scaled = []
        for sample in samples:
            size = target_size(*sample.mask.shape, recipe.area_px)
            number = 0 if sample.kind == FREE else list(kinds).index(sample.kind) + 1
            mask = resize(sample.mask.astype(np.uint8) * 255, size) > 127
            self.scaled.append((resize(sample.image, size), mask, number))
        numbers = [number for *_, number in self.scaled]
        self.free = [i for i, number in enumerate(numbers) if number == 0]
        self.by_kind = [[i for i, n in enumerate(numbers) if n == k + 1] for k in range(len(kinds))]

    def batch(self, iteration: int) -> tuple[torch.Tensor, torch.Tensor]:
        """float32 [B, 3, S, S] and int64 [B, S, S], 0 none, i + 1 for kinds[i]."""
        rng = np.random.default_rng((self.recipe.seed, iteration))
        pairs = [self._crop(rng) for _ in range(self.recipe.batch)]
        images, targets = (np.stack(part) for part in zip(*pairs))
        return torch.from_numpy(normalise(images)), torch.from_numpy(targets)

    def _crop(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        image, mask, number = self.scaled[self._pick(rng)]
        side = self.recipe.crop_px
        scale = float(np.exp(rng.uniform(np.log(0.8), np.log(1.3))))
        stretch = float(np.exp(rng.uniform(-0.15, 0.15)))
        angle = np.deg2rad(rng.uniform(-8, 8))
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        flips = np.diag(rng.choice([-1.0, 1.0], 2))
        linear = turn @ np.diag([scale * stretch, scale / stretch]) @ flips
        centre = self._centre(rng, mask)
        shift = np.full(2, side / 2) - linear @ centre + rng.uniform(-side / 4, side / 4, 2)
        matrix = np.column_stack([linear, shift])
        border = cv2.BORDER_REFLECT_101
        view = cv2.warpAffine(
            image, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=border
        )
        label = cv2.warpAffine(
            mask.astype(np.uint8) * 255, matrix, (side, side), flags=cv2.INTER_LINEAR,
            borderMode=border,
        )  # fmt: skip
        return _relight(rng, view), (label > 127).astype(np.int64) * number

    def _pick(self, rng: np.random.Generator) -> int:
        kinds = [members for members in self.by_kind if members]
        if self.free and (not kinds or rng.random() < self.recipe.free_share):
            return int(rng.choice(self.free))
        return int(rng.choice(kinds[rng.integers(len(kinds))]))

    def _centre(self, rng: np.random.Generator, mask: np.ndarray) -> np.ndarray:
        """x, y around which is cropped: a pixel of the defect, or the middle of the picture."""
        rows, columns = np.nonzero(mask)
        if len(rows) and rng.random() < self.recipe.focus:
            chosen = rng.integers(len(rows))
            return np.array([columns[chosen], rows[chosen]], float)
        height, width = mask.shape
        return np.array([width / 2, height / 2])


@torch.inference_mode()
def predict(
    model: torch.nn.Module, image: np.ndarray, area_px: int, device: torch.device, flips: bool
) -> tuple[np.ndarray, float]:
    """Probabilities of one picture, by the network itself.

    Args:
        image: uint8 [H, W, 3] RGB.
        flips: average over the picture and its three mirror images.

    Returns:
        float32 [1 + kinds, H, W], and the probability that the picture has a defect.
    """
    size = target_size(*image.shape[:2], area_px)
    fed = torch.from_numpy(normalise(resize(image, size)[None])).to(device)
    maps, scores = [], []
    for axes in ((), (3,), (2,), (2, 3)) if flips else ((),):
        turned = fed.flip(axes) if axes else fed
        with autocast(device):
            logits, whole = model(turned.to(memory_format=torch.channels_last))
        probabilities = logits.float().softmax(1)
        maps.append(probabilities.flip(axes) if axes else probabilities)
        scores.append(whole.float().sigmoid())
    mean = F.interpolate(
        torch.stack(maps).mean(0), image.shape[:2], mode="bilinear", align_corners=False
    )
    return mean[0].cpu().numpy(), float(torch.stack(scores).mean())


def _begin(kinds: Sequence[str], recipe: DefectRecipe) -> torch.nn.Module:
    if recipe.start is None:
        return unet.build(len(kinds), recipe.pretrained)
    model, config = unet.load(Path(recipe.start))
    if tuple(config.kinds) != tuple(kinds):
        raise ModelError(
            f"{recipe.start} finds {', '.join(config.kinds)}, the pictures show "
            f"{', '.join(kinds)}; begin with a model of the same kinds, or without --start"
        )
    return model


def _losses(
    maps: torch.Tensor, whole: torch.Tensor, targets: torch.Tensor
) -> dict[str, torch.Tensor]:
    truth = (targets > 0).float()
    has = truth.flatten(1).any(1).float()
    many = has.sum().clamp(min=1.0)
    any_defect = torch.logsumexp(maps[:, 1:], 1) - maps[:, 0]
    found = any_defect.sigmoid()
    overlap = (found * truth).sum((1, 2))
    size = found.sum((1, 2)) + truth.sum((1, 2))
    dice = 1.0 - (2 * overlap + 20.0) / (size + 20.0)
    kind = F.cross_entropy(maps[:, 1:], (targets - 1).clamp(min=0), reduction="none")
    kind = (kind * truth).sum((1, 2)) / truth.sum((1, 2)).clamp(min=1.0)
    return {
        "pixels": F.binary_cross_entropy_with_logits(any_defect, truth),
        "dice": (dice * has).sum() / many,
        "kind": 0.2 * kind.sum() / many,
        "picture": 0.3 * F.binary_cross_entropy_with_logits(whole[:, 0], has),
    }


@torch.no_grad()
def _move_average(average: torch.nn.Module, model: torch.nn.Module, keep: float) -> None:
    for old, new in zip(average.state_dict().values(), model.state_dict().values()):
        if old.dtype.is_floating_point:
            old.lerp_(new, 1.0 - keep)
        else:
            old.copy_(new)


def _relight(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Another exposure and contrast, a little noise; uint8 as it came."""
    levels = np.arange(256) / 255.0
    curve = levels ** np.exp(rng.uniform(-0.35, 0.35))
    curve = (curve - 0.5) * rng.uniform(0.75, 1.25) + 0.5 + rng.uniform(-0.12, 0.12)
    lit = cv2.LUT(image, np.clip(curve * 255, 0, 255).astype(np.uint8))
    if rng.random() < 0.3:
        noise = rng.normal(0, rng.uniform(2, 6), (*image.shape[:2], 1))
        lit = np.clip(lit + noise, 0, 255).astype(np.uint8)
    return lit
