"""Promises of the three nodes."""

import cv2
import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from node_kit.images import to_array, to_msg
from node_kit.qos import RELIABLE, SENSOR
from perception_pkg.nodes.defect_node import DefectNode
from perception_pkg.nodes.detector_node import DetectorNode
from perception_pkg.nodes.text_node import TextNode
from sensor_msgs.msg import Image
from vjepa_interfaces.msg import Defects, Detections, Texts

REGIONS = """
size: [320, 240]
mm_per_px: 0.5
regions:
  label: {box: [84, 54, 236, 116], look_for: text, pattern: "LOT-[0-9]{4}"}
  plate: {box: [10, 130, 100, 220], look_for: defects}
"""


@pytest.fixture
def regions(tmp_path):
    (tmp_path / "regions.yaml").write_text(REGIONS)
    return str(tmp_path / "regions.yaml")


def picture(array, second=7):
    message = to_msg(array, frame_id="camera_optical_frame")
    message.header.stamp.sec = second
    return message


def diagnostics(ros, node):
    """Values of the node's own line on /diagnostics, the newest first."""
    received = ros.collect(DiagnosticArray, "/diagnostics", RELIABLE)

    def newest():
        for message in reversed(received):
            for item in message.status:
                if item.name == f"{node}: {node}":
                    return item.message, {pair.key: pair.value for pair in item.values}
        return None

    return newest


def test_the_detector_names_follows_and_measures(ros, detector_folder, label_picture, regions):
    ros.start(DetectorNode, model=str(detector_folder), regions=regions, annotate=True)
    results = ros.collect(Detections, "detections", RELIABLE)
    drawn = ros.collect(Image, "detector/annotated", SENSOR)
    camera = ros.publisher(Image, "camera/image_raw", SENSOR)
    sent = picture(label_picture)
    ros.publish_until(camera, sent, lambda: len(results) > 2 and drawn, "detections")
    message = results[-1]
    assert message.header == sent.header and message.model == "constant"
    names = [(d.class_name, list(d.candidates)) for d in message.detections]
    assert names == [
        ("screw_m3", ["screw_m3"]),
        ("base", ["base"]),
        ("unknown", ["screw_m3", "screw_m4"]),
    ]
    assert [d.track_id for d in message.detections] == [0, 1, 2]  # as in the picture before
    screw = message.detections[0]
    assert list(screw.box) == [60.0, 20.0, 100.0, 60.0]
    assert list(screw.size_mm) == [20.0, 20.0]
    assert drawn[-1].header == sent.header
    assert not np.array_equal(to_array(drawn[-1]), label_picture)


def test_topic_scale_and_size_of_the_pictures_come_from_the_cell(
    ros, detector_folder, label_picture, tmp_path
):
    (tmp_path / "cell.yaml").write_text(
        "cell: 1\nname: bench\ncameras:\n  - {name: side, topic: side/image}\n"
        "  - {name: top, topic: top/image, size_px: [320, 240], mm_per_px: 0.25}\n"
    )
    ros.start(
        DetectorNode,
        model=str(detector_folder),
        cell=str(tmp_path / "cell.yaml"),
        camera="top",
    )
    results = ros.collect(Detections, "detections", RELIABLE)
    newest = diagnostics(ros, "detector")
    camera = ros.publisher(Image, "top/image", SENSOR)
    large = np.zeros((480, 640, 3), np.uint8)
    told = "top/image is 640x480, camera 'top' of the cell gives 320x240"
    ros.publish_until(camera, picture(large), lambda: newest() and told in newest()[0], told)
    assert not results
    ros.publish_until(camera, picture(label_picture), lambda: results, "detections")
    assert list(results[-1].detections[0].size_mm) == [10.0, 10.0]


def test_defects_come_with_region_area_and_mask(ros, defect_folder, label_picture, regions):
    ros.start(DefectNode, model=str(defect_folder), regions=regions)
    results = ros.collect(Defects, "defects", RELIABLE)
    camera = ros.publisher(Image, "camera/image_raw", SENSOR)
    noisy = cv2.randn(np.zeros((240, 320, 3), np.uint8), 120, 60)
    ros.publish_until(camera, picture(noisy), lambda: results, "defects")
    message = results[-1]
    assert list(message.regions) == ["plate"] and list(message.defective) == [True]
    assert list(message.kinds) == ["crack", "scratch"]
    assert (message.mask.width, message.mask.height) == (320, 240)
    assert message.mask.header == message.header == picture(noisy).header
    assert message.defects
    for defect in message.defects:
        assert defect.area_mm2 == pytest.approx(defect.area_px * 0.25)


def test_texts_are_read_and_compared_with_the_pattern(ros, label_picture, regions):
    ros.start(TextNode, regions=regions, max_rate_hz=30.0)
    results = ros.collect(Texts, "texts", RELIABLE)
    camera = ros.publisher(Image, "camera/image_raw", SENSOR)
    ros.publish_until(camera, picture(label_picture), lambda: len(results) > 1, "texts")
    (text,) = results[-1].texts
    assert (text.region, text.kind, text.text) == ("label", "text", "LOT-4711")
    assert text.readable and text.matches and text.reason == ""
    assert len(text.confidences) == 8 and text.reads >= 2


def test_after_a_silence_of_the_camera_nothing_of_before_counts(
    ros, detector_folder, label_picture, regions
):
    ros.start(DetectorNode, model=str(detector_folder), regions=regions)
    ros.start(TextNode, regions=regions, max_rate_hz=30.0)
    parts = ros.collect(Detections, "detections", RELIABLE)
    texts = ros.collect(Texts, "texts", RELIABLE)
    camera = ros.publisher(Image, "camera/image_raw", SENSOR)

    def show(image, second):
        def seen():
            return all(r and r[-1].header.stamp.sec == second for r in (parts, texts))

        ros.publish_until(camera, picture(image, second), seen, f"what is there at {second} s")
        return {d.track_id for d in parts[-1].detections}, texts[-1].texts[0].text

    tracks, text = show(label_picture, 7)
    assert text == "LOT-4711" and show(label_picture, 8)[0] == tracks
    later, text = show(np.full_like(label_picture, 120), 3607)
    assert text == "" and not tracks & later


BAD = {
    "empty": (Image(), "is empty"),
    "cut off": (to_msg(np.zeros((240, 320, 3), np.uint8)), "bytes"),
    "of another camera": (to_msg(np.zeros((120, 160, 3), np.uint8)), "the picture is 160x120"),
}
BAD["cut off"][0].data.pop()


@pytest.mark.parametrize("name", BAD)
def test_a_bad_picture_is_refused_with_its_reason_and_the_next_one_looked_at(
    ros, detector_folder, label_picture, regions, name
):
    ros.start(DetectorNode, model=str(detector_folder), regions=regions)
    results = ros.collect(Detections, "detections", RELIABLE)
    health = diagnostics(ros, "detector")
    camera = ros.publisher(Image, "camera/image_raw", SENSOR)
    message, reason = BAD[name]
    ros.publish_until(camera, message, lambda: health() and "refused" in health()[0], "a refusal")
    assert reason in health()[0] and not results
    ros.publish_until(camera, picture(label_picture), lambda: results, "detections")
    ros.publish_until(
        camera, picture(label_picture), lambda: health()[0] == "looking", "an end of the refusal"
    )


def test_latency_and_losses_are_on_diagnostics(ros, detector_folder, label_picture):
    ros.start(DetectorNode, model=str(detector_folder), max_rate_hz=2.0)
    results = ros.collect(Detections, "detections", RELIABLE)
    health = diagnostics(ros, "detector")
    camera = ros.publisher(Image, "camera/image_raw", SENSOR)
    ros.publish_until(
        camera,
        picture(label_picture),
        lambda: health() and int(health()[1]["left_out"]) > 0 and health()[1]["handled"] != "0",
        "losses on /diagnostics",
    )
    _, values = health()
    assert {"dropped", "handled", "left_out", "model"} <= set(values)
    assert float(values["latency_ms"]) > 0.0
    assert len(results) < int(values["left_out"])


@pytest.mark.parametrize(
    ("node", "reason"),
    [(DefectNode, "no region to look for defects in"), (TextNode, "no region to look for text in")],
)
def test_without_regions_it_refuses_to_start(ros, node, reason):
    with pytest.raises(RuntimeError, match=reason):
        ros.start(node)


def test_a_missing_model_refuses_to_start(ros, regions):
    with pytest.raises(RuntimeError, match="no model at /nowhere.*train detector"):
        ros.start(DetectorNode, model="/nowhere")
    with pytest.raises(RuntimeError, match="no model at /nowhere.*train defects"):
        ros.start(DefectNode, model="/nowhere", regions=regions)


def test_a_node_can_be_configured_again(ros, detector_folder, label_picture):
    node = ros.start(DetectorNode, model=str(detector_folder))
    node.trigger_deactivate()
    node.trigger_cleanup()
    node.start()
    results = ros.collect(Detections, "detections", RELIABLE)
    camera = ros.publisher(Image, "camera/image_raw", SENSOR)
    ros.publish_until(camera, picture(label_picture), lambda: results, "detections")
