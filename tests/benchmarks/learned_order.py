"""The order of steps learnt from correct recordings, and how surprising a step is in its light.

For where nobody has written a procedure file. Two facts are learnt, both as frequencies over the
recordings: which steps came before a step, and how often a step is done. A step surprises by what
is missing before it (only the most surprising gap counts: one root cause) and by coming once more
than it should. Recordings that share steps with what was done so far weigh more, so that
recordings of several procedures can stand together.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

Label = Hashable

_PRIOR = 0.5  # Jeffreys prior of a frequency: half a recording for, half a recording against
_EQUAL = 1e-9  # surprises closer than this are equal [nats]


@dataclass(frozen=True)
class Judgement:
    """What is thought of one step.

    Attributes:
        wrong: whether it is a mistake.
        p_value: share of correct steps that surprise at least as much.
        missing: the step whose absence surprises most; None if nothing is missing.
        times: how often the step was done before.
    """

    wrong: bool
    p_value: float
    missing: Label | None
    times: int


class LearnedOrder:
    """Learns from correct recordings; judges steps as they come.

    The verdict is cross-conformal (CV+; Barber et al. 2021): a step is compared with the steps of
    each recording, both as they surprise somebody who has learnt from all the other recordings.

    Args:
        recordings: steps of each, in order; at least two.
        accepted: share of correct steps that may be called wrong, 0..1.

    Raises:
        ValueError: fewer than two recordings, no steps in them, or a share outside 0..1.
    """

    def __init__(self, recordings: Sequence[Sequence[Label]], accepted: float = 0.1):
        if len(recordings) < 2:
            raise ValueError(f"{len(recordings)} recordings; an order is learnt from at least 2")
        if not 0.0 < accepted < 1.0:
            raise ValueError(f"accepted is {accepted}; give a share between 0 and 1")
        self._accepted = accepted
        self._labels = list(dict.fromkeys(label for steps in recordings for label in steps))
        if not self._labels:
            raise ValueError("the recordings hold no steps")
        self._index = {label: i for i, label in enumerate(self._labels)}
        shape = len(recordings), len(self._labels)
        self._first = np.full(shape, np.inf)  # position of the first time
        self._times = np.zeros(shape)
        for row, steps in enumerate(recordings):
            for position, label in enumerate(steps):
                column = self._index[label]
                self._first[row, column] = min(self._first[row, column], position)
                self._times[row, column] += 1
        self._has = self._times > 0
        self._everyone = np.ones((1, len(recordings)))
        self._without_one = 1.0 - np.eye(len(recordings))
        self._normal = [
            np.sort([self._surprise(steps[:i], s, without)[0][0] for i, s in enumerate(steps)])
            for steps, without in zip(recordings, self._without_one[:, None])
        ]

    def judge(self, history: Sequence[Label], step: Label) -> Judgement:
        """Judges `step` after the steps of `history`."""
        surprises, _ = self._surprise(history, step, self._without_one)
        as_high = sum(
            len(normal) - int(np.searchsorted(normal, surprise - _EQUAL))
            for normal, surprise in zip(self._normal, surprises)
        )
        p_value = (1 + as_high) / (1 + sum(map(len, self._normal)))
        _, (missing,) = self._surprise(history, step, self._everyone)
        return Judgement(p_value <= self._accepted, p_value, missing, history.count(step))

    def judge_all(self, steps: Sequence[Label]) -> list[Judgement]:
        """Judges each step by those before it, as if they came one by one."""
        return [self.judge(steps[:i], step) for i, step in enumerate(steps)]

    def _surprise(
        self, history: Sequence[Label], step: Label, learners: np.ndarray
    ) -> tuple[np.ndarray, list[Label | None]]:
        """How a step surprises several learners, and what each misses most.

        `learners` [learners, recordings] is 1 where a learner knows a recording, else 0.

        Returns:
            float64 [learners] in nats, and a label or None for each.
        """
        known = {*history, step} & self._index.keys()
        done = np.zeros(len(self._labels), bool)
        done[[self._index[label] for label in known]] = True
        alike = (_PRIOR + self._has[:, done].sum(axis=1)) / (_PRIOR + len({*history, step}))
        weight = learners * alike
        total = weight.sum(axis=1)
        column = self._index.get(step)
        if column is None:
            return _surprisal(0.0 * total, total), [None] * len(learners)
        again = weight @ (self._times[:, column] > history.count(step))
        having = weight * self._has[:, column]
        before = having @ (self._first < self._first[:, [column]])
        before[:, done] = 0.0
        gap = before.argmax(axis=1)
        with_gap = before.max(axis=1)
        absence = _surprisal(having.sum(axis=1) - with_gap, having.sum(axis=1))
        surprise = _surprisal(again, total) + np.where(with_gap > 0.0, absence, 0.0)
        missing = [self._labels[g] if w > 0.0 else None for g, w in zip(gap, with_gap)]
        return surprise, missing


def _surprisal(count: np.ndarray, total: np.ndarray) -> np.ndarray:
    """-log of the frequency `count / total` under the prior."""
    return -np.log((count + _PRIOR) / (total + 2.0 * _PRIOR))
