"""Promises of the detector: its training, the export, and what it refuses."""

import logging
import shutil
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
import yaml
from perception_pkg.core.detection import training as detector_training
from perception_pkg.core.detection.data import (
    DetectorDataError,
    labelled,
    labels_of,
    read_description,
)
from perception_pkg.core.detection.detector import DetectorConfig, OnnxDetector, letterbox
from perception_pkg.core.labels import to_yolo
from perception_pkg.core.model_folder import ModelError
from perception_pkg.core.recordings import StationRecording
from vjepa_world_model.training.loop import RunError

RECIPE = detector_training.DetectorRecipe(image_px=64, epochs=1, batch=4)


@pytest.fixture(scope="module")
def trained(recording, tmp_path_factory):
    """A data set from the recording, with paths as others write them, and a detector trained on it
    for one epoch."""
    folder = tmp_path_factory.mktemp("training")
    for _ in to_yolo([StationRecording(recording)], folder / "data", 1):
        pass
    path = folder / "data" / "data.yaml"
    description = yaml.safe_load(path.read_text())
    assert description.pop("pairs") == [["screw_m3", "screw_m4"]]  # no M4 was recorded
    description |= {"path": ".", "train": "../images/train", "val": ["images/val"]}
    path.write_text(yaml.safe_dump(description))
    return folder / "data", detector_training.train(folder / "data", folder / "out", RECIPE)


def test_export_and_original_agree(trained):
    import ultralytics

    _, folder = trained
    detector = OnnxDetector(folder)
    original = ultralytics.YOLO(str(folder.parent / "run" / "weights" / "last.pt")).model.eval()
    fed = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    batch = torch.from_numpy(fed.transpose(2, 0, 1)[None].astype(np.float32) / 255)
    with torch.inference_mode():
        expected = original(batch)[0][0].numpy()
    assert detector.raw(fed).shape == expected.shape == (7, 84)
    assert np.allclose(detector.raw(fed), expected, atol=2e-3)


def test_a_finished_training_is_not_begun_again(trained, capfd):
    data, folder = trained
    before = (folder.parent / "run" / "weights" / "last.pt").read_bytes()
    detector_training.train(data, folder.parent, RECIPE)
    assert (folder.parent / "run" / "weights" / "last.pt").read_bytes() == before


def test_a_training_of_another_recipe_or_other_data_is_refused(trained, tmp_path):
    data, folder = trained
    for recipe in (replace(RECIPE, epochs=2), replace(RECIPE, seed=1), replace(RECIPE, batch=2)):
        with pytest.raises(RunError, match="another recipe or other data.*choose another --out"):
            detector_training.train(data, folder.parent, recipe)
    shutil.copytree(data, tmp_path / "data")
    detector_training.train(tmp_path / "data", folder.parent, RECIPE)  # the same, elsewhere
    labels = next((tmp_path / "data" / "labels" / "train").glob("*1.txt"))
    labels.write_text(labels.read_text().replace("2 0.", "1 0."))
    with pytest.raises(RunError, match="data differ from"):
        detector_training.train(tmp_path / "data", folder.parent, RECIPE)


def test_a_pair_that_nobody_asked_for_is_left_out_where_the_pictures_cannot_tell(trained, caplog):
    data, folder = trained
    description = read_description(data)
    assert description.pairs == (("screw_m3", "screw_m4"),) and not description.pairs_listed
    with caplog.at_level(logging.WARNING):
        assert detector_training.fit_pairs(folder, description) == ()
    assert "screw_m3 and screw_m4 cannot be told apart" in caplog.text
    assert OnnxDetector(folder).config.pairs == ()
    with pytest.raises(DetectorDataError, match="validation pictures must show both"):
        detector_training.fit_pairs(folder, replace(description, pairs_listed=True))


def test_a_training_begins_with_the_weights_of_another(trained, tmp_path):
    data, folder = trained
    start = detector_training.read_weights(folder)

    def distance(name, recipe):
        other = detector_training.read_weights(
            detector_training.train(data, tmp_path / name, recipe)
        )
        return sum(float((other[k].float() - v.float()).norm()) for k, v in start.items())

    near = distance("near", replace(RECIPE, start=folder))
    assert 0.0 < near < 0.3 * distance("far", replace(RECIPE, seed=1))


def test_weights_to_begin_with_must_be_there_and_fit(trained, tmp_path):
    data, _ = trained
    with pytest.raises(DetectorDataError, match="no usable weights.safetensors"):
        detector_training.train(data, tmp_path / "out", replace(RECIPE, start=tmp_path))


def test_boxes_are_in_pixels_of_the_picture(detector_folder):
    wide = np.zeros((64, 128, 3), np.uint8)  # scaled by a half, 16 px of margin on top
    parts = OnnxDetector(detector_folder).find(wide)
    assert [part.best for part in parts] == [0, 2, 0]
    assert parts[1].box.tolist() == [40.0, 40.0, 88.0, 64.0]  # the lower edge is cut off


def test_a_part_of_unclear_size_is_as_certain_as_both_its_classes_together(detector_folder):
    image = np.zeros((64, 64, 3), np.uint8)
    parts = OnnxDetector(detector_folder, confidence=0.4).find(image)
    assert [part.confidence for part in parts] == pytest.approx([1.0, 0.8, 0.5])
    assert parts[2].scores.max() == pytest.approx(0.3) and parts[2].best == 0


def test_a_class_may_count_from_another_confidence(detector_folder, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(detector_folder, folder)
    config = replace(DetectorConfig.read(folder), confidence=0.9, confidences={"base": 0.7})
    config.write(folder)
    image = np.zeros((64, 64, 3), np.uint8)
    assert [part.best for part in OnnxDetector(folder).find(image)] == [0, 2]
    everything = OnnxDetector(folder, confidence=0.4).find(image)  # asked for: holds for all
    assert [part.best for part in everything] == [0, 2, 0]
    text = (folder / "config.json").read_text()
    (folder / "config.json").write_text(text.replace('"base": 0.7', '"coin": 0.7'))
    with pytest.raises(ModelError, match="confidences of coin, which are no classes"):
        OnnxDetector(folder)


def test_letterbox_keeps_proportions():
    square, scale, left, top = letterbox(np.full((30, 60, 3), 7, np.uint8), 120)
    assert (scale, left, top) == (2.0, 0, 30)
    assert (square[30:90] == 7).all() and (square[:30] == 114).all()


def test_missing_and_mismatched_models_are_refused(detector_folder, tmp_path):
    with pytest.raises(ModelError, match="no model at .*train detector"):
        OnnxDetector(tmp_path / "nowhere")
    shutil.copytree(detector_folder, tmp_path / "other")
    DetectorConfig(("only",), 64).write(tmp_path / "other")
    with pytest.raises(ModelError, match="1 classes, its model.onnx 3"):
        OnnxDetector(tmp_path / "other")
    (tmp_path / "other" / "model.onnx").write_text("no model")
    with pytest.raises(ModelError, match="no ONNX model"):
        OnnxDetector(tmp_path / "other")


@pytest.fixture
def yolo(tmp_path):
    """`yolo(content)` writes it into the data.yaml of three labelled pictures, one of them for
    validation, and returns the folder."""

    def write(content, **more):
        for name in ("train/images/a", "train/images/nested/b", "valid/images/c"):
            picture = tmp_path / "set" / f"{name}.jpg"
            picture.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(picture), np.zeros((40, 80, 3), np.uint8))
            labels = labels_of(picture)
            labels.parent.mkdir(parents=True, exist_ok=True)
            labels.write_text("1 0.5 0.5 0.25 0.5\n0 0.1 0.1 0.3 0.1 0.2 0.4\n")
        (tmp_path / "set" / "data.yaml").write_text(content)
        for name, text in more.items():
            (tmp_path / "set" / f"{name}.txt").write_text(text)
        return tmp_path / "set"

    return write


LISTS = {
    "train": "./train/images/a.jpg\ntrain/images/nested/b.jpg\n\n",
    "val": "valid/images/c.jpg\n",
}


@pytest.mark.parametrize(
    "places",
    [
        "train: train/images\nval: valid/images",
        "train: ../train/images\nval: ../valid/images",  # as Roboflow writes it
        "path: .\ntrain: train/images\nval: valid/images",
        "path: ../set\ntrain: train/images\nval: valid/images",
        "train: [train/images/nested, train.txt]\nval: [valid]",
        "train: train.txt\nval: val.txt",
    ],
)
def test_data_sets_of_every_layout_are_read(yolo, places, monkeypatch, tmp_path):
    folder = yolo(f"{places}\nnames: [nut, bolt]\n", **LISTS)
    monkeypatch.chdir(tmp_path.parent)  # relative to the data set, not to where one is
    data = read_description(folder)
    names = ["train/images/a.jpg", "train/images/nested/b.jpg", "valid/images/c.jpg"]
    assert data.train + data.val == tuple(folder / name for name in names)
    assert data.names == ("nut", "bolt") and data.pairs == ()
    ((image, boxes, numbers),) = labelled(data.val)
    assert image.shape == (40, 80, 3) and numbers.tolist() == [1, 0]
    # The second label is an outline.
    assert np.allclose(boxes, [[30, 10, 50, 30], [8, 4, 24, 16]])
    resolved = read_description(data.write(tmp_path))
    assert resolved == data


@pytest.mark.parametrize(
    ("names", "pairs"),
    [
        ("names: {0: m3, 1: m4}", (("m3", "m4"),)),
        ("names: [m3, m4]\npairs: []", ()),
        ("names: [m3, m4, nut]\npairs: [[m3, nut]]", (("m3", "nut"),)),
        ("names: [m3, m4, m5]", ()),  # a pair cannot tell three apart
    ],
)
def test_classes_whose_names_differ_in_digits_are_a_pair_unless_the_data_set_says_more(
    yolo, names, pairs
):
    folder = yolo(f"train: train/images\nval: valid/images\n{names}\n")
    assert read_description(folder).pairs == pairs


def test_pictures_that_cannot_be_read_are_left_out(yolo):
    folder = yolo("train: train\nval: valid\nnames: [nut, bolt]\n")
    (folder / "train" / "images" / "a.jpg").write_text("no picture")
    (folder / "train" / "labels" / "nested" / "b.txt").write_text("0 left right\n")
    assert list(labelled(read_description(folder).train)) == []


PLACES = "train: train\nval: valid\n"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "holds no data.yaml"),
        ("names: [a]", "needs train, val and names"),
        ("- a list", "needs train, val and names"),
        ("{train: x, val: x, names: [a]}", "set/x .train of .* is no folder of pictures"),
        (f"{PLACES}names:", "names is None; it lists the classes"),
        (f"{PLACES}names: {{0: a, 2: b}}", "it lists the classes"),
        (f"{PLACES}names: [a, b]\npairs: [[a, c]]", "must be two of"),
        ("train: train/labels\nval: valid\nnames: [a]", "holds no pictures"),
        ("train: list.txt\nval: valid\nnames: [a]", "1 of 2 paths in .* do not exist.*b.jpg"),
        ("train: bare\nval: valid\nnames: [a]", "has labels; those of .*x.jpg would be .*x.txt"),
    ],
)
def test_unusable_data_sets_are_refused(yolo, content, reason):
    folder = yolo(content or "", list="train/images/a.jpg\nb.jpg")
    (folder / "bare").mkdir()
    cv2.imwrite(str(folder / "bare" / "x.jpg"), np.zeros((8, 8, 3), np.uint8))
    if content is None:
        (folder / "data.yaml").unlink()
    with pytest.raises(DetectorDataError, match=reason):
        read_description(folder)
