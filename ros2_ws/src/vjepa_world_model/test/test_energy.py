"""`./run energy`: landscapes and evaluations of models whose energies are known."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from vjepa_world_model.data.episode_writing import finish, write_shard
from vjepa_world_model.data.episodes import Episode
from vjepa_world_model.evaluation.energy.landscape import landscape, minimum
from vjepa_world_model.evaluation.energy.moments import MomentError, Sequence, read_arrays
from vjepa_world_model.evaluation.energy.ranking import RankingRecipe, evaluate
from vjepa_world_model.weights.checkpoints import save_world_model

REAL = Path(__file__).resolve().parents[5] / "shared" / "real" / "franka_example_traj.npz"


class KnownModel:
    """Encodes a frame as the position that its first pixels hold; imagines moves with a bias."""

    device = torch.device("cpu")
    name = "known"
    imagines = True

    def __init__(self, bias=(0.0, 0.0, 0.0), works=True):
        self.bias, self.works = torch.tensor(bias), works

    def encode(self, frames):
        return torch.from_numpy(frames[:, 0, :3, 0].astype(np.float32) / 1000.0)[:, None]

    def energy(self, features, goal):
        return (features - goal).norm(dim=-1).mean(-1)

    def score(self, features, goal, state, actions):
        moves = (actions[..., :3] - self.bias).cumsum(1) if self.works else 0 * actions[..., :3]
        return self.energy(features + moves[:, :, None], goal)


def sequence(steps=6, seed=0):
    """Positions on a grid of millimetres, within 0 and 255, that the frames hold."""
    rng = np.random.default_rng(seed)
    position = np.array([120, 120, 120]) + rng.integers(-50, 50, (steps, 3))
    frames = np.zeros((steps, 16, 16, 3), np.uint8)
    frames[:, 0, :3, 0] = position
    states = np.zeros((steps, 7), np.float32)
    states[:, :3] = position / 1000.0
    return Sequence("made", frames, states)


def test_the_landscape_is_lowest_at_the_true_action():
    seen = sequence()
    found = landscape(KnownModel(), seen, 1, 2, points=31)
    assert np.allclose(found.true_action[:3], seen.states[2, :3] - seen.states[1, :3])
    assert found.energy_true < 1e-6 < found.energy_stay == pytest.approx(found.energy_now)
    step = found.offsets_m[1] - found.offsets_m[0]
    for plane, (across, up) in enumerate(((0, 1), (0, 2), (1, 2))):
        assert np.abs(found.lowest_m(plane) - found.true_action[[across, up]]).max() <= step
    assert max(abs(found.bias_m(axis)) for axis in range(3)) < step


def test_the_landscape_shows_the_bias_of_each_axis():
    found = landscape(KnownModel(bias=(0.02, 0.0, -0.01)), sequence(), 1, 2, points=41, span_m=0.15)
    biases = [found.bias_m(axis) for axis in range(3)]
    assert np.allclose(biases, [0.02, 0.0, -0.01], atol=0.004)


def test_a_parabola_finds_the_minimum_between_points():
    offsets = np.linspace(-1, 1, 9)
    assert minimum(offsets, (offsets - 0.13) ** 2) == pytest.approx(0.13)
    assert minimum(offsets, offsets) == -1.0


def test_a_model_that_knows_ranks_the_true_action_first_and_predicts_better_than_copying():
    found = evaluate(KnownModel(), [sequence(seed=s) for s in range(3)], RankingRecipe(span_m=0.1))
    figures = found.summary()
    assert figures["steps"] == 15
    assert figures["ranking"]["first"] == 1.0 and figures["ranking"]["ranked_above"] == 1.0
    assert [row["count"] for row in figures["prediction"]] == [15, 12, 9]
    assert all(row["error"] < 1e-6 < row["error_of_copying"] for row in figures["prediction"])
    for axis in figures["lowest"].values():
        assert abs(axis["bias_m"]) < 0.005 and axis["median_absolute_m"] < 0.01


def test_a_bias_of_the_model_is_the_bias_of_its_lowest_energy():
    model = KnownModel(bias=(0.0, 0.03, 0.0))
    figures = evaluate(
        model, [sequence(seed=s) for s in range(4)], RankingRecipe(span_m=0.16)
    ).summary()
    found = [figures["lowest"][name]["bias_m"] for name in "xyz"]
    assert np.allclose(found, [0.0, 0.03, 0.0], atol=0.008)
    assert figures["ranking"]["first"] < 1.0


def test_a_model_that_knows_nothing_is_no_better_than_chance():
    sequences = [sequence(seed=s) for s in range(2)]
    figures = evaluate(KnownModel(works=False), sequences, RankingRecipe()).summary()
    assert figures["ranking"]["ranked_above"] == 0.5  # all energies are the same
    assert all(row["ratio"] == pytest.approx(1.0) for row in figures["prediction"])


def test_the_same_seed_gives_the_same_figures():
    one, other = (
        evaluate(KnownModel(), [sequence()], RankingRecipe(seed=3)).summary() for _ in range(2)
    )
    assert one == other


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        ({"observations": np.zeros((2, 16, 16, 3), np.uint8)}, "has no states"),
        ({"observations": np.zeros((2, 16, 16, 3)), "states": np.zeros((2, 7))}, "uint8 RGB"),
        (
            {"observations": np.zeros((2, 16, 16, 3), np.uint8), "states": np.zeros((3, 7))},
            r"\[3, 7\] for 2 frames",
        ),
        (
            {"observations": np.zeros((1, 16, 16, 3), np.uint8), "states": np.full((1, 7), np.nan)},
            "not finite",
        ),
    ],
)
def test_arrays_that_cannot_be_used_are_refused(tmp_path, arrays, reason):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(MomentError, match=reason):
        read_arrays(tmp_path / "a.npz")


def command(*arguments, cwd):
    run = subprocess.run(
        [sys.executable, "-m", "vjepa_world_model.commands.energy", *map(str, arguments)],
        cwd=cwd, capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    return run.returncode, run.stdout + run.stderr


@pytest.fixture()
def model(tmp_path, small_parts):
    return save_world_model(tmp_path / "model", *small_parts)


def test_the_real_trajectory_gives_picture_and_json(tmp_path, model):
    if not REAL.is_file():
        pytest.skip(f"no real trajectory at {REAL}")
    code, output = command(REAL, "--model", model, "--grid", 5, cwd=tmp_path)
    assert code == 0, output
    assert (tmp_path / "out/energy/landscape.png").stat().st_size > 10_000
    found = json.loads((tmp_path / "out/energy/landscape.json").read_text())
    assert np.allclose(found["true_action"][:3], [0.0924, 0.0310, 0.0843], atol=1e-3)
    assert np.shape(found["planes"]["xy"]["energies"]) == (5, 5)


def test_an_episode_folder_is_evaluated_as_well(tmp_path, model):
    rng = np.random.default_rng(0)
    recorded = []
    for index in range(3):
        states = rng.normal(size=(4, 7)).astype(np.float32) * 0.05
        images = rng.integers(0, 256, (4, 64, 64, 3), dtype=np.uint8)
        actions = np.diff(states, axis=0, append=states[-1:])
        recorded.append(Episode(index, {"camera": images}, states, actions))
    write_shard(tmp_path / "data", 0, recorded, 4)
    finish(tmp_path / "data", 4, "test")
    given = ("--model", model, "--grid", 3, "--episodes", 2, "--others", 8, "--out", "here")
    code, output = command(tmp_path / "data", *given, cwd=tmp_path)
    assert code == 0, output
    figures = json.loads((tmp_path / "here/evaluation.json").read_text())
    assert figures["steps"] == 6 and len(figures["prediction"]) == 3
    assert (tmp_path / "here/evaluation.png").is_file()
    assert (tmp_path / "here/landscape.json").is_file()


def test_what_is_wrong_is_said_in_one_line(tmp_path, model):
    for arguments, reason in (
        ((tmp_path / "none.npz",), "cannot be read as arrays"),
        ((tmp_path,), "not a LeRobotDataset folder"),
        ((tmp_path / "none.npz", "--model", model / "encoder"), "no action-conditioned predictor"),
    ):
        code, output = command(*arguments, cwd=tmp_path)
        assert code == 1 and reason in output and "Traceback" not in output
