"""`./run eval` and `./run bench`: the commands. What they measure stands in their own modules."""

from __future__ import annotations

import typer

from benchmarks import (
    calibration,
    defects,
    golden,
    live,
    model_speed,
    order,
    perception,
    planner,
    planning,
    reach,
    sop,
    transport,
)

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
evaluations = typer.Typer(no_args_is_help=True, help="Measure success.")
benchmarks = typer.Typer(
    no_args_is_help=True, help="Measure time, transport, perception and decisions."
)
app.add_typer(evaluations, name="eval")
app.add_typer(benchmarks, name="bench")


@evaluations.callback()
def _evaluations() -> None:  # without it, typer would leave out the name of a single command
    pass


@benchmarks.callback()
def _benchmarks() -> None:
    pass


evaluations.command("reach")(reach.main)
benchmarks.command("transport")(transport.main)
benchmarks.command("planning")(planning.main)
benchmarks.command("order")(order.main)
benchmarks.command("defects")(defects.main)
benchmarks.command("perception")(perception.main)
benchmarks.command("calibration")(calibration.main)
benchmarks.command("model")(model_speed.main)
benchmarks.command("planner")(planner.main)
benchmarks.command("sop")(sop.main)
benchmarks.command("live")(live.main)
benchmarks.command("golden")(golden.main)

if __name__ == "__main__":
    app()
