"""A launch file means what it means under `ros2 launch`; the unknown is refused with its place."""

from __future__ import annotations

from pathlib import Path

import pytest
from vjepa_bringup.launch_file import LaunchError, ParameterFile, declared_arguments, read


def ros_arguments(command) -> list[str]:
    words = list(command.command)
    return words[words.index("--ros-args") + 1 :] if "--ros-args" in words else []


def test_node_with_everything(launch_file, package: Path, tmp_path: Path) -> None:
    parameters = tmp_path / "p.yaml"
    parameters.write_text("x: 1")
    path = launch_file(f"""
      <arg name="model" default="small"/>
      <node pkg="things" exec="waiter" name="eyes" namespace="left" output="screen"
            args="--fast $(var model)" on_exit="shutdown">
        <param from="{parameters}"/>
        <param name="model" value="$(var model)"/>
        <remap from="image" to="camera/image_raw"/>
        <env name="COLOUR" value="red"/>
      </node>""")
    (node,) = read(path, {"model": "large"})
    assert (node.name, node.namespace, node.full_name) == ("eyes", "/left", "/left/eyes")
    assert node.command[0] == str(package.parents[1] / "lib" / "things" / "waiter")
    assert node.command[1:3] == ("--fast", "large")
    assert ros_arguments(node) == [
        *("-r", "__node:=eyes", "-r", "__ns:=/left", "--params-file", str(parameters)),
        *("-p", 'model:="large"', "-r", "image:=camera/image_raw"),
    ]
    assert node.environment["COLOUR"] == "red"
    assert node.shown and node.ends_launch and node.respawn_s is None


def test_node_without_name_keeps_the_names_its_executable_gives(launch_file) -> None:
    (node,) = read(launch_file('<node pkg="things" exec="waiter"/>'))
    assert node.name == "waiter"
    assert ros_arguments(node) == []
    assert not node.shown and not node.ends_launch


@pytest.mark.parametrize(
    ("attributes", "written"),
    [
        ('value="3"', "3"),
        ('value="3" type="float"', "3.0"),
        ('value="3" type="str"', '"3"'),
        ('value="0.5"', "0.5"),
        ('value="true"', "true"),
        ('value="[1.0, 2.0]"', "[1.0, 2.0]"),
        ('value=""', '""'),
        ('value="a: b"', '"a: b"'),
        ('value="&quot;quoted&quot;"', '"quoted"'),
    ],
)
def test_parameter_has_the_type_that_yaml_sees(launch_file, attributes, written) -> None:
    (node,) = read(
        launch_file(f'<node pkg="things" exec="waiter"><param name="p" {attributes}/></node>')
    )
    assert ros_arguments(node) == ["-p", f"p:={written}"]


def test_parameter_file_with_substitutions(launch_file, tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text('model: "$(var model)"')
    path = launch_file("""
      <arg name="model"/>
      <node pkg="things" exec="waiter">
        <param from="$(dirname)/p.yaml" allow_substs="true"/>
      </node>""")
    (node,) = read(path, {"model": "large"})
    assert ros_arguments(node) == ["--params-file", ParameterFile('model: "large"')]


def test_conditions(launch_file) -> None:
    path = launch_file("""
      <arg name="composed" default="false"/>
      <node pkg="things" exec="waiter" name="one" if="$(var composed)"/>
      <group unless="$(var composed)">
        <node pkg="things" exec="waiter" name="two"/>
        <node pkg="things" exec="waiter" name="three" if="$(eval &quot;'a' == 'b'&quot;)"/>
      </group>""")
    assert [node.name for node in read(path)] == ["two"]
    assert [node.name for node in read(path, {"composed": "True"})] == ["one"]


def test_group_keeps_what_it_changes_to_itself(launch_file) -> None:
    path = launch_file("""
      <let name="colour" value="red"/>
      <group>
        <push_ros_namespace namespace="left"/>
        <push_ros_namespace namespace="arm"/>
        <let name="colour" value="blue"/>
        <set_env name="COLOUR" value="$(var colour)"/>
        <node pkg="things" exec="waiter" name="a"/>
        <node pkg="things" exec="waiter" name="b" namespace="/apart"/>
      </group>
      <node pkg="things" exec="waiter" name="$(var colour)"/>""")
    a, b, c = read(path, environment={})
    assert (a.full_name, b.full_name, c.full_name) == ("/left/arm/a", "/apart/b", "/red")
    assert (a.environment, c.environment) == ({"COLOUR": "blue"}, {})


def test_empty_namespace_is_none(launch_file) -> None:
    path = launch_file("""
      <push_ros_namespace namespace=""/>
      <node pkg="things" exec="waiter" namespace=""/>""")
    assert read(path)[0].namespace == "/"


def test_include_inherits_and_sets_arguments(launch_file) -> None:
    launch_file(
        """<arg name="device" default="auto" description="where to compute"/>
        <arg name="sim" default="false" description="simulated"/>
        <node pkg="things" exec="waiter" name="$(var device)_$(var sim)"/>""",
        "inner.launch.xml",
    )
    path = launch_file("""
      <arg name="seed" default="0" description="of the scene"/>
      <include file="$(dirname)/inner.launch.xml"><arg name="sim" value="true"/></include>""")
    assert [node.name for node in read(path)] == ["auto_true"]
    assert [node.name for node in read(path, {"device": "cpu"})] == ["cpu_true"]
    assert [a.name for a in declared_arguments(path)] == ["seed", "device"]
    with pytest.raises(LaunchError, match="no argument 'sim'; it knows seed, device"):
        read(path, {"sim": "false"})


def test_argument_without_default_is_required(launch_file) -> None:
    path = launch_file('<arg name="goal" description="the picture"/>')
    with pytest.raises(LaunchError, match="needs goal:=... \\(the picture\\)"):
        read(path)


def test_argument_outside_its_choices_is_refused(launch_file) -> None:
    path = launch_file("""
      <arg name="mode" default="a"><choice value="a"/><choice value="b"/></arg>
      <node pkg="things" exec="waiter"/>""")
    assert len(read(path, {"mode": "b"})) == 1
    with pytest.raises(LaunchError, match="mode is 'c'; choose one of a, b"):
        read(path, {"mode": "c"})


NODE = '<node pkg="things" exec="waiter" {}/>'


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("<executable cmd='ls'/>", r"test.launch.xml:2: <executable> is not supported"),
        (NODE.format("launch-prefix='gdb'"), 'exec="waiter"> attribute .launch-prefix.* known are'),
        ("<node pkg='things'/>", "needs the attribute exec"),
        (NODE.format("if='maybe'"), "if is 'maybe'; say true or false"),
        (NODE.format("on_exit='restart'"), "can only be shutdown"),
        (NODE.format("on_exit='shutdown' respawn='true'"), "exclude each other"),
        (NODE.format("respawn='true' respawn_delay='soon'"), "'soon'; give a number"),
        (NODE.format("output='file'"), "choose screen, both or log"),
        (NODE.format("name='$(var x)'"), r"\$\(var x\): no argument"),
        ("<node pkg='things' exec='flyer'/>", "no executable 'flyer', only deaf,.*waiter"),
        ("<node pkg='nothing' exec='flyer'/>", "'nothing' is not in AMENT_PREFIX_PATH"),
        ("<node pkg='things' exec='waiter'><parm/></node>", "<parm> is not supported here"),
        ("<node pkg='things' exec='waiter'><param name='x'/></node>", "needs name and value, or"),
        (
            "<node pkg='things' exec='waiter'><param name='x' value='a' type='int'/></node>",
            "'a' is not of type int",
        ),
        (
            "<node pkg='things' exec='waiter'><param from='/no/such.yaml'/></node>",
            "no parameter file /no/such.yaml",
        ),
        ("<include file='other.xml'/>", '<include file="other.xml"> there is no file other.xml'),
        ("<arg name='a' value='1'/>", "attribute 'value' is not supported"),
        ("<group>text</group>", "holds text"),
        ("<node", "is not XML"),
        ("<include file='$(dirname)/test.launch.xml'/>", "include itself"),
    ],
)
def test_refused_with_file_and_element(launch_file, content: str, what: str) -> None:
    with pytest.raises(LaunchError, match=what):
        read(launch_file(content))


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(LaunchError, match="cannot read the launch file .*nowhere.launch.xml"):
        read(tmp_path / "nowhere.launch.xml")


def test_root_must_be_launch(tmp_path: Path) -> None:
    path = tmp_path / "x.launch.xml"
    path.write_text("<robot/>")
    with pytest.raises(LaunchError, match="x.launch.xml:1: <robot> a launch file begins"):
        read(path)
