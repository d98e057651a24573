"""`./run bench planner`, with a world model of random weights: what it measures and prints."""

from __future__ import annotations

import json
import signal
import time

import numpy as np
import pytest
import torch
from benchmarks.cma_search import CMAPlanner
from benchmarks.contenders import CMA_AS_OURS, REFERENCE, name_of
from benchmarks.planner import _numbers, summary
from vjepa_planner_pkg.core.search.planner import ActionParameters

TIMEOUT_S = 240.0


def test_an_interrupted_bench_goes_on_and_holds_what_was_asked_for(command, small_model, tmp_path):
    file, journal = tmp_path / "planner.json", tmp_path / "planner.pairs.jsonl"
    options = ("--pairs", 1, "--seed", 3, "--horizons", "1,2", "--model", small_model)
    asked = ("benchmarks.cli", "bench", "planner", *options, "--json", file)
    run = command(*asked)
    deadline = time.monotonic() + TIMEOUT_S
    while not journal.exists() or journal.read_text().count("\n") < 2:  # header and a pair
        assert run.poll() is None and time.monotonic() < deadline
    run.send_signal(signal.SIGINT)
    output, _ = run.communicate(timeout=TIMEOUT_S)
    assert run.returncode == 130, output
    assert not file.exists()
    run = command(*asked)
    output, _ = run.communicate(timeout=TIMEOUT_S)
    assert run.returncode == 0, output
    assert "are known from an interrupted run" in output and not journal.exists()
    assert (tmp_path / "planner.png").stat().st_size > 10_000

    figures = json.loads(file.read_text())
    assert set(figures["horizons"]) == {"1", "2"}
    for horizon, f in figures["horizons"].items():
        for name in ("reference", "ours"):
            row = f[name]
            assert set(row) >= {"evaluations", "wall_s", "energy_start", "energy_final"}
            assert row["energy_final"] <= row["energy_start"]
        assert f["reference"]["sequences"] == 8002  # 800 x 10, its mean, doing nothing
        assert set(f["cma"]) == {"cma 8000", "cma 500", "cma 120", CMA_AS_OURS}
        assert f["cma"]["cma 120"]["sequences"] <= 122 and f["cma"]["cma 500"]["sequences"] <= 502
        for name, row in f["cma"].items():
            assert row["energy_final"] <= row["energy_start"] and row["gradients"] == 0
            assert f"{name} " in output
        assert f["cma"][CMA_AS_OURS]["sequences"] <= round(f["ours"]["evaluations"]) + 1
        gradients = f["gradient_cost"]["against_batches"] * f["ours"]["gradients"]
        assert f["ours"]["evaluations"] >= f["ours"]["sequences"]
        assert (gradients > 0) == (horizon == "2")
        assert len(f["pairs"]) == 1
        for pair in f["pairs"]:
            assert 10.0 <= pair["start_distance_cm"] <= 25.0
            starts = {round(r["energy_start"], 4) for r in pair["runs"].values()}
            assert len(starts) == 1  # all begin at the same place
        assert set(f["time_budgets_ms"]) == {"50", "100", "200", "400"}


def record(reference_final: float, ours_final: float) -> dict:
    def run(sequences, gradients, wall_s, final):
        return {
            "sequences": sequences, "gradients": gradients, "wall_s": wall_s,
            "energy_start": 1.0, "energy_final": final, "late_ms": 3.0, "longest_call_ms": 20.0,
        }  # fmt: skip

    costs = ("like_for_like", "in_batches", "against_batches")
    return {
        "runs": {
            REFERENCE: run(8002, 0, 30.0, reference_final),
            "ours": run(100, 20, 1.5, ours_final),
        },
        "time_budgets": {f"{ms}": run(50, 0, 0.1, 0.5) for ms in (50, 100, 200, 400)},
        "gradient_cost": dict(zip(costs, (2.0, 2.5, 5.0))),
    }


def test_gradients_count_at_their_measured_cost_and_the_gap_is_a_share_of_the_drop():
    f = summary([record(0.5, 0.504), record(0.5, 0.504), record(0.5, 0.6)])
    assert f["ours"]["evaluations"] == 100 + 20 * 5.0
    assert f["ratios"]["evaluations"] == pytest.approx(40.01)
    assert f["ratios"]["wall_s"] == pytest.approx(20.0)
    assert f["ratios"]["gap"] == pytest.approx(0.008)
    assert f["ratios"]["pairs_within_gap"] == pytest.approx(2 / 3, abs=1e-3)
    assert all(f["bars_met"].values())
    assert not summary([record(0.5, 0.506)])["bars_met"]["energy"]
    late = record(0.5, 0.5)
    late["time_budgets"]["100"]["late_ms"] = 21.0  # more than the longest call
    assert not summary([late])["bars_met"]["time_budget"]


def distance_to_goal(actions: torch.Tensor) -> torch.Tensor:
    """Energies [S, H]: how far from (3, -2, 1) cm the arm has moved by then [m]."""
    return (actions[..., :3].cumsum(1) - torch.tensor([0.03, -0.02, 0.01])).norm(dim=-1)


def cma_plan(horizon: int, evaluations: int, seed: int = 0):
    planner = CMAPlanner(ActionParameters(horizon=horizon), evaluations)
    generator = torch.Generator().manual_seed(seed)
    return planner.plan(distance_to_goal, torch.zeros(7), generator=generator)


@pytest.mark.parametrize("horizon", [1, 2])
def test_cma_reaches_a_goal_in_the_box_and_spends_no_more_than_it_was_given(horizon):
    plan = cma_plan(horizon, 1000)
    assert plan.energy < 5e-4 and plan.energy_stay == pytest.approx(0.0374, abs=1e-4)
    assert plan.evaluations < 1000 and plan.ended_by == "converged"
    short = cma_plan(horizon, 24)
    assert short.evaluations == 24 and short.ended_by == "budget"
    assert plan.energy < short.energy <= short.energy_stay


def test_cma_gives_the_same_plan_for_a_seed_and_leaves_the_draws_of_others_alone():
    np.random.seed(5)
    expected = np.random.rand()
    np.random.seed(5)
    first = cma_plan(2, 100, seed=3)
    assert np.random.rand() == expected
    assert torch.equal(first.actions, cma_plan(2, 100, seed=3).actions)
    assert not torch.equal(first.actions, cma_plan(2, 100, seed=4).actions)


def test_the_reference_is_that_of_the_paper():
    assert name_of(800, 10) == REFERENCE and name_of(100, 10) == "reference 100x10"


def test_horizons_that_are_none_are_refused():
    assert _numbers("1,4,1") == [1, 4]
    for text in ("", "0", "two", "1,,2"):
        with pytest.raises(ValueError, match="--horizons"):
            _numbers(text)
