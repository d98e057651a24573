"""Classes that differ in size and nothing else, such as screws M3 and M4: which one is it?

Evidence is the log-odds of the first class: what the detector's two scores say, and, where the
camera is calibrated, how large the box is. Both weights and the doubt below which the answer is
`unknown` are fitted on boxes whose class is known; the evidence of one track adds up.
"""

from __future__ import annotations

import collections
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

UNKNOWN = "unknown"
SMALL = 1e-6
ELONGATED = 1.25  # longer to shorter side of a box


@dataclass(frozen=True)
class SizePair:
    """How two classes are told apart.

    Attributes:
        first, second: their names.
        score_weight: of the log-odds of the detector's scores.
        size_weight: of the longer side of the box [1/mm]; 0: sizes are not used.
        offset: added to both.
        doubt: log-odds below which, either way, the class stays unknown.
    """

    first: str
    second: str
    score_weight: float = 1.0
    size_weight: float = 0.0
    offset: float = 0.0
    doubt: float = 2.0

    def evidence(self, first: float, second: float, size_mm: float | None) -> float:
        """Log-odds of `first` from one picture.

        Args:
            first, second: scores of the two classes, 0..1.
            size_mm: longer side of the box; None where the camera is not calibrated: then the
                scores decide alone; see `size_of`.
        """
        odds = log_odds(first, second)
        if size_mm is None or not self.size_weight:
            return odds
        return self.score_weight * odds + self.size_weight * size_mm + self.offset

    def decide(self, evidence: float) -> str:
        """The class, or `unknown`."""
        if abs(evidence) < self.doubt:
            return UNKNOWN
        return self.first if evidence > 0 else self.second


def size_pairs(classes: Sequence[str]) -> list[list[str]]:
    """Every two classes whose names differ in digits only, such as screw_m3 and screw_m4. Of more
    than two with such names, none: a pair cannot tell them apart."""
    alike = collections.defaultdict(list)
    for name in classes:
        alike[re.sub(r"\d+", "#", name)].append(name)
    return [names for names in alike.values() if len(names) == 2]


def size_of(box: np.ndarray, mm_per_px: float) -> float | None:
    """Longer side [mm] of a box x0, y0, x1, y1. None where that says nothing: the camera is not
    calibrated, or the box is elongated, of a part that lies on its side or is cut off."""
    short, long = sorted(float(side) for side in box[2:] - box[:2])
    return long * mm_per_px if mm_per_px and long <= ELONGATED * short else None


def log_odds(first: float, second: float) -> float:
    """Of two scores, 0..1."""
    return float(np.log(max(first, SMALL)) - np.log(max(second, SMALL)))


def fit(
    names: tuple[str, str],
    odds: Sequence[float],
    sizes_mm: Sequence[float] | None,
    is_first: Sequence[bool],
    confusion: float = 0.003,
) -> SizePair:
    """The pair that explains boxes whose class is known, by logistic regression.

    `doubt` is the smallest one at which at most `confusion` of these boxes get the wrong name.

    Args:
        odds: log-odds of the detector's scores, one per box.
        sizes_mm: longer sides; None: not calibrated.

    Raises:
        ValueError: no boxes of one of the two classes.
    """
    truth = np.asarray(is_first, float)
    if len(np.unique(truth)) < 2:
        raise ValueError(f"boxes of {names[0]} and of {names[1]} are needed to tell them apart")
    columns = [np.asarray(odds, float)]
    if sizes_mm is not None:
        columns.append(np.asarray(sizes_mm, float))
    features = np.column_stack([*columns, np.ones(len(truth))])
    spread = features.std(0)
    spread[spread == 0] = 1.0

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        evidence = features / spread @ weights
        penalty = 1e-3 * (weights[:-1] ** 2).sum()
        value = np.logaddexp(0, -(2 * truth - 1) * evidence).mean() + penalty
        slope = (features / spread).T @ (expit(evidence) - truth) / len(truth)
        slope[:-1] += 2e-3 * weights[:-1]
        return float(value), slope

    weights = minimize(loss, np.zeros(features.shape[1]), jac=True).x / spread
    evidence = features @ weights
    wrong = np.sort(np.abs(evidence[(evidence > 0) != (truth > 0.5)]))[::-1]
    allowed = int(confusion * len(truth))
    doubt = float(wrong[allowed]) + 1e-6 if allowed < len(wrong) else 0.0
    return SizePair(
        *names,
        score_weight=float(weights[0]),
        size_weight=float(weights[1]) if sizes_mm is not None else 0.0,
        offset=float(weights[-1]),
        doubt=max(doubt, 1.0),
    )
