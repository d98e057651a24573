"""The minimum of a quadratic fitted to scattered samples of an energy."""

from __future__ import annotations

import torch
from torch import Tensor

_TRUST = 2.0  # the minimum is searched within this many times the samples' radius


def coefficients(dimensions: int) -> int:
    """Unknowns of a quadratic in so many dimensions."""
    return (dimensions + 1) * (dimensions + 2) // 2


def fitted_minimum(points: Tensor, energies: Tensor, centre: Tensor) -> Tensor:
    """Where the least-squares quadratic through the samples is lowest, near `centre`.

    Directions along which the fit curves downwards are followed downhill (absolute eigenvalues,
    as in saddle-free Newton methods), never further than twice the samples' distance to `centre`.

    Args:
        points: float32 [K, D].
        energies: float32 [K].
        centre: float32 [D], the best sample.

    Returns:
        float32 [D].
    """
    dimensions = points.shape[1]
    radius = (points - centre).norm(dim=1).max().clamp_min(1e-9)
    offset = ((points - centre) / radius).double()
    rows, columns = torch.triu_indices(dimensions, dimensions)
    terms = torch.cat(
        [torch.ones(len(points), 1), offset, offset[:, rows] * offset[:, columns]], dim=1
    ).double()
    fit = torch.linalg.lstsq(terms, energies.double()[:, None], driver="gelsd").solution[:, 0]

    slope = fit[1 : 1 + dimensions]
    half = torch.zeros(dimensions, dimensions, dtype=torch.double)
    half[rows, columns] = fit[1 + dimensions :]
    curvature, axes = torch.linalg.eigh(half + half.T)
    curvature = curvature.abs()
    curvature = curvature.clamp_min(float(curvature.max()) * 1e-3 + 1e-12)
    step = -(axes @ ((axes.T @ slope) / curvature))
    step = step * (_TRUST / step.norm().clamp_min(_TRUST))
    return centre + radius * step.float()
