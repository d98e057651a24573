"""Promises of the encoder node's clips."""

import threading

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from node_kit.convert import msg_to_latent
from node_kit.images import to_msg
from node_kit.qos import COMMAND, RELIABLE, SENSOR
from sensor_msgs.msg import Image
from vjepa_interfaces.msg import Latent
from vjepa_planner_pkg.nodes.encoder_node import EncoderNode, EncoderParameters
from vjepa_world_model.data.clips import ClipSizes, ClipStream
from vjepa_world_model.weights.checkpoints import load_world_model

CAMERA = "camera_optical_frame"


def picture(number, frame=CAMERA):
    """Ten a second."""
    message = to_msg(np.full((64, 64, 3), 3 * number, np.uint8), frame_id=frame)
    message.header.stamp.sec, message.header.stamp.nanosec = number // 10, number % 10 * 100_000_000
    return message


def newest(latent):
    """The number of the picture whose header it has."""
    return 10 * latent.header.stamp.sec + latent.header.stamp.nanosec // 100_000_000


def send(ros, publisher, encoder, messages):
    """Best effort and depth 1: the next picture waits until the encoder has seen this one."""
    before = encoder.clips._clips.counts.received
    for sent, message in enumerate(messages, start=before + 1):
        publisher.publish(message)
        ros.wait_for(
            lambda sent=sent: encoder.clips._clips.counts.received == sent, "a picture to arrive"
        )


@pytest.fixture
def encoder(ros, small_model, camera_cell):
    given = {"cell": camera_cell, "clip_frames": 4, "clip_hop": 2, "clip_rate_hz": 0.0}
    return ros.start(EncoderNode, model=small_model, device="cpu", **given)


def test_clips_slide_over_the_stream_and_carry_the_newest_header(ros, encoder, small_model):
    latents = ros.collect(Latent, "clip_latent", RELIABLE)
    publisher = ros.publisher(Image, "camera/image_raw", SENSOR)
    send(ros, publisher, encoder, [picture(i) for i in range(4)])
    ros.wait_for(lambda: len(latents) == 1, "the first clip")
    send(ros, publisher, encoder, [picture(i) for i in range(4, 6)])
    ros.wait_for(lambda: len(latents) == 2, "the second clip")
    assert [newest(latent) for latent in latents] == [3, 5]
    second = latents[1]
    assert second.header.frame_id == CAMERA and second.model == "small"
    assert (second.frames, second.grid_height, second.grid_width, second.width) == (2, 4, 4, 24)
    clips = ClipStream(ClipSizes(4, 2), 64)
    for i in range(2, 6):
        clips.push(np.full((64, 64, 3), 3 * i, np.uint8), i)
    expected = load_world_model(small_model, "cpu").encode_clips(clips.take().pixels)[0]
    assert np.allclose(msg_to_latent(second), expected.numpy(), atol=1e-5)


def test_single_pictures_are_encoded_all_the_same(ros, encoder):
    latents = ros.collect(Latent, "latent", COMMAND)
    publisher = ros.publisher(Image, "camera/image_raw", SENSOR)
    ros.wait_for(lambda: publisher.publish(picture(1)) or latents, "a latent")
    assert latents[0].frames == 1


def test_refused_pictures_are_in_no_clip_and_counted(ros, encoder):
    latents = ros.collect(Latent, "clip_latent", RELIABLE)
    publisher = ros.publisher(Image, "camera/image_raw", SENSOR)
    messages = [picture(i) for i in range(3)] + [picture(3, "map")] + [picture(4)]
    send(ros, publisher, encoder, messages)
    ros.wait_for(lambda: latents, "a clip")
    assert newest(latents[0]) == 4 and encoder.clips.refused == 1


def test_a_clip_does_not_reach_over_an_outage_of_the_camera(ros, encoder):
    latents = ros.collect(Latent, "clip_latent", RELIABLE)
    publisher = ros.publisher(Image, "camera/image_raw", SENSOR)
    send(ros, publisher, encoder, [picture(i) for i in (0, 1, 2, 20, 21, 22)])
    ros.spin_for(0.3)
    assert not latents
    send(ros, publisher, encoder, [picture(23)])
    ros.wait_for(lambda: latents, "the clip after the outage")
    assert newest(latents[0]) == 23


def test_pictures_are_read_beside_the_executor(ros, encoder, monkeypatch):
    threads, push = set(), ClipStream.push

    def noting(*arguments):
        threads.add(threading.current_thread().name)
        return push(*arguments)

    monkeypatch.setattr(ClipStream, "push", noting)
    latents = ros.collect(Latent, "clip_latent", RELIABLE)
    publisher = ros.publisher(Image, "camera/image_raw", SENSOR)
    send(ros, publisher, encoder, [picture(i) for i in range(4)])
    ros.wait_for(lambda: latents, "a clip")
    assert threads == {"clip pictures"}


def test_no_clip_is_published_after_deactivation(ros, encoder, monkeypatch):
    begun, go_on, encode = threading.Event(), threading.Event(), encoder.model.encode_clips

    def slowly(pixels):
        begun.set()
        assert go_on.wait(20.0)
        return encode(pixels)

    monkeypatch.setattr(encoder.model, "encode_clips", slowly)
    latents = ros.collect(Latent, "clip_latent", RELIABLE)
    publisher = ros.publisher(Image, "camera/image_raw", SENSOR)
    send(ros, publisher, encoder, [picture(i) for i in range(6)])  # two clips
    ros.wait_for(begun.is_set, "the first clip to be in work")
    encoder.trigger_deactivate()
    go_on.set()
    assert encoder.clips._worker.wait_idle(20.0)
    ros.spin_for(0.3)
    assert not latents and encoder.clips._clips.counts.clips == 1


def test_what_was_dropped_is_on_diagnostics(ros, encoder):
    heard = ros.collect(DiagnosticArray, "/diagnostics", RELIABLE)
    publisher = ros.publisher(Image, "camera/image_raw", SENSOR)
    send(ros, publisher, encoder, [picture(i) for i in (10, 11, 12, 2)])  # the clock went back

    def values():
        rows = [s for message in heard for s in message.status if s.name.endswith(": clips")]
        return {v.key: v.value for v in rows[-1].values} if rows else {}

    ros.wait_for(lambda: values().get("dropped") == "3", "the pictures that were dropped")
    assert values()["gaps"] == "1" and values()["clips"] == "0"


def test_clips_are_off_unless_asked_for(ros, small_model):
    encoder = ros.start(EncoderNode, model=small_model, device="cpu")
    assert encoder.clips is None
    names = [name for name, _ in ros.probe.get_topic_names_and_types()]
    assert "/clip_latent" not in names


def test_sizes_that_do_not_go_together_refuse_to_start(ros, small_model):
    with pytest.raises(RuntimeError, match="a hop of 16 frames; give 1 to 4"):
        ros.start(EncoderNode, model=small_model, device="cpu", clip_frames=4)
    with pytest.raises(RuntimeError, match="clips of 5 frames; give an even number"):
        ros.start(EncoderNode, model=small_model, device="cpu", clip_frames=5, clip_hop=1)


def test_the_memory_of_clips_is_said_before_the_model_is_loaded(ros, small_model, monkeypatch):
    from vjepa_world_model.runtime import memory
    from vjepa_world_model.weights import checkpoints

    monkeypatch.setattr(memory, "available_bytes", lambda device: 101 << 20)
    loaded = lambda *_, **__: pytest.fail("was loaded")  # noqa: E731
    monkeypatch.setattr(checkpoints, "build_world_model", loaded)
    with pytest.raises(RuntimeError, match="a clip of 64 frames.*pictures that wait"):
        ros.start(EncoderNode, model=small_model, device="cpu", clip_frames=64)


def test_the_default_is_off():
    assert EncoderParameters().clip_sizes() is None
