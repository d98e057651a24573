"""Pose algebra against scipy, and its inverse."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.transform import Rotation
from vjepa_world_model.model.poses import (
    action_between,
    apply_action,
    euler_angles,
    rotation_matrix,
)

ANGLES = arrays(np.float64, 3, elements=st.floats(-3.1, 3.1))
STATES = arrays(np.float64, 7, elements=st.floats(-1.0, 1.0))


@given(ANGLES)
def test_rotation_matrix_is_scipys(angles):
    ours = rotation_matrix(torch.tensor(angles)).numpy()
    assert np.allclose(ours, Rotation.from_euler("xyz", angles).as_matrix(), atol=1e-12)


@given(ANGLES)
def test_euler_angles_give_the_same_rotation_back(angles):
    matrix = rotation_matrix(torch.tensor(angles))
    assert torch.allclose(rotation_matrix(euler_angles(matrix)), matrix, atol=1e-9)


def test_gimbal_lock_gives_the_same_rotation_back():
    matrix = rotation_matrix(torch.tensor([0.3, torch.pi / 2, 0.2], dtype=torch.float64))
    assert torch.allclose(rotation_matrix(euler_angles(matrix)), matrix, atol=1e-6)


@given(STATES, STATES)
def test_applying_the_action_between_two_states_leads_there(first, second):
    first, second = torch.tensor(first), torch.tensor(second)
    first[6], second[6] = first[6].abs(), second[6].abs()
    reached = apply_action(first, action_between(first, second))
    assert torch.allclose(reached[:3], second[:3])
    assert torch.allclose(rotation_matrix(reached[3:6]), rotation_matrix(second[3:6]), atol=1e-9)
    assert torch.allclose(reached[6], second[6])


def test_closedness_stays_between_open_and_closed():
    state, action = torch.zeros(7), torch.zeros(7)
    action[6] = 3.0
    assert apply_action(state, action)[6] == 1.0
    assert apply_action(state, -action)[6] == 0.0
