"""Small world models with random weights, and the parity fixtures where they are at hand."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import VJEPA2Config, VJEPA2Model
from vjepa_world_model.model.predictor import ActionConditionedPredictor, PredictorConfig

ROOT = Path(__file__).resolve().parents[4]


@pytest.fixture(scope="session")
def fixtures() -> Path:
    """Outputs of the reference implementation; they are not part of the repository."""
    folder = ROOT.parent / "shared" / "fixtures"
    if not folder.is_dir():
        pytest.skip("the parity fixtures are not on this machine")
    return folder


@pytest.fixture()
def small_parts() -> tuple[VJEPA2Model, ActionConditionedPredictor]:
    """An encoder for 32 px pictures (2 x 2 patches, width 24) and a predictor that fits."""
    torch.manual_seed(0)
    encoder = VJEPA2Model(
        VJEPA2Config(
            patch_size=16,
            crop_size=32,
            frames_per_clip=2,
            tubelet_size=2,
            hidden_size=24,
            num_attention_heads=2,
            num_hidden_layers=2,
            pred_hidden_size=24,
            pred_num_attention_heads=2,
            pred_num_hidden_layers=1,
            pred_num_mask_tokens=1,
        )
    )
    predictor = ActionConditionedPredictor(PredictorConfig((2, 2), 24, 36, 2, 2))
    return encoder.eval(), predictor.eval()
