"""From videos to alarms, as a user does it: `./run sop learn`, `./run sop watch`, and the node."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import small_work
from node_kit.images import to_msg
from node_kit.lifecycle import StartError
from node_kit.qos import SENSOR
from sensor_msgs.msg import Image
from small_work import STEPS
from sop_monitor_pkg.commands import app
from sop_monitor_pkg.nodes import eyes, messages
from sop_monitor_pkg.nodes.sop_follower_node import EVENTS, SopFollowerNode
from typer.testing import CliRunner
from vjepa_interfaces.msg import (
    Defect,
    Defects,
    Detection,
    Detections,
    Outlook,
    SopEvent,
    Text,
    Texts,
)  # fmt: skip
from vjepa_world_model.video import VideoWriter

FPS = 10.0
PLACES = {"take": (10, 10), "turn": (10, 84), "wipe": (60, 40), "put": (60, 84)}


def pictures(steps, seed):
    """A bright square that rests and trembles at the place of each step; times of the steps."""
    rng = np.random.default_rng(seed)
    frames, said = [], []
    for step in steps:
        count, (y, x) = int(rng.integers(25, 31)), PLACES[step]
        said.append(
            {"step": step, "begin_s": len(frames) / FPS, "end_s": (len(frames) + count) / FPS}
        )
        for i in range(count):
            frame = rng.integers(40, 60, (96, 128, 3)).astype(np.uint8)
            top, left = y + i // 6, x + int(rng.integers(0, 3))
            frame[top : top + 26, left : left + 30] = (230, 200, 60)
            frames.append(frame)
    return frames, said


def film(path: Path, steps, seed, labelled=True):
    frames, said = pictures(steps, seed)
    with VideoWriter(path, (128, 96), FPS) as video:
        for frame in frames:
            video.add(frame)
    if labelled:
        path.with_suffix(".json").write_text(json.dumps({"steps": said}))
    return path


@pytest.fixture(scope="module")
def workshop(tmp_path_factory):
    """A procedure file, and six clean cycles of which two are labelled."""
    folder = tmp_path_factory.mktemp("workshop")
    (folder / "small.yaml").write_text(small_work.TEXT)
    (folder / "clean").mkdir()
    for i in range(6):
        steps = STEPS if i % 2 else ("take", "turn", "put")
        film(folder / "clean" / f"c{i}.mp4", steps, i, labelled=i < 2)
    return folder


def run(*words: object):
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture(scope="module")
def learned(workshop, small_model):
    out = workshop / "normal"
    options = ("--procedure", workshop / "small.yaml", "--encoder", small_model, "--out", out)
    result = run("learn", workshop / "clean", *options, "--device", "cpu")
    assert result.exit_code == 0, result.output
    assert "learned from 6 clean cycles" in result.output
    assert "13 more are needed" in result.output  # 19 for 5 %
    return out


def test_a_correct_cycle_is_followed_and_a_wrong_one_raises_an_alarm(workshop, learned):
    options = ("--normal", learned, "--procedure", workshop / "small.yaml", "--device", "cpu")
    good = film(workshop / "good.mp4", STEPS, 50, labelled=False)
    result = run("watch", good, *options, "--json", workshop / "good.jsonl")
    assert result.exit_code == 0, result.output
    lines = [json.loads(line) for line in (workshop / "good.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(STEPS)
    bad = film(workshop / "bad.mp4", ("take", "put", "turn"), 51, labelled=False)
    result = run("watch", bad, *options)
    assert result.exit_code == 2, result.output
    assert ": wrong_order in put" in result.output and "1 alarms" in result.output


def test_new_cycles_are_added_to_what_was_learned(workshop, learned, small_model):
    film(workshop / "clean" / "c9.mp4", STEPS, 60)
    options = ("--procedure", workshop / "small.yaml", "--encoder", small_model)
    result = run("learn", workshop / "clean", *options, "--out", learned, "--device", "cpu")
    assert "learned from 7 clean cycles" in result.output, result.output


def test_what_cannot_be_used_is_said(workshop, learned, tmp_path):
    (tmp_path / "empty").mkdir()
    small = workshop / "small.yaml"
    result = run("learn", tmp_path / "empty", "--procedure", small, "--out", tmp_path / "x")
    assert result.exit_code == 1 and "holds no cycle" in result.output
    (tmp_path / "wrong").mkdir()
    video = film(tmp_path / "wrong" / "a.mp4", STEPS, 0)
    video.with_suffix(".json").write_text('{"steps": [{"step": "glue", "begin_s": 0, "end_s": 1}]}')
    result = run("learn", tmp_path / "wrong", "--procedure", small, "--out", tmp_path / "x")
    assert result.exit_code == 1 and "has no step 'glue'" in result.output
    result = run("watch", video, "--normal", learned)  # of the small work, not the station
    assert result.exit_code == 1 and "learn anew" in result.output
    result = run("watch", video, "--normal", tmp_path, "--procedure", small)
    assert result.exit_code == 1 and "make one with ./run sop learn" in result.output
    (tmp_path / "no.mp4").write_text("no video")
    result = run("watch", tmp_path / "no.mp4", "--normal", learned, "--procedure", small)
    assert result.exit_code == 1 and "cannot be read as a video" in result.output


def test_the_node_tells_the_steps_that_it_sees(ros, workshop, learned):
    node = ros.start(
        SopFollowerNode,
        procedure=str(workshop / "small.yaml"),
        normal=str(learned),
        device="cpu",
    )
    events = ros.collect(SopEvent, "sop/events", EVENTS)
    outlooks = ros.collect(Outlook, "sop/outlook", SENSOR)
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
    assert outlooks and all(0.0 <= o.risk <= 1.0 and o.next_step in STEPS for o in outlooks)


def test_the_node_does_not_start_without_a_model_of_its_procedure(ros, learned, tmp_path):
    with pytest.raises(StartError, match="make one with ./run sop learn"):
        ros.start(SopFollowerNode, normal=str(tmp_path / "nothing"))
    with pytest.raises(StartError, match="was learned for procedure small, not for station"):
        ros.start(SopFollowerNode, normal=str(learned))


def test_what_the_eyes_say_becomes_sightings():
    found = Detections(
        detections=[Detection(class_name="peg", track_id=3, box=[10.0, 20.0, 30.0, 40.0])]
    )
    (part,) = eyes.parts(found, 100).parts
    assert (part.name, part.track) == ("peg", 3)
    assert part.box == pytest.approx((0.1, 0.2, 0.3, 0.4))
    seen = eyes.surfaces(
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
    (text,) = eyes.texts(
        Texts(texts=[Text(region="label", kind="qr", text="X1", readable=True)]), 100
    ).texts
    assert (text.region, text.kind, text.text, text.readable) == ("label", "qr", "X1", True)
