"""Promises of `./run label` and `./run perceive`, over a recording as the station writes it; and
that `./run train` says why it refuses."""

import itertools
import json
import shutil

import cv2
import numpy as np
import pytest
import yaml
from perception_pkg.commands.label import label
from perception_pkg.commands.perceive import perceive
from perception_pkg.commands.train import defects, detector
from perception_pkg.core.defects.data import read_folder
from perception_pkg.core.recordings import StationRecording, StationRecordingError
from typer import Typer
from typer.testing import CliRunner
from vjepa_world_model.data.video import VideoReader


@pytest.fixture(scope="module")
def call():
    """Calls a command as `./run` does: `call(label, ...)` returns exit code and output."""

    def run(command, *arguments):
        app = Typer()
        app.command()(command)
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        return result.exit_code, " ".join(result.output.split())

    return run


def test_a_recording_becomes_a_yolo_data_set(call, recording, tmp_path):
    out = tmp_path / "data"
    assert call(label, recording, "--out", out, "--every", 1)[0] == 0
    description = yaml.safe_load((out / "data.yaml").read_text())
    assert description["names"] == {0: "screw_m3", 1: "screw_m4", 2: "base"}
    assert description["pairs"] == [["screw_m3", "screw_m4"]]
    assert description["mm_per_px"] == 0.5
    pictures = sorted(path.name for path in (out / "images").rglob("*.jpg"))
    assert len(pictures) == 12
    assert len(list((out / "images" / "val").iterdir())) == 6  # one whole cycle
    # In every second picture the screw is hidden.
    lines = (out / "labels" / "train" / "cycle_0000_000001.txt").read_text().splitlines()
    numbers = np.array([line.split() for line in lines], float)
    assert numbers[:, 0].tolist() == [2, 0]
    assert numbers[0, 1:] * (128, 96, 128, 96) == pytest.approx([48, 64, 56, 48], abs=1e-3)
    hidden = (out / "labels" / "train" / "cycle_0000_000002.txt").read_text().splitlines()
    assert len(hidden) == 1


def test_of_faulty_cycles_only_pictures_that_show_the_fault_may_be_taken(call, recording, tmp_path):
    out = tmp_path / "data"
    options = ("--out", out, "--every", 1, "--faults-only")
    code, said = call(label, recording, *options)
    assert code == 0 and said.endswith(f"6 pictures in {out}")
    names = {path.stem[-6:] for path in (out / "images").rglob("*.jpg")}
    assert names == {"000003", "000004", "000005"}


def test_a_recording_becomes_folders_of_defects(call, recording, tmp_path):
    out = tmp_path / "data"
    assert call(label, recording, "--out", out, "--defects", "--every", 1)[0] == 0
    samples = read_folder(out)
    assert sorted(s.kind for s in samples) == ["free"] * 6 + ["scratch"] * 6
    scratch = next(s for s in samples if s.kind == "scratch")
    assert scratch.image.shape == (64, 64, 3)
    assert scratch.mask.sum() == 3 * 30
    assert scratch.image[scratch.mask].mean() > scratch.image[~scratch.mask].mean() + 50


def test_several_recordings_become_one_data_set(call, recording, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(recording, other)
    assert call(label, recording, other, "--out", tmp_path / "data", "--every", 3)[0] == 0
    names = {path.stem for path in (tmp_path / "data" / "images").rglob("*.jpg")}
    expected = itertools.product(("two", "other"), (0, 1), (0, 3))
    assert names == {f"{r}_cycle_000{cycle}_00000{number}" for r, cycle, number in expected}


def test_recordings_that_do_not_fit_are_refused(call, recording, tmp_path):
    code, text = call(label, tmp_path, "--out", tmp_path / "data")
    assert code == 1 and "is no recording of a station" in text
    code, text = call(label, recording, "--out", recording)
    assert code == 1 and "is not empty" in text
    broken = tmp_path / "broken"
    shutil.copytree(recording, broken)
    lines = (broken / "cycle_0000" / "frames.jsonl").read_text().splitlines()
    (broken / "cycle_0000" / "frames.jsonl").write_text("\n".join(lines[:4]))
    source = StationRecording(broken)
    with pytest.raises(StationRecordingError, match="6 pictures and 4 lines"):
        list(source.frames(source.cycles[0]))
    cv2.imwrite(str(broken / "cycle_0001" / "masks" / "000003.png"), np.zeros((3, 3), np.uint8))
    with pytest.raises(StationRecordingError, match="does not fit its picture"):
        list(source.frames(source.cycles[1]))


def test_a_video_is_annotated_and_described(
    call, recording, detector_folder, defect_folder, tmp_path
):
    code, _ = call(
        perceive, recording / "cycle_0000" / "video.mp4", "--out", tmp_path, "--threads", 1,
        "--regions", recording / "station.json", "--detector", detector_folder,
        "--defects", defect_folder,
    )  # fmt: skip
    assert code == 0
    lines = [json.loads(x) for x in (tmp_path / "results.jsonl").read_text().splitlines()]
    assert [line["frame"] for line in lines] == list(range(6))
    assert lines[1]["t"] == pytest.approx(0.1)
    names = [part["name"] for part in lines[0]["detections"]]
    assert names == ["screw_m3", "base", "unknown"]
    assert lines[0]["detections"][0]["size_mm"] is not None
    assert [region["region"] for region in lines[0]["regions"]] == ["fixture"]
    assert lines[0]["texts"][0]["reason"] == "no text or code found"
    with VideoReader(tmp_path / "annotated.mp4") as film:
        assert film.size == (128, 96)
        assert len(list(film.frames())) == 6


def test_fewer_pictures_are_looked_at_on_request(call, recording, detector_folder, tmp_path):
    video = recording / "cycle_0000" / "video.mp4"
    options = ("--detector", detector_folder, "--rate", 5, "--threads", 1, "--out", tmp_path)
    assert call(perceive, video, *options)[0] == 0
    lines = [json.loads(x) for x in (tmp_path / "results.jsonl").read_text().splitlines()]
    assert [line["t"] for line in lines] == pytest.approx([0.0, 0.2, 0.4])


def test_the_film_is_never_faster_than_the_video(call, recording, detector_folder, tmp_path):
    video = recording / "cycle_0000" / "video.mp4"
    options = ("--detector", detector_folder, "--rate", 30, "--threads", 1, "--out", tmp_path)
    assert call(perceive, video, *options)[0] == 0
    with VideoReader(video) as source, VideoReader(tmp_path / "annotated.mp4") as film:
        assert film.fps == source.fps
        assert len(list(film.frames())) == 6


def test_what_is_no_video_or_does_not_fit_is_refused(
    call, recording, detector_folder, defect_folder, tmp_path
):
    models = ("--detector", detector_folder, "--defects", defect_folder, "--out", tmp_path / "o")
    (tmp_path / "text.mp4").write_text("no video")
    code, text = call(perceive, tmp_path / "text.mp4", *models)
    assert code == 1 and "cannot be read as a video" in text
    video = recording / "cycle_0000" / "video.mp4"
    regions = tmp_path / "regions.yaml"
    regions.write_text("{size: [640, 480], regions: {a: {box: [0, 0, 9, 9], look_for: defects}}}")
    code, text = call(perceive, video, *models, "--regions", regions)
    assert code == 1 and "the picture is 128x96, the regions are for 640x480" in text
    assert not (tmp_path / "o" / "results.jsonl").exists()
    code, text = call(perceive, video, "--detector", tmp_path / "none", "--out", tmp_path / "o")
    assert code == 1 and "no model at" in text


def test_a_training_says_why_it_refuses(call, recording, tmp_path):
    options = ("--device", "cpu", "--threads", 1, "--out", tmp_path / "out")
    call(label, recording, "--out", tmp_path / "parts", "--every", 3)
    (tmp_path / "out" / "run" / "weights").mkdir(parents=True)
    (tmp_path / "out" / "run" / "weights" / "last.pt").touch()  # nobody knows of which recipe
    code, text = call(detector, tmp_path / "parts", *options)
    assert code == 1 and "train detector: " in text and "another recipe or other data" in text
    call(label, recording, "--out", tmp_path / "crops", "--defects", "--every", 3)
    shutil.rmtree(tmp_path / "crops" / "scratch")
    code, text = call(defects, tmp_path / "crops", *options)
    assert code == 1 and "train defects: no picture of a defect has a mask" in text
