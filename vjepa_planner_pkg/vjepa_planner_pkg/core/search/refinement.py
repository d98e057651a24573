"""Down the gradient of the energy, in the box of allowed actions: every action on its own."""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import minimize

from vjepa_planner_pkg.core.search.evaluations import Evaluations, OutOfTime

_ENOUGH = 5e-6  # a step that gains a smaller share of the drop so far is the last one


def refine(ledger: Evaluations, steps: int) -> bool:
    """Quasi-Newton steps (L-BFGS-B) from the best point; what they score is in the ledger.

    Args:
        steps: gradients at most.

    Returns:
        Whether it ended because there was hardly anything left to gain.
    """
    best = int(ledger.energies.argmin())
    # In units of the drop so far, so that one limit serves every model.
    drop = float(ledger.energies[0] - ledger.energies[best])
    scale = 1.0 / max(drop, 1e-3 * abs(float(ledger.energies[0])), 1e-12)

    def energy(point: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = ledger.gradient(torch.from_numpy(point).float())
        return value * scale, gradient.double().numpy() * scale

    try:
        end = minimize(
            energy,
            ledger.points[best].double().numpy(),
            jac=True,
            method="L-BFGS-B",
            bounds=[(-1.0, 1.0)] * ledger.points.shape[1],
            # SciPy's tolerance is relative to the larger of the value and one.
            options={"maxfun": steps, "ftol": _ENOUGH},
        )
    except OutOfTime:
        return False
    return end.status == 0
