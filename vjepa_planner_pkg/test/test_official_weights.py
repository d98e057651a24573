"""`model:=PATH` takes every kind of weights, and a node loads the part that it needs."""

import pytest
import torch
from node_kit.images import to_msg
from node_kit.qos import COMMAND, SENSOR
from sensor_msgs.msg import Image
from transformers import VJEPA2Model
from vjepa_interfaces.msg import Latent
from vjepa_planner_pkg.nodes.composed_planner_node import DirectMpcNode, SharedEncoderNode
from vjepa_planner_pkg.nodes.encoder_node import EncoderNode
from vjepa_planner_pkg.nodes.predictor_node import PredictorNode
from vjepa_world_model.runtime import memory
from vjepa_world_model.weights import official
from vjepa_world_model.weights.checkpoints import load_world_model, open_model

GIVEN = {"device": "cpu", "image_size": 64, "encoder_heads": 2, "predictor_heads": 1}


@pytest.fixture(scope="module")
def kinds(small_model, tmp_path_factory):
    """The small model as an official file, and its encoder as a Hugging Face folder."""
    folder = tmp_path_factory.mktemp("kinds")
    model = load_world_model(small_model, "cpu")
    encoder = official.official_names(model._encoder.encoder.state_dict())
    predictor = model._predictor.state_dict()
    content = {
        "encoder": {f"module.backbone.{k}": v for k, v in encoder.items()},
        "predictor": {f"module.backbone.{k}": v for k, v in predictor.items()},
    }
    torch.save(content, folder / "official.pt")
    VJEPA2Model.from_pretrained(f"{small_model}/encoder").save_pretrained(folder / "library")
    return folder


@pytest.mark.parametrize(
    ("kind", "given"), [("official.pt", GIVEN), ("library", {"device": "cpu"})]
)
def test_the_encoder_takes_every_kind_and_loads_no_predictor(ros, kinds, kind, given):
    encoder = ros.start(EncoderNode, model=str(kinds / kind), **given)
    assert not encoder.model.imagines
    latents = ros.collect(Latent, "latent", COMMAND)
    publisher = ros.publisher(Image, "camera/image_raw", SENSOR)
    picture = to_msg(torch.full((64, 64, 3), 90, dtype=torch.uint8).numpy())
    picture.header.frame_id = "camera_optical_frame"
    ros.wait_for(lambda: publisher.publish(picture) or latents, "a latent")
    assert (latents[0].grid_height, latents[0].width) == (4, 24)


def test_the_predictor_takes_the_official_file_and_loads_no_encoder(ros, kinds):
    node = ros.start(PredictorNode, model=str(kinds / "official.pt"), dtype="bf16", **GIVEN)
    assert node.model.imagines and node.model.grid == (4, 4)
    with pytest.raises(ValueError, match="without its encoder"):
        node.model.encode(torch.zeros(1, 64, 64, 3, dtype=torch.uint8).numpy())


@pytest.mark.parametrize("node", [PredictorNode, SharedEncoderNode])
def test_what_imagines_refuses_an_encoder_without_predictor(ros, kinds, node):
    with pytest.raises(RuntimeError, match="cannot imagine actions"):
        ros.start(node, model=str(kinds / "library"), device="cpu")


def test_a_missing_head_count_is_named(ros, kinds):
    with pytest.raises(RuntimeError, match="give encoder_heads"):
        ros.start(EncoderNode, model=str(kinds / "official.pt"), device="cpu")


@pytest.mark.parametrize("planner", ["fast", "cem"])
def test_gradients_of_the_plans_are_counted_before_the_model_is_loaded(
    ros, small_model, monkeypatch, planner
):
    need = memory.estimate(open_model(small_model), sequences=1, horizon=32, gradients=True)
    left = need.total + memory._RUNTIME_BYTES["cpu"] - 1
    monkeypatch.setattr(memory, "available_bytes", lambda device: left)
    encoder = ros.create(SharedEncoderNode, model=small_model, device="cpu")
    given = {"cell": "panda_sim", "planner": planner, "horizon": 32}
    ros.create(lambda **options: DirectMpcNode(encoder, **options), **given)
    if planner == "cem":
        encoder.start()  # it needs none
        return
    with pytest.raises(RuntimeError, match="sequences of 32 actions or one with its gradient"):
        encoder.start()
