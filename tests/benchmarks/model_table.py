"""What `./run bench model` prints."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from vjepa_world_model.runtime.memory import in_words

from benchmarks.model_figures import Figures

CPU_RATIO = 2.0  # ours to the plain one at horizon 2
# On an H100, with ViT-g sizes [s].
REFERENCE_PLAN_S, OUR_PLAN_S, ENCODE_S = 3.0, 0.35, 0.015


def targets(figures: Figures) -> list[dict]:
    """Each with its limit and what was measured; None: not measured, for it needs another machine.

    A ratio is to be at least its limit, a time [s] at most.
    """
    on_cpu = figures.device == "cpu"
    ratio = min((r.ratio for r in figures.rollouts if r.horizon == 2), default=None)
    large = figures.device.startswith("cuda") and figures.size == "vitg"
    times = {plan.planner: plan.seconds for plan in figures.plans if not plan.cut}
    return [
        {
            "what": "evaluations per second at horizon 2, ours to the plain one, on a CPU",
            "at_least": CPU_RATIO,
            "measured": ratio if on_cpu else None,
        },
        {
            "what": "800 x 10 at horizon 1, ViT-g on an H100 [s]",
            "at_most": REFERENCE_PLAN_S,
            "measured": times.get("cem") if large else None,
        },
        {
            "what": "one action of our planner, ViT-g on an H100 [s]",
            "at_most": OUR_PLAN_S,
            "measured": times.get("fast") if large else None,
        },
        {
            "what": "encoding one picture, ViT-g on an H100 [s]",
            "at_most": ENCODE_S,
            "measured": figures.encode_s if large else None,
        },
    ]


def show(figures: Figures, console: Console) -> None:
    """Prints all tables."""
    f = figures
    console.print(
        f"{f.model}, {f.dtype}, on {f.device} ({f.device_name}), threads {f.threads}; matrix "
        f"products reach {f.peak_flops / 1e12:.3g} TFLOP/s; needs {in_words(f.needed_bytes)}",
        highlight=False, soft_wrap=True,
    )  # fmt: skip
    how = f" ({f.not_compiled})" if f.not_compiled else ""
    console.print(
        f"compiled: {'yes' if f.compiled else 'no'}{how}", highlight=False, soft_wrap=True
    )
    verdict = "equal" if f.difference <= f.tolerance else "[red]NOT equal[/red]"
    console.print(
        f"ours and the plain predictor: {verdict}, largest difference {f.difference:.2g} "
        f"(allowed {f.tolerance:g})",
        highlight=False, soft_wrap=True,
    )  # fmt: skip
    console.print(
        f"encoding one picture: {_time(f.encode_s)}, {f.encode_peak_share:.0%} of the peak",
        highlight=False,
    )
    console.print(_rollouts(f))
    for plan in f.plans:
        name = "our planner" if plan.planner == "fast" else "the published planner, 800 x 10"
        cut = ", cut by --seconds" if plan.cut else ""
        console.print(
            f"one action, horizon 1, {name}: {_time(plan.seconds)}, {plan.evaluations:.0f} "
            f"evaluations, {plan.plans} plans{cut}",
            highlight=False, soft_wrap=True,
        )  # fmt: skip
    console.print(_targets(f))


def _rollouts(figures: Figures) -> Table:
    table = Table(
        title="scoring a batch of the planner", caption="per s: evaluations; plain: the comparison"
    )
    for name in ("horizon", "batch", "timed", "latency", "per s", "peak", "plain per s", "ratio"):
        table.add_column(name, justify="right")
    for r in figures.rollouts:
        table.add_row(
            str(r.horizon), str(r.batch), str(r.sequences), _time(r.latency_s), f"{r.per_s:.3g}",
            f"{r.peak_share:.0%}", f"{r.plain_per_s:.3g}", f"{r.ratio:.2f}",
        )  # fmt: skip
    return table


def _targets(figures: Figures) -> Table:
    table = Table(title="targets")
    for name in ("what", "target", "measured"):
        table.add_column(name)
    for target in targets(figures):
        limit = target.get("at_most", target.get("at_least"))
        sign = "at most" if "at_most" in target else "at least"
        measured = target["measured"]
        shown = "not measured" if measured is None else f"{measured:.3g}"
        table.add_row(target["what"], f"{sign} {limit:g}", shown)
    return table


def _time(seconds: float) -> str:
    return f"{1e3 * seconds:.3g} ms" if seconds < 1.0 else f"{seconds:.3g} s"
