"""Promises of the action node: labels of whole clips, none of a clip with a gap."""

import numpy as np
import pytest
import torch
from node_kit.images import to_array, to_msg
from node_kit.lifecycle import StartError
from node_kit.qos import RELIABLE, SENSOR
from perception_pkg.nodes.action_node import ActionNode
from sensor_msgs.msg import Image
from transformers import VJEPA2Config, VJEPA2ForVideoClassification
from vjepa_interfaces.msg import ActionLabels
from vjepa_world_model.model.classifier import load_classifier


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    """A classifier with random weights and three labels."""
    torch.manual_seed(0)
    config = VJEPA2Config(
        patch_size=16, crop_size=64, frames_per_clip=4, hidden_size=24, num_attention_heads=2,
        num_hidden_layers=1, pred_hidden_size=24, pred_num_attention_heads=1,
        pred_num_hidden_layers=1, num_pooler_layers=1,
        id2label={0: "reach", 1: "grasp", 2: "place"},
        label2id={"reach": 0, "grasp": 1, "place": 2},
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("classifier") / "random"
    VJEPA2ForVideoClassification(config).save_pretrained(folder)
    return folder


def picture(number, start_s=100):
    rng = np.random.default_rng(number)
    message = to_msg(rng.integers(0, 255, (48, 64, 3)).astype(np.uint8), frame_id="camera")
    second, tenth = divmod(number, 10)
    message.header.stamp.sec, message.header.stamp.nanosec = start_s + second, tenth * 10**8
    return message


def test_the_pictures_of_a_clip_are_labelled(ros, classifier):
    node = ros.start(ActionNode, model=str(classifier), device="cpu", clip_s=1.0, period_s=0.1)
    found = ros.collect(ActionLabels, "action", RELIABLE)
    camera = ros.publisher(Image, "camera/image_raw", SENSOR)

    def send(numbers, start_s):
        for number in numbers:
            camera.publish(picture(number, start_s))
            wanted = 10**9 * start_s + number * 10**8
            ros.wait_for(lambda w=wanted: node.clip and node.clip[-1][0] == w, "the picture")

    send(range(11), 100)
    ros.wait_for(lambda: found, "labels")
    message = found[-1]
    assert message.model == "random" and sorted(message.labels) == ["grasp", "place", "reach"]
    assert sum(message.probabilities) == pytest.approx(1.0, abs=1e-5)
    begin = message.begin.sec * 10 + message.begin.nanosec // 10**8
    end = message.header.stamp.sec * 10 + message.header.stamp.nanosec // 10**8
    assert 8 <= end - begin <= 10
    clip = np.stack([to_array(picture(n - 1000)) for n in range(begin, end + 1)])
    expected = load_classifier(classifier, torch.device("cpu")).classify(clip)
    assert tuple(message.labels) == expected.labels
    assert list(message.probabilities) == pytest.approx(expected.probabilities, abs=1e-5)
    # After a gap a clip begins anew.
    ros.spin_for(0.2)
    found.clear()
    send(range(5), 200)
    ros.spin_for(0.3)
    assert not found


def test_it_does_not_start_without_a_classifier(ros, tmp_path):
    with pytest.raises(StartError, match="./run train probe makes one"):
        ros.start(ActionNode)
    with pytest.raises(StartError, match="name a VJEPA2ForVideoClassification folder"):
        ros.start(ActionNode, model=str(tmp_path))
