"""What the README says of launch files and topics is what there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from node_kit.testing import ros  # noqa: F401 (a fixture)
from vjepa_bringup.launch_file import declared_arguments
from vjepa_bringup.xml_launcher import Launch

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
# What every ROS node brings along; a user of the planner has no business with it.
INFRASTRUCTURE = re.compile(r"/(rosout|parameter_events|diagnostics|clock)$|/(transition_event|_)")


def table(marker: str) -> list[list[str]]:
    """Cells of the table below the comment that starts with `marker`."""
    lines = README.split(f"<!-- {marker}")[1].splitlines()[1:]
    rows = []
    for line in lines:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows[2:]


def test_launch_arguments_are_those_of_the_files():
    written = {(row[0].strip("`"), row[1].strip("`"), row[2].strip("`")) for row in table("launch")}
    declared = {
        (path.name, argument.name, argument.default)
        for path in (ROOT / "launch").glob("*.launch.xml")
        for argument in declared_arguments(path)
    }
    assert written == declared


@pytest.mark.ros
def test_topics_are_those_of_the_running_nodes(ros, small_model):  # noqa: F811
    written = {}
    for names, types, *_ in table("topics"):
        types = re.findall(r"`([^`]+)`", types)
        names = re.findall(r"`([^`]+)`", names)
        written.update(zip(names, types if len(types) == len(names) else types * len(names)))
    del written["delta_twist_cmds"]  # the guard streams to real arms, not to the lock-step one
    del written["clip_latent"]  # off by default
    nodes = Launch(ROOT / "launch" / "sim_planner.launch.xml", {"model": small_model})

    def topics() -> dict[str, str]:
        found = ros.probe.get_topic_names_and_types()
        return {n.lstrip("/"): t[0] for n, t in found if not INFRASTRUCTURE.search(n)}

    nodes.start()
    try:
        ros.wait_for(lambda: topics() == written, "the topics of the README", 120.0)
    finally:
        # Told apart, so that a failure shows what differs.
        seen = topics()
        nodes.stop()
    assert seen == written


def test_every_command_of_the_readme_exists():
    known = re.search(r"case \$command in(.*?)esac", (ROOT / "run").read_text(), re.S).group(1)
    for command in set(re.findall(r"\./run ([a-z]+)", README)):
        assert re.search(rf"\b{command}\b", known), f"./run {command} is not a command"


def test_every_picture_and_link_of_the_readme_exists():
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", README):
        if not target.startswith("http"):
            assert (ROOT / target).exists(), f"{target} is missing"
