"""The launch files of the stack start the right nodes with the right parameters."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml
from vjepa_bringup.launch_file import LaunchError, NodeCommand, ParameterFile, read

LAUNCH = Path(__file__).parents[1]
PLANNER = LAUNCH / "planner.launch.xml"
SIM_PLANNER = LAUNCH / "sim_planner.launch.xml"
SOP_MONITOR = LAUNCH / "sop_monitor.launch.xml"
SOP = LAUNCH / "sop.launch.xml"
STATION = LAUNCH / "station.launch.xml"
PERCEPTION = LAUNCH / "perception.launch.xml"


def parameters(node: NodeCommand) -> dict[str, object]:
    """What the parameter files and arguments of a node give to a node of that name."""
    values: dict[str, object] = {}
    words = list(node.command)
    for option, word in zip(words, words[1:], strict=False):
        if option == "-p":
            name, _, text = word.partition(":=")
            values[name] = yaml.safe_load(text)
        elif option == "--params-file":
            text = word.content if isinstance(word, ParameterFile) else Path(word).read_text()
            section = yaml.safe_load(text).get(f"/**/{node.name}", {})
            values |= section.get("ros__parameters", {})
    return values


GIVEN = {"cell": "panda_sim", "model": "sim_panda"}


def by_name(path: Path, **arguments: str) -> dict[str, NodeCommand]:
    given = GIVEN | arguments if path == PLANNER else arguments
    return {node.name: node for node in read(path, given)}


def test_the_planner_says_in_one_sentence_what_it_needs() -> None:
    with pytest.raises(LaunchError) as error:
        read(PLANNER, {})
    said = str(error.value)
    assert "cell:=..." in said and "model:=..." in said and "\n" not in said


def test_the_cell_reaches_guard_and_planner() -> None:
    nodes = by_name(PLANNER, cell="my/cell.yaml")
    for name in ("command_guard", "mpc", "encoder"):
        assert parameters(nodes[name])["cell"] == "my/cell.yaml"
    assert "cell" not in parameters(nodes["predictor"])


def test_planner_alone() -> None:
    nodes = by_name(PLANNER)
    assert set(nodes) == {"command_guard", "encoder", "predictor", "mpc"}
    assert all(node.ends_launch and node.shown for node in nodes.values())
    assert all(parameters(node)["use_sim_time"] is False for node in nodes.values())


def test_composed_planner_keeps_the_guard_apart() -> None:
    nodes = by_name(PLANNER, composed="true")
    assert set(nodes) == {"command_guard", "composed_planner_node"}
    assert not any("__node:=" in str(word) for word in nodes["composed_planner_node"].command)


def test_simulation_joins_and_its_clock_counts() -> None:
    nodes = by_name(SIM_PLANNER, mode="realtime", seed="7", varied="true")
    assert set(nodes) == {"command_guard", "encoder", "predictor", "mpc", "sim"}
    sim = parameters(nodes.pop("sim"))
    assert (sim["mode"], sim["seed"], sim["varied"]) == ("realtime", 7, True)
    assert all(parameters(node)["use_sim_time"] is True for node in nodes.values())


def test_the_station_takes_its_arguments() -> None:
    (node,) = by_name(STATION, seed="7", rate_hz="5.0", faulty_share="0.5").values()
    assert node.ends_launch and node.shown
    said = parameters(node)
    assert (said["seed"], said["rate_hz"], said["faulty_share"]) == (7, 5.0, 0.5)
    assert said["next_fault"] == ""  # of the parameter file


def test_the_follower_joins_the_monitor() -> None:
    nodes = by_name(SOP, procedure="kitting", normal="my/normal", device="cpu", namespace="left")
    assert set(nodes) == {"sop_monitor", "sop_follower"}
    assert all(node.ends_launch and node.shown for node in nodes.values())
    assert {node.namespace for node in nodes.values()} == {"/left"}
    assert {parameters(node)["procedure"] for node in nodes.values()} == {"kitting"}
    said = parameters(nodes["sop_follower"])
    assert (said["normal"], said["device"]) == ("my/normal", "cpu")


@pytest.mark.parametrize("file", [PLANNER, SIM_PLANNER])
@pytest.mark.parametrize("composed", ["false", "true"])
def test_namespace_and_profile_reach_every_node(file: Path, composed: str) -> None:
    given = {"namespace": "left", "composed": composed, **GIVEN}
    nodes = read(file, given, _without_profile())
    assert {node.namespace for node in nodes} == {"/left"}
    profiles = {node.environment["FASTDDS_DEFAULT_PROFILES_FILE"] for node in nodes}
    assert [Path(profile).resolve() for profile in profiles] == [LAUNCH / "config" / "fastdds.xml"]


def test_model_and_device_reach_the_nodes_that_load_it() -> None:
    nodes = by_name(PLANNER, model="my/model", device="cpu")
    for name in ("encoder", "predictor"):
        assert parameters(nodes[name])["model"] == "my/model"
        assert parameters(nodes[name])["device"] == "cpu"
    assert "model" not in parameters(nodes["mpc"])


@pytest.mark.parametrize("name", ["command_guard", "encoder", "predictor", "mpc", "sim"])
def test_parameter_file_applies_in_every_namespace(name: str) -> None:
    node = by_name(SIM_PLANNER)[name]
    file = node.command[node.command.index("--params-file") + 1]
    assert list(yaml.safe_load(Path(file).read_text())) == [f"/**/{name}"]


def test_another_parameter_file_can_be_given(tmp_path: Path) -> None:
    file = tmp_path / "guard.yaml"
    file.write_text("/**/command_guard:\n  ros__parameters:\n    policy: reject\n")
    guard = by_name(PLANNER, guard_params=str(file))["command_guard"]
    assert parameters(guard)["policy"] == "reject"


def test_monitor_gets_its_files_and_addresses() -> None:
    nodes = by_name(SOP_MONITOR, procedure="kitting", web_port="0", mqtt_host="broker")
    assert set(nodes) == {"sop_monitor"}
    given = parameters(nodes["sop_monitor"])
    assert (given["procedure"], given["web_port"], given["mqtt_host"]) == ("kitting", 0, "broker")
    assert (given["web_host"], given["cause_window_s"]) == ("127.0.0.1", 10.0)


def test_regions_and_models_reach_the_nodes_of_perception() -> None:
    nodes = by_name(PERCEPTION, regions="my/regions.yaml", detector_model="d", defect_model="u")
    assert set(nodes) == {"detector", "defect", "text"}
    assert {parameters(node)["regions"] for node in nodes.values()} == {"my/regions.yaml"}
    assert parameters(nodes["detector"])["model"] == "d"
    assert parameters(nodes["defect"])["model"] == "u"
    assert all(node.ends_launch for node in nodes.values())


def test_perception_shares_namespace_and_profile() -> None:
    nodes = read(PERCEPTION, {"namespace": "left"}, _without_profile())
    assert {node.namespace for node in nodes} == {"/left"}
    profiles = {node.environment["FASTDDS_DEFAULT_PROFILES_FILE"] for node in nodes}
    assert [Path(profile).resolve() for profile in profiles] == [LAUNCH / "config" / "fastdds.xml"]


def test_unknown_mode_is_refused() -> None:
    with pytest.raises(LaunchError, match="mode is 'slow'; choose one of lockstep, realtime"):
        read(SIM_PLANNER, {"mode": "slow"})


def _without_profile() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if k != "FASTDDS_DEFAULT_PROFILES_FILE"}
