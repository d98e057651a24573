"""What normal work is, as learned from recordings; a folder of numbers, no code."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from sop_monitor_pkg.core.normal import conformal
from sop_monitor_pkg.core.normal.conformal import Scale
from sop_monitor_pkg.core.normal.places import Places
from sop_monitor_pkg.core.procedure.procedure import Procedure
from sop_monitor_pkg.core.recognition.anticipation import Anticipator
from sop_monitor_pkg.core.recognition.appearance import Appearance
from sop_monitor_pkg.core.recognition.tempo import Tempo
from sop_monitor_pkg.core.tracks.speeds import Speeds

FORMAT = "vjepa-ros normal work 8"
LOOK = ("mean", "basis", "centres", "memory", "memory_states")  # fields of an Appearance
LEAST = {
    "slow": 1.4,  # standard deviations
    "fast": 1.2,
    "still": 1.0,  # s
    "strange": 6.0,  # of the projection, in which a state's latents have unit covariance
    "dropped": 0.04,  # picture widths x s
    "swapped": 0.08,
    "foreign": 0.3,  # s of the last one, each moment times the square of the confidence
    "surface": 2.0,  # log-odds: what is half hidden may look anyhow, and a defect looks it clearly
    "unread": 0.4,  # of the usual time of the step
}
"""The scores, and of each how far from the usual an alarm begins at the earliest: about so much
do the maxima of clean cycles differ on simulated stations, more of which were seen than one learns
from. An unknown scene is some hundred `strange`."""

SCORES = tuple(LEAST)
EVEN = 0.5  # a risk below is never a warning


class NormalError(ValueError):
    """A folder that holds no usable model; the text says why and what to do."""


@dataclass(frozen=True)
class Extremes:
    """The most unusual in one cycle.

    Attributes:
        maxima: float64 [len(SCORES)], the largest of each score.
        out_of_order: whether the order of its steps, or a label, looked wrong.
        risk: the largest; see `anticipation`.
        name: of the cycle, for people; empty: none.
    """

    maxima: np.ndarray
    out_of_order: bool
    risk: float
    name: str = ""


@dataclass(frozen=True)
class NormalModel:
    """
    Attributes:
        procedure: its name. steps: their names, in the order that indices count.
        encoder: name of the world model whose latents these are. pooled: see `Latents`.
        rate_hz: latents per second. motion_s: see `CycleFollower`.
        temper: of the log-likelihoods; see `Appearance.fits`.
        still: change of the latent below which nothing moves.
        appearance: of latents with their change. motions: of the change alone. scenes: of what
            the eyes see being moved; None: without. See `evidence`.
        tempo, places, speeds: see there.
        lengths: float64 [S, STATES_PER_STEP], mean number of latents in each state.
        clean: of each clean cycle, judged by what the others taught. answered: so many of them,
            the last, are clean because people said so.
        accepted: share of clean cycles that may be flagged. threshold: of scaled scores.
        risk_threshold: beyond which a risk is a warning; as many clean cycles may have one.
        aside: indices of clean cycles in which a score went wild, and its name.
    """

    procedure: str
    steps: tuple[str, ...]
    encoder: str
    pooled: int
    rate_hz: float
    motion_s: float
    temper: float
    still: float
    appearance: Appearance
    motions: Appearance
    tempo: Tempo
    places: Places
    lengths: np.ndarray
    speeds: Speeds
    anticipator: Anticipator
    scenes: Appearance | None = None
    clean: tuple[Extremes, ...] = ()
    answered: int = 0
    accepted: float = conformal.ACCEPTED
    threshold: float = np.inf
    risk_threshold: float = np.inf
    scales: Mapping[str, Scale] = field(default_factory=dict)
    aside: tuple[tuple[int, str], ...] = ()

    @property
    def cycles(self) -> int:
        """Clean cycles that thresholds rest on."""
        return len(self.clean)

    @property
    def flagged(self) -> int:
        """Clean cycles that are flagged at any threshold."""
        return sum(extremes.out_of_order for extremes in self.clean) + len(self.aside)

    def is_rare(self, score: str, value: float) -> bool:
        """Whether a score is higher than in clean cycles: no alarm, but with other evidence it
        says enough. None is before there are scales."""
        return score in self.scales and self.scales[score](value) > conformal.HIGHEST

    @property
    def eyes(self) -> tuple[str, ...]:
        """Topics of the eyes that looked at the clean cycles: without one of them, what it tells
        is missing."""
        told = np.max([extremes.maxima for extremes in self.clean], axis=0, initial=0.0)
        tells = {"detections": "", "defects": "surface", "texts": "unread"}
        return tuple(
            topic
            for topic, score in tells.items()
            if (told[SCORES.index(score)] > 0.0 if score else bool(self.places.classes))
        )

    def calibrated(
        self, clean: Sequence[Extremes], accepted: float | None = None, answered: int = 0
    ) -> NormalModel:
        """The same with thresholds from these clean cycles, of which the last `answered` are clean
        because people said so. `accepted`: None: as before.

        A cycle in which the decoder saw a mistake of the order is flagged at any threshold: it
        counts towards the accepted share, and says nothing about the scores. Likewise, as far as
        the accepted share goes, one in which a score was far beyond all others: else what happened
        once would never be told again. What people called clean is never set aside, and no score
        of it is beyond its limit: others may be, as many as the accepted rate leaves.
        """
        accepted = self.accepted if accepted is None else accepted
        maxima = np.stack([extremes.maxima for extremes in clean])
        wrong = np.array([extremes.out_of_order for extremes in clean])
        answers = np.arange(len(clean)) >= len(clean) - answered
        least = np.array(list(LEAST.values()))
        spare = conformal.spare(len(clean), accepted) - int(wrong.sum())
        judged = np.flatnonzero(~wrong & ~answers)
        found = conformal.wild(maxima[judged], least, spare)
        aside = tuple((int(judged[index]), SCORES[score]) for index, score in found)
        wrong[[index for index, _ in aside]] = True
        right = ~wrong | wrong.all()
        beyond = max(0, spare - len(aside) - 1)  # one more is for the next clean cycle
        scales = conformal.scales(maxima[right], least, beyond, maxima[answers & ~wrong])
        highest = np.full(len(clean), np.inf)
        highest[right] = conformal.held_out(maxima[right], least, beyond)
        highest[wrong] = np.inf
        risks = np.array([extremes.risk for extremes in clean])
        return replace(
            self,
            clean=tuple(clean),
            answered=answered,
            accepted=accepted,
            scales=dict(zip(SCORES, scales)),
            threshold=conformal.shared_threshold(highest, accepted),
            risk_threshold=max(conformal.threshold(risks, accepted), EVEN),
            aside=aside,
        )

    def taught(self, clean: Sequence[Extremes]) -> NormalModel:
        """The same after people have called the alarms of these cycles false."""
        return self.calibrated([*self.clean, *clean], answered=self.answered + len(clean))

    def save(self, folder: Path) -> Path:
        """Writes `normal.safetensors` and `normal.json`, each replacing an older one at once."""
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
            "still": self.still,
            "classes": list(self.places.classes),
            "usual_s": {step: self.tempo.usual_s(index) for index, step in enumerate(self.steps)},
            "scores": list(SCORES),
            "accepted": self.accepted,
            "threshold": self.threshold,
            "cycles": self.cycles,
            "answered": self.answered,
            "needed": conformal.needed(self.accepted, self.flagged),
            "set_aside": {self.clean[index].name: name for index, name in self.aside},
            "clean": [extremes.name for extremes in self.clean],
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
        looks = {"appearance": self.appearance, "motions": self.motions, "scenes": self.scenes}
        return {
            **{
                f"{name}.{field}": getattr(look, field)
                for name, look in looks.items()
                if look is not None
                for field in LOOK
            },
            "tempo.log_means": tempo.log_means,
            "tempo.log_spreads": tempo.log_spreads,
            "speeds.log_means": self.speeds.log_means,
            "speeds.log_spreads": self.speeds.log_spreads,
            "places.boxes": places.boxes,
            "places.steps": places.steps,
            "places.kinds": places.kinds,
            "places.most": places.most,
            **{f"anticipator.{k}": v for k, v in self.anticipator.arrays().items()},
            "lengths": self.lengths,
            "maxima": np.stack([extremes.maxima for extremes in self.clean]),
            "out_of_order": np.array([extremes.out_of_order for extremes in self.clean]),
            "risks": np.array([extremes.risk for extremes in self.clean]),
        }


def usual_times(procedure: Procedure, folder: Path) -> dict[str, tuple[float, float]]:
    """Of each step, between which times [s] it lasts in normal work, for people to compare with.

    Raises:
        NormalError: no model there, or one of another procedure.
    """
    try:
        about = json.loads((folder / "normal.json").read_text())
        found = {
            str(name): (float(low), float(high)) for name, (low, high) in about["usual_s"].items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise NormalError(f"{folder} holds no usable model of normal work ({error})") from None
    if set(found) != set(procedure.by_name):
        raise NormalError(f"{folder} was learned for another procedure than {procedure.name}")
    return found


def identity(folder: Path) -> str:
    """Of the model in a folder: another one after `save`; empty where there is none."""
    try:
        return hashlib.sha256((folder / "normal.safetensors").read_bytes()).hexdigest()
    except OSError:
        return ""


def load_for(procedure: Procedure, folder: Path) -> NormalModel:
    """As `load`; raises NormalError also for a model of another procedure."""
    normal = load(folder)
    if normal.steps != tuple(procedure.by_name):
        raise NormalError(
            f"{folder} was learned for procedure {normal.procedure}, not for {procedure.name} with "
            f"the steps {', '.join(procedure.by_name)}; learn anew with ./run sop learn"
        )
    return normal


def load(folder: Path) -> NormalModel:
    """Reads what `Normal.save` wrote.

    Raises:
        NormalError: missing or damaged files, or of another format.
    """
    try:
        about = json.loads((folder / "normal.json").read_text())
        if about.get("format") != FORMAT or about.get("scores") != list(SCORES):
            raise NormalError(f"{folder}/normal.json is of another format; learn anew")
        t = load_file(folder / "normal.safetensors")
        normal = NormalModel(
            procedure=about["procedure"],
            steps=tuple(about["steps"]),
            encoder=about["encoder"],
            pooled=about["pooled"],
            rate_hz=about["rate_hz"],
            motion_s=about["motion_s"],
            temper=about["temper"],
            still=about["still"],
            appearance=Appearance(*(t[f"appearance.{field}"] for field in LOOK)),
            motions=Appearance(*(t[f"motions.{field}"] for field in LOOK)),
            scenes=Appearance(*(t[f"scenes.{field}"] for field in LOOK))
            if "scenes.mean" in t
            else None,
            tempo=Tempo(t["tempo.log_means"], t["tempo.log_spreads"]),
            places=Places(
                tuple(about["classes"]),
                *(t[f"places.{field}"] for field in ("boxes", "steps", "kinds", "most")),
            ),
            lengths=t["lengths"],
            speeds=Speeds(t["speeds.log_means"], t["speeds.log_spreads"]),
            anticipator=Anticipator.from_arrays(
                {
                    name.removeprefix("anticipator."): array
                    for name, array in t.items()
                    if name.startswith("anticipator.")
                }
            ),
        )
        clean = [
            Extremes(row, bool(wrong), float(risk), name)
            for row, wrong, risk, name in zip(
                t["maxima"], t["out_of_order"], t["risks"], about["clean"], strict=True
            )
        ]
        return normal.calibrated(clean, about["accepted"], about["answered"])
    except NormalError:
        raise
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise NormalError(
            f"{folder} holds no usable model of normal work ({error}); "
            "make one with ./run sop learn"
        ) from None
