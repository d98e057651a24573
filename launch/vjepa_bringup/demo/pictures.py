"""Plots of a run: energy and distance per action, and the energy around the true action."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import matplotlib
from robot_cell import POSITION

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.ticker import MaxNLocator
from vjepa_world_model.model.world_model import WorldModel
from vjepa_world_model.weights.checkpoints import load_world_model

from vjepa_bringup.demo.recording import DemoLook, DemoRecording

COLOURS = ("#1f77b4", "#d9660a", "#2a8f2a", "#b02a3c", "#7d53b0", "#7a4b3a")
STYLE = {
    "font.size": 11,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
SLICE_M = 0.075  # half the side of the landscape, the largest step of the planner
GRID = 25  # points along each side
_BATCH = 64


def draw_energy(recording: DemoRecording, path: Path) -> None:
    """Energy and true distance at every look, in the order of the actions."""
    with plt.rc_context(STYLE):
        figure, (top, bottom) = plt.subplots(
            2, 1, figsize=(9, 6.4), dpi=120, sharex=True, layout="constrained"
        )
        draw_curves(recording, len(recording.looks), top, bottom)
        top.set_title("Energy, which the planner sees, and the distance, which it does not", pad=30)
        top.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(recording.goals),
                   frameon=False)  # fmt: skip
        bottom.set_xlabel("actions sent since the start")
        figure.savefig(path)
        plt.close(figure)


def draw_curves(recording: DemoRecording, count: int, top: plt.Axes, bottom: plt.Axes) -> None:
    """The first `count` looks; the axes already have room for all of them."""
    distances_cm = [100 * recording.distance_m(look) for look in recording.looks]
    energies = [look.energy for look in recording.looks]
    position, first = [], 0
    for look in recording.looks:  # the last look of a goal and the first of the next share a place
        position.append(first + look.step)
        first += look.step if look.action is None else 0
    for index in range(len(recording.goals)):
        rows = [i for i, look in enumerate(recording.looks[:count]) if look.goal == index]
        x = [position[i] for i in rows]
        style = {"color": COLOURS[index % len(COLOURS)], "marker": "o", "markersize": 4.5}
        top.plot(x, [energies[i] for i in rows], label=f"goal {index + 1}", **style)
        bottom.plot(x, [distances_cm[i] for i in rows], **style)
    bottom.axhline(2.0, color="#555555", linestyle="--", linewidth=1)
    place = bottom.get_yaxis_transform()  # x in shares of the axis, y in cm
    bottom.text(0.995, 2.0, "2 cm ", transform=place, ha="right", va="bottom", color="#555555")
    top.set_ylabel("energy")
    bottom.set_ylabel("distance [cm]")
    for axes, values in ((top, energies), (bottom, distances_cm)):
        axes.set_ylim(0.0, 1.12 * max(values, default=1.0))
        axes.set_xlim(-0.3, max(1, *position) + 0.3)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))


@dataclass(frozen=True)
class DemoLandscape:
    """Energies after imagined moves around the true one, in two slices.

    Attributes:
        look: where the moves begin.
        true_m: [3], the move that leads to the goal's pose.
        offsets_m: [G], the moves along each axis.
        energies: [2, G, G]; slice 0 over (y, x) at the true z, slice 1 over (z, x) at the true y.
    """

    look: DemoLook
    true_m: np.ndarray
    offsets_m: np.ndarray
    energies: np.ndarray

    def lowest_m(self, plane: int) -> tuple[float, float]:
        """The move of lowest energy in a slice: along x, and along y or z [m]."""
        row, column = np.unravel_index(self.energies[plane].argmin(), self.energies[plane].shape)
        return float(self.offsets_m[column]), float(self.offsets_m[row])

    def error_m(self, plane: int) -> float:
        """How far that move is from the true one [m]."""
        x, other = self.lowest_m(plane)
        return float(np.hypot(x - self.true_m[0], other - self.true_m[1 + plane]))


def landscape(recording: DemoRecording, model_path: str, device: str) -> DemoLandscape:
    """Asks the world model for the energies around the true move of one look of the run."""
    look, true_m = _with_the_goal_in_reach(recording)
    model = load_world_model(model_path or None, device)
    offsets = np.linspace(-1.0, 1.0, GRID) * max(SLICE_M, 1.1 * float(np.abs(true_m).max()))
    x, other = np.meshgrid(offsets, offsets)
    energies = []
    for axis in (1, 2):
        actions = np.zeros((GRID * GRID, 1, 7), np.float32)
        actions[:, 0, :3] = true_m
        actions[:, 0, 0], actions[:, 0, axis] = x.ravel(), other.ravel()
        energies.append(_energies(model, recording, look, actions).reshape(GRID, GRID))
    return DemoLandscape(look, true_m, offsets, np.stack(energies))


def draw_landscape(found: DemoLandscape, path: Path) -> None:
    """Two slices side by side, with the true action, the lowest energy and the planner's action."""
    energies, offsets_cm = found.energies, 100 * found.offsets_m
    with plt.rc_context(STYLE | {"axes.grid": False}):
        figure, planes = plt.subplots(1, 2, figsize=(12, 5.6), dpi=120, layout="constrained")
        levels = np.linspace(energies.min(), energies.max(), 25)
        for plane, (axes, name) in enumerate(zip(planes, "yz")):
            field = axes.contourf(offsets_cm, offsets_cm, energies[plane], levels, cmap="viridis")
            axes.contour(offsets_cm, offsets_cm, energies[plane], levels[::3], colors="white",
                         linewidths=0.5, alpha=0.6)  # fmt: skip
            true_cm = 100 * found.true_m[[0, 1 + plane]]
            marks = [
                (true_cm, "*", 320, "#ff3b30", "true action, to the pose in the goal picture"),
                (100 * np.array(found.lowest_m(plane)), "X", 150, "white", "lowest energy here"),
            ]
            if found.look.action is not None:
                chosen = 100 * found.look.action[[0, 1 + plane]]
                marks.append((chosen, "o", 90, "#ffa000", "action that the planner chose"))
            for place, marker, size, colour, label in marks:
                axes.scatter(*place, marker=marker, s=size, color=colour, edgecolor="black",
                             linewidth=1.2, label=label, zorder=3, clip_on=False)  # fmt: skip
            fixed, value = ("z", found.true_m[2]) if plane == 0 else ("y", found.true_m[1])
            axes.set_title(
                f"d{fixed} = {100 * value:.1f} cm; the lowest is "
                f"{100 * found.error_m(plane):.1f} cm from the true action",
                fontsize=11,
                pad=12,
            )
            axes.set_xlabel("dx [cm]")
            axes.set_ylabel(f"d{name} [cm]")
            axes.set_aspect("equal")
        figure.colorbar(field, ax=planes, label="energy after the imagined action", shrink=0.9,
                        format="%.3f", ticks=MaxNLocator(6))  # fmt: skip
        figure.suptitle(
            f"Energy landscape around the true action (goal {found.look.goal + 1}, "
            f"action {found.look.step + 1})"
        )
        handles, labels = planes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
        figure.savefig(path)
        plt.close(figure)


def _with_the_goal_in_reach(recording: DemoRecording) -> tuple[DemoLook, np.ndarray]:
    """Of the looks from which one action leads to the goal the farthest one, and that move [3]."""
    ways = [
        (look, (recording.goals[look.goal].state - look.state)[POSITION])
        for look in recording.looks
    ]
    in_reach = [way for way in ways if np.abs(way[1]).max() <= 0.8 * SLICE_M]
    if in_reach:
        return max(in_reach, key=lambda way: np.linalg.norm(way[1]))
    return min(ways, key=lambda way: np.linalg.norm(way[1]))


def _energies(
    model: WorldModel, recording: DemoRecording, look: DemoLook, actions: np.ndarray
) -> np.ndarray:
    """Energies [S] after actions [S, 1, 7] from a look, toward its goal."""
    now, goal = (
        model.encode(image[None])[0] for image in (look.image, recording.goals[look.goal].image)
    )
    state = torch.as_tensor(look.state, dtype=torch.float32, device=model.device)
    with torch.no_grad():
        scored = [
            model.score(now, goal, state, batch.to(model.device))[:, 0].cpu()
            for batch in torch.from_numpy(actions).split(_BATCH)
        ]
    return torch.cat(scored).numpy()
