"""`./run demo`: launch planner and simulation, reach several goal pictures, show and film it."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Annotated, TextIO

import numpy as np
import typer
from node_kit.images import to_array
from rich.console import Console
from robot_cell import POSITION
from sensor_msgs.msg import Image
from vjepa_interfaces.msg import PlannerStatus
from vjepa_sim.core.tasks import REACH_DISTANCE, REACH_HIGH, REACH_LOW

from vjepa_bringup.demo import BEGUN_S
from vjepa_bringup.demo.recording import DemoGoal, DemoRecording, Recorder
from vjepa_bringup.demo.view import View
from vjepa_bringup.launch_file import LaunchError
from vjepa_bringup.sim_planner import PlannerError, SimPlanner

FIRST_COMMAND_S = 30.0  # a start that takes longer is worth a warning
HOLDS = 2  # so often may the arm be held for a hiccup of the machine, and the demo go on
REACHED_CM = 3.0  # a planner that stops farther from the pose has not reached it
OUTCOMES = {
    PlannerStatus.REACHED: "reached",
    PlannerStatus.STUCK: "stuck",
    PlannerStatus.TIMED_OUT: "timed_out",
    PlannerStatus.STOPPED: "stopped",
}


def main(
    goals: Annotated[int, typer.Option(min=1, help="goal pictures, one after the other")] = 4,
    seed: Annotated[int, typer.Option(min=0, help="of the scene and the goals")] = 0,
    varied: Annotated[
        bool, typer.Option("--varied", help="goal pictures taken under other light and colours")
    ] = False,
    model: Annotated[str, typer.Option(help="world model; empty: the shipped one")] = "",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda ...")] = "auto",
    composed: Annotated[
        bool, typer.Option("--composed", help="encoder and MPC in one process")
    ] = False,
    out: Annotated[Path, typer.Option(help="folder for video and pictures")] = Path("out/demo"),
) -> None:
    """A simulated arm reaches the poses in goal pictures; video and plots land in a folder."""
    console = Console()
    recording = DemoRecording(seed, varied)
    model = os.path.abspath(model) if model else ""
    out.mkdir(parents=True, exist_ok=True)
    for number in (signal.SIGTERM, signal.SIGHUP):  # as Ctrl-C: the nodes are ended, then this
        signal.signal(number, signal.default_int_handler)
    try:
        with (out / "nodes.log").open("w") as log:
            arguments = {"model": model, "device": device, "composed": composed}
            arguments |= {"seed": seed, "varied": varied}
            failure = drive(recording, goals, arguments, console, log)
        if recording.looks:
            make_pictures(recording, model, device, out, console)
        failure = failure or _shortcoming(recording)
        if (recording.first_command_s or 0.0) > FIRST_COMMAND_S:
            console.print(
                f"[yellow]the first command came after {recording.first_command_s:.0f} s; on idle "
                f"cores it takes less than {FIRST_COMMAND_S:g} s[/yellow]",
                highlight=False,
            )
        write_summary(recording, failure, time.monotonic() - BEGUN_S, out / "summary.json")
    except KeyboardInterrupt:
        console.print("interrupted; all nodes have ended")
        raise typer.Exit(130) from None
    if recording.looks:
        console.print(f"video and pictures are in {out}", highlight=False, soft_wrap=True)
    if failure:
        console.print(f"[red]demo failed:[/red] {failure}", highlight=False, soft_wrap=True)
        raise typer.Exit(1)


def drive(
    recording: DemoRecording,
    goals: int,
    arguments: dict,
    console: Console,
    log: TextIO,
) -> str:
    """Launches, reaches the goals and ends the nodes; returns why it failed, or nothing."""

    def echo(line: str) -> None:
        log.write(f"{line}\n")
        log.flush()

    try:
        with View(console, recording) as view, SimPlanner(arguments, echo) as planner:
            view.note(f"starting the nodes; what they print goes to {log.name}")
            recorder = Recorder(planner, recording, BEGUN_S)
            planner.node.create_timer(0.1, lambda: view.refresh(planner.state))
            planner.wait_until_ready()
            pictures = set_goals(planner, recording, goals)
            view.note(f"{goals} goal pictures sent to reach_goals")
            reach(planner, pictures, recording, recorder, view)
            view.note(f"{recording.outcome}: {recording.reason}; ending the nodes")
    except (PlannerError, LaunchError) as error:
        return str(error)
    if recording.outcome != "reached":
        goal = recording.goals_reached + 1
        return f"goal {goal} of {goals}: {recording.outcome.replace('_', ' ')}: {recording.reason}"
    return ""


def reach(
    planner: SimPlanner,
    pictures: list[Image],
    recording: DemoRecording,
    recorder: Recorder,
    view: View,
) -> None:
    """Reaches the goals in order. Where the planner stopped, the goals that are left are sent
    again, at most HOLDS times: it moves nothing while the cause lasts."""
    while True:
        first = recording.goals_reached

        def on_status(status: PlannerStatus, first: int = first) -> None:
            status.goal_index += first  # it counts the goals that it was sent
            view.status(status, recorder.on_status(status))

        result = planner.reach(pictures[first:], on_status=on_status)
        recording.outcome, recording.reason = OUTCOMES[result.outcome], result.reason
        recording.goals_reached = first + int(result.goals_reached)
        if result.outcome != PlannerStatus.STOPPED or len(recording.held) == HOLDS:
            return
        recording.held.append(result.reason)
        goal = recording.goals_reached + 1
        view.note(f"the arm was held: {result.reason}; going on with goal {goal}")


def set_goals(planner: SimPlanner, recording: DemoRecording, count: int) -> list[Image]:
    """Resets the scene; the goals' pictures. Each goal is 10 to 25 cm from the one before."""
    rng = np.random.default_rng((recording.seed, 2))
    scene = planner.reset_scene(recording.seed, recording.varied)
    image, state = scene.goal_image, scene.goal_state
    pictures: list[Image] = []
    while True:
        pictures.append(image)
        recording.goals.append(DemoGoal(to_array(image).copy(), state))
        if len(pictures) == count:
            return pictures
        target = state.copy()
        while (
            not REACH_DISTANCE[0] <= np.linalg.norm((target - state)[POSITION]) <= REACH_DISTANCE[1]
        ):
            target[POSITION] = rng.uniform(REACH_LOW, REACH_HIGH)
        appearance = int(rng.integers(2**31)) if recording.varied else -1
        image, state = planner.render_goal(target, appearance)


def make_pictures(
    recording: DemoRecording, model: str, device: str, out: Path, console: Console
) -> None:
    """Plots and film; says which of them is under way, and every quarter of the film."""
    # Here and not above: matplotlib and torch would delay the first command by seconds.
    from vjepa_bringup.demo import pictures, video

    begun_s = time.monotonic()
    with console.status("") as line:

        def say(text: str) -> None:
            line.update(text)
            if not console.is_terminal:
                console.print(f"{text} ({time.monotonic() - begun_s:.0f} s)", highlight=False)

        quarters = 0

        def filmed(share: float) -> None:
            nonlocal quarters
            line.update(f"3 of 4: rendering the film: {100 * share:.0f} %")
            if not console.is_terminal and int(4 * share) > quarters:
                quarters = int(4 * share)
                say(f"3 of 4: rendering the film: {25 * quarters} %")

        say("1 of 4: drawing energy and distance")
        pictures.draw_energy(recording, out / "energy.png")
        say("2 of 4: asking the model for the energies around one action")
        found = pictures.landscape(recording, model, device)
        pictures.draw_landscape(found, out / "landscape.png")
        say("3 of 4: rendering the film")
        video.write_film(recording, out / "demo.mp4", out / "demo.gif", filmed)
        say("4 of 4: comparing the film with what the camera saw")
        difference = video.camera_difference(recording)
    if difference > 1.0:
        console.print(
            f"[yellow]the video differs from the camera's pictures by {difference:.1f} of 255 grey "
            "levels: objects have moved[/yellow]",
            highlight=False,
        )


def write_summary(recording: DemoRecording, failure: str, seconds: float, path: Path) -> None:
    """The run in numbers."""
    goals = []
    for index in range(len(recording.goals)):
        looks = recording.of_goal(index)
        goals.append(
            {
                "reached": index < recording.goals_reached,
                "actions": sum(look.action is not None for look in looks),
                "distance_cm": [round(100 * recording.distance_m(look), 3) for look in looks],
                "energy": [round(look.energy, 5) for look in looks],
            }
        )
    planning_s = [look.planning_s for look in recording.looks]
    summary = {
        "ok": not failure,
        "failure": failure,
        "seed": recording.seed,
        "varied": recording.varied,
        "outcome": recording.outcome,
        "reason": recording.reason,
        "held": recording.held,
        "goals_reached": recording.goals_reached,
        "goals": goals,
        "planning_s_median": round(float(np.median(planning_s)), 4) if planning_s else None,
        "first_command_s": recording.first_command_s and round(recording.first_command_s, 2),
        "seconds": round(seconds, 1),
        "video": "rendered from the recorded joint angles, larger than the camera's picture; the "
        "motion between two looks is filled in",
    }
    path.write_text(json.dumps(summary, indent=1) + "\n")


def _shortcoming(recording: DemoRecording) -> str:
    """What is wrong with a run that the planner believes to be a success; empty if nothing is."""
    for index in range(len(recording.goals)):
        looks = recording.of_goal(index)
        distance_cm = 100 * recording.distance_m(looks[-1]) if looks else float("inf")
        if distance_cm > REACHED_CM:
            return (
                f"goal {index + 1}: the planner stopped {distance_cm:.1f} cm from the pose in the "
                f"picture, more than {REACHED_CM:g} cm"
            )
    return ""


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    app()
