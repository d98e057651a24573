"""The Franka Panda on a table in PyBullet: load, move by inverse kinematics, measure, render.

Frames: everything is in base_link, the robot's base on the table top (z = 0). tool0 is the grasp
point between the finger tips; its axes are parallel to base_link's when the gripper points
straight down, so the reach poses stay far from the wrap-around of the Euler angles.
"""

from __future__ import annotations

import numpy as np
import pybullet
import pybullet_data
from pybullet_utils import bullet_client
from robot_cell import CLOSEDNESS, POSITION, ROTATION
from scipy.spatial.transform import Rotation

from vjepa_sim.core.panda_cell import (
    FINGER_OPEN,
    HOME_JOINTS,
    WORKSPACE_HIGH,
    WORKSPACE_LOW,
)
from vjepa_sim.core.scene import (
    CAMERA_FAR,
    CAMERA_NEAR,
    FINGER_COLOUR,
    NOMINAL_APPEARANCE,
    SceneAppearance,
    SceneBox,
    SceneCamera,
)

TIME_STEP = 1.0 / 240.0  # [s]
SUBSTEPS_PER_MOVE = 60  # one environment step is 0.25 s: four frames a second, as V-JEPA 2-AC
RAMP_SUBSTEPS = 40  # the set-point travels this long, the rest of the move settles

ARM_JOINTS = tuple(range(7))
FINGER_JOINTS = (9, 10)
HAND_LINK = 8  # hand and fingers are this link and those after it
GRASP_LINK = 11
NEARNESS = (0.3, 1.3)  # distances along the optical axis between which the robot is seen [m]
IK_TOLERANCE = 1e-3  # largest accepted distance between target and solution [m]
IK_TURN_TOLERANCE = 5e-3  # and angle between them [rad]

# The grasp link of the URDF points along its z axis; tool0 keeps base_link's axes (see above).
_GRASP_TO_TOOL = Rotation.from_euler("xyz", (np.pi, 0.0, 0.0))


class UnreachableError(ValueError):
    """The target has no inverse-kinematics solution within the joint limits and the workspace."""


class PandaPhysics:
    """One simulated arm, table, objects and distractors. Deterministic for the same calls."""

    def __init__(self) -> None:
        self._sim = bullet_client.BulletClient(pybullet.DIRECT)
        # A second world with the arm alone: solving there never disturbs the simulated one.
        self._ik = bullet_client.BulletClient(pybullet.DIRECT)
        self._ik_arm = _load_panda(self._ik)
        limits = [self._ik.getJointInfo(self._ik_arm, j)[8:10] for j in ARM_JOINTS]
        self._lower, self._upper = (np.array(side) for side in zip(*limits))
        self._movable = [*ARM_JOINTS, *FINGER_JOINTS]
        self.joint_names = [
            self._ik.getJointInfo(self._ik_arm, j)[1].decode() for j in self._movable
        ]
        self.reset((), NOMINAL_APPEARANCE)

    def reset(self, objects: tuple[SceneBox, ...], appearance: SceneAppearance) -> None:
        """Empty the world and build it anew: arm at home, `objects` on the table."""
        sim = self._sim
        sim.resetSimulation()
        sim.setTimeStep(TIME_STEP)
        sim.setGravity(0.0, 0.0, -9.81)
        self._arm = _load_panda(sim)
        self._table = _add_solid(
            sim, SceneBox("box", (0.6, 0.8, 0.02), (0.35, 0.0, -0.02), 0.0, (1, 1, 1)), fixed=True
        )
        self._wall = _add_solid(
            sim, SceneBox("box", (0.02, 3.0, 2.0), (-0.7, 0.0, 0.0), 0.0, (1, 1, 1)), fixed=True
        )
        self._objects = [_add_solid(sim, box) for box in objects]
        for body in self._objects:
            sim.changeDynamics(body, -1, lateralFriction=1.0)
        for finger in FINGER_JOINTS:
            sim.changeVisualShape(self._arm, finger, rgbaColor=(*FINGER_COLOUR, 1.0))
            sim.changeDynamics(self._arm, finger, lateralFriction=1.5)
        self._distractors: list[int] = []
        self._set_joints(np.array(HOME_JOINTS), 0.0)
        self.set_appearance(appearance)

    def set_appearance(self, appearance: SceneAppearance) -> None:
        """Change light, colours and distractors; arm and objects stay as they are."""
        sim = self._sim
        for body in self._distractors:
            sim.removeBody(body)
        self._distractors = [_add_solid(sim, box, ghost=True) for box in appearance.distractors]
        sim.changeVisualShape(self._table, -1, rgbaColor=(*appearance.table_colour, 1.0))
        sim.changeVisualShape(self._wall, -1, rgbaColor=(*appearance.wall_colour, 1.0))
        self._appearance = appearance

    def state(self) -> np.ndarray:
        """Measured end-effector state, float64 [7]: position [m], Euler xyz [rad], closedness."""
        link = self._sim.getLinkState(self._arm, GRASP_LINK, computeForwardKinematics=True)
        tool = Rotation.from_quat(link[5]) * _GRASP_TO_TOOL.inv()
        return np.array([*link[4], *tool.as_euler("xyz"), self._closedness()])

    def joint_state(self) -> tuple[np.ndarray, np.ndarray]:
        """Positions [9] ([rad], fingers [m]) and velocities [9] in the order of `joint_names`."""
        states = self._sim.getJointStates(self._arm, self._movable)
        return np.array([s[0] for s in states]), np.array([s[1] for s in states])

    def object_positions(self) -> np.ndarray:
        """Centres of the task objects, float64 [objects, 3] in base_link [m]."""
        poses = [self._sim.getBasePositionAndOrientation(body)[0] for body in self._objects]
        return np.array(poses).reshape(-1, 3)

    def solve(self, target: np.ndarray) -> np.ndarray:
        """Joint angles [7] that bring tool0 to `target` (state [7]), searched from where it is.

        Raises:
            UnreachableError: outside the workspace, or no solution within the joint limits.
        """
        target = np.asarray(target, dtype=float)
        check_target(target)
        joints, _ = self.joint_state()
        orientation = (Rotation.from_euler("xyz", target[ROTATION]) * _GRASP_TO_TOOL).as_quat()
        solution = joints[:7]
        for _ in range(30):
            for joint, angle in zip(ARM_JOINTS, solution):
                self._ik.resetJointState(self._ik_arm, joint, angle)
            reached = self._ik.getLinkState(self._ik_arm, GRASP_LINK, computeForwardKinematics=True)
            error = np.linalg.norm(np.array(reached[4]) - target[POSITION])
            turn = (
                Rotation.from_quat(reached[5]).inv() * Rotation.from_quat(orientation)
            ).magnitude()
            if error < 2e-5 and turn < 1e-4:
                break
            solution = self._ik.calculateInverseKinematics(
                self._ik_arm,
                GRASP_LINK,
                target[POSITION].tolist(),
                orientation.tolist(),
                maxNumIterations=20,
                residualThreshold=1e-6,
            )[:7]
            solution = np.clip(solution, self._lower, self._upper)
        if error > IK_TOLERANCE or turn > IK_TURN_TOLERANCE:
            raise UnreachableError(
                f"no joint solution for position {np.round(target[POSITION], 3).tolist()} m: the "
                f"nearest one within the joint limits is {100 * error:.1f} cm and "
                f"{np.rad2deg(turn):.1f} degrees away; choose a nearer target"
            )
        return np.asarray(solution)

    def command(self, joints: np.ndarray, closedness: float) -> None:
        """Give the motors a set-point: joint angles [7] [rad] and gripper closedness 0..1."""
        self._sim.setJointMotorControlArray(
            self._arm,
            ARM_JOINTS,
            pybullet.POSITION_CONTROL,
            targetPositions=list(joints),
            forces=[87.0] * 4 + [60.0] * 3,
            positionGains=[0.35] * 7,
            velocityGains=[1.0] * 7,
        )
        opening = FINGER_OPEN * (1.0 - float(np.clip(closedness, 0.0, 1.0)))
        self._sim.setJointMotorControlArray(
            self._arm,
            FINGER_JOINTS,
            pybullet.POSITION_CONTROL,
            targetPositions=[opening, opening],
            forces=[20.0, 20.0],
        )

    def advance(self, substeps: int) -> None:
        """Let `substeps` of TIME_STEP pass."""
        for _ in range(substeps):
            self._sim.stepSimulation()

    def move_to(self, target: np.ndarray) -> None:
        """One environment step: travel to `target` (state [7]) in SUBSTEPS_PER_MOVE substeps."""
        joints = self.solve(target)
        start, _ = self.joint_state()
        for substep in range(SUBSTEPS_PER_MOVE):
            share = min((substep + 1) / RAMP_SUBSTEPS, 1.0)
            share = share * share * (3.0 - 2.0 * share)  # smooth start and stop
            self.command(start[:7] + share * (joints - start[:7]), target[CLOSEDNESS])
            self._sim.stepSimulation()

    def teleport(self, target: np.ndarray) -> None:
        """Put the arm at `target` (state [7]) at once, at rest; for starts and goal pictures."""
        self._set_joints(self.solve(target), float(target[CLOSEDNESS]))

    def save(self) -> tuple:
        """The arm's joints and the objects' poses, for `restore`."""
        joints, _ = self.joint_state()
        return joints, [self._sim.getBasePositionAndOrientation(b) for b in self._objects]

    def restore(self, saved: tuple) -> None:
        """Put arm and objects back to what `save` returned, at rest."""
        joints, poses = saved
        for joint, angle in zip(self._movable, joints):
            self._sim.resetJointState(self._arm, joint, angle)
        self.command(joints[:7], 1.0 - joints[7] / FINGER_OPEN)
        for body, (position, orientation) in zip(self._objects, poses):
            self._sim.resetBasePositionAndOrientation(body, position, orientation)

    def render(self, camera: SceneCamera) -> np.ndarray:
        """The picture that `camera` sees now, uint8 RGB [size, size, 3]."""
        return self._capture(camera)[0]

    def render_with_geometry(
        self, camera: SceneCamera, cells: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """The picture, and what of the robot stands where in it.

        Args:
            cells: the picture is divided into cells x cells squares; divides `camera.size_px`.

        Returns:
            uint8 RGB [size, size, 3], and float32 [cells, cells, 3], each in 0..1: the share of the
            square that shows the robot, the share that shows hand and fingers, and the mean
            nearness of the robot in it (0 at NEARNESS[1] metres or where it is not seen, 1 at
            NEARNESS[0]).
        """
        image, depth_buffer, segmentation = self._capture(
            camera, pybullet.ER_SEGMENTATION_MASK_OBJECT_AND_LINKINDEX
        )
        visible = segmentation >= 0
        robot = visible & ((segmentation & 0xFFFFFF) == self._arm)
        hand = robot & ((segmentation >> 24) - 1 >= HAND_LINK)
        # The depth buffer of OpenGL: https://learnopengl.com/Advanced-OpenGL/Depth-testing
        depth = CAMERA_FAR * CAMERA_NEAR / (CAMERA_FAR - (CAMERA_FAR - CAMERA_NEAR) * depth_buffer)
        near, far = NEARNESS
        nearness = np.where(robot, np.clip((far - depth) / (far - near), 0.0, 1.0), 0.0)
        maps = np.stack([robot, hand, nearness], axis=-1).astype(np.float32)
        side = camera.size_px // cells
        return image, maps.reshape(cells, side, cells, side, 3).mean(axis=(1, 3))

    def _capture(self, camera: SceneCamera, flags: int = pybullet.ER_NO_SEGMENTATION_MASK) -> tuple:
        """Picture uint8 [size, size, 3], depth buffer and segmentation, both [size, size]."""
        look, size = self._appearance, camera.size_px
        _, _, pixels, depth, segmentation = self._sim.getCameraImage(
            size,
            size,
            self._sim.computeViewMatrix(camera.eye, camera.target, camera.up),
            self._sim.computeProjectionMatrixFOV(camera.fov_deg, 1.0, CAMERA_NEAR, CAMERA_FAR),
            lightDirection=look.light_direction,
            lightColor=look.light_colour,
            lightAmbientCoeff=look.ambient,
            lightDiffuseCoeff=look.diffuse,
            lightSpecularCoeff=look.specular,
            shadow=0,  # a shadow pass doubles the time of a frame
            flags=flags,
            renderer=pybullet.ER_TINY_RENDERER,
        )
        image = np.asarray(pixels, dtype=np.uint8).reshape(size, size, 4)
        image = np.ascontiguousarray(image[:, :, :3])
        return image, *(np.asarray(v).reshape(size, size) for v in (depth, segmentation))

    def close(self) -> None:
        """Free both worlds."""
        self._sim.disconnect()
        self._ik.disconnect()

    def _closedness(self) -> float:
        fingers = self._sim.getJointStates(self._arm, FINGER_JOINTS)
        return float(np.clip(1.0 - np.mean([f[0] for f in fingers]) / FINGER_OPEN, 0.0, 1.0))

    def _set_joints(self, joints: np.ndarray, closedness: float) -> None:
        for joint, angle in zip(ARM_JOINTS, joints):
            self._sim.resetJointState(self._arm, joint, angle)
        for finger in FINGER_JOINTS:
            self._sim.resetJointState(self._arm, finger, FINGER_OPEN * (1.0 - closedness))
        self.command(joints, closedness)


def check_target(target: np.ndarray) -> None:
    """Raise UnreachableError unless `target` (state [7]) is finite and inside the workspace."""
    if target.shape != (7,) or not np.isfinite(target).all():
        raise UnreachableError(f"target {target.tolist()} is not seven finite numbers")
    if (target[POSITION] < WORKSPACE_LOW - 1e-6).any() or (
        target[POSITION] > WORKSPACE_HIGH + 1e-6
    ).any():
        raise UnreachableError(
            f"position {np.round(target[POSITION], 3).tolist()} m is outside the workspace "
            f"{WORKSPACE_LOW.tolist()} to {WORKSPACE_HIGH.tolist()}"
        )


def _load_panda(client: bullet_client.BulletClient) -> int:
    return client.loadURDF(
        f"{pybullet_data.getDataPath()}/franka_panda/panda.urdf", useFixedBase=True
    )


def _add_solid(
    client: bullet_client.BulletClient, box: SceneBox, fixed: bool = False, ghost: bool = False
) -> int:
    """Add a body; `fixed` does not move, `ghost` is only seen. Returns its id."""
    shape, size = _shape(box)
    visual = client.createVisualShape(shape, rgbaColor=(*box.colour, 1.0), **_visual(size))
    collision = -1 if ghost else client.createCollisionShape(shape, **size)
    orientation = pybullet.getQuaternionFromEuler((0.0, 0.0, box.yaw))
    mass = 0.0 if fixed or ghost else 0.05  # [kg]
    return client.createMultiBody(mass, collision, visual, box.position, orientation)


def _shape(box: SceneBox) -> tuple[int, dict]:
    if box.shape == "box":
        return pybullet.GEOM_BOX, {"halfExtents": box.half_extents}
    if box.shape == "sphere":
        return pybullet.GEOM_SPHERE, {"radius": box.half_extents[0]}
    if box.shape == "cylinder":
        return pybullet.GEOM_CYLINDER, {
            "radius": box.half_extents[0],
            "height": 2.0 * box.half_extents[2],
        }
    raise ValueError(f"unknown shape {box.shape!r}; known: box, sphere, cylinder")


def _visual(size: dict) -> dict:
    # createVisualShape calls a cylinder's height "length".
    return {("length" if key == "height" else key): value for key, value in size.items()}
