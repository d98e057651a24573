"""Promises of `run`, kept by real processes."""

import signal

import pytest
from node_kit.qos import LATCHED_HISTORY
from std_msgs.msg import String


@pytest.fixture(autouse=True)
def example_on_path(monkeypatch, request):
    monkeypatch.syspath_prepend(str(request.path.parent))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_all_nodes_cleanly_and_their_last_word_arrives(ros, number):
    said = ros.collect(String, "state", LATCHED_HISTORY, matched=False)
    process = ros.process("example_node")
    ros.wait_for(lambda: [m.data for m in said] == ["running"] * 2, "both nodes")
    process.send(number)
    ros.wait_for(lambda: len(said) == 4, "the last word of both nodes")
    assert [message.data for message in said[2:]] == ["stopped"] * 2
    assert process.wait() == 0
    assert "Traceback" not in process.output


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("configure", "example could not configure: the model folder models/x is missing; run"),
        ("timer", "example + second: the clock broke"),
        ("worker", ": the work broke"),
    ],
)
def test_a_node_that_fails_ends_its_process_with_code_1_and_the_reason(ros, fault, reason):
    said = ros.collect(String, "state", LATCHED_HISTORY, matched=False)
    process = ros.process("example_node", fault=fault)
    assert process.wait() == 1
    assert reason in process.output.splitlines()[-1]
    assert "Traceback" in process.output
    if fault != "configure":
        ros.wait_for(lambda: [m.data for m in said].count("stopped") == 2, "the last words")


def test_a_wrong_parameter_ends_the_process_with_code_1_and_one_line(ros):
    process = ros.process("example_node", fault="everywhere")
    assert process.wait() == 1
    assert process.output.splitlines()[-1] == (
        "parameter 'fault' of node 'example' is 'everywhere'; choose one of "
        '"" | configure | timer | worker | teardown'
    )


def test_a_failure_in_teardown_does_not_keep_the_process(ros):
    said = ros.collect(String, "state", LATCHED_HISTORY, matched=False)
    process = ros.process("example_node", fault="teardown")
    ros.wait_for(lambda: len(said) == 2, "both nodes")
    assert process.stop() == 0
    assert "the door is stuck" in process.output


def test_without_autostart_a_node_waits_to_be_configured(ros):
    from lifecycle_msgs.srv import GetState

    process = ros.process("example_node", autostart=False)
    answer = ros.call(GetState, "example/get_state", GetState.Request())
    assert answer.current_state.label == "unconfigured"
    assert process.stop() == 0
