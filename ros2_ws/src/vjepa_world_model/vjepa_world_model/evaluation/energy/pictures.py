"""The pictures of `./run energy`: a landscape, and an evaluation."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import MaxNLocator, PercentFormatter

from vjepa_world_model.evaluation.energy.landscape import AXES, PLANES, Landscape, minimum
from vjepa_world_model.evaluation.energy.moments import Sequence
from vjepa_world_model.evaluation.energy.ranking import Evaluation
from vjepa_world_model.model.poses import POSITION

STYLE = {
    "font.size": 11,
    "axes.titlesize": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": "#dddddd",
    "axes.axisbelow": True,
}
TRUE, LOWEST, CURVE, OTHER = "#d62728", "#222222", "#1f5fa8", "#999999"


def draw_landscape(
    found: Landscape, sequence: Sequence, first: int, second: int, title: str, path: Path
) -> None:
    """Both frames, the energy in three planes through the true action, and along each axis."""
    offsets_cm, true_cm = 100 * found.offsets_m, 100 * found.true_action[POSITION]
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(2, 4, figsize=(16, 7.8), dpi=110, layout="constrained")
        for row, (frame, name) in enumerate(((first, "now"), (second, "goal"))):
            axes[row, 0].imshow(sequence.frames[frame])
            axes[row, 0].set_title(f"{name}: frame {frame}")
            axes[row, 0].axis("off")
        levels = np.linspace(found.planes.min(), found.planes.max(), 25)
        for number, (across, up) in enumerate(PLANES):
            panel = axes[0, number + 1]
            field = panel.contourf(offsets_cm, offsets_cm, found.planes[number], levels)
            lowest_cm = 100 * np.array(found.lowest_m(number))
            panel.scatter(*true_cm[[across, up]], marker="*", s=300, color=TRUE, edgecolor="white",
                          label="true action", zorder=3, clip_on=False)  # fmt: skip
            panel.scatter(*lowest_cm, marker="X", s=130, color="white", edgecolor="black",
                          label="lowest energy in the plane", zorder=3, clip_on=False)  # fmt: skip
            away = np.linalg.norm(lowest_cm - true_cm[[across, up]])
            panel.set_title(f"{AXES[across]} and {AXES[up]}: lowest {away:.1f} cm from true")
            panel.set_xlabel(f"d{AXES[across]} [cm]")
            panel.set_ylabel(f"d{AXES[up]} [cm]")
            panel.set_aspect("equal")
        figure.colorbar(field, ax=axes[0, 3], label="energy", format="%.3f",
                        ticks=MaxNLocator(6))  # fmt: skip
        low, high = found.lines.min(), found.lines.max()
        margin = 0.06 * max(high - low, 1e-9)
        for axis, name in enumerate(AXES):
            panel = axes[1, axis + 1]
            panel.plot(offsets_cm, found.lines[axis], color=CURVE, linewidth=2)
            lowest = 100 * minimum(found.offsets_m, found.lines[axis])
            panel.axvline(true_cm[axis], color=TRUE, linewidth=1.8, label="true action")
            panel.axvline(lowest, color=LOWEST, linestyle="--", linewidth=1.5,
                          label="lowest along the axis")  # fmt: skip
            panel.set_ylim(low - margin, high + margin)
            panel.set_title(f"along {name}: lowest {100 * found.bias_m(axis):+.1f} cm from true")
            panel.set_xlabel(f"d{name} [cm]")
            panel.grid(True)
        axes[1, 1].set_ylabel("energy")
        handles = [
            h for panel in (axes[0, 1], axes[1, 1]) for h in panel.get_legend_handles_labels()[0]
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False)
        figure.suptitle(title)
        figure.savefig(path)
        plt.close(figure)


def draw_evaluation(found: Evaluation, title: str, path: Path) -> None:
    """Ranks, energy over distance, prediction against copying, and the lowest point per axis."""
    with plt.rc_context(STYLE | {"axes.grid": True}):
        figure, axes = plt.subplots(2, 3, figsize=(14, 8.2), dpi=110, layout="constrained")
        _ranks(axes[0, 0], found)
        _excess(axes[0, 1], found)
        _prediction(axes[0, 2], found)
        for axis, panel in enumerate(axes[1]):
            _lowest(panel, found, axis)
        figure.suptitle(title)
        figure.savefig(path)
        plt.close(figure)


def _ranks(panel: plt.Axes, found: Evaluation) -> None:
    weights = np.full(len(found.better), 1.0 / len(found.better))
    panel.hist(found.better, bins=np.linspace(0, 1, 21), weights=weights, color=CURVE)
    panel.axhline(0.05, color=OTHER, linestyle="--", label="by chance")
    panel.set_title(
        f"the true action beats {found.better.mean():.0%} of {found.recipe.others} others"
    )
    panel.set_xlabel("share of the others with a higher energy")
    panel.set_ylabel("steps")
    panel.xaxis.set_major_formatter(PercentFormatter(1.0))
    panel.yaxis.set_major_formatter(PercentFormatter(1.0))
    panel.legend(frameon=False)


def _excess(panel: plt.Axes, found: Evaluation) -> None:
    edges = np.linspace(0, np.quantile(found.distances_m, 0.99), 13)
    middles, quartiles = [], []
    for low, high in zip(edges[:-1], edges[1:]):
        inside = found.excess[(found.distances_m >= low) & (found.distances_m < high)]
        if len(inside) >= 5:
            middles.append(50 * (low + high))
            quartiles.append(np.quantile(inside, (0.25, 0.5, 0.75)))
    if quartiles:
        low, middle, high = np.array(quartiles).T
        panel.fill_between(middles, low, high, color=CURVE, alpha=0.25, label="half of them")
        panel.plot(middles, middle, color=CURVE, marker="o", markersize=4, label="median")
    panel.axhline(0.0, color=OTHER, linestyle="--")
    panel.set_title("energy above that of the true action")
    panel.set_xlabel("distance of the other action to the true one [cm]")
    panel.legend(frameon=False, loc="upper left")


def _prediction(panel: plt.Axes, found: Evaluation) -> None:
    steps = np.flatnonzero(found.counts) + 1
    panel.plot(steps, found.copied[steps - 1], color=OTHER, marker="s", label="copying the frame")
    panel.plot(steps, found.predicted[steps - 1], color=CURVE, marker="o", label="prediction")
    panel.set_title("error of the features, true actions")
    panel.set_xlabel("steps ahead")
    panel.set_xticks(steps)
    panel.set_ylim(bottom=0.0)
    panel.legend(frameon=False)


def _lowest(panel: plt.Axes, found: Evaluation, axis: int) -> None:
    true_cm, lowest_cm = 100 * found.true_m[:, axis], 100 * found.lowest_m[:, axis]
    span = 100 * found.recipe.span_m
    panel.plot([-span, span], [-span, span], color=TRUE, linewidth=1.5)
    panel.scatter(true_cm, lowest_cm, s=14, color=CURVE, alpha=0.5, edgecolor="none")
    error = lowest_cm - true_cm
    panel.set_title(
        f"lowest energy, {AXES[axis]}: bias {error.mean():+.1f} cm, deviation {error.std():.1f} cm"
    )
    panel.set_xlabel(f"true d{AXES[axis]} [cm]")
    panel.set_ylabel(f"d{AXES[axis]} of lowest energy [cm]")
    panel.set_xlim(-span, span)
    panel.set_ylim(-1.05 * span, 1.05 * span)
    panel.set_aspect("equal")
