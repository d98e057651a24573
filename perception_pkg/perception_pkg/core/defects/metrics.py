"""How well defects are found: pixel IoU per kind, and AUROC of the picture's score."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.metrics import roc_auc_score

from perception_pkg.core.defects.data import FREE, marks


class DefectScores:
    """Collects pictures and sums up.

    IoU of a kind: over all pictures of that kind, pixels that are defective in both mask and
    prediction, divided by pixels that are defective in either. Defective is any kind: naming the
    kind right is measured apart, by `named_iou`, where only pixels given the picture's own kind
    count as found. `mean_iou` is the mean over the kinds. Pictures with a defect that is not marked
    say nothing of places: they count for AUROC alone, the chance that a picture with a defect
    scores higher than one without.
    """

    def __init__(self, kinds: Sequence[str]):
        self.kinds = tuple(kinds)
        self.rows: list[dict] = []

    def add(self, kind: str, truth: np.ndarray, found: np.ndarray, score: float) -> dict:
        """One picture.

        Args:
            kind: of the picture, or `free`.
            truth: bool [H, W].
            found: int [H, W], 0 none, i + 1 for kinds[i].
            score: of any defect in the picture.
        """
        any_kind = found > 0
        named = found == (self.kinds.index(kind) + 1 if kind in self.kinds else -1)
        row = {
            "kind": kind,
            "marked": marks(truth),
            "both": int((truth & any_kind).sum()),
            "either": int((truth | any_kind).sum()),
            "named_both": int((truth & named).sum()),
            "score": float(score),
        }
        self.rows.append(row)
        return row

    def summary(self) -> dict:
        """`mean_iou`, `mean_named_iou`, `auroc` and per kind `iou`, `named_iou`, `auroc` (against
        `free`), `pictures` and how many of them are `not_marked`. A figure without pictures to
        measure it on is None."""
        kinds = {}
        free = [row["score"] for row in self.rows if row["kind"] == FREE]
        for kind in self.kinds:
            rows = [row for row in self.rows if row["kind"] == kind]
            marked = [row for row in rows if row["marked"]]
            kinds[kind] = {
                "iou": _ratio(marked, "both", "either"),
                "named_iou": _ratio(marked, "named_both", "either"),
                "auroc": auroc([row["score"] for row in rows], free),
                "pictures": len(rows),
                "not_marked": len(rows) - len(marked),
            }
        defective = [row["score"] for row in self.rows if row["kind"] != FREE]
        return {
            "mean_iou": _mean(kinds, "iou"),
            "mean_named_iou": _mean(kinds, "named_iou"),
            "auroc": auroc(defective, free),
            "free_pictures": len(free),
            "kinds": kinds,
        }


def auroc(positive: Sequence[float], negative: Sequence[float]) -> float | None:
    """Area under the ROC curve; ties count half. None if one of the two is empty."""
    if not len(positive) or not len(negative):
        return None
    truth = [True] * len(positive) + [False] * len(negative)
    return float(roc_auc_score(truth, [*positive, *negative]))


def _ratio(rows: list[dict], above: str, below: str) -> float | None:
    total = sum(row[below] for row in rows)
    return sum(row[above] for row in rows) / total if total else None


def _mean(kinds: dict[str, dict], key: str) -> float | None:
    known = [kind[key] for kind in kinds.values() if kind[key] is not None]
    return float(np.mean(known)) if known else None
