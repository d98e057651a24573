"""Pictures in, latents out: the camera's stream, goals, and the sub-goals of the MPC."""

from __future__ import annotations

import collections
import threading
import time
from dataclasses import dataclass
from typing import Any

from diagnostic_msgs.msg import DiagnosticStatus
from node_kit.cells import CameraParameters, camera_of
from node_kit.convert import latent_to_msg
from node_kit.health import HealthPublisher, StreamMonitor, status
from node_kit.images import ImageError, to_array
from node_kit.lifecycle import KitNode, run
from node_kit.parameters import parameter
from node_kit.qos import COMMAND, LATCHED, RELIABLE, SENSOR
from sensor_msgs.msg import Image
from std_msgs.msg import String
from vjepa_interfaces.msg import Latent

from vjepa_planner_pkg.core.goals.frames import FrameGate, FrameParameters, FrameRefusal
from vjepa_planner_pkg.nodes import model, presence
from vjepa_planner_pkg.nodes.clip_latents import ClipLatents, ClipParameters

_GOALS = {"goal_image": "goal_latent", "subgoal_image": "subgoal_latent"}


@dataclass
class EncoderParameters(ClipParameters, model.ModelParameters, FrameParameters, CameraParameters):
    """Parameters of the encoder node."""

    threads: int = parameter(
        1, "CPU threads of torch in this process; 0: torch's choice, shared with the predictor",
        minimum=0,
    )  # fmt: skip
    max_rate_hz: float = parameter(
        15.0, "camera pictures encoded per second at most", unit="Hz", minimum=0.1, maximum=1000.0
    )


class EncoderNode(KitNode):
    """Encodes the newest camera picture, goals first. A refused picture is named, never encoded:
    on `goal_rejected` or `image_rejected`, on /diagnostics and in the log.
    """

    Parameters = EncoderParameters
    parts = "encoder"  # of the world model; beside an MPC in one process, both
    plans: dict[str, int] = {}  # what `model.load` is told of that MPC's plans

    def __init__(self, **kwargs: Any):
        super().__init__("encoder", **kwargs)

    def configure(self) -> None:
        self.camera = camera_of(self.p, "encoder")
        clips = self.p.clip_sizes()
        self.model = model.load(self.p, self.get_logger(), self.parts, clips, **self.plans)
        self.gate = FrameGate(self.p, self.model.image_size, self.camera)
        self.goals: collections.deque[tuple[str, Image]] = collections.deque(maxlen=32)
        self.picture: Image | None = None
        self.lock = threading.Lock()
        self.next_s = 0.0
        self.refused: dict[str, str] = {}
        self.encode_ms = 0.0
        self.monitor = StreamMonitor(self.camera.topic, stale_after_s=0.5)

        self.outputs = {
            self.camera.topic: self.create_publisher(Latent, "latent", COMMAND),
            "goal_image": self.create_publisher(Latent, "goal_latent", LATCHED),
            "subgoal_image": self.create_publisher(Latent, "subgoal_latent", RELIABLE),
        }
        self.goal_rejected = self.create_publisher(String, "goal_rejected", RELIABLE)
        self.image_rejected = self.create_publisher(String, "image_rejected", RELIABLE)
        self.worker = self.create_worker(lambda _: self.encode_waiting(), "encode")
        self.create_subscription(Image, self.camera.topic, self.on_picture, SENSOR)
        self.create_latched_subscription(
            Image, "goal_image", lambda message: self.on_goal("goal_image", message)
        )
        self.create_subscription(
            Image, "subgoal_image", lambda message: self.on_goal("subgoal_image", message), RELIABLE
        )
        self.clips = None if clips is None else ClipLatents(self, self.model, clips, self.gate)
        HealthPublisher(self, [self.monitor], self.report)
        presence.announce(self, "encoder_model", self.model.name)

    # In: callbacks only store.

    def on_picture(self, message: Image) -> None:
        now_s = time.monotonic()
        self.monitor.tick(message.header.stamp)
        if self.active and self.clips is not None:
            self.clips.offer(message)
        if not self.active or now_s < self.next_s:
            return
        self.next_s = now_s + 1.0 / self.p.max_rate_hz
        with self.lock:
            self.picture = message
        self.worker.offer(True)

    def on_goal(self, topic: str, message: Image) -> None:
        with self.lock:
            waits = any(
                topic == waiting and message.header == goal.header for waiting, goal in self.goals
            )
            if not waits:  # the MPC repeats a question
                self.goals.append((topic, message))
        self.worker.offer(True)

    # Out: in the worker.

    def encode_waiting(self) -> None:
        """Encodes the goals that wait, then the newest picture."""
        while True:
            with self.lock:
                if self.goals:
                    topic, message = self.goals.popleft()
                elif self.picture is not None:
                    topic, message, self.picture = self.camera.topic, self.picture, None
                else:
                    return
            self.encode(topic, message)

    def encode(self, topic: str, message: Image) -> None:
        """Publishes the latent of one picture, with its header, or why there is none."""
        try:
            array = to_array(message, topic)
            what = message.width, message.height, message.header.frame_id
            if topic in _GOALS:
                self.gate.check_goal(topic, *what)
            else:
                self.gate.check_camera(*what)
        except (ImageError, FrameRefusal) as error:
            self.refuse(topic, str(error))
            return
        begun = time.monotonic()
        features = self.model.encode(array[None])[0].cpu().numpy()
        self.encode_ms = 1e3 * (time.monotonic() - begun)
        self.outputs[topic].publish(
            latent_to_msg(features, self.model.grid, message.header, self.model.name)
        )
        self.refused.pop(topic, None)

    def refuse(self, topic: str, reason: str) -> None:
        output = self.goal_rejected if topic in _GOALS else self.image_rejected
        output.publish(String(data=reason))
        if self.refused.get(topic) != reason:
            self.get_logger().warning(reason)
        self.refused[topic] = reason

    def report(self) -> list[DiagnosticStatus]:
        """Model and refusals on /diagnostics."""
        reasons = "; ".join(list(self.refused.values()))
        level = DiagnosticStatus.ERROR if reasons else DiagnosticStatus.OK
        text = f"refused: {reasons}" if reasons else "encoding"
        values = {"model": self.model.name, "device": str(self.model.device)}
        own = status("encoder", level, text, encode_ms=f"{self.encode_ms:.1f}", **values)
        return [own] if self.clips is None else [own, self.clips.report()]


def main() -> None:
    run(EncoderNode)


if __name__ == "__main__":
    main()
