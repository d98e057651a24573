"""The monitor on ROS 2: a decoder's events in, state and alarms out. All judgement is in core."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus
from node_kit.cells import camera_of
from node_kit.health import HealthPublisher, StreamMonitor, status
from node_kit.lifecycle import KitNode, run
from node_kit.qos import LATCHED, LATCHED_HISTORY, SENSOR
from rclpy.clock import Clock, ClockType
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
from std_msgs.msg import Bool, String
from vjepa_interfaces.msg import Alerts, SopEvent, SopState, StepForecast

from sop_monitor_pkg.core.alarms import annunciation, overlay
from sop_monitor_pkg.core.alarms.book import AlarmBook, Change
from sop_monitor_pkg.core.alarms.clips import ClipFolder
from sop_monitor_pkg.core.alarms.journal import Journal, entries
from sop_monitor_pkg.core.alarms.mqtt_outbox import Broker, MqttOutbox
from sop_monitor_pkg.core.following.monitor import EventError, Monitor
from sop_monitor_pkg.core.normal import model as normal
from sop_monitor_pkg.core.procedure import file as procedure_file
from sop_monitor_pkg.core.procedure.examples import find_procedure
from sop_monitor_pkg.nodes import messages
from sop_monitor_pkg.nodes.live_picture import LivePicture
from sop_monitor_pkg.nodes.moments import Moments
from sop_monitor_pkg.nodes.page import Page
from sop_monitor_pkg.nodes.parameters import SopMonitorParameters
from sop_monitor_pkg.web.board import Beside, Expected

EVENTS = QoSProfile(depth=200, reliability=ReliabilityPolicy.RELIABLE)
"""Each event counts, and a decoder may tell many at once."""


class SopMonitorNode(KitNode):
    """Follows the procedure by a decoder's events and keeps the alarms."""

    Parameters = SopMonitorParameters

    def __init__(self, **kwargs: Any):
        super().__init__("sop_monitor", **kwargs)
        self.journal: Journal | None = None
        self.outbox: MqttOutbox | None = None
        self.page: Page | None = None
        self.moments: Moments | None = None

    def configure(self) -> None:
        self.camera = camera_of(self.p, "sop_monitor")
        self.procedure = procedure_file.load(find_procedure(self.p.procedure))
        path = Path(self.p.journal).expanduser()
        self.journal = Journal(path)
        self.book = AlarmBook(
            self.procedure, self.journal, self.on_change, self.p.rules, entries(path)
        )
        self.monitor = Monitor(self.procedure, self.book, mid_cycle=True)
        self.picture = LivePicture(self.draw)
        self.alerts = self.create_publisher(Alerts, "sop/alerts", LATCHED_HISTORY)
        self.state = self.create_publisher(SopState, "sop/state", LATCHED)
        self.lamp = self.create_publisher(String, "sop/lamp", LATCHED)
        self.buzzer = self.create_publisher(Bool, "sop/buzzer", LATCHED)
        self.events = StreamMonitor("sop/events")
        self.refused, self.refusal = 0, ""
        self.create_subscription(SopEvent, "sop/events", self.on_event, EVENTS)
        self.overlay = self.create_publisher(Image, "sop/overlay", SENSOR)
        self.create_subscription(Image, self.camera.topic, self.on_image, SENSOR)
        self.health = HealthPublisher(self, [self.events], self.report)
        self.start_outbox(path)
        if self.p.web_port:
            self.open_page(path)

    def activate(self) -> None:
        self.shown: tuple | None = None
        self.joined = 0  # the last cycle of which only a part was seen
        self.say(None)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.timer = self.create_timer(1.0 / self.p.rate_hz, self.tick, clock=steady)

    def deactivate(self) -> None:
        self.destroy_timer(self.timer)

    def teardown(self) -> None:
        for part in (self.page, self.outbox, self.moments):
            if part is not None:
                part.stop()
        if self.journal is not None:
            self.journal.close()
        self.page = self.outbox = self.moments = self.journal = None

    # In.

    def on_event(self, message: SopEvent) -> None:
        self.events.tick(message.header.stamp)
        if not self.active:
            return
        try:
            self.monitor.take(messages.event(message), self.now_ns())
        except EventError as error:
            self.refused, self.refusal = self.refused + 1, str(error)
            self.get_logger().warning(f"event refused: {error}", throttle_duration_sec=1.0)
        self.publish_state()

    def on_image(self, message: Image) -> None:
        self.picture.take(message)
        if self.moments is not None:
            self.moments.take(message)
        if self.active and self.overlay.get_subscription_count():
            drawn = self.picture.message()
            if drawn is not None:
                self.overlay.publish(drawn)

    def on_forecast(self, message: StepForecast) -> None:
        m = message
        self.beside.forecast = Expected(
            m.next_step, m.probability, m.risk, m.warning, self.now_ns()
        )

    def draw(self, picture: np.ndarray) -> np.ndarray:
        """Step and alarms on a picture."""
        state = self.monitor.state(self.now_ns())
        return overlay.draw(picture, self.procedure, state, self.book.snapshot())

    def tick(self) -> None:
        """Lets the alarm logic look at the time."""
        self.monitor.tick(self.now_ns())
        self.publish_state()

    # Out.

    def on_change(self, change: Change) -> None:
        """Called by the book, in whatever thread; the change is in the journal already."""
        self.call_soon(functools.partial(self.say, change))
        if self.page is not None:
            self.page.times.take(change.entry)
        if self.moments is not None:
            self.moments.note(change.entry)
        if self.outbox is not None:
            self.outbox.wake()

    def say(self, change: Change | None) -> None:
        """Publishes the alarms after a change; None: as they stand."""
        alarms = self.book.snapshot()
        now_ns, head = self.now_ns(), self.book.head
        self.alerts.publish(messages.alerts_message(change, alarms, self.procedure, head, now_ns))
        self.lamp.publish(String(data=annunciation.lamp(self.procedure, alarms)))
        self.buzzer.publish(Bool(data=annunciation.buzzer(self.procedure, alarms)))
        self.health.publish()

    def publish_state(self) -> None:
        """sop/state: regularly while a step runs, else only when it changes."""
        now_ns = self.now_ns()
        state = self.monitor.state(now_ns)
        if state.partly and state.cycle != self.joined:
            self.joined = state.cycle
            text = f"cycle {state.cycle} was running already: what came before is not missed"
            self.get_logger().info(text)
        key = state.cycle, state.step, state.done
        if state.step or key != self.shown:
            self.shown = key
            self.state.publish(messages.state_message(state, self.procedure, now_ns))

    def report(self) -> list[DiagnosticStatus]:
        """The alarms, and whether MQTT works, on /diagnostics."""
        found = messages.diagnostics(self.book.snapshot())
        level, text = DiagnosticStatus.OK, "following"
        if self.refused:  # for good: what is missing of the cycle may have raised alarms
            level, text = DiagnosticStatus.WARN, f"{self.refused} refused, the last: {self.refusal}"
        found.append(status("events", level, text, refused=str(self.refused)))
        if self.outbox is not None:
            problem = self.outbox.problem
            level = DiagnosticStatus.WARN if problem else DiagnosticStatus.OK
            waiting = str(self.book.head - self.outbox.delivered)
            found.append(status("mqtt", level, problem or "connected", waiting=waiting))
        return found

    def start_outbox(self, journal: Path) -> None:
        """Sends the journal to the broker, if there is one."""
        if not self.p.mqtt_host:
            return
        password = ""
        if self.p.mqtt_password_file:
            password = Path(self.p.mqtt_password_file).expanduser().read_text().strip()
        topic, user = self.p.mqtt_topic, self.p.mqtt_user
        broker = Broker(self.p.mqtt_host, self.p.mqtt_port, topic, user, password)
        self.outbox = MqttOutbox(broker, journal, self.procedure)
        self.outbox.start()

    def open_page(self, journal: Path) -> None:
        """Serves the page, with clips and normal times if normal work has been learned."""
        folder, usual_s = None, {}
        if self.p.normal:
            folder = Path(self.p.normal).expanduser()
            try:
                usual_s = normal.usual_times(self.procedure, folder)
            except normal.NormalError as error:
                folder = None
                self.get_logger().warning(f"the page shows no normal times and clips: {error}")
        clips = ClipFolder(Path(f"{journal}.clips"), folder)
        if not self.book.table.raised:
            clips.begin_anew()
        self.beside = Beside(usual_s, clips)
        self.moments = Moments(clips, self.get_logger().warning)
        self.create_subscription(StepForecast, "sop/step_forecast", self.on_forecast, SENSOR)
        self.page = Page(self, journal)
        self.get_logger().info(self.page.invitation)

    def now_ns(self) -> int:
        """This moment by the node's clock."""
        return self.get_clock().now().nanoseconds


def main() -> None:
    run(SopMonitorNode)


if __name__ == "__main__":
    main()
