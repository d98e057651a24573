"""Seeds for training, for choosing and for reporting never mix."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import typer
from benchmarks import cli
from benchmarks import perception as bench_perception
from benchmarks import seeds as ledger_of_seeds
from benchmarks.golden import PAIR_SEEDS
from benchmarks.golden import SEED as GOLDEN
from benchmarks.seeds import UNLISTED, USES, ledger, said, use_of
from vjepa_bringup.commands.collect import collect
from vjepa_bringup.commands.station import app as station_app
from vjepa_bringup.demo.__main__ import main as demo

ROOT = Path(__file__).resolve().parents[1]
LEDGER = ledger()
DOMAINS = {
    "bench sop": "station",
    "bench perception": "station",
    "bench live": "station",
    "station record": "station",
    "eval reach": "reach",
    "bench calibration": "reach",
    "bench planner": "reach",
    "collect": "episodes",
    "demo": "scene",
}
# Their seeds draw no work that a model or a rule could have learned.
NO_WORK = {"bench defects": "folds of your pictures", "bench model": "actions to time"}
EXAMPLES = r"\./run ({})\b([^`\n]*)".format("|".join(DOMAINS))
FLAG = re.compile(r"--seed (\d+)")
RANGE = re.compile(r"seq (\d+) (\d+)")  # of the shell
PROSE = re.compile(r"\b(?:stations?|seeds?)(?: of seeds?)? ((?:\d+(?:, | to | and )?)+)")
ROW = re.compile(r"^\| (\d+) \|", re.M)  # of a table with a row for each seed
SKIPPED = {".venv", "build", "install", "log", "out", "node_modules"}
DOCUMENTS = [
    page
    for page in sorted({page.resolve() for page in ROOT.rglob("*.md")})
    if not SKIPPED & set(page.relative_to(ROOT).parts)
]


def test_every_domain_has_a_command() -> None:
    assert set(LEDGER) == set(DOMAINS.values())


def listed(domain: str) -> set[int]:
    return {seed for use in USES for seed in LEDGER[domain][use]}


def test_a_seed_with_two_uses_is_refused(tmp_path: Path, monkeypatch) -> None:
    file = tmp_path / "seeds.toml"
    two = 'training = [{seeds = ["1-5"], why = "a"}]\ntest = [{seeds = ["4"], why = "b"}]\n'
    file.write_text(f"[station]\n{two}")
    monkeypatch.setattr(ledger_of_seeds, "LEDGER", file)
    with pytest.raises(ValueError, match="4 stands under training and test"):
        ledger()


def test_what_says_nothing_of_a_seed_is_refused(tmp_path: Path, monkeypatch) -> None:
    file = tmp_path / "seeds.toml"
    file.write_text('[reach]\ntest = [{seeds = ["1"], why = "a", opend = "today"}]\n')
    monkeypatch.setattr(ledger_of_seeds, "LEDGER", file)
    with pytest.raises(ValueError, match="opend"):
        ledger()


def test_a_figure_is_called_test_only_on_a_test_seed() -> None:
    assert (use_of("station", 202), use_of("station", 2000)) == ("training", "dev")
    assert (use_of("station", 70001), use_of("station", 987654)) == ("test", UNLISTED)
    for seed in (202, 2000, 987654):
        assert "test seed" not in said("station", seed)
    assert "test seed" in said("station", 70001)


def test_of_several_seeds_the_use_that_spoils_a_figure_most_counts() -> None:
    assert use_of("station", 70001, 70002) == "test"
    assert use_of("station", 70001, 987654) == UNLISTED
    assert use_of("station", 70001, 987654, 2000) == "dev"
    assert use_of("station", 2000, 99, 100) == "training"
    assert "99 and 100, training" in said("station", 99, 100)


@pytest.mark.parametrize(("seed", "use"), [(99, "training"), (71000, "test"), (1000, "dev")])
def test_bench_perception_says_what_both_of_its_stations_are(
    seed, use, tmp_path, monkeypatch, capsys
) -> None:
    monkeypatch.setattr(bench_perception, "film", lambda folder, seed, cycles: [])
    file = tmp_path / "figures.json"
    bench_perception.main(seed=seed, json=file, cycles=2, recording=None, threads=1)
    assert f"seed {seed} and {seed + 1}, {use}" in capsys.readouterr().out
    assert json.loads(file.read_text())["measured"]["seed_use"] == use


def seeded() -> Iterator[tuple[str, int]]:
    """Each command that has a seed, and its default."""
    for group in ("eval", "bench"):
        app = typer.main.get_command(cli.app)
        for name, command in app.commands[group].commands.items():
            yield from _default(f"{group} {name}", command)
    yield from _default("station record", typer.main.get_command(station_app).commands["record"])
    for name, function in (("collect", collect), ("demo", demo)):
        app = typer.Typer()
        app.command()(function)
        yield from _default(name, typer.main.get_command(app))


def _default(name: str, command: click.Command) -> Iterator[tuple[str, int]]:
    for option in command.params:
        if option.name == "seed":
            yield name, option.default


def test_every_seeded_command_is_known() -> None:
    assert {name for name, _ in seeded()} == set(DOMAINS) | set(NO_WORK)


@pytest.mark.parametrize(("command", "seed"), [s for s in seeded() if s[0] not in NO_WORK])
def test_the_default_seed_of_every_command_is_listed(command: str, seed: int) -> None:
    assert use_of(DOMAINS[command], seed) in USES


@pytest.mark.parametrize(
    "command", ["bench sop", "bench perception", "eval reach", "bench calibration", "bench planner"]
)
def test_a_bench_that_reports_does_so_on_a_test_seed(command: str) -> None:
    assert use_of(DOMAINS[command], dict(seeded())[command]) == "test"


def test_golden_folders_are_for_development() -> None:
    assert use_of("station", GOLDEN) == "dev"
    assert use_of("scene", *PAIR_SEEDS) == "dev"


@pytest.mark.parametrize("page", DOCUMENTS, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_seed_in_the_documents_is_listed(page: Path) -> None:
    text = page.read_text()
    for command, rest in re.findall(EXAMPLES, text):
        for seed in FLAG.findall(rest):
            assert use_of(DOMAINS[command], int(seed)) in USES, f"./run {command} --seed {seed}"
    domain = next((d for d, words in PAGES_OF.items() if any(w in str(page) for w in words)), None)
    if domain is not None:
        found = in_prose(text) | {int(seed) for seed in ROW.findall(text)}
        assert found <= listed(domain), sorted(found - listed(domain))


PAGES_OF = {
    "station": ("station_", "results/monitor", "results/perception", "sop_monitor", "perception_"),
    "reach": ("results/reach", "results/planner"),
}


def in_prose(text: str) -> set[int]:
    """Seeds that sentences name: "seeds 5 and 11", "stations of seeds 100 to 149"."""
    found: set[int] = set()
    for numbers in PROSE.findall(text):
        for low, high in re.findall(r"(\d+)(?: to (\d+))?", numbers):
            found |= set(range(int(low), int(high or low) + 1))
    return found


def test_seeds_in_sentences_are_found() -> None:
    assert in_prose("stations of seeds 3 to 5 and 9; seed 11, station 12") == {3, 4, 5, 9, 11, 12}


def test_what_the_station_models_learned_from_is_what_the_recipe_records() -> None:
    recipe = (ROOT / "perception_pkg" / "README.md").read_text()
    recorded = {s for a, b in RANGE.findall(recipe) for s in range(int(a), int(b) + 1)}
    assert recorded == set(LEDGER["station"]["training"])
