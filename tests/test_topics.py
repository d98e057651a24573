"""Topics of the reference are those of the running nodes, all of them and no others."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

import numpy as np
from node_kit.testing import ros  # noqa: F401 (a fixture)
from sop_monitor_pkg.core.normal.learning import Example, learn
from sop_monitor_pkg.core.procedure import file as procedure_file
from sop_monitor_pkg.core.procedure.examples import find_procedure
from sop_monitor_pkg.core.recognition.phases import Segment
from vjepa_bringup.commands.reference import FOLDER
from vjepa_bringup.xml_launcher import Launch
from vjepa_world_model.weights.stored import SHIPPED

ROOT = Path(__file__).resolve().parents[1]
TOPICS = (FOLDER / "topics.md").read_text()
# What every ROS node brings along; a user of the planner has no business with it.
INFRASTRUCTURE = re.compile(r"/(rosout|parameter_events|diagnostics|clock)$|/(transition_event|_)")


def table(marker: str) -> list[list[str]]:
    """Cells of the table below the comment that starts with `marker`."""
    lines = TOPICS.split(f"<!-- {marker}")[1].splitlines()[1:]
    rows = []
    for line in lines:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows[2:]


def topics_of(marker: str) -> dict[str, str]:
    """Topics of a table and their types."""
    written = {}
    for names, types, *_ in table(marker):
        types = re.findall(r"`([^`]+)`", types)
        names = re.findall(r"`([^`]+)`", names)
        written.update(zip(names, types if len(types) == len(names) else types * len(names)))
    return written


def check_topics(ros, written: dict[str, str], *nodes: Launch) -> None:  # noqa: F811
    """Fails unless these launches have these topics, all of them and no others."""

    def topics() -> dict[str, str]:
        found = ros.probe.get_topic_names_and_types()
        return {n.lstrip("/"): t[0] for n, t in found if not INFRASTRUCTURE.search(n)}

    with contextlib.ExitStack() as stack:
        for launch in nodes:
            stack.enter_context(launch)
        # A failure shows what differs.
        with contextlib.suppress(TimeoutError):
            ros.wait_for(lambda: topics() == written, "the topics of the reference", 120.0)
        seen = topics()
    assert seen == written


def test_topics_are_those_of_the_running_nodes(ros, small_model):  # noqa: F811
    written = topics_of("topics")
    del written["delta_twist_cmds"]  # the guard streams to real arms, not to the lock-step one
    del written["clip_latent"]  # off by default
    planner = Launch(ROOT / "launch" / "sim_planner.launch.xml", {"model": small_model})
    check_topics(ros, written, planner)


def test_topics_of_perception_and_monitor_are_those_of_the_running_nodes(ros, tmp_path):  # noqa: F811
    perception = Launch(ROOT / "launch" / "perception.launch.xml", {})
    arguments = {
        "normal": normal_of_the_station(tmp_path),
        "journal": tmp_path / "journal.db",
        "web_port": 0,
    }
    monitor = Launch(ROOT / "launch" / "sop.launch.xml", arguments)
    check_topics(ros, topics_of("perception and monitor"), perception, monitor)


def normal_of_the_station(folder: Path) -> Path:
    """A model of normal work that fits the procedure of the station, learned from noise."""
    procedure = procedure_file.load(find_procedure("station"))
    rng = np.random.default_rng(0)
    examples = []
    for number in range(3):
        begins = np.arange(len(procedure.steps)) * 2.0
        segments = tuple(Segment(s.name, b, b + 1.8) for s, b in zip(procedure.steps, begins))
        times = np.arange(0.0, begins[-1] + 1.8, 0.2)
        latents = rng.normal(size=(len(times), 16)).astype(np.float32)
        examples.append(Example(str(number), latents, times, segments))
    return learn(procedure, examples, str(SHIPPED), 4).save(folder / "normal")
