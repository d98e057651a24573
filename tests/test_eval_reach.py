"""`./run eval reach`, with a world model of random weights: it measures, whatever it measures."""

from __future__ import annotations

import json
import re
import signal
import time
from pathlib import Path

import pytest
from benchmarks.journal import EpisodeLog
from benchmarks.reach import choose_methods, summary
from benchmarks.recipe import METHODS, ReachRecipe

TIMEOUT_S = 240.0  # generous, for machines under load
FIGURES = {"success_2cm", "success_3cm", "median_error_cm", "planning_s_median"}


# Nothing in these tests may depend on how fast the machine is.
PATIENT = """
mpc:
  ros__parameters:
    time_budget_ms: 0.0
    latent_max_age_s: 20.0
    state_max_age_s: 20.0
    guard_max_age_s: 20.0
    stamp_max_age_s: 20.0
    plan_timeout_s: 60.0
"""


def evaluate(command, model: str, file: Path, *options: object):
    """Starts an evaluation of two episodes."""
    parameters = file.with_suffix(".yaml")
    parameters.write_text(PATIENT)
    models = ("--model", model, "--untrained", model, "--mpc-params", parameters)
    common = ("--episodes", 2, "--seed", 5, "--json", file)
    return command("benchmarks.cli", "eval", "reach", *common, *models, *options)


def finish(run) -> str:
    """Waits for a command that must succeed; returns its output."""
    output, _ = run.communicate(timeout=TIMEOUT_S)
    assert run.returncode == 0, output
    return output


def errors(file: Path, method: str) -> list[float]:
    return [episode["error_cm"] for episode in json.loads(file.read_text())[method]["episodes"]]


@pytest.fixture(scope="module")
def evaluated(command, small_model, tmp_path_factory) -> Path:
    """The file of an evaluation that nobody disturbed."""
    file = tmp_path_factory.mktemp("eval") / "reach.json"
    output = finish(evaluate(command, small_model, file))
    assert "within 2 cm" in output
    return file


def test_every_method_has_its_figures(evaluated):
    figures = json.loads(evaluated.read_text())
    assert set(figures) == {"evaluation", *METHODS}
    for method in METHODS:
        assert set(figures[method]) >= FIGURES
        assert len(figures[method]["episodes"]) == 2
        for episode in figures[method]["episodes"]:
            assert 10.0 <= episode["start_distance_cm"] <= 25.0
            assert episode["steps"] <= 12
    assert figures["planner"]["planning_s_median"] > 0.0
    assert "workers" in figures["evaluation"]["planning_s"]


def test_the_oracle_arrives_and_who_stays_put_does_not(evaluated):
    figures = json.loads(evaluated.read_text())
    assert figures["oracle"]["success_2cm"] == 1.0
    assert max(errors(evaluated, "oracle")) < 0.1
    starts = [episode["start_distance_cm"] for episode in figures["stay_put"]["episodes"]]
    assert errors(evaluated, "stay_put") == starts


def test_an_interrupted_evaluation_goes_on_and_a_seed_repeats_itself(
    evaluated, command, small_model, tmp_path
):
    file, journal = tmp_path / "reach.json", tmp_path / "reach.episodes.jsonl"
    run = evaluate(command, small_model, file, "--episodes", 60)  # not done before the signal
    deadline = time.monotonic() + TIMEOUT_S
    while not journal.exists() or journal.read_text().count("\n") < 3:  # header and two episodes
        assert run.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    run.send_signal(signal.SIGINT)
    output, _ = run.communicate(timeout=TIMEOUT_S)
    assert run.returncode == 130, output
    assert not file.exists()
    output = finish(evaluate(command, small_model, file))  # two episodes of the same recipe
    assert int(re.search(r"(\d+) episodes are known", output)[1]) >= 2
    assert not journal.exists()
    for method in METHODS:
        assert errors(file, method) == errors(evaluated, method)


@pytest.mark.alone  # a node that gets no core for a quarter of a second counts as dead
def test_the_nodes_do_what_the_planner_does_in_process(evaluated, command, small_model, tmp_path):
    file = tmp_path / "reach.json"
    finish(evaluate(command, small_model, file, "--ros"))
    figures = json.loads(file.read_text())
    assert set(figures) == {"evaluation", "planner"}
    assert set(figures["planner"]) >= FIGURES
    assert "stopped" not in figures["planner"]["outcomes"], figures["planner"]["episodes"]
    assert errors(file, "planner") == pytest.approx(errors(evaluated, "planner"), abs=0.05)


def test_a_model_that_is_not_there_is_named_with_the_remedy(command, tmp_path):
    missing = tmp_path / "nothing"
    run = evaluate(command, str(missing), tmp_path / "reach.json")
    output, _ = run.communicate(timeout=TIMEOUT_S)
    assert run.returncode == 1
    assert str(missing) in output and "--model" in output and "Traceback" not in output


def test_seeds_of_episodes_differ_between_and_within_evaluations():
    seeds = [ReachRecipe(seed, False, {}).episode_seed(i) for seed in range(20) for i in range(100)]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds)  # as reset_scene takes them


def test_a_parameter_file_of_the_mpc_node_sets_planner_and_mpc(tmp_path):
    file = tmp_path / "mpc.yaml"
    file.write_text("mpc:\n  ros__parameters:\n    horizon: 2\n    max_steps: 3\n")
    planner, mpc = ReachRecipe(0, False, {}, str(file)).settings()
    assert (planner.horizon, mpc.max_steps) == (2, 3)
    file.write_text("encoder:\n  ros__parameters:\n    horizon: 2\n")
    with pytest.raises(ValueError, match="no section mpc"):
        ReachRecipe(0, False, {}, str(file)).settings()


def test_only_the_planner_goes_through_the_nodes():
    assert choose_methods("", ros=True) == ("planner",)
    assert choose_methods("oracle,planner", ros=False) == ("oracle", "planner")
    with pytest.raises(ValueError, match="oracle"):
        choose_methods("oracle", ros=True)
    with pytest.raises(ValueError, match="telepathy"):
        choose_methods("telepathy", ros=False)


def test_success_is_the_share_of_episodes_within_a_distance():
    records = [
        {"error_cm": error, "planning_s": [0.1], "outcome": "reached", "cut": 0, "steps": 1}
        for error in (0.5, 1.9, 2.9, 9.0)
    ]
    figures = summary(records)
    assert (figures["success_2cm"], figures["success_3cm"]) == (0.5, 0.75)
    assert figures["median_error_cm"] == pytest.approx(2.4)
    assert figures["planning_s_median"] == 0.1


def test_a_journal_keeps_whole_lines_of_the_same_recipe_only(tmp_path):
    path = tmp_path / "journal.jsonl"
    journal = EpisodeLog(path, {"seed": 1})
    journal.add("planner 0", {"error_cm": 1.0})
    journal.close()
    with path.open("a") as file:
        file.write('{"key": "planner 1", "rec')  # killed while writing
    assert EpisodeLog(path, {"seed": 1}).records == {"planner 0": {"error_cm": 1.0}}
    assert EpisodeLog(path, {"seed": 2}).records == {}
