"""The node that follows the work: pictures and what the eyes say in; steps, and lessons, out."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from filmed_work import pictures
from node_kit.images import to_msg
from node_kit.lifecycle import StartError
from node_kit.qos import LATCHED_HISTORY, SENSOR
from sensor_msgs.msg import Image
from small_work import STEPS
from sop_monitor_pkg.core.normal.model import SCORES, Extremes
from sop_monitor_pkg.nodes import messages, perception
from sop_monitor_pkg.nodes.sop_follower_node import EVENTS, SopFollowerNode
from vjepa_interfaces.msg import (
    Alert,
    Alerts,
    Defect,
    Defects,
    Detection,
    Detections,
    SopEvent,
    StepForecast,
    Text,
    Texts,
)  # fmt: skip


def test_the_node_tells_the_steps_that_it_sees(ros, workshop, learned):
    node = ros.start(
        SopFollowerNode,
        procedure=str(workshop / "small.yaml"),
        normal=str(learned),
        device="cpu",
    )
    events = ros.collect(SopEvent, "sop/events", EVENTS)
    forecasts = ros.collect(StepForecast, "sop/step_forecast", SENSOR)
    camera = ros.publisher(Image, "camera/image_raw", SENSOR)
    for second in range(2):  # two cycles, with a pause of the camera between them
        frames, _ = pictures(STEPS, 70 + second)
        for number, frame in enumerate(frames[::2]):  # at the rate that the model asks for
            handled = node.worker.handled
            stamp = messages.time_message(10**18 + second * 60 * 10**9 + number * 2 * 10**8)
            camera.publish(to_msg(frame, stamp, "camera"))
            ros.wait_for(lambda before=handled: node.worker.handled > before, "the picture")
    ros.wait_for(lambda: len([e for e in events if e.type == e.STEP_BEGUN]) == 8, "all steps")
    assert [e.step for e in events if e.type == e.STEP_BEGUN] == [*STEPS, *STEPS]
    assert [e.type for e in events].count(SopEvent.CYCLE_ENDED) == 1
    assert all(e.header.frame_id == "camera" for e in events)
    assert forecasts and all(0.0 <= o.risk <= 1.0 and o.next_step in STEPS for o in forecasts)


def test_a_false_alarm_teaches_the_node_and_its_model(ros, workshop, learned, tmp_path):
    shutil.copytree(learned, tmp_path / "normal")
    node = ros.start(
        SopFollowerNode,
        procedure=str(workshop / "small.yaml"),
        normal=str(tmp_path / "normal"),
        device="cpu",
    )
    alerts = ros.publisher(Alerts, "sop/alerts", LATCHED_HISTORY)
    before = node.known
    stamp_ns = 10**18
    quiet = Extremes(np.zeros(len(SCORES)), False, 0.0)
    node.follower._answers.cycle_ended(stamp_ns, stamp_ns + 10**10, quiet)
    alarm = Alert(number=7, state="unacknowledged")
    alarm.header.stamp = messages.time_message(stamp_ns + 5 * 10**9)
    alerts.publish(Alerts(change="raised", changed=[alarm], alerts=[alarm]))
    alerts.publish(Alerts(change="false_alarm", changed=[alarm]))
    ros.wait_for(lambda: node.known is not before, "the lesson")
    assert (node.known.cycles, node.known.answered) == (before.cycles + 1, 1)
    about = json.loads((tmp_path / "normal" / "normal.json").read_text())
    assert about["answered"] == 1


def test_answers_do_not_replace_a_model_that_was_learned_meanwhile(
    ros, workshop, learned, tmp_path
):
    folder = tmp_path / "normal"
    shutil.copytree(learned, folder)
    node = ros.start(
        SopFollowerNode, procedure=str(workshop / "small.yaml"), normal=str(folder), device="cpu"
    )
    learned_anew = node.known.calibrated(node.known.clean[:-1])
    learned_anew.save(folder)
    quiet = Extremes(np.zeros(len(SCORES)), False, 0.0)
    node.follower._answers.cycle_ended(10**18, 10**18 + 10**10, quiet)
    node.follower.raised([(7, 10**18)])
    node.follower.false_alarm(7)
    node.learn()
    about = json.loads((folder / "normal.json").read_text())
    assert (about["cycles"], about["answered"]) == (learned_anew.cycles, 0)


def test_an_eye_that_the_model_was_learned_with_is_missed(ros, workshop, learned):
    node = ros.start(
        SopFollowerNode, procedure=str(workshop / "small.yaml"), normal=str(learned), device="cpu"
    )
    assert not node.perception  # these cycles were seen by none
    known = node.known
    with_eyes = replace(known, places=replace(known.places, classes=("nut_m3",)))
    assert with_eyes.eyes == ("detections",)
    surfaces = np.zeros(len(SCORES))
    surfaces[SCORES.index("surface")] = 0.1
    inspected = with_eyes.calibrated([*known.clean, Extremes(surfaces, False, 0.0)])
    assert inspected.eyes == ("detections", "defects")


def test_the_node_does_not_start_without_a_model_of_its_procedure(ros, learned, tmp_path):
    with pytest.raises(StartError, match="make one with ./run sop learn"):
        ros.start(SopFollowerNode, normal=str(tmp_path / "nothing"))
    with pytest.raises(StartError, match="was learned for procedure small, not for station"):
        ros.start(SopFollowerNode, normal=str(learned))


def test_what_the_eyes_say_becomes_sightings():
    found = Detections(
        detections=[
            Detection(class_name="peg", track_id=3, box=[10.0, 20.0, 30.0, 40.0], confidence=0.5)
        ]
    )
    (part,) = perception.parts(found, 100).parts
    assert (part.name, part.track, part.confidence) == ("peg", 3, 0.5)
    assert part.box == pytest.approx((0.1, 0.2, 0.3, 0.4))
    seen = perception.surfaces(
        Defects(
            regions=["a", "b"],
            scores=[0.9, 0.1],
            defective=[True, False],
            defects=[Defect(region="a", kind="scratch")],
        ),
        100,
    )
    assert seen.scores == pytest.approx({"a": 0.9, "b": 0.1})
    assert seen.defect_kinds == {"a": "scratch"}
    (text,) = perception.texts(
        Texts(texts=[Text(region="label", kind="qr", text="X1", readable=True)]), 100
    ).texts
    assert (text.region, text.kind, text.text, text.readable) == ("label", "qr", "X1", True)
