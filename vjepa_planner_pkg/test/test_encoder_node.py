"""Promises of the encoder node."""

import numpy as np
import pytest
from node_kit.convert import msg_to_latent
from node_kit.images import to_msg
from node_kit.qos import COMMAND, LATCHED, RELIABLE, SENSOR
from robot_cell import Camera
from sensor_msgs.msg import Image
from std_msgs.msg import String
from vjepa_interfaces.msg import Latent
from vjepa_planner_pkg.core.goals.frames import FrameGate, FrameParameters, FrameRefusal
from vjepa_planner_pkg.nodes.encoder_node import EncoderNode
from vjepa_world_model.weights.checkpoints import load_world_model

CAMERA = "camera_optical_frame"
GREY = np.full((64, 64, 3), 90, np.uint8)


def picture(array=GREY, second=7, frame=CAMERA):
    message = to_msg(array, frame_id=frame)
    message.header.stamp.sec = second
    return message


@pytest.fixture
def encoder(ros, small_model, camera_cell):
    return ros.start(EncoderNode, model=small_model, device="cpu", cell=camera_cell)


def test_a_latent_carries_header_model_and_features_of_its_picture(ros, encoder, small_model):
    latents = ros.collect(Latent, "latent", COMMAND)
    ros.publisher(Image, "camera/image_raw", SENSOR).publish(picture())
    ros.wait_for(lambda: latents, "a latent")
    (latent,) = latents
    assert latent.header == picture().header
    assert (latent.model, latent.frames, latent.width) == ("small", 1, 24)
    assert (latent.grid_height, latent.grid_width) == (4, 4)
    expected = load_world_model(small_model, "cpu").encode(GREY[None])[0].numpy()
    assert np.allclose(msg_to_latent(latent), expected, atol=1e-5)


@pytest.mark.parametrize("profile", [LATCHED, COMMAND], ids=["latched", "volatile"])
def test_goals_come_from_latched_and_volatile_publishers_once(ros, encoder, profile):
    latents = ros.collect(Latent, "goal_latent", LATCHED)
    goals = ros.publisher(Image, "goal_image", profile)
    goals.publish(picture())
    ros.wait_for(lambda: latents, "a goal latent")
    ros.spin_for(0.3)
    assert len(latents) == 1
    goals.publish(picture(second=8))
    ros.wait_for(lambda: len(latents) == 2, "a second goal latent")


def test_a_latched_goal_is_served_to_an_encoder_and_a_planner_that_start_later(ros, small_model):
    publisher = ros.probe.create_publisher(Image, "goal_image", LATCHED)
    publisher.publish(picture())
    ros.start(EncoderNode, model=small_model, device="cpu")
    early = ros.collect(Latent, "goal_latent", LATCHED)
    ros.wait_for(lambda: early, "the goal latent")
    late = ros.collect(Latent, "goal_latent", LATCHED)
    ros.wait_for(lambda: late, "the goal latent for a late subscriber")


def test_sub_goals_are_answered_on_a_topic_of_their_own(ros, encoder):
    latents = ros.collect(Latent, "subgoal_latent", RELIABLE)
    publisher = ros.publisher(Image, "subgoal_image", RELIABLE)
    for second in range(3):
        publisher.publish(picture(second=second))
    ros.wait_for(lambda: len(latents) == 3, "three sub-goal latents")
    assert [latent.header.stamp.sec for latent in latents] == [0, 1, 2]


def bad(change):
    message = picture()
    change(message)
    return message


BAD_PICTURES = {
    "empty": (Image(), "is empty"),
    "cut off": (bad(lambda m: m.data.pop()), "bytes"),
    "floats": (bad(lambda m: setattr(m, "encoding", "32FC3")), "32FC3"),
    "too small": (picture(GREY[:32, :32]), "32x32"),
    "foreign frame": (picture(frame="map"), "'map'"),
}


@pytest.mark.parametrize("name", BAD_PICTURES)
@pytest.mark.parametrize(
    ("topic", "profile", "rejections"),
    [
        ("camera/image_raw", SENSOR, "image_rejected"),
        ("goal_image", COMMAND, "goal_rejected"),
        ("subgoal_image", RELIABLE, "goal_rejected"),
    ],
)
def test_a_bad_picture_is_refused_with_its_reason_and_the_next_one_encoded(
    ros, encoder, topic, profile, rejections, name
):
    message, named = BAD_PICTURES[name]
    output = {"camera/image_raw": "latent"}.get(topic, topic.replace("image", "latent"))
    rejected = ros.collect(String, rejections, RELIABLE)
    latents = ros.collect(Latent, output, COMMAND)
    publisher = ros.publisher(Image, topic, profile)
    publisher.publish(message)
    ros.wait_for(lambda: rejected, "a rejection")
    assert rejected[0].data.startswith(topic) and named in rejected[0].data
    assert not latents
    ros.publish_until(publisher, picture(), lambda: latents, "the next latent")


def test_a_goal_of_another_size_than_the_cameras_is_refused(ros, encoder):
    latents = ros.collect(Latent, "latent", COMMAND)
    rejected = ros.collect(String, "goal_rejected", RELIABLE)
    ros.publisher(Image, "camera/image_raw", SENSOR).publish(picture())
    ros.wait_for(lambda: latents, "a latent")
    ros.publisher(Image, "goal_image", COMMAND).publish(picture(np.zeros((80, 96, 3), np.uint8)))
    ros.wait_for(lambda: rejected, "a rejection")
    assert "goal_image is 96x80, the camera gives 64x64" in rejected[0].data
    assert "goal_size:=any" in rejected[0].data


def test_shape_rules_can_be_set():
    gate = FrameGate(
        FrameParameters(crop="refuse", goal_size="any"), 64, Camera(name="any", frame="")
    )
    gate.check_camera(128, 128, "any")
    gate.check_goal("goal_image", 64, 64, "")
    with pytest.raises(FrameRefusal, match="crop:=center"):
        gate.check_goal("goal_image", 320, 240, "")
    gate = FrameGate(FrameParameters(), 64, Camera(name="wide", size_px=(320, 240)))
    gate.check_camera(320, 240, CAMERA)
    gate.check_goal("goal_image", 320, 240, "")
    with pytest.raises(FrameRefusal, match="correct frame of camera 'wide'"):
        gate.check_camera(320, 240, "")
    with pytest.raises(FrameRefusal, match="is 640x480, camera 'wide' of the cell gives 320x240"):
        gate.check_camera(640, 480, CAMERA)


def test_no_more_pictures_than_asked_for_are_encoded(ros, small_model):
    ros.start(EncoderNode, model=small_model, device="cpu", max_rate_hz=2.0)
    latents = ros.collect(Latent, "latent", COMMAND)
    publisher = ros.publisher(Image, "camera/image_raw", SENSOR)
    ros.probe.create_timer(0.02, lambda: publisher.publish(picture()))
    ros.spin_for(1.2)
    assert 2 <= len(latents) <= 4


def test_a_missing_model_refuses_to_start(ros):
    with pytest.raises(RuntimeError, match="no model at /nowhere"):
        ros.start(EncoderNode, model="/nowhere", device="cpu")
