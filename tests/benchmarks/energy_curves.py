"""Energy reached against evaluations and against time: the picture of `./run bench planner`.

Energies are drawn as the share that is left of the drop from start to the lowest energy that any
of the planners reached on a pair, so that pairs compare and a logarithmic axis shows the end.
Less than 0.1 % is drawn as 0.1 %.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import FuncFormatter
from vjepa_bringup.demo.pictures import STYLE

from benchmarks.contenders import CMA_AS_OURS, OURS, REFERENCE

_REFERENCE, _CMA, _OURS = "#b02a3c", "#7a7a7a", "#1f77b4"
_COSTS = {"evaluations": "model evaluations", "wall_s": "time for a plan [s]"}
_POINTS = 200  # of a curve
_FLOOR = 1e-3  # of the drop: less is drawn here


def draw(figures: dict, path: Path) -> None:
    """One column per horizon; above the evaluations, below the time, medians over the pairs."""
    horizons = figures["horizons"]
    path.parent.mkdir(parents=True, exist_ok=True)
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(
            2, len(horizons), figsize=(1.0 + 4.2 * len(horizons), 7.6), dpi=110, squeeze=False,
            sharey=True, layout="constrained",
        )  # fmt: skip
        for column, (horizon, f) in zip(axes.T, horizons.items()):
            for panel, cost in zip(column, _COSTS):
                _draw_panel(panel, f, cost)
            column[0].set_title(f"horizon {horizon}")
        axes[0, 0].set_ylim(_FLOOR / 1.5, 1.5)
        axes[0, 0].yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g} %"))
        figure.supylabel("drop in energy that is left, to the lowest of all planners")
        handles, labels = axes[0, 0].get_legend_handles_labels()
        figure.legend(
            handles, labels, loc="outside upper center", ncols=len(horizons), frameon=False
        )
        part = path.with_name(f"{path.stem}.part{path.suffix}")
        figure.savefig(part)
        part.replace(path)
        plt.close(figure)


def _draw_panel(axes: plt.Axes, f: dict, cost: str) -> None:
    budgets = {REFERENCE: f["reference"], **f["reference_at_smaller_budgets"]}
    points = sorted((row[cost], _left(f, name)) for name, row in budgets.items())
    reference = _left(f, REFERENCE)
    axes.axhspan(_FLOOR / 2, reference + 0.01, color="#2a8f2a", alpha=0.15, lw=0,
                 label="within 1 % of the drop of the reference")  # fmt: skip
    axes.plot(*zip(*points), color=_REFERENCE, marker="o", label=_name_of_reference(budgets))
    # Their numbers of evaluations are fixed; that of the one as ours differs from pair to pair.
    fixed = {name: row for name, row in f["cma"].items() if name != CMA_AS_OURS}
    searches = sorted((row[cost], _left(f, name)) for name, row in fixed.items())
    axes.plot(*zip(*searches), color=_CMA, marker="s", label="CMA-ES, the same evaluations")
    axes.plot(*_course(f, cost), color=_OURS, label="ours, best so far")
    axes.plot(f["ours"][cost], _left(f, OURS), color=_OURS, marker="D", ms=8, ls="",
              label="ours, at its end")  # fmt: skip
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axes.set_xlabel(_COSTS[cost])


def _name_of_reference(budgets: dict) -> str:
    sizes = [name.removeprefix(REFERENCE).strip() or "800x10" for name in budgets]
    return f"reference CEM, {', '.join(reversed(sizes))}"


def _left(f: dict, name: str) -> float:
    """Of the drop, after the plan of `name`: median over the pairs."""
    return float(np.median([_share(p, p["runs"][name]["energy_final"]) for p in f["pairs"]]))


def _share(pair: dict, energy: np.ndarray | float) -> np.ndarray:
    """Of the drop on this pair that is left at `energy`, not below _FLOOR."""
    runs = pair["runs"].values()
    lowest = min(run["energy_final"] for run in runs)
    start = pair["runs"][OURS]["energy_start"]
    return np.maximum((energy - lowest) / max(start - lowest, 1e-9), _FLOOR)


def _course(f: dict, cost: str) -> tuple[np.ndarray, np.ndarray]:
    """What is left of the drop, median over the pairs, against what ours had cost by then."""
    curves = []
    for pair in f["pairs"]:
        sequences, gradients, seconds, energy = np.array(pair["runs"][OURS]["curve"]).T
        evaluations = sequences + f["counted_gradient_cost"] * gradients
        curves.append((evaluations if cost == "evaluations" else seconds, _share(pair, energy)))
    # From where half of the plans have their first energies.
    low = float(np.median([x[0] for x, _ in curves]))
    grid = np.geomspace(low, max(x[-1] for x, _ in curves), _POINTS)
    left = [np.append(1.0, y)[np.searchsorted(x, grid, side="right")] for x, y in curves]
    return grid, np.median(left, axis=0)
