"""Promises of the parameters declared from a dataclass."""

from dataclasses import dataclass

import pytest
from node_kit import parameters
from node_kit.parameters import ParameterError, parameter
from rclpy.node import Node
from rclpy.parameter import Parameter


@dataclass
class Settings:
    rate_hz: float = parameter(5.0, "how often", unit="Hz", minimum=0.1, maximum=60.0, runtime=True)
    samples: int = parameter(64, "how many", minimum=1)
    crop: str = parameter("none", "how to make it square", choices=("none", "center"))
    verbose: bool = parameter(False, "whether to say more", runtime=True)
    lower: list[float] = parameter([0.25, -0.5, 0.0], "lowest corner", unit="m", minimum=-2)
    names: list[str] = parameter([], "of objects")
    upper_limit: float = parameter(90.0, "never above", unit="Hz", runtime=True)

    def __post_init__(self):
        if self.rate_hz > self.upper_limit:
            raise ValueError(f"rate_hz {self.rate_hz} is above upper_limit {self.upper_limit}")


@pytest.fixture
def declare(ros):
    def make(on_change=None, **overrides):
        given = [Parameter(name, value=value) for name, value in overrides.items()]
        node = ros.add(Node("settings", context=ros.context, parameter_overrides=given))
        return node, parameters.declare(node, Settings, on_change)

    return make


def test_defaults_hold_without_overrides(declare):
    node, values = declare()
    assert values == Settings()
    assert node.get_parameter("lower").value == [0.25, -0.5, 0.0]
    description = node.describe_parameter("rate_hz")
    assert description.description == "how often [Hz]"
    assert not description.read_only
    assert node.describe_parameter("samples").read_only


def test_overrides_hold_and_a_whole_number_is_good_for_a_float(declare):
    node, values = declare(rate_hz=10, crop="center", lower=[1, 2, 3], names=["cube"])
    assert values.rate_hz == 10.0 and isinstance(values.rate_hz, float)
    assert values.lower == [1.0, 2.0, 3.0]
    assert values.names == ["cube"]
    assert node.get_parameter("rate_hz").type_ == Parameter.Type.DOUBLE


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        ({"rate_hz": 100.0}, "'rate_hz' of node 'settings' is 100.0 Hz; allowed is 0.1 .. 60 Hz"),
        ({"rate_hz": float("nan")}, "give a finite number"),
        ({"samples": 0}, "'samples' of node 'settings' is 0; allowed is >= 1"),
        ({"samples": 2.5}, "2.5 (float); give a int"),
        ({"samples": True}, "True (bool); give a int"),
        ({"crop": "left"}, "is 'left'; choose one of none | center"),
        ({"lower": [0.0, -3.0]}, "[1] is -3.0 m; allowed is >= -2 m"),
        ({"lower": 1.0}, "is 1.0; give a list[float]"),
        ({"names": "cube"}, "is 'cube'; give a list[str]"),
        ({"upper_limit": 1.0}, "rate_hz 5.0 is above upper_limit 1.0"),
        ({"rat_hz": 5.0}, "has no parameter 'rat_hz'; it knows crop, lower, names, rate_hz"),
    ],
)
def test_a_wrong_override_is_refused_with_value_range_and_remedy(declare, overrides, reason):
    with pytest.raises(ParameterError) as error:
        declare(**overrides)
    assert reason in str(error.value)


def test_a_runtime_parameter_changes_and_a_fixed_one_does_not(declare):
    changes = []
    node, values = declare(changes.append)
    assert node.set_parameters([Parameter("rate_hz", value=20.0)])[0].successful
    assert values.rate_hz == 20.0
    assert changes == [{"rate_hz"}]
    assert not node.set_parameters([Parameter("samples", value=7)])[0].successful
    assert values.samples == 64


def test_a_runtime_value_out_of_range_or_that_does_not_fit_others_changes_nothing(declare):
    node, values = declare()
    for name, value in (("rate_hz", 1000.0), ("rate_hz", float("nan")), ("upper_limit", 1.0)):
        result = node.set_parameters([Parameter(name, value=value)])[0]
        assert not result.successful
        assert result.reason
    assert values == Settings()
    both = [Parameter("rate_hz", value=0.5), Parameter("upper_limit", value=1.0)]
    assert node.set_parameters_atomically(both).successful
    assert (values.rate_hz, values.upper_limit) == (0.5, 1.0)


def test_parameter_files_are_read(ros, tmp_path):
    file = tmp_path / "settings.yaml"
    file.write_text("settings:\n  ros__parameters:\n    rate_hz: 7\n    names: [cube, ball]\n")
    arguments = ["--ros-args", "--params-file", str(file), "-p", "verbose:=true"]
    node = ros.add(Node("settings", context=ros.context, cli_args=arguments))
    values = parameters.declare(node, Settings)
    assert (values.rate_hz, values.names, values.verbose) == (7.0, ["cube", "ball"], True)


def test_the_table_says_everything(declare):
    row = parameters.table(Settings)[0]
    assert (row.name, row.type, row.default) == ("rate_hz", "float", 5.0)
    assert (row.unit, row.range, row.runtime) == ("Hz", "0.1 .. 60", True)
    lines = parameters.markdown(Settings).splitlines()
    assert len(lines) == 2 + 7
    assert lines[4] == (
        r"| `crop` | str | `none` |  | none \| center | no | how to make it square |"
    )


def test_a_file_that_differs_from_the_defaults_is_told(tmp_path):
    file = tmp_path / "settings.yaml"
    head = "settings:\n  ros__parameters:\n    autostart: true\n    "
    same = [
        "rate_hz: 5.0", "samples: 64", "crop: none", "verbose: false", "lower: [0.25, -0.5, 0.0]",
        "names: []", "upper_limit: 90.0",
    ]  # fmt: skip
    file.write_text(head + "\n    ".join(same))
    assert parameters.differences(Settings, file, "settings") == []
    file.write_text(head + "\n    ".join([*same[2:], "samples: 64.0", "sample: 3"]))
    assert parameters.differences(Settings, file, "settings") == [
        "rate_hz is missing, its default is 5.0",
        "samples is 64.0, its default is 64",
        "sample is not a parameter of Settings",
    ]
    assert "no section 'other'" in parameters.differences(Settings, file, "other")[0]


def test_a_plain_field_is_a_programming_error():
    @dataclass
    class Forgotten:
        rate_hz: float = 5.0

    with pytest.raises(TypeError, match="Forgotten.rate_hz is a plain field"):
        parameters.table(Forgotten)


def test_instances_do_not_share_a_list():
    assert Settings().lower is not Settings().lower
