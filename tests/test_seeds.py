"""Seeds for training, for choosing and for reporting never mix."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from benchmarks import calibration, live, perception, planner, reach, sop
from benchmarks import seeds as ledger_of_seeds
from benchmarks.golden import SEED as GOLDEN
from benchmarks.seeds import UNLISTED, USES, ledger, said, use_of

ROOT = Path(__file__).resolve().parents[1]
DOMAINS = {
    "bench sop": "station",
    "bench perception": "station",
    "bench live": "station",
    "station record": "station",
    "eval reach": "reach",
    "bench calibration": "reach",
    "bench planner": "pairs",
    "collect": "episodes",
}
COMMAND = re.compile(rf"\./run ({'|'.join(DOMAINS)})\b([^`\n]*)")


def test_no_seed_has_two_uses() -> None:
    assert set(ledger()) == set(DOMAINS.values())


def test_a_seed_with_two_uses_is_refused(tmp_path: Path, monkeypatch) -> None:
    file = tmp_path / "seeds.toml"
    two = 'training = [{seeds = ["1-5"], why = "a"}]\ntest = [{seeds = ["4"], why = "b"}]\n'
    file.write_text(f"[station]\n{two}")
    monkeypatch.setattr(ledger_of_seeds, "LEDGER", file)
    with pytest.raises(ValueError, match="4 stands under training and test"):
        ledger()


def test_a_figure_is_called_test_only_on_a_test_seed() -> None:
    assert (use_of("station", 202), use_of("station", 2000)) == ("training", "dev")
    assert (use_of("station", 70001), use_of("station", 987654)) == ("test", UNLISTED)
    for seed in (202, 2000, 987654):
        assert "test seed" not in said("station", seed)
    assert "test seed" in said("station", 70001)


@pytest.mark.parametrize(
    ("module", "domain"),
    [
        (sop, "station"),
        (perception, "station"),
        (live, "station"),
        (reach, "reach"),
        (calibration, "reach"),
        (planner, "pairs"),
    ],
)
def test_the_default_seed_of_every_bench_is_listed(module, domain: str) -> None:
    default = module.main.__defaults__ or ()
    names = module.main.__code__.co_varnames[: module.main.__code__.co_argcount]
    seed = dict(zip(names[len(names) - len(default) :], default))["seed"]
    assert use_of(domain, seed) in USES


def test_the_golden_station_is_for_development() -> None:
    assert use_of("station", GOLDEN) == "dev"


@pytest.mark.parametrize("page", sorted(ROOT.glob("docs/**/*.md")) + [ROOT / "README.md"])
def test_every_seed_in_the_documents_is_listed(page: Path) -> None:
    for command, rest in COMMAND.findall(page.read_text()):
        for seed in re.findall(r"--seed (\d+)", rest):
            assert use_of(DOMAINS[command], int(seed)) in USES, f"{page}: {command} --seed {seed}"
