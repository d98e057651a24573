"""`./run bench golden`: makes the golden folders, which `tests/test_golden_*.py` follow in seconds.

A golden folder is what the frozen encoder and perception made of inputs that no training saw, kept
small, so that a change of the code behind them is judged without filming and encoding again.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer
from perception_pkg.commands.perceive import MODELS
from rich.console import Console
from sop_monitor_pkg.core.normal import store as cycle_store
from sop_monitor_pkg.core.procedure import file as procedure_file
from sop_monitor_pkg.core.procedure.examples import find_procedure
from vjepa_world_model.weights.stored import SHIPPED

from benchmarks.progress import ProgressView, ending_plainly
from benchmarks.sop import film
from benchmarks.sop_reading import Models, examples, truth

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
SEED = 90210  # of the station: for development; no training saw it, no table reports it
COUNTS = {"learn": 20, "clean": 12, "faulty": 12}


def main(
    out: Annotated[Path, typer.Option(help="folder of recordings")] = Path("out/bench/golden"),
    processes: Annotated[int, typer.Option("--workers", min=1, help="worker processes")] = 2,
) -> None:
    """Film, see and encode the cycles of the golden station again; the same command goes on."""
    console = Console()
    with ending_plainly(console, "bench golden"):
        models = Models(MODELS / "station_detector", MODELS / "station_defects", SHIPPED)
        parts = film(out, SEED, COUNTS, models, processes, console)
        procedure = procedure_file.load(find_procedure("station"))
        station = GOLDEN / "station"
        shutil.rmtree(station, ignore_errors=True)
        faults: dict[str, str] = {}
        for part, folder in parts.items():
            with ProgressView(console, f"encoding {part}", COUNTS[part]) as view:
                cycles = examples(folder, procedure, SHIPPED, COUNTS[part], view.advance)
            for recording, example in cycles:
                name = f"{part}_{recording.video.parent.name}"
                cycle_store.save(station / f"{name}.npz", example, SHIPPED.name)
                faults[name] = next((f["kind"] for f in truth(recording)["faults"]), "")
        about = {"seed": SEED, "encoder": SHIPPED.name, "faults": faults}
        (station / "truth.json").write_text(json.dumps(about, indent=1) + "\n")
        total = sum(file.stat().st_size for file in station.iterdir())
        console.print(f"{station}: {len(faults)} cycles, {total / 1e6:.1f} MB", highlight=False)


if __name__ == "__main__":
    sys.exit(typer.run(main))
