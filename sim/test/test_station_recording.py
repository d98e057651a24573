"""Promises of recordings: the format of docs/reference/station.md, the same again, resumable."""

import json

import av
import cv2
import numpy as np
import pytest
from vjepa_sim.core.station import recording
from vjepa_sim.core.station.faults import KINDS
from vjepa_sim.core.station.procedure import STEPS
from vjepa_sim.core.station.station import Station

FPS = 2.0
STATION = Station(7, ("defective_part",), 1.0, FPS)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A recording of one cycle with a defect."""
    out = tmp_path_factory.mktemp("station") / "out"
    recording.begin(out, STATION)
    recording.record_cycle(out, STATION, 0)
    return out


def pictures(folder):
    with av.open(str(folder / "video.mp4")) as container:
        assert container.streams.video[0].codec.name == "h264"
        return np.stack([f.to_ndarray(format="rgb24") for f in container.decode(video=0)])


def lines(folder):
    return [json.loads(line) for line in (folder / "frames.jsonl").read_text().splitlines()]


def test_station_json_says_what_the_document_says(recorded):
    said = json.loads((recorded / "station.json").read_text())
    assert said["schema"] == 1
    assert (said["size"], said["fps"], said["seed"]) == ([480, 360], FPS, 7)
    assert said["procedure"] == list(STEPS)
    assert {"base", "cover", "screw_m3", "screw_m4", "peg"} <= set(said["classes"])
    assert {"label", "fixture", "presented"} == set(said["regions"])
    for x0, y0, x1, y1 in said["regions"].values():
        assert 0 <= x0 < x1 <= 480 and 0 <= y0 < y1 <= 360
    assert 0.25 < said["mm_per_px"]["label_presented"] < said["mm_per_px"]["table"] < 0.6


def test_frames_and_video_go_together(recorded):
    folder = recorded / "cycle_0000"
    said = lines(folder)
    assert len(pictures(folder)) == len(said) > 40
    assert [line["frame"] for line in said] == list(range(len(said)))
    np.testing.assert_allclose(np.diff([line["t"] for line in said]), 1 / FPS)
    station = json.loads((recorded / "station.json").read_text())
    for line in said:
        assert set(line) == {"frame", "t", "boxes", "texts", "defects"}
        assert len({box["id"] for box in line["boxes"]}) == len(line["boxes"])
        for box in line["boxes"]:
            assert set(box) == {"id", "class", "xyxy", "visible"}
            assert box["class"] in station["classes"] and 0 < box["visible"] <= 1
            x0, y0, x1, y1 = box["xyxy"]
            assert 0 <= x0 < x1 <= 480 and 0 <= y0 < y1 <= 360
        for text in line["texts"]:
            assert set(text) == {"region", "text", "readable", "kind", "polygon"}
            assert text["region"] in station["regions"]
            assert text["kind"] in ("text", "qr", "datamatrix") and np.shape(text["polygon"]) == (
                4,
                2,
            )
    assert any(text["readable"] for line in said for text in line["texts"])


def test_masks_are_there_exactly_where_a_defect_is_seen(recorded):
    folder = recorded / "cycle_0000"
    masks = {int(path.stem): cv2.imread(str(path), -1) for path in (folder / "masks").iterdir()}
    seen = {line["frame"]: line["defects"] for line in lines(folder) if line["defects"]}
    assert masks.keys() == seen.keys() and len(seen) > 10
    for frame, mask in masks.items():
        (defect,) = seen[frame]
        assert {"id", "kind", "xyxy", "area_mm2"} <= defect.keys()
        value = {"scratch": 1, "crack": 2, "missing_corner": 3}[defect["kind"]]
        assert mask.dtype == np.uint8 and mask.shape == (360, 480)
        assert set(np.unique(mask)) == {0, value}
        x0, y0, x1, y1 = defect["xyxy"]
        assert (mask[y0:y1, x0:x1] > 0).sum() == (mask > 0).sum()


def test_cycle_json_names_steps_faults_and_label(recorded):
    said = json.loads((recorded / "cycle_0000" / "cycle.json").read_text())
    assert said["clean"] is False
    assert {step["step"] for step in said["steps"]} <= set(STEPS)
    (fault,) = said["faults"]
    assert fault.keys() == {"kind", "visible_s", "begin_s", "end_s", "step", "detail"}
    assert fault["kind"] in KINDS and fault["begin_s"] <= fault["visible_s"] <= fault["end_s"]
    texts = {t["text"] for line in lines(recorded / "cycle_0000") for t in line["texts"]}
    assert texts == {said["label"][name] for name in ("product", "lot", "code")}


def test_the_same_seed_gives_the_same_pixels_and_another_one_others(recorded, tmp_path):
    recording.begin(tmp_path / "again", STATION)
    recording.record_cycle(tmp_path / "again", STATION, 0)
    first, again = recorded / "cycle_0000", tmp_path / "again" / "cycle_0000"
    names = sorted(path.relative_to(first) for path in first.rglob("*") if path.is_file())
    assert names == sorted(path.relative_to(again) for path in again.rglob("*") if path.is_file())
    for name in names:
        assert (first / name).read_bytes() == (again / name).read_bytes(), name
    other = Station(8, STATION.kinds, 1.0, FPS).cycle(0)
    assert np.abs(other.frame(0).image.astype(int) - pictures(first)[0]).mean() > 5
    other.close()


def test_an_interrupted_cycle_leaves_no_folder_and_is_missing(tmp_path, monkeypatch):
    out = tmp_path / "out"
    recording.begin(out, STATION)

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(recording, "frame_truth", stop)
    with pytest.raises(KeyboardInterrupt):
        recording.record_cycle(out, STATION, 0)
    assert [path.name for path in out.iterdir()] == ["station.json"]
    assert recording.missing(out, 2) == [0, 1]


def test_a_recording_goes_on_and_forgets_what_killed_workers_left(recorded):
    (recorded / ".cycle_0001.99999999.part").mkdir()
    recording.begin(recorded, STATION)
    assert recording.missing(recorded, 3) == [1, 2]
    assert not list(recorded.glob(".cycle*"))


def test_a_folder_of_something_else_is_refused(recorded, tmp_path):
    with pytest.raises(recording.FilmingError, match="its fps, recipe differ"):
        recording.begin(recorded, Station(7))
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(recording.FilmingError, match="is no recording of a station"):
        recording.begin(tmp_path, STATION)
    (tmp_path / "station.json").write_text("{")
    with pytest.raises(recording.FilmingError, match="is not JSON"):
        recording.begin(tmp_path, STATION)
