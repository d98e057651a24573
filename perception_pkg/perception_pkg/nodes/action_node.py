"""Labels of what is being done, by a clip classifier, on `action`."""

from __future__ import annotations

import collections
import threading
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from diagnostic_msgs.msg import DiagnosticStatus
from node_kit.cells import CameraParameters, camera_of, picture_of
from node_kit.health import HealthPublisher, StreamMonitor, status
from node_kit.images import ImageError
from node_kit.lifecycle import KitNode, run
from node_kit.parameters import parameter
from node_kit.qos import RELIABLE, SENSOR
from node_kit.refusals import Refusals
from node_kit.stamps import stamp_ns
from rclpy.time import Time
from sensor_msgs.msg import Image
from vjepa_interfaces.msg import ActionLabels
from vjepa_world_model.model.classifier import load_classifier
from vjepa_world_model.weights.checkpoints import choose_device

SECOND_NS = 1_000_000_000


@dataclass
class ActionNodeParameters(CameraParameters):
    """Parameters of the action node."""

    model: str = parameter("", "VJEPA2ForVideoClassification folder, or out/model of a probe")
    device: str = parameter("auto", "torch device; auto takes the GPU if there is one")
    clip_s: float = parameter(2.0, "length of a clip", unit="s", minimum=0.1, maximum=60.0)
    period_s: float = parameter(
        0.5, "time from clip to clip, if the machine keeps up", unit="s", minimum=0.05, maximum=60.0
    )
    top: int = parameter(3, "labels that are told", minimum=1, maximum=1000)


class ActionNode(KitNode):
    """Keeps the pictures of the last `clip_s` and classifies them, the newest clip only."""

    Parameters = ActionNodeParameters

    def __init__(self, **kwargs: Any):
        super().__init__("action", **kwargs)

    def configure(self) -> None:
        self.camera = camera_of(self.p, "action")
        if not self.p.model:
            raise ValueError(
                "name a classifier with model:=FOLDER; ./run train probe makes one from labelled "
                "clips"
            )
        self.classifier = load_classifier(self.p.model, choose_device(self.p.device))
        self.clip: collections.deque[tuple[int, np.ndarray]] = collections.deque()
        self.lock = threading.Lock()
        self.due_ns = 0
        self.refusals = Refusals(self)
        self.latency_ms = 0.0
        self.monitor = StreamMonitor(self.camera.topic, stale_after_s=1.0)
        self.actions = self.create_publisher(ActionLabels, "action", RELIABLE)
        self.worker = self.create_worker(self.work, "action_work")
        self.create_subscription(Image, self.camera.topic, self.on_picture, SENSOR)
        HealthPublisher(self, [self.monitor], self.report)

    def on_picture(self, message: Image) -> None:
        """Keeps a picture, and asks for a clip when one is due."""
        stamp = message.header.stamp
        self.monitor.tick(stamp)
        if not self.active:
            return
        try:
            picture = picture_of(self.camera, message)
        except ImageError as error:
            self.refusals.say(str(error))
            return
        self.refusals.over()
        now_ns = stamp_ns(stamp)
        span_ns = round(self.p.clip_s * SECOND_NS)
        with self.lock:
            broken = self.clip and not 0 < now_ns - self.clip[-1][0] <= span_ns
            if broken or (self.clip and picture.shape != self.clip[-1][1].shape):
                self.clip.clear()  # no clip has a gap in it
                self.due_ns = 0
            self.clip.append((now_ns, picture))
            while now_ns - self.clip[0][0] > span_ns:
                self.clip.popleft()
            full = now_ns - self.clip[0][0] >= 0.8 * span_ns
        if full and now_ns >= self.due_ns:
            self.due_ns = now_ns + round(self.p.period_s * SECOND_NS)
            self.worker.offer(message.header)

    def work(self, header: Any) -> None:
        """In the worker's thread: classifies the pictures up to this header's."""
        began = time.monotonic()
        end_ns = stamp_ns(header.stamp)
        with self.lock:
            clip = [(ns, picture) for ns, picture in self.clip if ns <= end_ns]
        if len(clip) < 2:
            return
        with torch.inference_mode():
            found = self.classifier.classify(np.stack([p for _, p in clip]), self.p.top)
        message = ActionLabels(
            header=header,
            begin=Time(nanoseconds=clip[0][0]).to_msg(),
            model=self.classifier.name,
            labels=list(found.labels),
            probabilities=[float(p) for p in found.probabilities],
        )
        if self.active:
            self.actions.publish(message)
        self.latency_ms = 1e3 * (time.monotonic() - began)

    def report(self) -> list[DiagnosticStatus]:
        level, text = self.refusals.status("looking")
        figures = {
            "model": self.classifier.name,
            "handled": str(self.worker.handled),
            "dropped": str(self.worker.dropped),
            "latency_ms": f"{self.latency_ms:.1f}",
        }
        return [status("action", level, text, **figures)]


def main() -> None:
    run(ActionNode)


if __name__ == "__main__":
    main()
