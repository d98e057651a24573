"""`./run bench golden`: makes the golden folders, which `tests/test_golden_*.py` follow in seconds.

A golden folder is what the frozen encoder and perception made of inputs that no training saw, kept
small, so that a change of the code behind them is judged without filming and encoding again.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from perception_pkg.commands.perceive import MODELS
from rich.console import Console
from sop_monitor_pkg.core.normal import store as cycle_store
from sop_monitor_pkg.core.normal.learning import learn
from sop_monitor_pkg.core.procedure import file as procedure_file
from sop_monitor_pkg.core.procedure.examples import find_procedure
from sop_monitor_pkg.core.tracks.sightings import Sighting
from vjepa_world_model.weights.checkpoints import load_world_model
from vjepa_world_model.weights.stored import SHIPPED

from benchmarks.contenders import draw_pair
from benchmarks.progress import ProgressView, ending_plainly
from benchmarks.sop import film
from benchmarks.sop_reading import Models, examples, truth

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
SEED = 90210  # of the station: for development; no training saw it, no table reports it
PAIR_SEEDS = (0, 1, 2, 3, 4, 5)  # of the reach task, for development as well
DIRECTIONS = 96  # of the latents that are kept: all of them would take 30 MB
COUNTS = {"learn": 20, "clean": 12, "faulty": 12}


def main(
    out: Annotated[Path, typer.Option(help="folder of recordings")] = Path("out/bench/golden"),
    processes: Annotated[int, typer.Option("--workers", min=1, help="worker processes")] = 2,
    relearn: Annotated[
        bool, typer.Option("--relearn", help="only learn anew, from the cycles that are stored")
    ] = False,
) -> None:
    """Film, see and encode the cycles of the golden station again; the same command goes on."""
    console = Console()
    with ending_plainly(console, "bench golden"):
        if relearn:
            learn_normal(console)
            return
        pairs()
        models = Models(MODELS / "station_detector", MODELS / "station_defects", SHIPPED)
        parts = film(out, SEED, COUNTS, models, processes, console)
        procedure = procedure_file.load(find_procedure("station"))
        station = GOLDEN / "station"
        shutil.rmtree(station, ignore_errors=True)
        faults: dict[str, str] = {}
        directions = None
        for part, folder in parts.items():
            with ProgressView(console, f"encoding {part}", COUNTS[part]) as view:
                cycles = examples(folder, procedure, SHIPPED, COUNTS[part], view.advance)
            if directions is None:
                directions = main_directions([example.latents for _, example in cycles])
            for recording, example in cycles:
                name = f"{part}_{recording.video.parent.name}"
                seen = tuple(map(rounded, example.sightings))
                small = replace(example, latents=example.latents @ directions, sightings=seen)
                cycle_store.save(station / f"{name}.npz", small, SHIPPED.name)
                faults[name] = next((f["kind"] for f in truth(recording)["faults"]), "")
        about = {"seed": SEED, "encoder": SHIPPED.name, "faults": faults}
        (station / "truth.json").write_text(json.dumps(about, indent=1) + "\n")
        learn_normal(console)
        total = sum(file.stat().st_size for file in station.iterdir())
        console.print(f"{station}: {len(faults)} cycles, {total / 1e6:.1f} MB", highlight=False)


def learn_normal(console: Console) -> None:
    """Normal work as the learner finds it in the stored cycles; tests need not learn it."""
    files = sorted((GOLDEN / "station").glob("learn_*.npz"))
    procedure = procedure_file.load(find_procedure("station"))
    with console.status("learning"):
        found = learn(procedure, [cycle_store.load(file)[0] for file in files], "golden", 0)
    shutil.rmtree(GOLDEN / "normal", ignore_errors=True)
    found.save(GOLDEN / "normal")


def pairs() -> None:
    """Starts and goals of the simulated arm, encoded by the shipped model: `planner.npz`."""
    from vjepa_sim.core.environment import Environment

    model = load_world_model(None, "cpu")
    found = [draw_pair(model, Environment(), seed) for seed in PAIR_SEEDS]
    GOLDEN.mkdir(exist_ok=True)
    np.savez_compressed(
        GOLDEN / "planner.npz",
        features=np.stack([pair.features.numpy() for pair in found]).astype(np.float16),
        goals=np.stack([pair.goal.numpy() for pair in found]).astype(np.float16),
        states=np.stack([pair.state.numpy() for pair in found]),
        distances_m=np.array([pair.distance_m for pair in found]),
    )


def rounded(sighting: Sighting) -> Sighting:
    """With as many digits as matter: a box to a twentieth of a pixel, probabilities to 1/1000."""
    parts, scores = sighting.parts, sighting.scores
    if parts is not None:
        parts = tuple(
            replace(
                part,
                box=tuple(round(side, 4) for side in part.box),
                confidence=round(part.confidence, 3),
            )
            for part in parts
        )
    if scores is not None:
        scores = {region: round(score, 4) for region, score in scores.items()}
    return replace(sighting, time_s=round(sighting.time_s, 4), parts=parts, scores=scores)


def main_directions(latents: Sequence[np.ndarray]) -> np.ndarray:
    """The directions, float32 [D, DIRECTIONS], in which latents [T, D] differ most."""
    rows = np.concatenate(latents)
    _, vectors = np.linalg.eigh(np.cov(rows, rowvar=False))
    return vectors[:, ::-1][:, :DIRECTIONS].astype(np.float32)


if __name__ == "__main__":
    sys.exit(typer.run(main))
