"""Follows the work with the frozen encoder and the eyes; tells the monitor what it sees."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diagnostic_msgs.msg import DiagnosticStatus
from node_kit.cells import CameraParameters, camera_of, picture_of
from node_kit.health import HealthPublisher, StreamMonitor, status
from node_kit.images import ImageError
from node_kit.lifecycle import KitNode, run
from node_kit.parameters import parameter
from node_kit.qos import LATCHED_HISTORY, RELIABLE, SENSOR
from node_kit.refusals import Refusals
from node_kit.stamps import stamp_ns
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
from vjepa_interfaces.msg import Alerts, Defects, Detections, SopEvent, StepForecast, Texts
from vjepa_world_model.weights.checkpoints import load_world_model

from sop_monitor_pkg.core.following.events import Event
from sop_monitor_pkg.core.following.live import LiveFollower
from sop_monitor_pkg.core.normal import model as normal
from sop_monitor_pkg.core.procedure import file as procedure_file
from sop_monitor_pkg.core.procedure.examples import find_procedure
from sop_monitor_pkg.core.recognition.latents import Latents
from sop_monitor_pkg.core.tracks.sightings import Sighting
from sop_monitor_pkg.nodes import messages, perception

EVENTS = QoSProfile(depth=200, reliability=ReliabilityPolicy.RELIABLE)
EYE_STALE_S = 3.0


@dataclass
class SopFollowerParameters(CameraParameters):
    """What is followed, and by which model of normal work."""

    procedure: str = parameter(
        "station", "procedure file, or the name of an example: station, kitting"
    )
    normal: str = parameter("out/sop/normal", "folder that ./run sop learn wrote")
    device: str = parameter("auto", "torch device; auto takes the GPU if there is one")


class SopFollowerNode(KitNode):
    """Pictures and what the eyes saw in; steps and anomalies on sop/events out."""

    Parameters = SopFollowerParameters

    def __init__(self, **kwargs: Any):
        super().__init__("sop_follower", **kwargs)

    def configure(self) -> None:
        self.camera = camera_of(self.p, "sop_follower")
        procedure = procedure_file.load(find_procedure(self.p.procedure))
        self.folder = Path(self.p.normal).expanduser()
        self.known = known = normal.load_for(procedure, self.folder)
        self.on_disk = normal.identity(self.folder)
        model = load_world_model(known.encoder, self.p.device, parts="encoder")
        self.latents = Latents(model, known.pooled)
        self.follower = LiveFollower(procedure, known)
        self.lock = threading.Lock()  # pictures come in the worker's thread, sightings here
        self.period_ns = round(1e9 / known.rate_hz)
        self.due_ns = 0
        self.width = 0
        self.refusals = Refusals(self)
        self.events = self.create_publisher(SopEvent, "sop/events", EVENTS)
        self.forecast = self.create_publisher(StepForecast, "sop/step_forecast", SENSOR)
        self.pictures = StreamMonitor(self.camera.topic, stale_after_s=1.0)
        self.worker = self.create_worker(self.look, "sop_follower_work")
        self.create_subscription(Image, self.camera.topic, self.on_picture, SENSOR)
        self.perception = {
            topic: StreamMonitor(topic, stale_after_s=EYE_STALE_S) for topic in known.eyes
        }
        for kind, topic, read in (
            (Detections, "detections", perception.parts),
            (Defects, "defects", perception.surfaces),
            (Texts, "texts", perception.texts),
        ):
            see = functools.partial(self.see, topic=topic, read=read)
            self.create_subscription(kind, topic, see, RELIABLE)
        self.create_subscription(Alerts, "sop/alerts", self.on_alerts, LATCHED_HISTORY)
        HealthPublisher(self, [self.pictures, *self.perception.values()], self.report)
        self.get_logger().info(
            f"follows procedure {procedure.name} by {known.cycles} clean cycles; encoder "
            f"{model.name!r} on {model.device}"
        )

    def on_picture(self, message: Image) -> None:
        """Only stores; pictures beyond the model's rate are left out."""
        self.pictures.tick(message.header.stamp)
        now_ns = stamp_ns(message.header.stamp)
        late_ns, period_ns = now_ns - self.due_ns, self.period_ns
        if not self.active or -2 * period_ns < late_ns < -period_ns // 10:
            return
        on_time = abs(late_ns) < period_ns  # else the camera begins, or is slower
        self.due_ns = (self.due_ns if on_time else now_ns) + period_ns
        self.worker.offer(message)

    def look(self, message: Image) -> None:
        """In the worker's thread: encodes one picture and follows."""
        try:
            picture = picture_of(self.camera, message)
        except ImageError as error:
            self.refusals.say(str(error))
            return
        self.refusals.over()
        self.width = picture.shape[1]
        latent = self.latents.encode(picture[None])[0]
        with self.lock:
            events = self.follower.look(latent, stamp_ns(message.header.stamp))
            forecast = self.follower.forecast
            self.learn()  # an answer may have come while its cycle still ran
        self.tell(events, message.header.frame_id)
        if forecast is not None and self.active:
            found = StepForecast(header=message.header, next_step=forecast.next_step)
            found.probability, found.risk = float(forecast.probability), float(forecast.risk)
            found.warning = forecast.risk > self.known.risk_threshold
            self.forecast.publish(found)

    def see(self, message: Any, topic: str, read: Callable[[Any, int], Sighting]) -> None:
        """What one of the eyes saw."""
        if topic in self.perception:
            self.perception[topic].tick(message.header.stamp)
        if not self.active or not self.width:
            return
        sighting = read(message, self.width)
        with self.lock:
            events = self.follower.see(sighting, stamp_ns(message.header.stamp))
        self.tell(events, message.header.frame_id)

    def on_alerts(self, message: Alerts) -> None:
        """What became of the alarms: false ones teach what is normal."""
        alarms = [*message.alerts, *message.changed]
        with self.lock:
            self.follower.raised((a.number, stamp_ns(a.header.stamp)) for a in alarms)
            if message.change == "false_alarm":
                for alarm in message.changed:
                    self.follower.false_alarm(alarm.number)
            self.learn()

    def learn(self) -> None:
        """With the lock held: cycles that have turned out clean change thresholds, on disk too."""
        known = self.follower.learn_from_answers()
        if known is None:
            return
        self.known = known
        if normal.identity(self.folder) != self.on_disk:
            self.get_logger().warning(
                f"{self.folder} has been learned anew since this node started: answers of people "
                "are not kept there; start the node again to follow by the new model"
            )
            return
        known.save(self.folder)
        self.on_disk = normal.identity(self.folder)
        self.get_logger().info(
            f"learned from answers: {known.cycles} clean cycles, {known.answered} of them by people"
        )

    def tell(self, events: list[Event], frame_id: str) -> None:
        for event in events:
            self.events.publish(messages.event_message(event, frame_id))

    def report(self) -> list[DiagnosticStatus]:
        level, text = self.refusals.status("following")
        figures = {"handled": str(self.worker.handled), "dropped": str(self.worker.dropped)}
        return [status("sop_follower", level, text, **figures)]


def main() -> None:
    run(SopFollowerNode)


if __name__ == "__main__":
    main()
