"""Promises of the detector: its training, the export, and what it refuses."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
import yaml
from perception_pkg.core import detector_training
from perception_pkg.core.detector import DetectorConfig, OnnxDetector, letterbox
from perception_pkg.core.labels import to_yolo
from perception_pkg.core.model_folder import ModelError
from perception_pkg.core.recordings import Recording

RECIPE = detector_training.DetectorRecipe(image_px=64, epochs=1, batch=4)


@pytest.fixture(scope="module")
def trained(recording, tmp_path_factory):
    """A data set from the recording, and a detector trained on it for one epoch."""
    folder = tmp_path_factory.mktemp("training")
    for _ in to_yolo([Recording(recording)], folder / "data", 1):
        pass
    path = folder / "data" / "data.yaml"
    description = yaml.safe_load(path.read_text())
    assert description.pop("pairs") == [["screw_m3", "screw_m4"]]  # no M4 was recorded
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
    with pytest.raises(detector_training.DetectorDataError, match="no usable weights.safetensors"):
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


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "holds no data.yaml"),
        ("names: [a]", "needs train, val and names"),
        ("{train: x, val: x, names: [a]}", "holds no pictures"),
        ("- a list", "needs train, val and names"),
    ],
)
def test_unusable_data_sets_are_refused(tmp_path, content, reason):
    if content is not None:
        (tmp_path / "data.yaml").write_text(content)
    with pytest.raises(detector_training.DetectorDataError, match=reason):
        detector_training.read_description(tmp_path)
