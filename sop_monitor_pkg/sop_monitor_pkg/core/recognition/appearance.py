"""What the states of the work look like: a projection of latents in which states differ, the mean
of each state there, and the latents that were seen in it.

PCA with whitening (what tells states apart varies little in the picture as a whole), then linear
discriminant analysis, both scikit-learn's. In the projection every state's latents have about unit
covariance, so squared distances are log-likelihoods.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from sop_monitor_pkg.core.recognition.phases import NO_STATE, PHASES, STATES_PER_STEP

COMPONENTS = 320  # of the PCA; small differences tell movements apart
_FOR_EACH = 8  # latents that a component needs
KEPT_PER_STATE = 60  # latents that stand for the neighbourhood of a state
NEIGHBOURS = 3
FAR = 5.0  # squared distance for each dimension; of normal work, more than nine tenths are nearer
_PLENTY = 10  # latents of each state: covariances can be told from them


@dataclass(frozen=True)
class Appearance:
    """
    Attributes:
        mean: float32 [D] and basis: float32 [D, K], from latents to the space of the states.
        centres: float32 [N, K]; of a phase that was never seen, that of the phase after it; NaN
            where that is no help either.
        memory: float32 [M, K], latents of normal work, and memory_states: int64 [M], their states.
    """

    mean: np.ndarray
    basis: np.ndarray
    centres: np.ndarray
    memory: np.ndarray
    memory_states: np.ndarray

    def project(self, latents: np.ndarray) -> np.ndarray:
        """float32 [T, D] -> [T, K]."""
        return (latents - self.mean) @ self.basis

    def fits(self, points: np.ndarray, temper: float) -> np.ndarray:
        """Log-likelihood float64 [T, N] of each state, up to a constant per point.

        `temper`: neighbouring pictures say nearly the same; counting each fully would be
        overconfident. A point far from all states says little about any: beyond FAR, it is
        taken for one of none.
        """
        squares = ((points[:, None] - self.centres[None]) ** 2).sum(-1).astype(np.float64)
        fits = -0.5 * temper * np.nan_to_num(squares, nan=1e6)
        return np.logaddexp(fits, self.of_none(temper))

    def of_none(self, temper: float) -> float:
        """Log-likelihood of a point that belongs to no state, to the same constant."""
        return -0.5 * temper * FAR * self.basis.shape[1]

    def distance(self, point: np.ndarray, state: int) -> float:
        """How far a latent is from normal ones of this state and its neighbours in the step."""
        step = state // STATES_PER_STEP
        near = (self.memory_states // STATES_PER_STEP == step) & (
            np.abs(self.memory_states - state) <= 1
        )
        if near.sum() < NEIGHBOURS:
            return 0.0
        squares = ((self.memory[near] - point) ** 2).sum(-1)
        return float(np.sqrt(np.partition(squares, NEIGHBOURS - 1)[:NEIGHBOURS].mean()))


def learn(latents: np.ndarray, states: np.ndarray, count: int, seed: int = 0) -> Appearance:
    """Learns from labelled latents.

    Args:
        latents: float32 [T, D]. states: int64 [T], NO_STATE: none. count: of states, N.
    """
    known = states != NO_STATE
    latents, states = latents[known], states[known]
    pca = PCA(
        min(COMPONENTS, max(2, len(latents) // _FOR_EACH), latents.shape[1]),
        whiten=True,
        svd_solver="randomized",
        random_state=seed,
    )
    reduced = pca.fit_transform(latents)
    few = len(latents) < _PLENTY * len(np.unique(states))
    lda = LinearDiscriminantAnalysis(solver="eigen", shrinkage=0.5 if few else 0.05)
    lda.fit(reduced, states)
    kept = min(len(lda.classes_) - 1, reduced.shape[1])
    scalings = lda.scalings_[:, :kept]
    spread = np.sqrt(pca.explained_variance_)
    spread = np.maximum(spread, np.finfo(spread.dtype).eps)  # as PCA itself does
    basis = (pca.components_.T / spread @ scalings).astype(np.float32)
    mean = pca.mean_.astype(np.float32)
    points = (latents - mean) @ basis
    centres = np.full((count, kept), np.nan, np.float32)
    rng = np.random.default_rng(seed)
    memory, memory_states = [], []
    for state in range(count):
        mine = points[states == state]
        if len(mine):
            centres[state] = mine.mean(0)
        chosen = rng.permutation(len(mine))[:KEPT_PER_STATE]
        memory.append(mine[chosen])
        memory_states.append(np.full(len(chosen), state))
    for state in reversed(range(count - 1)):
        if state % STATES_PER_STEP < PHASES - 1 and np.isnan(centres[state]).any():
            centres[state] = centres[state + 1]
    return Appearance(mean, basis, centres, np.concatenate(memory), np.concatenate(memory_states))
