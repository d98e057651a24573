"""Promises of the camera: its intrinsics are those of its pictures, and it renders when it must."""

import numpy as np
import pytest
from vjepa_sim.core.camera import CameraFeed, intrinsics
from vjepa_sim.core.environment import Environment
from vjepa_sim.core.panda_cell import CAMERA_TARGET
from vjepa_sim.core.physics import PandaPhysics
from vjepa_sim.core.scene import (
    NOMINAL_APPEARANCE,
    SceneBox,
    SceneCamera,
    along_camera,
    turn_about_scene,
)
from vjepa_sim.core.tasks import ReachTask


def project(camera: SceneCamera, point: np.ndarray) -> np.ndarray:
    """Pixel (u, v) of a point [3] in base_link, by the textbook and `intrinsics`."""
    forward = np.subtract(camera.target, camera.eye)
    forward = forward / np.linalg.norm(forward)
    right = np.cross(forward, camera.up)
    right /= np.linalg.norm(right)
    optical = np.stack([right, np.cross(forward, right), forward])  # x right, y down, z forward
    u, v, w = intrinsics(camera) @ optical @ (point - np.array(camera.eye))
    return np.array([u, v]) / w


@pytest.mark.parametrize(
    "point", [(0.50, -0.2, 0.02), (0.62, 0.15, 0.02), (0.70, 0.0, 0.02), (0.45, 0.2, 0.02)]
)
def test_the_intrinsics_project_a_ball_to_where_the_picture_shows_it(point):
    physics, camera = PandaPhysics(), SceneCamera()
    ball = SceneBox("sphere", (0.01, 0.01, 0.01), point, 0.0, (1.0, 0.0, 1.0))
    physics.reset((), NOMINAL_APPEARANCE)
    without = physics.render(camera).astype(int)
    physics.reset((ball,), NOMINAL_APPEARANCE)
    changed = np.abs(physics.render(camera).astype(int) - without).sum(axis=2) > 60
    physics.close()
    rows, columns = np.nonzero(changed)
    assert len(rows) > 10
    seen = np.array([columns.mean(), rows.mean()])
    np.testing.assert_allclose(seen, project(camera, np.array(point)), atol=0.25)


def test_a_picture_is_rendered_again_only_when_something_in_view_moved():
    environment = Environment()
    first = environment.reset(5)
    feed = CameraFeed(environment)
    picture = feed.picture()
    assert np.array_equal(picture, first.image)
    assert feed.picture() is picture
    moved = environment.move_to(first.state + [0.02, 0, 0.01, 0, 0, 0, 0])
    assert np.array_equal(feed.picture(), moved.image)
    environment.reset(6)
    feed.restart()
    assert np.array_equal(feed.picture(), environment.render())
    environment.close()


@pytest.mark.parametrize("turn_deg", [-30.0, 12.0, 30.0])
def test_a_turned_camera_sees_a_point_where_the_nominal_one_sees_it_along_turned_axes(turn_deg):
    turn, point = np.deg2rad(turn_deg), np.array([0.55, 0.12, 0.21])
    turned = turn_about_scene(SceneCamera(), turn)
    seen = project(turned, point)
    np.testing.assert_allclose(seen, project(SceneCamera(), along_camera(point, turn)), atol=1e-9)
    np.testing.assert_allclose(turned.target, CAMERA_TARGET, atol=1e-12)
    if turn > 0:  # counterclockwise from above: what is ahead of the robot moves to its left
        assert turned.eye[1] > SceneCamera().eye[1]


def test_states_along_a_turned_camera_keep_heights_and_turn_the_tool():
    states = np.array([[0.5, 0.1, 0.2, 0.0, 0.0, 0.3, 0.7], [0.47, 0.0, 0.1, 0.0, 0.0, 0.0, 0.0]])
    seen = along_camera(states, 0.4)
    np.testing.assert_allclose(seen[:, [2, 6]], states[:, [2, 6]])
    np.testing.assert_allclose(seen[:, 3:6], states[:, 3:6] - [0.0, 0.0, 0.4], atol=1e-12)
    np.testing.assert_allclose(seen[1, :3], states[1, :3], atol=1e-12)
    np.testing.assert_allclose(along_camera(seen, -0.4), states, atol=1e-12)


def test_a_turned_task_differs_in_nothing_but_the_camera():
    straight, turned = (
        ReachTask(turn).start(np.random.default_rng(3), varied=True) for turn in (0.0, 0.3)
    )
    assert np.array_equal(straight.start, turned.start)
    assert np.array_equal(straight.goal, turned.goal)
    assert straight.layout.objects == turned.layout.objects
    assert straight.goal_appearance == turned.goal_appearance
    assert turned.layout.camera == turn_about_scene(straight.layout.camera, 0.3)
