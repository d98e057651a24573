"""The causal decoder: latents in, one after the other; steps with their beginnings out.

A Viterbi search with token passing (Young, Russell & Thornton, 1989) over the phases of all steps.
Each state keeps its best token: the score and the steps done on the way to it. What may come next
depends on those steps, so the order is enforced while decoding. A step is told as begun once no
token of a nearly equal score says otherwise; from then on, tokens that do are dropped.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sop_monitor_pkg.core.recognition.order_language import OrderLanguage
from sop_monitor_pkg.core.recognition.phases import PHASES, STATES_PER_STEP
from sop_monitor_pkg.core.recognition.tempo import Tempo

Path = tuple[tuple[int, float], ...]
"""Steps (their index) with the time at which each began [s], in order."""


@dataclass(frozen=True)
class DecoderRules:
    """
    Attributes:
        margin: by how much the log-score must exceed that of every token which says otherwise,
            before a step is told.
        doubt: the same among steps that are all out of order: that something is wrong is certain,
            and only which of them it is remains to be seen.
        beam: tokens that are worse than the best by more are dropped.
        end: the margin against all that say that the last step still runs, for its end to be told
            before it is certain what has begun.
        late: a token gives way to one with the same steps; if it is worse by less, its step may
            have begun when it says, too.
    """

    margin: float = 12.0
    doubt: float = 9.0
    beam: float = 60.0
    end: float = 20.0
    late: float = 3.0


@dataclass(frozen=True)
class Belief:
    """What the decoder holds for the best after a latent.

    Attributes:
        state: the best state; see `phases`.
        path: steps of the best token.
        told: how many of them are certain.
        probability: of the best token's running step, 0..1.
        begun: of each step, the probability that it has begun after those that are told.
        ended: whether the step told last has ended for certain, whichever has begun.
        latest_s: when the last step of the path may have begun at the latest, as far as tokens of
            nearly the same score say.
    """

    state: int
    path: Path
    told: int
    probability: float
    begun: dict[int, float]
    ended: bool = False
    latest_s: float = -np.inf

    def begun_s(self, number: int) -> tuple[float, float]:
        """When the step of this number in the path has begun, and at the latest may have [s]."""
        begin_s = self.path[number][1]
        last = number == len(self.path) - 1
        return begin_s, max(begin_s, self.latest_s) if last else begin_s


class Decoder:
    """Decodes one cycle. `lengths`: float [S, STATES_PER_STEP], mean latents in each state;
    `tempo`: how long steps take, so that none is believed to be done in passing."""

    def __init__(
        self,
        language: OrderLanguage,
        lengths: np.ndarray,
        tempo: Tempo | None = None,
        rules: DecoderRules | None = None,
    ):
        self._language = language
        self._tempo = tempo
        self._rules = rules or DecoderRules()
        count = len(language.steps)
        self._count = count
        stay = 1.0 - 1.0 / np.maximum(lengths.reshape(-1), 1.05)
        self._stay, self._leave = np.log(stay), np.log(1.0 - stay)
        self._scores = np.full(count * STATES_PER_STEP, -np.inf)
        self._paths: list[Path] = [()] * len(self._scores)
        self._latest = np.full(len(self._scores), -np.inf)  # see Belief
        self._told: Path = ()
        self._waiting = 0.0  # log-score of not having begun

    def begin(self, step: int, time_s: float) -> None:
        """This step (its index) has begun at this time: known, not decoded."""
        self._told = ((step, time_s),)
        self._scores[:] = -np.inf
        self._scores[step * STATES_PER_STEP] = 0.0
        self._paths[step * STATES_PER_STEP] = self._told
        self._latest[step * STATES_PER_STEP] = time_s
        self._waiting = -np.inf

    def step(
        self, fits: np.ndarray, time_s: float, waiting_fit: float = -np.inf, still: bool = False
    ) -> Belief | None:
        """Takes the next latent.

        Args:
            fits: float [S * STATES_PER_STEP], log-likelihood of the latent in each state.
            time_s: of its picture.
            waiting_fit: log-likelihood that no cycle has begun yet.
            still: nothing moves. Pictures of it are all alike, and speak only once: for a mistake
                that is not told, they say no more than for what is none.

        Returns:
            What is believed now; None while no cycle has begun.
        """
        scores, paths, latest = self._moved(time_s)
        if still:
            fits = self._muted(fits, scores, paths)
        scores = scores + fits
        self._waiting += waiting_fit
        best = scores.max()
        top = max(best, self._waiting)
        scores[scores < top - self._rules.beam] = -np.inf
        self._scores, self._paths, self._latest = scores - top, paths, latest
        self._waiting -= top
        if not best > self._waiting + top:
            return None
        return self._believed()

    def _muted(self, fits: np.ndarray, scores: np.ndarray, paths: list[Path]) -> np.ndarray:
        """Fits while nothing moves: of a token with a mistake that is not told, at most that of the
        best one without."""
        alive = np.flatnonzero(scores > -np.inf)
        mistaken = [state for state in alive if self._is_mistaken(paths[state])]
        rightly = np.setdiff1d(alive, mistaken)
        if not mistaken or not len(rightly):
            return fits
        fits = fits.copy()
        fits[mistaken] = np.minimum(fits[mistaken], fits[rightly[scores[rightly].argmax()]])
        return fits

    def _is_mistaken(self, path: Path) -> bool:
        """Whether a step of this path that is not told is out of order."""
        steps = _steps(path)
        return any(
            steps[number] not in self._language.allowed(steps[:number])
            for number in range(len(self._told), len(steps))
        )

    def _moved(self, time_s: float) -> tuple[np.ndarray, list[Path], np.ndarray]:
        """Scores, paths and latest beginnings after a transition, before the latent counts."""
        old, count = self._scores, self._count
        scores, paths, latest = old + self._stay, list(self._paths), self._latest.copy()
        grid = old.reshape(count, STATES_PER_STEP)
        onward = grid[:, :-1] + self._leave.reshape(count, STATES_PER_STEP)[:, :-1]
        onward[:, PHASES - 1] += np.log(0.5)  # into the pause; else into another step

        def meet(state: int, score: float, path: Path, latest_s: float) -> None:
            """A token comes to a state: the better one stays."""
            near = abs(score - scores[state]) < self._rules.late
            if near and _steps(path) == _steps(paths[state]):
                latest[state] = latest_s = max(latest[state], latest_s)
            if score > scores[state]:
                scores[state], paths[state], latest[state] = score, path, latest_s

        for step, phase in zip(*np.nonzero(onward > -np.inf)):
            state = step * STATES_PER_STEP + phase
            meet(state + 1, onward[step, phase], self._paths[state], self._latest[state])
        for score, path in self._enterable(time_s):
            chances = self._language.log_next(_steps(path))
            for step, chance in enumerate(chances):
                if chance > -np.inf:
                    state = step * STATES_PER_STEP
                    meet(state, score + chance, (*path, (step, time_s)), time_s)
        return scores, paths, latest

    def _enterable(self, time_s: float) -> list[tuple[float, Path]]:
        """Tokens that may begin a step: from the end of another one, from its pause, the first."""
        sources = [(self._waiting, ())] if not self._told else []
        for step in range(self._count):
            last = step * STATES_PER_STEP + PHASES - 1
            sources.append(
                (self._scores[last] + self._leave[last] + np.log(0.5), self._paths[last])
            )
            sources.append((self._scores[last + 1] + self._leave[last + 1], self._paths[last + 1]))
        found = []
        for score, path in sources:
            if score == -np.inf:
                continue
            if self._tempo is not None and path:
                step, begin_s = path[-1]
                score += self._tempo.log_haste(step, time_s - begin_s)
            found.append((score, path))
        return found

    def _margin(self, wanted: tuple[int, ...], other: tuple[int, ...]) -> float:
        """By how much steps must be likelier than others, for their last one to be told."""
        allowed, last = self._language.allowed(wanted[:-1]), len(wanted) - 1
        if wanted[last] in allowed or len(other) <= last or other[last] in allowed:
            return self._rules.margin
        return self._rules.doubt

    def _believed(self) -> Belief:
        best = int(self._scores.argmax())
        path = self._paths[best]
        alive = np.flatnonzero(self._scores > -np.inf)
        sequences = {state: _steps(self._paths[state]) for state in alive}
        while len(self._told) < len(path):
            length = len(self._told) + 1
            wanted = tuple(step for step, _ in path[:length])
            others = [s for s in alive if sequences[s][:length] != wanted]
            ahead = self._scores[best] - self._scores
            if any(ahead[state] < self._margin(wanted, sequences[state]) for state in others):
                break
            if not self._told and self._scores[best] - self._waiting < self._rules.margin:
                break
            self._told = path[:length]
            self._waiting = -np.inf
            for state in others:
                self._scores[state] = -np.inf
            alive = np.flatnonzero(self._scores > -np.inf)
        weights = np.exp(self._scores[alive] - self._scores[best])
        weights /= weights.sum()
        same = np.array([sequences[s] == sequences[best] for s in alive])
        told, begun = len(self._told), dict[int, float]()
        for state, weight in zip(alive, weights):
            for step in sequences[state][told : told + 1]:
                begun[step] = begun.get(step, 0.0) + float(weight)
        probability = min(1.0, float(weights[same].sum()))  # sums round to a little more than 1
        rivals = [self._scores[s] for s in alive if len(sequences[s]) <= told]
        ahead_by = self._scores[best] - max(rivals, default=-np.inf)
        ended = len(path) > told and ahead_by >= self._rules.end
        latest_s = float(self._latest[best])
        return Belief(best, path, told, probability, begun, ended, latest_s)


def _steps(path: Path) -> tuple[int, ...]:
    return tuple(step for step, _ in path)
