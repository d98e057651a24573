"""Promises of the defect model: data, training, export, regions and measures."""

import shutil
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from perception_pkg.core.defects import training as defect_training
from perception_pkg.core.defects import unet
from perception_pkg.core.defects.config import DefectConfig, normalise, resize, target_size
from perception_pkg.core.defects.data import DefectDataError, folds, kinds_of, read_folder
from perception_pkg.core.defects.finder import DefectFinder, label
from perception_pkg.core.defects.metrics import DefectScores, auroc
from perception_pkg.core.model_folder import ModelError
from perception_pkg.core.regions import Region
from vjepa_world_model.training.loop import RunError

CPU = torch.device("cpu")
RECIPE = defect_training.DefectRecipe(
    iterations=3, batch=2, crop_px=64, area_px=64 * 64, pretrained=False
)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Three pictures of each of two kinds, and three without defect."""
    folder = tmp_path_factory.mktemp("defects")
    rng = np.random.default_rng(0)
    for kind in ("crack", "spot", "free"):
        (folder / kind).mkdir()
        for number in range(3):
            image = rng.normal(120, 4, (70, 90, 3))
            mask = np.zeros((70, 90), np.uint8)
            if kind != "free":
                mask[20 : 24 if kind == "crack" else 44, 20:50] = 255
                image[mask > 0] -= 60
                cv2.imwrite(str(folder / kind / f"{number}.png"), mask)
            cv2.imwrite(str(folder / kind / f"{number}.jpg"), image)
    return folder


def test_a_patch_counts_as_a_whole_if_it_is_certain_somewhere():
    any_defect = np.zeros((8, 12), np.float32)
    any_defect[1:4, 1:5], any_defect[1:4, 7:11] = 0.6, 0.6
    any_defect[2, 3] = 0.95
    maps = np.stack([1.0 - any_defect, 0.2 * any_defect, 0.8 * any_defect])
    both, certain = label(maps, 0.5, 0.5), label(maps, 0.5, 0.9)
    assert both.sum() == 2 * 24 and both.max() == 2
    assert np.array_equal(certain[:, :6], both[:, :6]) and not certain[:, 6:].any()
    assert not label(maps, 0.7, 0.99).any()


def test_pictures_come_with_kind_and_mask(data):
    samples = read_folder(data)
    assert kinds_of(samples) == ("crack", "spot")
    assert [s.kind for s in samples] == ["crack"] * 3 + ["free"] * 3 + ["spot"] * 3
    assert samples[0].mask.sum() == 4 * 30 and not samples[3].mask.any()


def test_unusable_folders_are_refused(data, tmp_path):
    with pytest.raises(DefectDataError, match="no folder"):
        read_folder(tmp_path / "nowhere")
    with pytest.raises(DefectDataError, match="no subfolder"):
        read_folder(tmp_path)
    (tmp_path / "crack").mkdir()
    cv2.imwrite(str(tmp_path / "crack" / "a.jpg"), np.zeros((8, 8), np.uint8))
    with pytest.raises(DefectDataError, match="has no mask"):
        read_folder(tmp_path)
    cv2.imwrite(str(tmp_path / "crack" / "a.png"), np.zeros((8, 9), np.uint8))
    with pytest.raises(DefectDataError, match="9x8, its picture 8x8"):
        read_folder(tmp_path)
    (tmp_path / "crack" / "a.jpg").write_text("no picture")
    with pytest.raises(DefectDataError, match="cannot be read"):
        read_folder(tmp_path)
    with pytest.raises(DefectDataError, match="kinds spot, which the model does not know"):
        read_folder(data, kinds=("crack",))


def test_folds_hold_every_picture_once_and_every_kind(data):
    samples = read_folder(data)
    parts = folds(samples, 3, seed=0)
    assert sorted(i for part in parts for i in part) == list(range(9))
    assert all({samples[i].kind for i in part} == {"crack", "spot", "free"} for part in parts)
    with pytest.raises(DefectDataError, match="cannot be spread over 4 folds"):
        folds(samples, 4, seed=0)


def test_crops_are_repeatable_and_show_their_kind(data):
    samples = read_folder(data)
    crops = defect_training.Crops(samples, ("crack", "spot"), RECIPE)
    images, targets = crops.batch(7)
    again, _ = crops.batch(7)
    assert images.shape == (2, 3, 64, 64) and targets.shape == (2, 64, 64)
    assert torch.equal(images, again) and not torch.equal(images, crops.batch(8)[0])
    seen = {int(v) for i in range(30) for v in crops.batch(i)[1].unique()}
    assert seen == {0, 1, 2}


def test_an_interrupted_training_goes_on_to_the_same_weights(data, tmp_path, monkeypatch):
    samples, kinds = read_folder(data), ("crack", "spot")
    whole = defect_training.train(samples, kinds, tmp_path / "whole", RECIPE, CPU)

    real = defect_training.Crops.batch

    def stop(self, iteration):
        if iteration == 2:
            raise KeyboardInterrupt
        return real(self, iteration)

    monkeypatch.setattr(defect_training.Crops, "batch", stop)
    with pytest.raises(KeyboardInterrupt):
        defect_training.train(samples, kinds, tmp_path / "cut", RECIPE, CPU)
    monkeypatch.undo()
    resumed = defect_training.train(samples, kinds, tmp_path / "cut", RECIPE, CPU)
    name = "segmentation_head.0.weight"
    assert torch.allclose(whole.state_dict()[name], resumed.state_dict()[name], atol=1e-5)
    with pytest.raises(RunError, match="another recipe"):
        defect_training.train(samples, kinds, tmp_path / "cut", replace(RECIPE, seed=1), CPU)
    samples[0].mask[30:34, 20:50] = True  # corrected, as many pictures as before
    with pytest.raises(RunError, match="another recipe"):
        defect_training.train(samples, kinds, tmp_path / "cut", RECIPE, CPU)


@pytest.mark.parametrize("kept", [("free",), ("free", "crack"), ("crack",)])
def test_pictures_that_mark_no_defect_are_refused(data, tmp_path, kept):
    samples = [sample for sample in read_folder(data) if sample.kind in kept]
    for sample in samples:
        sample.mask[:] = False
        sample.mask[0, :5] = sample.kind != "free"
    with pytest.raises(DefectDataError, match="marks 6 pixels or more.*subfolder per kind"):
        defect_training.train(samples, kinds_of(samples), tmp_path / "out", RECIPE, CPU)
    assert not (tmp_path / "out").exists()


def test_a_training_begins_with_the_weights_of_another(data, tmp_path):
    samples, kinds = read_folder(data), ("crack", "spot")
    first = defect_training.train(samples, kinds, tmp_path / "first", RECIPE, CPU)
    unet.save(tmp_path / "model", first, DefectConfig(kinds))
    recipe = replace(RECIPE, iterations=1, learning_rate=0.0, start=str(tmp_path / "model"))
    second = defect_training.train(samples, kinds, tmp_path / "second", recipe, CPU)
    for before, after in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.allclose(before, after, atol=1e-6)
    with pytest.raises(ModelError, match="finds crack, spot"):
        defect_training.train(samples, ("crack", "hole"), tmp_path / "third", recipe, CPU)


@pytest.mark.parametrize("size", [(64, 64), (50, 80)])
def test_export_and_original_agree(defect_folder, size):
    model, config = unet.load(defect_folder)
    image = np.random.default_rng(0).integers(0, 255, (*size, 3), np.uint8)
    fed = normalise(resize(image, target_size(*size, config.area_px))[None])
    with torch.inference_mode():
        logits, whole = model(torch.from_numpy(fed))
    expected = cv2.resize(logits.softmax(1)[0].numpy().transpose(1, 2, 0), size[::-1])
    maps, score = DefectFinder(defect_folder).probabilities(image)
    assert np.allclose(maps, expected.transpose(2, 0, 1), atol=1e-4)
    assert score == pytest.approx(float(whole.sigmoid()), abs=1e-4)


def test_defects_have_place_and_area_in_the_whole_picture(defect_folder):
    image = np.random.default_rng(1).integers(0, 255, (100, 160, 3), np.uint8)
    regions = [
        Region("left", (10, 20, 74, 84), "defects", mm_per_px=0.5),
        Region("right", (90, 20, 154, 84), "defects"),
    ]
    seen = DefectFinder(defect_folder).inspect(image, regions)
    assert seen.regions == ("left", "right") and seen.defective == (True, True)
    assert seen.mask.shape == (100, 160) and not seen.mask[:20].any()
    assert seen.spots
    for spot in seen.spots:
        x0, y0, x1, y1 = spot.box
        region = regions[0] if spot.region == "left" else regions[1]
        assert region.box[0] <= x0 < x1 <= region.box[2]
        assert spot.area_px <= (x1 - x0) * (y1 - y0)
        expected = spot.area_px * 0.25 if spot.region == "left" else None
        assert spot.area_mm2 == expected


def test_a_missing_or_damaged_model_is_refused(tmp_path):
    with pytest.raises(ModelError, match="train defects"):
        DefectFinder(tmp_path)
    DefectConfig(("crack",)).write(tmp_path)
    with pytest.raises(ModelError, match="model.onnx is missing"):
        DefectFinder(tmp_path)
    with pytest.raises(ModelError, match="cannot be used"):
        unet.load(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ModelError, match="damaged"):
        DefectFinder(tmp_path)


def test_a_config_of_another_training_is_refused(defect_folder, tmp_path):
    shutil.copytree(defect_folder, tmp_path / "other")
    DefectConfig(("crack",)).write(tmp_path / "other")
    with pytest.raises(ModelError, match="1 kinds of defect, its model.onnx 2"):
        DefectFinder(tmp_path / "other")


def test_iou_is_summed_over_the_pictures_of_a_kind():
    scores = DefectScores(("crack", "spot"))
    truth = np.zeros((10, 10), bool)
    truth[:2] = True
    found = np.zeros((10, 10), int)
    found[:1] = 1  # crack
    scores.add("crack", truth, found, 0.9)  # 10 of 20
    scores.add("crack", truth, np.where(truth, 1, 0), 0.8)  # 20 of 20
    scores.add("spot", truth, np.where(truth, 1, 0), 0.3)  # found, under another name
    scores.add("free", np.zeros((10, 10), bool), np.zeros((10, 10), int), 0.5)
    summary = scores.summary()
    assert summary["kinds"]["crack"]["iou"] == pytest.approx(30 / 40)
    assert summary["kinds"]["spot"]["iou"] == 1.0
    assert summary["kinds"]["spot"]["named_iou"] == 0.0
    assert summary["mean_iou"] == pytest.approx(0.875)
    assert summary["auroc"] == pytest.approx(2 / 3)
    scores.add("crack", np.zeros((10, 10), bool), found, 0.95)  # nobody knows where it is
    assert scores.summary()["kinds"]["crack"]["iou"] == summary["kinds"]["crack"]["iou"]
    assert scores.summary()["kinds"]["crack"]["not_marked"] == 1
    assert scores.summary()["auroc"] == pytest.approx(3 / 4)


def test_auroc_counts_ties_half():
    assert auroc([0.5], [0.5]) == 0.5
    assert auroc([0.9, 0.2], [0.1]) == 1.0
    assert auroc([], [0.1]) is None


def test_imagenet_weights_are_loaded_into_the_encoder():
    pretrained, fresh = unet.build(1, pretrained=True).eval(), unet.build(1).eval()
    name = "encoder.model.blocks.2.1.bn2.running_var"
    assert not torch.equal(pretrained.state_dict()[name], fresh.state_dict()[name])
    with torch.inference_mode():
        features = pretrained.encoder(torch.rand(1, 3, 64, 64) * 2 - 1)
    assert all(torch.isfinite(level).all() and level.std() > 1e-3 for level in features[1:])
