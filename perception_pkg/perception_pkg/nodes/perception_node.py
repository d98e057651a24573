"""What the three nodes share: camera pictures in, latest only, results and health out."""

from __future__ import annotations

import collections
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ament_index_python.packages import get_package_share_directory
from diagnostic_msgs.msg import DiagnosticStatus
from node_kit.cells import CameraParameters, camera_of, picture_of
from node_kit.health import HealthPublisher, StreamMonitor, status
from node_kit.images import ImageError, to_msg
from node_kit.lifecycle import KitNode
from node_kit.parameters import parameter
from node_kit.qos import SENSOR
from node_kit.refusals import Refusals
from node_kit.stamps import stamp_ns
from sensor_msgs.msg import Image

from perception_pkg.core.detection.pauses import forget_after
from perception_pkg.core.regions import RegionError, RegionLayout, load_layout

JITTER = 0.3  # share of the period by which a picture may come early


@dataclass
class PerceptionParameters(CameraParameters):
    """Parameters that the detector, defect and text nodes have in common."""

    regions: str = parameter(
        "", "YAML file of regions and scale, or station.json of a recording; empty: none"
    )
    max_rate_hz: float = parameter(
        10.0, "pictures taken per second at most", unit="Hz", minimum=0.1, maximum=1000.0
    )
    threads: int = parameter(1, "CPU threads of the model; 0: all cores", minimum=0)
    annotate: bool = parameter(
        True, "draw what is found into a picture, while somebody subscribes to it"
    )


class PerceptionNode(KitNode):
    """Looks at the newest camera picture. A subclass loads in `prepare` and answers in `look`.

    A picture that cannot be used is refused: in the log, and on /diagnostics until one can.
    """

    Parameters = PerceptionParameters
    needs = ""  # what must be looked for in some region; empty: works without regions

    def prepare(self, layout: RegionLayout) -> str:
        """Loads and creates publishers; returns the name of what is loaded."""
        raise NotImplementedError

    def look(self, image: np.ndarray, header: Any, draw: bool) -> np.ndarray | None:
        """Publishes what is in uint8 [H, W, 3] RGB; the annotated picture if `draw`."""
        raise NotImplementedError

    @property
    def forget_s(self) -> float:
        """Gap between two pictures after which what was seen before no longer counts [s]."""
        return forget_after(self.p.max_rate_hz)

    def configure(self) -> None:
        self.camera = camera_of(self.p, self.get_name())
        scale = self.camera.mm_per_px or 0.0
        self.layout = RegionLayout(mm_per_px=scale)
        if self.p.regions:
            self.layout = load_layout(Path(self.p.regions), scale)
        if self.needs and not self.layout.of(self.needs):
            raise RegionError(
                f"no region to look for {self.needs} in; name a file with regions:=FILE, see "
                "perception_pkg/config/regions.yaml"
            )
        self.model_name = self.prepare(self.layout)
        self.next_s = 0.0
        self.refusals = Refusals(self)
        self.left_out = 0
        self.latencies_ms: collections.deque[float] = collections.deque(maxlen=100)
        self.monitor = StreamMonitor(self.camera.topic, stale_after_s=1.0)
        self.annotated = self.create_publisher(Image, "~/annotated", SENSOR)
        self.worker = self.create_worker(self.work, f"{self.get_name()}_work")
        self.create_subscription(Image, self.camera.topic, self.on_picture, SENSOR)
        HealthPublisher(self, [self.monitor], self.report)

    def on_picture(self, message: Image) -> None:
        """Only stores: a picture beyond the rate, or one that a newer one replaces, is lost."""
        now_s = time.monotonic()
        self.monitor.tick(message.header.stamp)
        if not self.active:
            return
        period_s = 1.0 / self.p.max_rate_hz
        if now_s < self.next_s - JITTER * period_s:
            self.left_out += 1
            return
        # Counted from when it was due, so that a camera of just this rate keeps all its pictures.
        self.next_s = max(self.next_s, now_s - JITTER * period_s) + period_s
        self.worker.offer(message)

    def work(self, message: Image) -> None:
        """In the worker's thread: looks at one picture."""
        began = time.monotonic()
        try:
            image = picture_of(self.camera, message)
            self.layout.check(image)
        except (ImageError, RegionError) as error:
            self.refusals.say(str(error))
            return
        draw = self.p.annotate and self.annotated.get_subscription_count() > 0
        drawn = self.look(image, message.header, draw)
        if drawn is not None and self.active:
            self.annotated.publish(to_msg(drawn, message.header.stamp, message.header.frame_id))
        self.latencies_ms.append(1e3 * (time.monotonic() - began))
        self.refusals.over()

    def report(self) -> list[DiagnosticStatus]:
        """Latency, losses and refusals on /diagnostics."""
        times = list(self.latencies_ms)
        level, text = self.refusals.status("looking")
        figures = {
            "model": self.model_name,
            "handled": str(self.worker.handled),
            "dropped": str(self.worker.dropped),
            "left_out": str(self.left_out),
            "latency_ms": f"{times[-1]:.1f}" if times else "-",
            "latency_median_ms": f"{statistics.median(times):.1f}" if times else "-",
            "latency_max_ms": f"{max(times):.1f}" if times else "-",
        }
        return [status(self.get_name(), level, text, **figures)]


def time_s(header: Any) -> float:
    """Time of the picture with this header [s]."""
    return stamp_ns(header.stamp) / 1e9


def shipped(name: str) -> Path:
    """Folder of a model that comes with the package."""
    return Path(get_package_share_directory("perception_pkg"), "models", name)
