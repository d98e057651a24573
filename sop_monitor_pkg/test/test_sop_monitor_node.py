"""Promises of the monitor node: what is journalled is said everywhere, also after a kill."""

from __future__ import annotations

import json
import signal
import time
import urllib.error
import urllib.request

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from node_kit.images import to_array, to_msg
from node_kit.lifecycle import StartError
from node_kit.qos import LATCHED, LATCHED_HISTORY, RELIABLE, SENSOR
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image
from sop_monitor_pkg.core.alarms.clips import step_clip, write
from sop_monitor_pkg.core.alarms.journal import entries, verify
from sop_monitor_pkg.core.following.monitor import EventError
from sop_monitor_pkg.nodes import messages
from sop_monitor_pkg.nodes.sop_monitor_node import EVENTS, SopMonitorNode
from std_msgs.msg import Bool, String
from vjepa_interfaces.msg import Alert, Alerts, SopEvent, SopState, StepForecast

MODULE = "sop_monitor_pkg.nodes.sop_monitor_node"


class ScriptedDecoder:
    """Somebody who follows the work and tells the monitor; listens to what it says."""

    def __init__(self, ros, folder):
        self.ros = ros
        self.journal = folder / "journal.db"
        self.parameters = {"journal": str(self.journal), "web_port": 0, "on_delay_s": 0.0}
        self.publisher = ros.probe.create_publisher(SopEvent, "sop/events", EVENTS)
        self.alerts = self.collect(Alerts, "sop/alerts", LATCHED_HISTORY)
        self.states = self.collect(SopState, "sop/state", LATCHED)
        self.lamp = self.collect(String, "sop/lamp", LATCHED)
        self.buzzer = self.collect(Bool, "sop/buzzer", LATCHED)
        self.diagnostics = self.collect(DiagnosticArray, "/diagnostics", RELIABLE)

    def collect(self, msg_type, topic, qos) -> list:
        """What comes on a topic, also from publishers that come later."""
        heard: list = []
        self.ros.probe.create_subscription(msg_type, topic, heard.append, qos)
        return heard

    def start(self, **parameters) -> SopMonitorNode:
        return self.ros.start(SopMonitorNode, **{**self.parameters, **parameters})

    def matched(self):
        self.ros.wait_for(
            lambda: self.publisher.get_subscription_count() and self.alerts, "the monitor"
        )

    def tell(self, type_=SopEvent.STEP_BEGUN, step="", kind="", reason="", probability=0.9):
        event = SopEvent(type=type_, step=step, kind=kind, reason=reason, probability=probability)
        event.header.stamp = messages.time_message(time.time_ns())
        self.publisher.publish(event)

    def swap(self):
        """A step too early in a cycle whose beginning was seen."""
        self.tell(step="pick_base")
        self.tell(step="rotate_part")

    def wait_for_alert(self, kind) -> Alert:
        def found():
            shown = self.alerts[-1].alerts if self.alerts else []
            return next((alert for alert in shown if alert.kind == kind), None)

        return self.ros.wait_for(found, f"an alarm {kind}")


@pytest.fixture
def decoder(ros, folder):
    return ScriptedDecoder(ros, folder)


def get(port, path) -> bytes | None:
    """What the page's server answers; None: there is nothing (yet)."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10.0) as response:
            return response.read()
    except urllib.error.HTTPError:
        return None


def test_a_wrong_order_is_said_on_every_way(decoder):
    decoder.start()
    decoder.matched()
    decoder.swap()
    alert = decoder.wait_for_alert("wrong_order")
    assert (alert.number, alert.step, alert.priority) == (1, "rotate_part", Alert.HIGH)
    assert (alert.state, alert.told) == ("unacknowledged", ["operator", "supervisor"])
    assert "before 'Put the base on the fixture'" in alert.reason
    message = decoder.alerts[-1]
    assert (message.change, message.entry) == ("raised", 1)
    assert [a.number for a in message.changed] == [1]
    decoder.ros.wait_for(lambda: decoder.lamp[-1].data == "red_blinking", "the lamp")
    decoder.ros.wait_for(lambda: decoder.buzzer[-1].data, "the buzzer")

    def mirrored():
        found = [s for array in decoder.diagnostics for s in array.status]
        return [s for s in found if s.name == "sop_monitor: alarm 1" and "rotate_part" in s.message]

    decoder.ros.wait_for(mirrored, "/diagnostics")
    decoder.ros.wait_for(lambda: decoder.states[-1].step == "rotate_part", "sop/state")
    state = decoder.states[-1]
    assert (state.cycle, list(state.done), state.procedure) == (1, ["pick_base"], "station")


def test_a_monitor_that_starts_in_mid_cycle_does_not_miss_what_it_cannot_have_seen(decoder):
    decoder.start()
    decoder.matched()
    decoder.tell(step="rotate_part")
    decoder.tell(step="place_cover")
    alert = decoder.wait_for_alert("wrong_order")
    assert (alert.number, alert.step) == (1, "place_cover")
    assert "before 'Push the peg in'" in alert.reason


def test_alarms_of_another_procedure_in_the_journal_are_said_and_shown(
    decoder, port, kitting_journal
):
    decoder.start(web_port=port)
    decoder.matched()
    assert decoder.wait_for_alert("skipped").step == "pack_cable"
    (alarm,) = json.loads(get(port, "/api/board"))["alarms"]
    assert alarm["title"] == "pack_cable"


def test_an_event_without_a_stamp_is_refused():
    with pytest.raises(EventError, match="header.stamp is 0"):
        messages.event(SopEvent(step="pick_base"))


def test_a_late_listener_gets_the_open_alarms(decoder):
    decoder.start()
    decoder.matched()
    decoder.swap()
    decoder.wait_for_alert("wrong_order")
    late = decoder.collect(Alerts, "sop/alerts", LATCHED)
    decoder.ros.wait_for(lambda: late and late[-1].alerts, "the latched alarms")
    assert [alert.kind for alert in late[-1].alerts] == ["wrong_order"]


def test_alarms_are_there_again_after_the_node_was_killed(decoder):
    process = decoder.ros.process(MODULE, **decoder.parameters)
    decoder.matched()
    decoder.tell(SopEvent.SUSPICION, "pick_base", "defect", "a scratch")
    before = decoder.wait_for_alert("defect")
    process.send(signal.SIGKILL)
    process.wait()
    decoder.ros.processes.remove(process)
    decoder.alerts.clear()
    decoder.ros.process(MODULE, **decoder.parameters)
    after = decoder.wait_for_alert("defect")
    assert (after.number, after.reason, after.raised) == (1, "a scratch", before.raised)
    assert decoder.alerts[-1].change == "started"
    assert verify(decoder.journal).broken == ""


def test_every_change_is_published_once_and_in_the_order_of_the_journal(decoder):
    decoder.start()
    decoder.matched()
    for _ in range(10):
        decoder.tell(step="rotate_part")
        decoder.tell(SopEvent.CYCLE_ENDED)

    def written():
        found = list(entries(decoder.journal))
        cycles = sum(entry.kind == "cycle_ended" for entry in found)
        return cycles == 10 and decoder.alerts[-1].entry == len(found)

    decoder.ros.wait_for(written, "ten cycles")
    changes = [message.entry for message in decoder.alerts if message.change != "started"]
    assert changes == [entry.number for entry in entries(decoder.journal)]


def test_an_event_that_makes_no_sense_is_refused_and_the_node_goes_on(decoder):
    decoder.start()
    decoder.matched()
    decoder.tell(step="dance")
    decoder.tell(SopEvent.SUSPICION, kind="magic")
    decoder.tell(SopEvent.SUSPICION, kind="defect", probability=float("nan"))
    decoder.tell(type_=77, step="rotate_part")
    decoder.swap()
    decoder.wait_for_alert("wrong_order")
    assert decoder.alerts[-1].entry == 1

    def told():
        found = [s for array in decoder.diagnostics for s in array.status]
        return [s for s in found if s.name == "sop_monitor: events" and "4 refused" in s.message]

    decoder.ros.wait_for(told, "/diagnostics to say that events were refused")


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"procedure": "nowhere"}, "no example; there are kitting, station"),
        ({"web_host": "203.0.113.7", "web_port": 8080}, "set web_host and web_port"),
    ],
)
def test_what_cannot_work_is_refused_at_the_start(decoder, parameters, words):
    node = decoder.ros.create(SopMonitorNode, **{**decoder.parameters, **parameters})
    with pytest.raises(StartError, match=words):
        node.start()
    # What was opened half way is free again.
    node.p.procedure, node.p.web_port = "station", 0
    node.start()


def test_a_second_monitor_on_the_same_journal_is_refused(decoder):
    decoder.start()
    second = decoder.ros.create(SopMonitorNode, **decoder.parameters)
    with pytest.raises(StartError, match="written by another monitor"):
        second.start()


def test_the_page_shows_the_camera_and_an_answer_reaches_the_topic(decoder, port):
    decoder.ros.process(MODULE, **{**decoder.parameters, "web_port": port})
    decoder.matched()
    camera = decoder.ros.probe.create_publisher(Image, "camera/image_raw", SENSOR)
    picture = np.zeros((48, 64, 3), np.uint8)

    def seen():
        camera.publish(to_msg(picture))
        return get(port, "/api/picture.jpg")

    assert decoder.ros.wait_for(seen, "the picture on the page")[:2] == b"\xff\xd8"
    decoder.swap()
    decoder.wait_for_alert("wrong_order")
    token = decoder.journal.with_name("journal.db.token").read_text().strip()
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/api/alarms/1/acknowledge",
        json.dumps({"by": "Ana"}).encode(),
        {"Content-Type": "application/json", "Authorization": f"Bearer {token}"},
    )
    urllib.request.urlopen(request, timeout=10.0).close()
    decoder.ros.wait_for(
        lambda: decoder.alerts[-1].alerts[0].acknowledged_by == "Ana", "the answer"
    )
    decoder.ros.wait_for(lambda: decoder.lamp[-1].data == "red", "the lamp to stop blinking")
    decoder.ros.wait_for(lambda: not decoder.buzzer[-1].data, "the buzzer to stop")


def test_the_page_shows_the_moment_of_an_alarm_and_what_is_normal(decoder, port, station, folder):
    usual_s = dict.fromkeys(station.by_name, (2.0, 4.0))
    (folder / "normal.json").write_text(json.dumps({"usual_s": usual_s}))
    write(step_clip(folder, "rotate_part"), [np.zeros((48, 64, 3), np.uint8)])
    before = folder / "journal.db.clips" / "00000001.webp"  # of a journal that was moved away
    write(before, [np.zeros((48, 64, 3), np.uint8)])
    decoder.start(web_port=port, normal=str(folder))
    decoder.matched()
    assert not before.exists()
    camera = decoder.ros.probe.create_publisher(Image, "camera/image_raw", SENSOR)
    forecast = decoder.ros.probe.create_publisher(StepForecast, "sop/step_forecast", SENSOR)
    decoder.swap()
    decoder.wait_for_alert("wrong_order")

    def shown():
        picture = np.full((48, 64, 3), time.time_ns() % 256, np.uint8)
        camera.publish(to_msg(picture, messages.time_message(time.time_ns())))
        forecast.publish(
            StepForecast(next_step="insert_peg", probability=0.8, risk=0.9, warning=True)
        )
        return get(port, "/api/alarms/1/clip.webp")

    assert decoder.ros.wait_for(shown, "the clip of the alarm")[8:12] == b"WEBP"
    assert get(port, "/api/steps/rotate_part/clip.webp")[8:12] == b"WEBP"
    assert get(port, "/api/steps/..%2Fnormal/clip.webp") is None
    board = json.loads(get(port, "/api/board"))
    assert board["alarms"][0]["clip"] and board["alarms"][0]["normal_clip"]
    assert board["forecast"]["warning"] and board["forecast"]["probability"] == 0.8
    (running,) = [step for step in board["steps"] if step["running"]]
    assert running["takes_s"] == [2.0, 4.0]


def test_what_is_normal_in_another_procedure_is_left_out(decoder, port, folder):
    (folder / "normal.json").write_text(json.dumps({"usual_s": {"cut": (1.0, 2.0)}}))
    decoder.start(web_port=port, normal=str(folder))
    decoder.matched()
    steps = json.loads(get(port, "/api/board"))["steps"]
    assert not any(step["takes_s"] for step in steps)


def test_step_and_alarms_are_drawn_on_the_picture(decoder):
    decoder.start()
    decoder.matched()
    decoder.swap()
    decoder.wait_for_alert("wrong_order")
    overlays = decoder.collect(Image, "sop/overlay", SENSOR)
    camera = decoder.ros.probe.create_publisher(Image, "camera/image_raw", SENSOR)
    picture = to_msg(np.zeros((240, 320, 3), np.uint8), messages.time_message(123_000_000_000))

    def drawn():
        camera.publish(picture)
        return overlays

    decoder.ros.wait_for(drawn, "sop/overlay")
    assert overlays[-1].header.stamp.sec == 123
    assert (190, 30, 30) in {tuple(pixel) for pixel in to_array(overlays[-1])[:, -1]}


def test_alarms_go_to_the_broker(decoder, broker):
    broker.start()
    node = decoder.start(mqtt_host="127.0.0.1", mqtt_port=broker.port)
    decoder.matched()
    decoder.swap()
    decoder.ros.wait_for(lambda: node.outbox.delivered == 1, "the broker's confirmation")
    broker.stop()

    def told():
        found = [s for array in decoder.diagnostics for s in array.status]
        return [s for s in found if s.name == "sop_monitor: mqtt" and "not connected" in s.message]

    decoder.ros.wait_for(told, "/diagnostics to say that the broker is gone")


def test_the_clock_of_the_node_counts(decoder):
    node = decoder.start(off_delay_s=0.0)
    assert node.get_parameter("use_sim_time").type_ == Parameter.Type.BOOL
    decoder.matched()
    decoder.tell(SopEvent.SUSPICION, "rotate_part", "hesitating", "waits")
    alert = decoder.wait_for_alert("hesitating")
    now_s = node.get_clock().now().nanoseconds * 1e-9
    assert abs(alert.raised.sec - now_s) < 20.0
    decoder.tell(SopEvent.SUSPICION_OVER, "rotate_part", "hesitating")
    decoder.ros.wait_for(lambda: decoder.alerts[-1].alerts[0].state == "cleared", "clearing")
