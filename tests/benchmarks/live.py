"""`./run bench live`: station, eyes and monitor together, for as long as a shift if need be.

Does what the nodes say keep up with the camera, does its delay grow, does memory? And is it right?
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import psutil
import rclpy
import typer
import yaml
from ament_index_python import get_package_share_path
from node_kit.qos import RELIABLE, SENSOR
from node_kit.stamps import stamp_ns
from node_kit.testing import free_port, isolated_domain
from perception_pkg.commands.perceive import MODELS
from perception_pkg.core.model_folder import write_json
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from sensor_msgs.msg import Image
from std_msgs.msg import String
from vjepa_bringup.xml_launcher import Launch
from vjepa_interfaces.msg import Alerts, Defects, Detections, StepForecast, Texts
from vjepa_world_model.weights.stored import SHIPPED

from benchmarks import seeds
from benchmarks.filming import record
from benchmarks.live_cycles import CycleEar
from benchmarks.progress import ProgressView, ending_plainly
from benchmarks.sop import LEARN, WORK
from benchmarks.sop_reading import Models, perceive, unseen

LAUNCH = Path(__file__).resolve().parents[2] / "launch"
TOPICS = {
    "camera/image_raw": (Image, SENSOR),
    "detections": (Detections, RELIABLE),
    "defects": (Defects, RELIABLE),
    "texts": (Texts, RELIABLE),
    "sop/step_forecast": (StepForecast, SENSOR),
}
OF_MONITOR = ("sop/step_forecast",)
FIRST_CYCLE = 30_000  # none that was learned from
START_S = 120.0
WINDOWS = 6  # of the run, to compare its beginning with its end
# What is asked for. Camera, detector and defect node are set to 10 Hz.
RATE_HZ = {"camera/image_raw": 9.5, "detections": 9.5, "defects": 9.5}
RATE_SHARE = 0.95  # of another rate that was asked for
DELAY_GROWTH, DELAY_MORE_S = 1.5, 0.02  # p95 of the last window: so many times the first, plus this
MEMORY_GROWTH_MIB = 64.0  # of all nodes together, after the first third of the run


@dataclass
class Window:
    """A part of the run: messages a second and delay behind the picture's stamp [s], by topic, and
    resident memory [MiB], by node, as it was at the end."""

    minutes: float
    rate_hz: dict[str, float] = field(default_factory=dict)
    delay_median_s: dict[str, float] = field(default_factory=dict)
    delay_p95_s: dict[str, float] = field(default_factory=dict)
    memory_mib: dict[str, float] = field(default_factory=dict)


def main(
    minutes: Annotated[float, typer.Option(min=0.2)] = 30.0,
    seed: Annotated[int, typer.Option(min=0, help="of the station")] = 7,
    faulty_share: Annotated[float, typer.Option(min=0.0, max=1.0)] = 0.2,
    json: Annotated[Path, typer.Option(help="file for the figures")] = Path("out/bench/live.json"),
    workers: Annotated[int, typer.Option(min=1, help="to film and look at first")] = 2,
    only_eyes: Annotated[
        bool, typer.Option("--only-eyes", help="station and perception without the monitor")
    ] = False,
    text_rate: Annotated[
        float, typer.Option(min=0.0, help="pictures of the text node [Hz]; 0: as it is shipped")
    ] = 0.0,
) -> None:
    """Learn normal work if that has not been done, launch everything, and watch it run.

    The exit code is 1 where a target is missed.
    """
    console = Console()
    with ending_plainly(console, "bench live"):
        recording, normal = learned(seed, workers, console, monitor=not only_eyes)
        plan = launched(recording, None if only_eyes else normal, seed, faulty_share, text_rate)
        windows, heard = watch(plan, minutes, console)
    asked = targets(windows, text_rate)
    show(console, windows)
    show_targets(console, asked)
    first, last = windows[0], windows[-1]
    growth = {name: last.memory_mib[name] - first.memory_mib[name] for name in last.memory_mib}
    verdict = heard.verdict()
    if not only_eyes:
        console.print(f"alarms raised: {heard.raised}. {verdict}", highlight=False)
        for line in verdict.wrong:
            console.print(f"  {line}", highlight=False)
    write_json(
        json,
        {
            "minutes": minutes,
            "seed": seed,
            "seed_use": seeds.use_of("station", seed),
            "faulty_share": faulty_share,
            "only_eyes": only_eyes,
            "text_rate_hz": text_rate,
            "cores": os.cpu_count(),
            "targets": asked,
            "windows": [asdict(window) for window in windows],
            "memory_growth_mib": growth,
            "alarms": None if only_eyes else heard.raised,
            "cycles": None if only_eyes else asdict(verdict),
        },
    )
    console.print(seeds.said("station", seed), highlight=False)
    console.print(f"written to {json}", highlight=False, soft_wrap=True)
    if not all(target["met"] for target in asked):
        raise typer.Exit(1)


def learned(seed: int, workers: int, console: Console, monitor: bool = True) -> tuple[Path, Path]:
    """A recording of this station, and normal work learned from it, as `./run bench sop` has it.

    Without a `monitor` one filmed cycle is enough: it says where the regions are.
    """
    folder = WORK / f"seed_{seed}"
    recording, normal = folder / "learn", folder / "normal"
    if not monitor:
        if not (recording / "station.json").is_file():
            recording = folder / "regions"
            record(recording, seed, 1, "--clean")
    elif not (normal / "normal.json").is_file():
        record(recording, seed, LEARN, "--clean")
        models = Models(MODELS / "station_detector", MODELS / "station_defects", SHIPPED)
        with ProgressView(console, "cycles seen by the eyes", len(unseen(recording, None))) as view:
            perceive(recording, models, None, workers, view.advance)
        command = [sys.executable, "-m", "sop_monitor_pkg.commands.sop", "learn", recording]
        subprocess.run([*map(str, command), "--out", str(normal)], check=True)
    return recording, normal


def launched(
    recording: Path, normal: Path | None, seed: int, faulty_share: float, text_rate: float
) -> dict[str, dict[str, Any]]:
    """Launch files and their arguments; without `normal` there is no monitor."""
    plan: dict[str, dict[str, Any]] = {}
    if normal is not None:
        journal = normal.parent / "live_journal.db"
        for old in journal.parent.glob(f"{journal.name}*"):
            if old.is_file():
                old.unlink()
        plan["sop"] = {
            "procedure": "station",
            "normal": normal,
            "journal": journal,
            "web_port": free_port(),
        }
    plan["perception"] = {"regions": recording / "station.json"}
    if text_rate:
        plan["perception"]["text_params"] = faster_text(recording.parent, text_rate)
    plan["station"] = {"seed": seed, "faulty_share": faulty_share, "first_cycle": FIRST_CYCLE}
    return plan


def faster_text(folder: Path, rate_hz: float) -> Path:
    """A parameter file of the text node as it is shipped, but for its rate."""
    shipped = get_package_share_path("perception_pkg") / "config" / "text.yaml"
    parameters = yaml.safe_load(shipped.read_text())
    for node in parameters.values():
        node["ros__parameters"]["max_rate_hz"] = rate_hz
    path = folder / "live_text.yaml"
    path.write_text(yaml.safe_dump(parameters))
    return path


def watch(
    plan: dict[str, dict[str, Any]], minutes: float, console: Console
) -> tuple[list[Window], CycleEar]:
    """What was seen in each window, and what was said of the cycles.

    Raises:
        RuntimeError: a node ended, or they did not start.
    """
    isolated_domain()
    os.environ.setdefault("FASTDDS_DEFAULT_PROFILES_FILE", str(LAUNCH / "config" / "fastdds.xml"))
    launches = [Launch(LAUNCH / f"{n}.launch.xml", given, echo=None) for n, given in plan.items()]
    context = rclpy.Context()
    rclpy.init(context=context)
    topics = [topic for topic in TOPICS if "sop" in plan or topic not in OF_MONITOR]
    ear = Ear(rclpy.create_node("live_ear", context=context), topics)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(ear.node)
    try:
        for launch in launches:
            launch.start()
        return _windows(launches, ear, executor, minutes, console), ear.cycles
    finally:
        for launch in launches:
            launch.stop()
        executor.shutdown()
        ear.node.destroy_node()
        rclpy.shutdown(context=context)


class Ear:
    """Hears what the nodes say, and how long after the picture."""

    def __init__(self, node: Node, topics: Sequence[str]):
        self.node, self.topics = node, topics
        self.delays_s: dict[str, list[float]] = defaultdict(list)
        self.cycles = CycleEar()
        for topic in topics:
            kind, qos = TOPICS[topic]
            node.create_subscription(kind, topic, lambda m, t=topic: self._hear(t, m), qos)
        node.create_subscription(Alerts, "sop/alerts", self._hear_alarms, RELIABLE)
        node.create_subscription(
            String, "station/truth", lambda m: self.cycles.truth(m.data), RELIABLE
        )

    def _hear(self, topic: str, message: Any) -> None:
        stamp = message.header.stamp
        now_s = 1e-9 * self.node.get_clock().now().nanoseconds
        self.delays_s[topic].append(now_s - stamp.sec - 1e-9 * stamp.nanosec)

    def _hear_alarms(self, message: Alerts) -> None:
        for alert in (*message.alerts, *message.changed):
            self.cycles.alarm(alert.number, stamp_ns(alert.header.stamp), alert.kind)


def _windows(
    launches: list[Launch],
    ear: Ear,
    executor: SingleThreadedExecutor,
    minutes: float,
    console: Console,
) -> list[Window]:
    def spin(until_s: float) -> None:
        while time.monotonic() < until_s:
            executor.spin_once(timeout_sec=0.05)
            for launch in launches:
                if launch.poll() is not None:
                    raise RuntimeError(f"the nodes ended: {launch.reason}")

    begun_s = time.monotonic()
    with console.status("starting"):
        while set(ear.delays_s) != set(ear.topics):
            spin(time.monotonic() + 0.2)
            if time.monotonic() - begun_s > START_S:
                missing = ", ".join(sorted(set(ear.topics) - set(ear.delays_s)))
                raise RuntimeError(f"nothing came on {missing} within {START_S:g} s")
    found = []
    with ProgressView(console, "windows", WINDOWS) as view:
        for _ in range(WINDOWS):
            ear.delays_s.clear()
            begun_s = time.monotonic()
            spin(begun_s + 60.0 * minutes / WINDOWS)
            found.append(_window(ear, time.monotonic() - begun_s, launches))
            view.advance()
    return found


def _window(ear: Ear, seconds: float, launches: list[Launch]) -> Window:
    window = Window(round(seconds / 60.0, 3))
    for topic in ear.topics:
        delays = ear.delays_s.get(topic, [])
        window.rate_hz[topic] = round(len(delays) / seconds, 2)
        if delays:
            median, p95 = np.percentile(delays, (50, 95))
            window.delay_median_s[topic] = round(float(median), 4)
            window.delay_p95_s[topic] = round(float(p95), 4)
    for launch in launches:
        for name, process in launch.processes.items():
            held = psutil.Process(process.pid).memory_info().rss
            window.memory_mib[name] = round(held / 2**20, 1)
    return window


def targets(windows: list[Window], text_rate: float = 0.0) -> list[dict[str, Any]]:
    """Each with its limit, what was measured (None: nothing came), and whether that is met.

    `text_rate`: asked of the text node [Hz]; 0: its rate is no target.
    """
    first, third, last = windows[0], windows[max(0, len(windows) // 3 - 1)], windows[-1]
    found: list[dict[str, Any]] = []
    rates = RATE_HZ | ({"texts": RATE_SHARE * text_rate} if text_rate else {})
    for topic, least in rates.items():
        found.append(
            {
                "what": f"{topic}, slowest window [Hz]",
                "at_least": least,
                "measured": min(window.rate_hz[topic] for window in windows),
            }
        )
    for topic in first.rate_hz:
        before = first.delay_p95_s.get(topic, 0.0)
        found.append(
            {
                "what": f"{topic}, p95 of the delay in the last window [s]",
                "at_most": round(DELAY_GROWTH * before + DELAY_MORE_S, 4),
                "measured": last.delay_p95_s.get(topic),
            }
        )
    growth = sum(last.memory_mib.values()) - sum(third.memory_mib.values())
    found.append(
        {
            "what": "growth of all nodes' memory after the first third [MiB]",
            "at_most": MEMORY_GROWTH_MIB,
            "measured": round(growth, 1),
        }
    )
    for target in found:
        value = target["measured"]
        target["met"] = value is not None and (
            target.get("at_least", value) <= value <= target.get("at_most", value)
        )
    return found


def show(console: Console, windows: list[Window]) -> None:
    """Prints the first, a middle and the last window beside each other."""
    shown = {"first": windows[0], "middle": windows[len(windows) // 2], "last": windows[-1]}
    table = Table(title=f"windows of {windows[0].minutes:g} minutes", title_justify="left")
    for heading in ("", *shown):
        table.add_column(heading)
    for topic in windows[0].rate_hz:
        cells = [
            f"{w.rate_hz[topic]:.1f} Hz, {1e3 * w.delay_median_s.get(topic, np.nan):.0f} ms, "
            f"p95 {1e3 * w.delay_p95_s.get(topic, np.nan):.0f} ms"
            for w in shown.values()
        ]
        table.add_row(topic, *cells)
    for name in windows[0].memory_mib:
        table.add_row(f"{name}, memory", *(f"{w.memory_mib[name]:.0f} MiB" for w in shown.values()))
    console.print(table)


def show_targets(console: Console, found: list[dict[str, Any]]) -> None:
    """Prints what is asked for beside what was measured."""
    table = Table(title="targets", title_justify="left")
    for heading in ("what", "target", "measured", ""):
        table.add_column(heading)
    for target in found:
        sign = "at most" if "at_most" in target else "at least"
        limit = target[sign.replace(" ", "_")]
        value = "nothing came" if target["measured"] is None else f"{target['measured']:.3g}"
        verdict = "met" if target["met"] else "[red]NOT met[/red]"
        table.add_row(escape(target["what"]), f"{sign} {limit:.3g}", value, verdict)
    console.print(table)
