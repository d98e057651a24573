"""Promises of the station node, with real messages."""

import json
import signal
import sys
from pathlib import Path

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from node_kit.images import to_array
from node_kit.parameters import differences
from node_kit.qos import RELIABLE, SENSOR
from rclpy.parameter import Parameter
from rclpy.time import Time
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import String
from vjepa_sim.core.station.station import Station
from vjepa_sim.nodes.station_node import StationNode
from vjepa_sim.nodes.station_parameters import StationParameters

CONFIG = Path(__file__).parent.parent / "config" / "station.yaml"


def truths(messages, about="frame"):
    found = [json.loads(message.data) for message in messages]
    return [truth for truth in found if truth["about"] == about]


def skip_to_the_end(node):
    """As if the cycle had begun so long ago that only its last frame is left."""
    node.began_s -= node.cycle.script.duration_s


def test_the_parameter_file_says_what_the_node_says():
    assert differences(StationParameters, CONFIG, "station") == []


def test_picture_calibration_and_truth_belong_together(ros):
    node = ros.start(StationNode, seed=4)
    images = ros.collect(Image, "camera/image_raw", SENSOR)
    infos = ros.collect(CameraInfo, "camera/camera_info", SENSOR)
    told = ros.collect(String, "station/truth", RELIABLE)
    ros.wait_for(lambda: min(len(images), len(infos), len(told)) > 3, "pictures and truth")
    image = images[-1]
    assert (image.encoding, image.width, image.height) == ("rgb8", 480, 360)
    assert image.header.frame_id == infos[-1].header.frame_id == "camera_optical_frame"
    np.testing.assert_allclose(np.reshape(infos[-1].k, (3, 3)), node.cycle.camera.intrinsics())
    stamp_ns = Time.from_msg(image.header.stamp).nanoseconds
    found = ros.wait_for(
        lambda: [truth for truth in truths(told) if truth["stamp_ns"] == stamp_ns],
        "the truth of the picture",
    )
    truth = found[0]
    assert truth["step"] == "pick_base" and truth["cycle"] == 0
    twin = Station(4, faulty_share=0.0).cycle(0)
    difference = to_array(image).astype(int) - twin.frame(truth["frame"]).image
    twin.close()
    assert np.abs(difference).mean() < 2.5  # the noise of the sensor differs
    assert truth["boxes"] and {"id", "class", "xyxy", "visible"} <= truth["boxes"][0].keys()


def test_the_fault_that_is_asked_for_comes_in_the_next_cycle_and_once(ros):
    node = ros.start(StationNode, seed=4, first_cycle=7)
    told = ros.collect(String, "station/truth", RELIABLE)
    results = node.set_parameters(
        [
            Parameter("next_fault", value="defective_part"),
            Parameter("next_detail", value="crack"),
        ]
    )
    assert all(result.successful for result in results)
    skip_to_the_end(node)
    ros.wait_for(lambda: node.next_index == 9, "the next cycle")
    assert [fault.kind for fault in node.cycle.plan.faults] == ["defective_part"]
    assert node.cycle.plan.defect.kind == "crack"
    assert node.get_parameter("next_fault").value == node.p.next_fault == ""
    skip_to_the_end(node)
    ros.wait_for(lambda: node.next_index == 10, "the cycle after it")
    assert node.cycle.plan.faults == ()
    ros.wait_for(lambda: len(truths(told, "cycle_end")) == 2, "the truth of both cycles")
    first, second = truths(told, "cycle_end")
    assert (first["cycle"], second["cycle"]) == (7, 8)
    assert first["clean"] and not second["clean"]
    assert [fault["kind"] for fault in second["faults"]] == ["defective_part"]


def test_a_fault_that_does_not_exist_is_refused(ros):
    node = ros.start(StationNode)
    result = node.set_parameters([Parameter("next_fault", value="earthquake")])[0]
    assert not result.successful and "'earthquake'; choose one of" in result.reason


def test_a_detail_that_the_fault_cannot_have_is_reported_and_work_goes_on(ros):
    node = ros.start(StationNode)
    reports = ros.collect(DiagnosticArray, "/diagnostics", RELIABLE)
    node.set_parameters(
        [Parameter("next_fault", value="skipped_step"), Parameter("next_detail", value="lunch")]
    )
    skip_to_the_end(node)
    ros.wait_for(lambda: "cannot have the detail 'lunch'" in str(reports[-1:]), "the refusal", 10.0)
    assert node.next_index == 2 and node.cycle.plan.faults == ()


def test_frames_that_come_too_late_are_left_out_and_counted(ros):
    node = ros.start(StationNode)
    told = ros.collect(String, "station/truth", RELIABLE)
    ros.wait_for(lambda: truths(told), "a frame")
    left_out = node.left_out
    node.began_s -= 5.0
    ros.wait_for(lambda: truths(told)[-1]["t"] >= 5.0, "the frame that is due")
    assert node.left_out - left_out >= 40


def test_the_process_starts_with_its_file_and_ends_cleanly(ros, monkeypatch):
    monkeypatch.setattr(sys, "path", [str(CONFIG.parent.parent), *sys.path])
    process = ros.process("vjepa_sim.nodes.station_node", "--params-file", str(CONFIG))
    images = ros.collect(Image, "camera/image_raw", SENSOR)
    ros.wait_for(lambda: len(images) > 2, "pictures")
    process.send(signal.SIGINT)
    assert process.wait() == 0, process.output
    assert "Traceback" not in process.output


def test_a_wrong_parameter_ends_the_process_with_the_reason(ros):
    process = ros.process("vjepa_sim.nodes.station_node", faulty_share=2.0)
    assert process.wait() == 1
    assert "allowed is 0 .. 1" in process.output.splitlines()[-1]
