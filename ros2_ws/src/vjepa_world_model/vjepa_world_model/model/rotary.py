"""Rotary positions of V-JEPA 2: tables for every token, and turning queries and keys by them.

Each axis (depth, height, width) rotates 2 * ((head width // 3) // 2) dimensions of a head; the
rest, which may be an odd number, stays as it is. As published, the tables of sine and cosine are
tiled (f0..fn, f0..fn) although the rotated pairs are interleaved (2i, 2i + 1): the two of a pair
turn by different frequencies.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

ROTARY_THETA = 10000.0


class RotaryTables(NamedTuple):
    """Factors of `rotate`, each [tokens, width]; where nothing rotates 1, 0 and 0.

    Attributes:
        cosine: of every dimension.
        from_next: minus the sine in the even dimensions, which take in the one after them.
        from_previous: the sine in the odd ones, which take in the one before.
    """

    cosine: torch.Tensor
    from_next: torch.Tensor
    from_previous: torch.Tensor

    def to(self, device: torch.device, dtype: torch.dtype) -> RotaryTables:
        """The same elsewhere, or in another dtype."""
        return RotaryTables(*(table.to(device, dtype) for table in self))

    def tiled(self, heads: int) -> RotaryTables:
        """For `heads` heads side by side: [tokens, heads * width]."""
        return RotaryTables(*(table.repeat(1, heads) for table in self))

    def at(self, tokens: torch.Tensor) -> RotaryTables:
        """Those of some tokens."""
        return RotaryTables(*(table[tokens] for table in self))


def rotary_tables(
    grid: tuple[int, int],
    conditions: int,
    head_dim: int,
    first_frame: int,
    frames: int,
    column_step: float | None = None,
) -> RotaryTables:
    """Tables [frames * (conditions + rows * columns), head_dim] of patches row-major on `grid`.

    Conditioning tokens, which stand in front of each frame's patches, rotate in depth only. As
    published, positions across are stretched to the number of rows on a grid that is not square,
    unless `column_step`, the distance between two columns, is given.
    """
    axis = 2 * ((head_dim // 3) // 2)
    rows, columns = grid
    depth = torch.arange(first_frame, first_frame + frames).repeat_interleave(
        conditions + rows * columns
    )
    height = torch.cat([torch.zeros(conditions), torch.arange(rows).repeat_interleave(columns)])
    width = torch.cat([torch.zeros(conditions), torch.arange(columns).repeat(rows)])
    width = width * (rows / columns if column_step is None else column_step)
    frequencies = ROTARY_THETA ** -(torch.arange(axis // 2, dtype=torch.float32) / (axis / 2.0))
    angles = torch.zeros(len(depth), head_dim)
    for index, position in enumerate((depth, height.repeat(frames), width.repeat(frames))):
        turns = (position.float()[:, None] * frequencies).repeat(1, 2)
        angles[:, index * axis : (index + 1) * axis] = turns
    sine = angles.sin()
    even = torch.arange(head_dim) % 2 == 0
    return RotaryTables(angles.cos(), -sine * even, sine * ~even)


def rotate(x: torch.Tensor, tables: RotaryTables) -> torch.Tensor:
    """Rotate the pairs (2i, 2i + 1) of x [..., tokens, width]; heads may stand side by side.

    Three passes over whole rows: several times faster than taking the pairs apart, above all on a
    CPU. A compiler makes one pass of what stands in one expression, and none of views written to.
    """
    cosine, from_next, from_previous = (table.to(x.dtype) for table in tables)
    if torch.compiler.is_compiling():
        return x * cosine + x.roll(-1, -1) * from_next + x.roll(1, -1) * from_previous
    rotated = x * cosine
    rotated[..., :-1].addcmul_(x[..., 1:], from_next[..., :-1])
    rotated[..., 1:].addcmul_(x[..., :-1], from_previous[..., 1:])
    return rotated
