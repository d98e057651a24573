"""`./run goal`: takes goal pictures and sends them to a planner that runs.

./run goal take FILE.png                # what the camera sees now
./run goal render FILE.png X Y Z        # what the simulated camera would see
./run goal send FILE.png [FILE.png ...] # and the arm goes there
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import rclpy
import typer
from geometry_msgs.msg import Pose
from node_kit.cells import CAMERA_TOPIC
from node_kit.images import ImageError, to_array, to_msg
from node_kit.qos import SENSOR
from PIL import Image as PILImage
from PIL import UnidentifiedImageError
from rclpy.action import ActionClient
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from rich.console import Console
from robot_cell import Camera
from sensor_msgs.msg import Image
from vjepa_interfaces.action import ReachGoals
from vjepa_interfaces.msg import PlannerStatus
from vjepa_interfaces.srv import RenderGoal

from vjepa_bringup.interrupts import held_interrupts

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
console = Console(highlight=False, soft_wrap=True)
CAMERA_FRAME = Camera(name="camera").frame  # what cell files assume, too
WAIT_S = 10.0  # for what must already run
INTERRUPTED = 130
Wait = Annotated[float, typer.Option(min=0.0, help="how long to wait for the running nodes [s]")]


class GoalError(RuntimeError):
    """Nobody answered, or the answer was no; the text says who and what to do."""


@app.command()
def take(
    file: Annotated[Path, typer.Argument(help="PNG to write")],
    wait_s: Wait = WAIT_S,
) -> None:
    """Write the picture that the camera sees now; show the arm its goal by hand first."""
    with _session() as (node, wait_for):
        seen: list[Image] = []
        node.create_subscription(Image, CAMERA_TOPIC, seen.append, SENSOR)
        wait_for(lambda: seen, wait_s, f"nothing on {CAMERA_TOPIC}: does the camera run?")
        _write(file, to_array(seen[-1], CAMERA_TOPIC))


@app.command(context_settings={"ignore_unknown_options": True})  # -0.1 is a coordinate
def render(
    file: Annotated[Path, typer.Argument(help="PNG to write")],
    x: Annotated[float, typer.Argument(help="of tool0 in base_link [m]")],
    y: Annotated[float, typer.Argument(help="[m]")],
    z: Annotated[float, typer.Argument(help="[m]")],
    closedness: Annotated[float, typer.Option(help="gripper: 0 open, 1 closed")] = 0.0,
    wait_s: Wait = WAIT_S,
) -> None:
    """Write the picture that the simulated camera would take with the arm at a place."""
    with _session() as (node, wait_for):
        client = node.create_client(RenderGoal, "render_goal")
        wait_for(client.service_is_ready, wait_s, "no service render_goal: does the sim run?")
        request = RenderGoal.Request(pose=Pose(), closedness=closedness, appearance_seed=-1)
        request.pose.position.x, request.pose.position.y, request.pose.position.z = x, y, z
        answer = client.call_async(request)
        wait_for(answer.done, wait_s, "render_goal did not answer")
        if not answer.result().success:
            raise GoalError(f"render_goal refused: {answer.result().message}")
        _write(file, to_array(answer.result().image, "the rendered goal"))


@app.command()
def send(
    files: Annotated[list[Path], typer.Argument(help="goal pictures, in order")],
    max_steps: Annotated[int, typer.Option(min=0, help="actions a goal; 0: the MPC's")] = 0,
    timeout_s: Annotated[
        float, typer.Option(min=0.0, help="for the whole sequence [s]; 0: the MPC's")
    ] = 0.0,
    frame: Annotated[str, typer.Option(help="frame that the pictures carry")] = Camera(
        name="camera"
    ).frame,
    wait_s: Wait = WAIT_S,
) -> None:
    """Send goal pictures to the action reach_goals and follow them to the end.

    Interrupting cancels the goals; the arm holds.
    """
    with _session() as (node, wait_for):
        pictures = [to_msg(_read(file), frame_id=frame) for file in files]
        goals = ReachGoals.Goal(goals=pictures, timeout_s=timeout_s)
        goals.max_steps = [max_steps] * len(pictures) if max_steps else []
        client = ActionClient(node, ReachGoals, "reach_goals")
        wait_for(client.server_is_ready, wait_s, "no action reach_goals: does the planner run?")
        accepted = client.send_goal_async(goals, lambda m: _show(m.feedback.status))
        wait_for(accepted.done, wait_s, "reach_goals did not answer")
        handle = accepted.result()
        if not handle.accepted:
            raise GoalError("reach_goals refused the goals; the log of the MPC says why")
        finished = handle.get_result_async()
        try:
            wait_for(finished.done, None, "")
        except KeyboardInterrupt:
            cancelled = handle.cancel_goal_async()
            wait_for(cancelled.done, wait_s, "reach_goals did not answer the cancel")
            raise
        result = finished.result().result
    console.print(
        f"{result.goals_reached} of {len(files)} goals reached; {result.reason}; "
        f"energy {result.energy:.3f}"
    )
    if result.outcome != PlannerStatus.REACHED:
        raise typer.Exit(1)


@contextmanager
def _session() -> Iterator[tuple[Node, Callable[..., None]]]:
    """A node, and `wait_for(condition, timeout_s, complaint)`, which spins it.

    What goes wrong meanwhile is printed and ends the command.
    """
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)  # a cancel still has to be sent
    node = rclpy.create_node("goal_pictures")
    executor = SingleThreadedExecutor()
    executor.add_node(node)

    def wait_for(condition: Callable[[], Any], timeout_s: float | None, complaint: str) -> None:
        begun_s = time.monotonic()
        while not condition():
            check_interrupt()
            if timeout_s is not None and time.monotonic() - begun_s > timeout_s:
                raise GoalError(complaint)
            executor.spin_once(timeout_sec=0.05)

    try:
        with held_interrupts() as check_interrupt:
            yield node, wait_for
    except (GoalError, ImageError) as error:
        console.print(f"[red]goal:[/red] {error}")
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        console.print("interrupted")
        raise typer.Exit(INTERRUPTED) from None
    finally:
        executor.shutdown()
        node.destroy_node()
        rclpy.try_shutdown()


def _show(status: PlannerStatus) -> None:
    console.print(
        f"goal {status.goal_index + 1} of {status.goal_count}  "
        f"action {status.step} of {status.max_steps}  {status.state_name:8}  "
        f"energy {status.energy:.3f}  {status.reason}"
    )
    sys.stdout.flush()  # a pipe would keep it until the end


def _read(file: Path) -> np.ndarray:
    """The picture, uint8 [H, W, 3] RGB."""
    try:
        with PILImage.open(file) as picture:
            return np.asarray(picture.convert("RGB"))
    except (OSError, UnidentifiedImageError) as error:
        raise GoalError(f"{file} cannot be read as a picture: {error}") from None


def _write(file: Path, picture: np.ndarray) -> None:
    if file.suffix.lower() != ".png":
        raise GoalError(f"{file}: name a .png; other formats would change the picture")
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_name(f".{file.name}.part")
    PILImage.fromarray(picture).save(unfinished, format="PNG")
    unfinished.replace(file)
    console.print(f"{picture.shape[1]}x{picture.shape[0]} px written to {file}")


if __name__ == "__main__":
    app()
