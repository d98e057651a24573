"""How well a world model tells what really happened from what did not, on recorded episodes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass

import numpy as np
import torch

from vjepa_world_model.evaluation.energy.landscape import AXES, Progress, score
from vjepa_world_model.evaluation.energy.moments import Sequence
from vjepa_world_model.model.poses import POSITION
from vjepa_world_model.model.world_model import WorldModel


@dataclass(frozen=True)
class RankingRecipe:
    """What is asked of every step.

    others: random actions that the true one is ranked among, uniform in a box.
    span_m: half the side of that box.
    rounds, samples, elites: of the search for the lowest energy in the box, which begins with the
        others: each round draws from the Gaussian of the best so far.
    horizon: steps ahead that are predicted.
    """

    others: int = 63
    span_m: float = 0.075
    rounds: int = 3
    samples: int = 48
    elites: int = 8
    horizon: int = 3
    seed: int = 0


@dataclass(frozen=True)
class Evaluation:
    """What was found; S steps, K steps ahead.

    Attributes:
        recipe: of the evaluation.
        better: [S], share of the others that have a higher energy than the true action.
        rank: [S], 1 is best.
        true_m: [S, 3], the true moves.
        lowest_m: [S, 3], the moves of lowest energy in the box.
        predicted, copied: [K], mean energy to what was seen 1 to K steps later, of the prediction
            from the true actions, and of the frame itself.
        counts: [K], how many predictions that is.
        distances_m, excess: [S * others], distance of the other actions to the true one, and their
            energies less that of the true one.
    """

    recipe: RankingRecipe
    better: np.ndarray
    rank: np.ndarray
    true_m: np.ndarray
    lowest_m: np.ndarray
    predicted: np.ndarray
    copied: np.ndarray
    counts: np.ndarray
    distances_m: np.ndarray
    excess: np.ndarray

    def summary(self) -> dict:
        """The figures, for JSON. Chance is 0.5 for `ranked_above`, 1 / (others + 1) for `first`."""
        error = self.lowest_m - self.true_m
        return {
            "steps": len(self.rank),
            "recipe": asdict(self.recipe),
            "ranking": {
                "ranked_above": float(self.better.mean()),
                "first": float((self.rank == 1).mean()),
                "first_by_chance": 1.0 / (self.recipe.others + 1),
                "among_first_five": float((self.rank <= 5).mean()),
                "median_rank": float(np.median(self.rank)),
            },
            "prediction": [
                {
                    "steps_ahead": k + 1,
                    "count": int(self.counts[k]),
                    "error": float(self.predicted[k]),
                    "error_of_copying": float(self.copied[k]),
                    "ratio": float(self.predicted[k] / max(self.copied[k], 1e-12)),
                }
                for k in range(len(self.counts))
                if self.counts[k]
            ],
            "lowest": {
                name: {
                    "bias_m": float(error[:, axis].mean()),
                    "deviation_m": float(error[:, axis].std()),
                    "median_absolute_m": float(np.median(np.abs(error[:, axis]))),
                }
                for axis, name in enumerate(AXES)
            },
        }


@torch.no_grad()
def evaluate(
    model: WorldModel,
    sequences: Iterable[Sequence],
    recipe: RankingRecipe,
    progress: Progress = lambda count: None,
) -> Evaluation:
    """Ask the model of every step of every sequence.

    Args:
        progress: called with 1 after each sequence.

    Raises:
        ValueError: no sequence has two frames.
    """
    rng = np.random.default_rng(recipe.seed)
    better, rank, true_m, lowest_m, distances, excess = [], [], [], [], [], []
    predicted, copied = np.zeros(recipe.horizon), np.zeros(recipe.horizon)
    counts = np.zeros(recipe.horizon, dtype=int)
    for sequence in sequences:
        features = model.encode(sequence.frames)
        states = torch.from_numpy(sequence.states).to(model.device)
        actions = np.stack([sequence.action(t, t + 1) for t in range(len(states) - 1)] or [[]])
        for t in range(len(states) - 1):
            true = actions[t]
            others = np.tile(true, (recipe.others, 1))
            others[:, POSITION] = rng.uniform(-recipe.span_m, recipe.span_m, (recipe.others, 3))
            pair = features[t : t + 2]
            energies = score(model, pair, states[t], np.concatenate([true[None], others]))
            first, rest = energies[0], energies[1:]
            better.append((rest > first).mean() + 0.5 * (rest == first).mean())
            rank.append(1 + int((rest < first).sum()))
            true_m.append(true[POSITION])
            lowest_m.append(_lowest(model, pair, states[t], others, rest, recipe, rng)[POSITION])
            distances.append(np.linalg.norm(others[:, POSITION] - true[POSITION], axis=1))
            excess.append(rest - first)
            _predict(model, features, states, actions, t, predicted, copied, counts)
        progress(1)
    if not rank:
        raise ValueError("no episode has two frames: there is nothing to predict")
    return Evaluation(
        recipe,
        np.array(better),
        np.array(rank),
        np.array(true_m),
        np.array(lowest_m),
        predicted / np.maximum(counts, 1),
        copied / np.maximum(counts, 1),
        counts,
        np.concatenate(distances),
        np.concatenate(excess),
    )


def _lowest(model, pair, state, moves, energies, recipe, rng) -> np.ndarray:
    """The move [7] of lowest energy, searched from moves [S, 7] that are scored already."""
    for _ in range(recipe.rounds):
        elites = moves[energies.argsort()[: recipe.elites], POSITION].astype(np.float64)
        spread = np.cov(elites.T) + 1e-8 * np.eye(3)
        fresh = np.tile(moves[0], (recipe.samples, 1))
        drawn = rng.multivariate_normal(elites.mean(axis=0), spread, recipe.samples)
        fresh[:, POSITION] = drawn.clip(-recipe.span_m, recipe.span_m)
        moves = np.concatenate([moves, fresh])
        energies = np.concatenate([energies, score(model, pair, state, fresh)])
    return moves[energies.argmin()]


def _predict(model, features, states, actions, t, predicted, copied, counts) -> None:
    """Adds the energies of one rollout along the true actions, each to what was seen then."""
    horizon = min(len(counts), len(actions) - t)
    plan = torch.from_numpy(actions[t : t + horizon]).to(model.device)[None]
    for k in range(horizon):
        later = features[t + k + 1]
        predicted[k] += float(model.score(features[t], later, states[t], plan[:, : k + 1])[0, -1])
        copied[k] += float(model.energy(features[t], later))
        counts[k] += 1
