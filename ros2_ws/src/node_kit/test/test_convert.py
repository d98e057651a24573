"""Promises of the conversions between arrays and messages."""

import numpy as np
import pytest
from geometry_msgs.msg import Pose
from hypothesis import given
from hypothesis import strategies as st
from node_kit.convert import (
    latent_to_msg,
    msg_to_latent,
    msg_to_pose,
    msg_to_state,
    pose_to_msg,
    state_to_msg,
)
from rclpy.serialization import deserialize_message, serialize_message
from scipy.spatial.transform import Rotation
from vjepa_interfaces.msg import EndEffectorState, Latent

NUMBER = st.floats(-2, 2)
ANGLE = st.floats(-3, 3)


@given(st.tuples(NUMBER, NUMBER, NUMBER, ANGLE, st.floats(-1.5, 1.5), ANGLE, st.floats(0, 1)))
def test_a_state_survives_the_way_through_a_serialised_message(numbers):
    state = np.array(numbers, dtype=np.float32)  # numpy scalars are what corrupts messages
    sent = serialize_message(state_to_msg(state))
    received = msg_to_state(deserialize_message(sent, EndEffectorState))
    np.testing.assert_allclose(received[:3], state[:3], atol=1e-7)
    np.testing.assert_allclose(received[6], state[6], atol=1e-7)
    turned = (
        Rotation.from_euler("xyz", state[3:6]) * Rotation.from_euler("xyz", received[3:6]).inv()
    )
    assert turned.magnitude() < 1e-5


def test_whole_numbers_survive_too():
    sent = serialize_message(state_to_msg([1, 0, 2, 0, 0, 0, 1]))
    received = msg_to_state(deserialize_message(sent, EndEffectorState))
    np.testing.assert_allclose(received, [1, 0, 2, 0, 0, 0, 1])


def test_frames_are_named():
    message = state_to_msg(np.zeros(7))
    assert (message.header.frame_id, message.child_frame) == ("base_link", "tool0")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("index", range(7))
def test_a_number_that_is_not_finite_never_enters_or_leaves(bad, index):
    state = np.zeros(7)
    state[index] = bad
    with pytest.raises(ValueError, match="not finite"):
        state_to_msg(state)
    message = state_to_msg(np.zeros(7))
    if index == 6:
        message.closedness = float(bad)
    else:
        part = message.pose.position if index < 3 else message.pose.orientation
        setattr(part, "xyz"[index % 3], float(bad))
    with pytest.raises(ValueError, match="not finite"):
        msg_to_state(message)


def test_a_quaternion_of_zeros_is_refused():
    message = pose_to_msg(np.zeros(6))
    message.orientation.w = 0.0
    with pytest.raises(ValueError, match="unit quaternion"):
        msg_to_pose(message)
    assert msg_to_pose(Pose()) == pytest.approx(np.zeros(6))


def test_closedness_outside_its_range_and_short_states_are_refused():
    message = state_to_msg(np.zeros(7))
    message.closedness = 1.5
    with pytest.raises(ValueError, match="closedness is 1.5"):
        msg_to_state(message)
    with pytest.raises(ValueError, match="7 numbers"):
        state_to_msg(np.zeros(6))


@pytest.mark.parametrize("shape", [(16, 8), (4, 4, 8), (1, 4, 4, 8), (32, 8)])
def test_a_latent_survives_and_keeps_its_sizes(shape):
    features = np.random.default_rng(0).normal(size=shape)
    message = latent_to_msg(features, (4, 4), model="sim_panda")
    message = deserialize_message(serialize_message(message), Latent)
    assert (message.grid_height, message.grid_width, message.width) == (4, 4, 8)
    assert message.frames == features.size // 128
    assert message.model == "sim_panda"
    received = msg_to_latent(message)
    assert received.dtype == np.float32
    np.testing.assert_array_equal(received, features.reshape(-1, 8).astype(np.float32))


def test_a_latent_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="do not fit a 4x4 grid"):
        latent_to_msg(np.zeros((15, 8)), (4, 4))
    with pytest.raises(ValueError, match="not finite"):
        latent_to_msg(np.full((16, 8), np.nan), (4, 4))
    message = latent_to_msg(np.zeros((16, 8)), (4, 4))
    message.width = 9
    with pytest.raises(ValueError, match="128 numbers"):
        msg_to_latent(message)
    with pytest.raises(ValueError, match="0 numbers"):
        msg_to_latent(Latent())
