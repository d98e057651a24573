"""The frozen V-JEPA 2 video encoder on transformers' `VJEPA2Model`, and its preprocessing."""

from __future__ import annotations

import functools

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from transformers import VJEPA2Config, VJEPA2Model
from transformers.models.vjepa2.modeling_vjepa2 import VJEPA2RopeAttention

from vjepa_world_model.model.rotary import RotaryTables, rotary_tables, rotate
from vjepa_world_model.runtime.compiling import RecordedGraph

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
FEATURE_NORM_EPS = 1e-5  # of the non-affine layer norm after encoding and after every prediction


class FrameError(ValueError):
    """Frames cannot be encoded; says which shape or type was wrong and what is expected."""


class Encoder(nn.Module):
    """Frames in, layer-normed patch features out. Its weights never change here."""

    def __init__(self, model: VJEPA2Model, grid: tuple[int, int] | None = None) -> None:
        """`grid`: patches (rows, columns) of pictures that are not square; see `features`."""
        super().__init__()
        self.config: VJEPA2Config = model.config
        side = self.config.crop_size // self.config.patch_size
        self.grid = grid or (side, side)
        """Patches: rows, columns."""
        self._recorded: RecordedGraph | None = None
        self.encoder = model.encoder.eval().requires_grad_(False)
        for layer in self.encoder.layer:
            layer.attention.__class__ = GridAttention
            layer.attention.grid = self.grid

    @property
    def image_size(self) -> int:
        """Side of the square pictures that the encoder sees [px]."""
        return self.config.crop_size

    def forward(self, frames: np.ndarray) -> torch.Tensor:
        """Encode single frames, each as a clip that repeats it (as V-JEPA 2-AC does).

        Args:
            frames: uint8 RGB [B, H, W, 3], any size of at least the patch size.

        Returns:
            float32 [B, N, D] on the encoder's device, layer-normed, patches row-major.
        """
        pixels = preprocess(frames, self.image_size, self._device())
        return self.features(pixels[:, None].expand(-1, self.config.tubelet_size, -1, -1, -1))

    def features(self, clips: torch.Tensor) -> torch.Tensor:
        """Encode clips that are normalised already (see `preprocess`).

        Args:
            clips: float32 [B, T, 3, rows * patch, columns * patch], T a multiple of the tubelet's
                two frames.

        Returns:
            float32 [B, T / 2 * N, D] on the encoder's device, layer-normed, frame by frame.

        Raises:
            FrameError: another shape.
        """
        return normalize_features(self.raw_features(clips))

    @torch.inference_mode(False)
    @torch.no_grad()
    def raw_features(self, clips: torch.Tensor) -> torch.Tensor:
        """As `features`, before the layer norm, in the dtype of the weights."""
        patch, tubelet = self.config.patch_size, self.config.tubelet_size
        picture = (self.config.in_chans, self.grid[0] * patch, self.grid[1] * patch)
        count = clips.shape[1] if clips.ndim == 5 else 0
        if clips.ndim != 5 or tuple(clips.shape[2:]) != picture or not count or count % tubelet:
            raise FrameError(
                f"clips are {list(clips.shape)}, expected [B, T, {', '.join(map(str, picture))}] "
                f"with T a multiple of {tubelet}"
            )
        clips = clips.to(self._device())
        if self._recorded is not None and clips.shape == self._recorded.shape:
            return self._recorded(clips)
        return self._encode(clips)

    def record(self) -> None:
        """Keep the encoding of one picture as a CUDA graph; raises CannotCompile."""
        side = self.image_size
        picture = torch.zeros(1, self.config.tubelet_size, 3, side, side, device=self._device())
        self._recorded = RecordedGraph(self._encode, picture)

    def _encode(self, clips: torch.Tensor) -> torch.Tensor:
        return self.encoder(clips).last_hidden_state

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights."""
        return next(self.encoder.parameters()).dtype

    def _device(self) -> torch.device:
        return next(self.encoder.parameters()).device


class GridAttention(VJEPA2RopeAttention):
    """The attention of `VJEPA2Model` for any patch grid, with rotary tables made once per length.

    The positions of the library hold for square pictures only; here they count rows and columns,
    as the published encoder does (`RoPEAttention` in facebookresearch/vjepa2).
    """

    grid: tuple[int, int]

    def get_position_ids(self, x, masks=None):
        if masks is not None:  # of the pretraining, which sees a part of the patches
            return super().get_position_ids(x, masks)
        frames = x.shape[1] // (self.grid[0] * self.grid[1])
        return _tables(self.grid, self.attention_head_size, frames, x.device, x.dtype)

    def apply_rotary_embeddings(self, qk, pos_ids):
        if not isinstance(pos_ids, RotaryTables):
            return super().apply_rotary_embeddings(qk, pos_ids)
        return rotate(qk, pos_ids)


@functools.lru_cache(maxsize=4)
def _tables(
    grid: tuple[int, int], head_width: int, frames: int, device: torch.device, dtype: torch.dtype
) -> RotaryTables:
    return rotary_tables(grid, 0, head_width, 0, frames, column_step=1.0).to(device, dtype)


def preprocess(frames: np.ndarray, size: int, device: torch.device | str = "cpu") -> torch.Tensor:
    """Largest centre square, bilinear without antialias to `size`, ImageNet normalisation.

    Args:
        frames: uint8 RGB [B, H, W, 3].

    Returns:
        float32 [B, 3, size, size].

    Raises:
        FrameError: wrong type or shape, or an empty picture.
    """
    frames = np.asarray(frames)
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3:
        raise FrameError(
            f"frames are {frames.dtype} {list(frames.shape)}, expected uint8 RGB [B, H, W, 3]"
        )
    height, width = frames.shape[1:3]
    side = min(height, width)
    if len(frames) == 0 or side < 16:
        raise FrameError(f"frames are {width}x{height}, expected at least one of 16x16 or larger")
    top, left = (height - side) // 2, (width - side) // 2
    square = frames[:, top : top + side, left : left + side]
    pixels = torch.from_numpy(np.ascontiguousarray(square)).to(device)
    return normalize_pixels(resize(pixels, size))


def resize(pixels: torch.Tensor, size: int) -> torch.Tensor:
    """uint8 [B, S, S, 3] -> float32 [B, 3, size, size] in 0..255, bilinear without antialias."""
    pixels = pixels.permute(0, 3, 1, 2).float()
    if pixels.shape[-1] == size:
        return pixels
    return F.interpolate(pixels, (size, size), mode="bilinear", align_corners=False)


def normalize_pixels(pixels: torch.Tensor) -> torch.Tensor:
    """float [..., 3, H, W] in 0..255 -> ImageNet-normalised."""
    mean = torch.tensor(IMAGENET_MEAN, device=pixels.device).view(3, 1, 1) * 255.0
    std = torch.tensor(IMAGENET_STD, device=pixels.device).view(3, 1, 1) * 255.0
    return (pixels - mean) / std


def normalize_features(features: torch.Tensor) -> torch.Tensor:
    """The non-affine layer norm of V-JEPA 2-AC over the last dimension, in float32."""
    return F.layer_norm(features.float(), features.shape[-1:], eps=FEATURE_NORM_EPS)
