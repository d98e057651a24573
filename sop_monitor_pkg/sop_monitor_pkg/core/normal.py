"""What normal work is, as learned from recordings; a folder of numbers, no code."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from sop_monitor_pkg.core import conformal
from sop_monitor_pkg.core.anticipation import Anticipator
from sop_monitor_pkg.core.appearance import Appearance
from sop_monitor_pkg.core.conformal import Scale
from sop_monitor_pkg.core.places import Places
from sop_monitor_pkg.core.procedure import Procedure
from sop_monitor_pkg.core.tempo import Tempo

FORMAT = "vjepa-ros normal work 1"
LOOK = ("mean", "basis", "centres", "memory", "memory_states")  # fields of an Appearance
SCORES = ("slow", "fast", "still", "strange", "place", "surface")


class NormalError(ValueError):
    """A folder that holds no usable model; the text says why and what to do."""


@dataclass(frozen=True)
class Normal:
    """
    Attributes:
        procedure: its name. steps: their names, in the order that indices count.
        encoder: name of the world model whose latents these are. pooled: see `Latents`.
        rate_hz: latents per second. motion_s: see `CycleFollower`.
        temper, outside: of the log-likelihoods; see `Appearance.fits`.
        still: change of the latent below which nothing moves.
        appearance, tempo, places: what was learned. scenes: of what the eyes see; None: without.
        lengths: float64 [S, STATES_PER_STEP], mean number of latents in each state.
        maxima: float64 [C, len(SCORES)], the largest score of each clean cycle, judged by what the
            others taught; out_of_order: bool [C], whether the decoder saw a mistake in it.
        risks: float64 [C], the largest risk of each clean cycle; see `anticipation`.
        accepted: share of clean cycles that may be flagged. threshold: of scaled scores.
        risk_threshold: beyond which a risk is a warning; as many clean cycles may have one.
    """

    procedure: str
    steps: tuple[str, ...]
    encoder: str
    pooled: int
    rate_hz: float
    motion_s: float
    temper: float
    outside: float
    still: float
    appearance: Appearance
    tempo: Tempo
    places: Places
    lengths: np.ndarray
    anticipator: Anticipator
    scenes: Appearance | None = None
    maxima: np.ndarray = field(default_factory=lambda: np.zeros((0, len(SCORES))))
    out_of_order: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))
    risks: np.ndarray = field(default_factory=lambda: np.zeros(0))
    accepted: float = conformal.ACCEPTED
    threshold: float = np.inf
    risk_threshold: float = np.inf
    scales: Mapping[str, Scale] = field(default_factory=dict)

    @property
    def cycles(self) -> int:
        """Clean cycles that thresholds rest on."""
        return len(self.maxima)

    def calibrated(
        self, maxima: np.ndarray, out_of_order: np.ndarray, risks: np.ndarray, accepted: float
    ) -> Normal:
        """The same with thresholds from these clean cycles.

        A cycle in which the decoder saw a mistake of the order is flagged at any threshold.
        """
        scales = {name: Scale.of(maxima[:, i]) for i, name in enumerate(SCORES)}
        highest = np.array(
            [max(scales[name](value) for name, value in zip(SCORES, row)) for row in maxima]
        )
        highest[out_of_order] = max(highest.max(), 1.0) * 2.0
        threshold = conformal.threshold(highest, accepted)
        return replace(
            self, maxima=maxima, out_of_order=out_of_order, accepted=accepted,
            threshold=max(threshold, 1e-9), scales=scales, risks=risks,
            risk_threshold=conformal.threshold(risks, accepted),
        )  # fmt: skip

    def save(self, folder: Path) -> Path:
        """Writes `normal.json` and `normal.safetensors`, replacing older ones at once."""
        folder.mkdir(parents=True, exist_ok=True)
        about = {
            "format": FORMAT,
            "procedure": self.procedure,
            "steps": list(self.steps),
            "encoder": self.encoder,
            "pooled": self.pooled,
            "rate_hz": self.rate_hz,
            "motion_s": self.motion_s,
            "temper": self.temper,
            "outside": self.outside,
            "still": self.still,
            "classes": list(self.places.classes),
            "scores": list(SCORES),
            "accepted": self.accepted,
            "threshold": self.threshold,
            "cycles": self.cycles,
            "needed": conformal.needed(self.accepted),
        }
        part = folder / "normal.safetensors.part"
        save_file({k: np.ascontiguousarray(v) for k, v in self._tensors().items()}, part)
        text = folder / "normal.json.part"
        text.write_text(json.dumps(about, indent=1))
        part.replace(folder / "normal.safetensors")
        text.replace(folder / "normal.json")
        return folder

    def _tensors(self) -> dict[str, np.ndarray]:
        places, tempo = self.places, self.tempo
        looks = {"appearance": self.appearance, "scenes": self.scenes}
        return {
            **{
                f"{name}.{field}": getattr(look, field)
                for name, look in looks.items()
                if look is not None
                for field in LOOK
            },
            "tempo.log_means": tempo.log_means,
            "tempo.log_spreads": tempo.log_spreads,
            "places.points": places.points,
            "places.steps": places.steps,
            "places.kinds": places.kinds,
            **{f"anticipator.{k}": v for k, v in self.anticipator.arrays().items()},
            "lengths": self.lengths,
            "risks": self.risks,
            "maxima": self.maxima,
            "out_of_order": self.out_of_order,
        }


def load_for(procedure: Procedure, folder: Path) -> Normal:
    """As `load`; raises NormalError also for a model of another procedure."""
    normal = load(folder)
    if normal.steps != tuple(procedure.by_name):
        raise NormalError(
            f"{folder} was learned for procedure {normal.procedure}, not for {procedure.name} with "
            f"the steps {', '.join(procedure.by_name)}; learn anew with ./run sop learn"
        )
    return normal


def load(folder: Path) -> Normal:
    """Reads what `Normal.save` wrote.

    Raises:
        NormalError: missing or damaged files, or of another format.
    """
    try:
        about = json.loads((folder / "normal.json").read_text())
        if about.get("format") != FORMAT or about.get("scores") != list(SCORES):
            raise NormalError(f"{folder}/normal.json is of another format; learn anew")
        t = load_file(folder / "normal.safetensors")
        normal = Normal(
            procedure=about["procedure"],
            steps=tuple(about["steps"]),
            encoder=about["encoder"],
            pooled=about["pooled"],
            rate_hz=about["rate_hz"],
            motion_s=about["motion_s"],
            temper=about["temper"],
            outside=about["outside"],
            still=about["still"],
            appearance=Appearance(*(t[f"appearance.{field}"] for field in LOOK)),
            scenes=Appearance(*(t[f"scenes.{field}"] for field in LOOK))
            if "scenes.mean" in t
            else None,
            tempo=Tempo(t["tempo.log_means"], t["tempo.log_spreads"]),
            places=Places(
                tuple(about["classes"]), t["places.points"], t["places.steps"], t["places.kinds"]
            ),
            lengths=t["lengths"],
            anticipator=Anticipator.from_arrays(
                {
                    name.removeprefix("anticipator."): array
                    for name, array in t.items()
                    if name.startswith("anticipator.")
                }
            ),
        )
        return normal.calibrated(t["maxima"], t["out_of_order"], t["risks"], about["accepted"])
    except NormalError:
        raise
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise NormalError(
            f"{folder} holds no usable model of normal work ({error}); "
            "make one with ./run sop learn"
        ) from None
