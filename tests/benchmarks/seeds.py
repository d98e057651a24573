"""The ledger of seeds: what a seed was used for, and what a figure on it may be called."""

from __future__ import annotations

import tomllib
from pathlib import Path

LEDGER = Path(__file__).with_name("seeds.toml")
USES = ("training", "dev", "test")
UNLISTED = "unlisted"
_WORDS = {
    "training": "models were trained on this seed: no figure of it says how well unseen ones go",
    "dev": "rules were chosen on this seed: its figures flatter, they are no test",
    "test": "test seed: nothing was trained or chosen on it",
    UNLISTED: "this seed is not in tests/benchmarks/seeds.toml: nobody vouches that it is unseen",
}


def ledger() -> dict[str, dict[str, dict[int, str]]]:
    """Domain, use, seed and why; raises ValueError for a seed that stands twice in its domain."""
    found: dict[str, dict[str, dict[int, str]]] = {}
    for domain, uses in tomllib.loads(LEDGER.read_text()).items():
        if unknown := uses.keys() - set(USES):
            raise ValueError(f"{domain}: {sorted(unknown)} is no use of a seed; there are {USES}")
        known: dict[int, str] = {}
        found[domain] = {use: {} for use in USES}
        for use, entries in uses.items():
            for entry in entries:
                if unknown := entry.keys() - {"seeds", "why", "opened"}:
                    raise ValueError(f"{domain}, {use}: {sorted(unknown)} says nothing of a seed")
                for seed in (n for text in entry["seeds"] for n in _range(text)):
                    if seed in known:
                        raise ValueError(f"{domain}: {seed} stands under {known[seed]} and {use}")
                    known[seed] = use
                    found[domain][use][seed] = entry["why"]
    return found


def use_of(domain: str, *seeds: int) -> str:
    """training, dev or test; unlisted where the ledger does not know a seed.

    Of several seeds behind one figure the use that spoils it most counts.
    """
    uses = ledger()[domain]
    found = {next((use for use in USES if seed in uses[use]), UNLISTED) for seed in seeds}
    return next(use for use in ("training", "dev", UNLISTED, "test") if use in found)


def said(domain: str, *seeds: int) -> str:
    """One sentence for beside the figures: whether they are a test."""
    use = use_of(domain, *seeds)
    named = " and ".join(str(seed) for seed in sorted(set(seeds)))
    return f"seed {named}, {use}: {_WORDS[use]}"


def _range(text: str) -> range:
    low, _, high = text.partition("-")
    return range(int(low), int(high or low) + 1)
