"""`./run calibrate`: finds out how the camera stands to the arm's axes, on the running nodes.

The arm makes eight moves of a few centimetres, out and back, all through the command guard. With
`--sim` the simulated planner is started for it, its camera turned as one likes.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import rclpy
import typer
from rclpy.action import ActionClient
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rich.console import Console
from vjepa_interfaces.action import Calibrate

from vjepa_bringup.interrupts import held_interrupts
from vjepa_bringup.sim_planner import PlannerError, SimPlanner

SERVER_S = 5.0  # until the MPC must be there
ANSWER_S = 10.0
Spin = Callable[[Callable[[], object], str, float | None], None]


def calibrate(
    move_m: float = typer.Option(0.0, min=0.0, help="length of the moves; 0: the MPC's parameter"),
    namespace: str = typer.Option("", help="of the planner's nodes"),
    sim: bool = typer.Option(False, "--sim", help="start the simulated planner for it"),
    camera_turn_deg: float = typer.Option(0.0, help="with --sim: its camera is turned by this"),
    out: Path = typer.Option(
        Path("out/calibration.json"), help="with --sim: where the calibration goes"
    ),
    model: str = typer.Option("", help="with --sim: world model; empty: the shipped one"),
    mpc_params: str = typer.Option("", help="with --sim: parameter file of the MPC node"),
) -> None:
    """Calibrate the camera; the planner uses the result at once."""
    console = Console()
    try:
        with contextlib.ExitStack() as stack:
            if sim:
                node, spin = _simulated(stack, camera_turn_deg, out, model, mpc_params)
            else:
                node, spin = stack.enter_context(_client(namespace))
            check_interrupt = stack.enter_context(held_interrupts())
            result = ask(
                node,
                lambda done, *rest: spin(lambda: check_interrupt() or done(), *rest),
                move_m,
                console,
            )
    except KeyboardInterrupt:
        console.print("interrupted: the arm holds")
        raise typer.Exit(130) from None
    except PlannerError as error:
        console.print(f"[red]calibrate:[/red] {error}", highlight=False, soft_wrap=True)
        raise typer.Exit(1) from None
    if not result.success:
        console.print(f"[red]calibrate:[/red] {result.reason}", highlight=False, soft_wrap=True)
        raise typer.Exit(1)
    where = f"stored in {result.file}" if result.file else "kept until the MPC ends"
    console.print(f"{result.reason}; {where}", highlight=False, soft_wrap=True)
    if sim:
        console.print(
            f"the camera was turned by {camera_turn_deg:.1f} degrees, found "
            f"{-np.rad2deg(result.yaw):.1f}",
            highlight=False,
        )


def ask(node: Node, spin: Spin, move_m: float, console: Console) -> Calibrate.Result:
    """Sends the action and shows how it goes; an interrupt cancels it.

    Raises:
        PlannerError: nobody answers, or the request was refused.
    """
    client = ActionClient(node, Calibrate, "calibrate")
    wanted = "an MPC; start it with ./run up planner.launch.xml, see docs/how-to/camera.md"
    spin(client.server_is_ready, wanted, SERVER_S)
    told: list[str] = []

    def show(message: Calibrate.Impl.FeedbackMessage) -> None:
        if message.feedback.doing not in told[-1:]:
            told.append(message.feedback.doing)
            console.print(message.feedback.doing, highlight=False)

    sent = client.send_goal_async(Calibrate.Goal(move_m=move_m), feedback_callback=show)
    spin(sent.done, "an answer of the MPC", ANSWER_S)
    handle = sent.result()
    if not handle.accepted:
        raise PlannerError("the MPC refused to calibrate; its log says why")
    finished = handle.get_result_async()
    try:
        spin(finished.done, "the end of the calibration", None)
    except KeyboardInterrupt:
        cancelled = handle.cancel_goal_async()
        spin(cancelled.done, "an answer of the MPC", ANSWER_S)
        raise
    return finished.result().result


def _simulated(
    stack: contextlib.ExitStack, camera_turn_deg: float, out: Path, model: str, mpc_params: str
) -> tuple[Node, Spin]:
    out.unlink(missing_ok=True)
    arguments = {
        "camera_turn": float(np.deg2rad(camera_turn_deg)),
        "calibration": str(out.resolve()),
        "model": model,
        **({"mpc_params": mpc_params} if mpc_params else {}),
    }
    planner = stack.enter_context(SimPlanner(arguments))
    planner.wait_until_ready()
    return planner.node, planner.wait_for


@contextlib.contextmanager
def _client(namespace: str) -> Iterator[tuple[Node, Spin]]:
    """A node that hears the running planner."""
    context = rclpy.Context()
    rclpy.init(context=context)
    node = rclpy.create_node(f"calibrate_{os.getpid()}", context=context, namespace=namespace)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)

    def spin(condition: Callable[[], object], what: str, timeout_s: float | None) -> None:
        begun_s = time.monotonic()
        while not condition():
            if timeout_s is not None and time.monotonic() - begun_s > timeout_s:
                raise PlannerError(f"{timeout_s:g} s without {what}")
            executor.spin_once(timeout_sec=0.05)

    try:
        yield node, spin
    finally:
        executor.shutdown()
        node.destroy_node()
        rclpy.shutdown(context=context)


def main() -> None:
    typer.run(calibrate)


if __name__ == "__main__":
    main()
