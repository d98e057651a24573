"""Parameters of the station node; config/station.yaml holds the same defaults."""

from __future__ import annotations

from dataclasses import dataclass

from node_kit.cells import CameraParameters
from node_kit.parameters import parameter

from vjepa_sim.core.station.faults import KINDS


@dataclass
class StationParameters(CameraParameters):
    """Parameters of the station node."""

    cell: str = parameter("station", "cell file, or name of a shipped cell, whose camera this is")
    seed: int = parameter(0, "of the station: camera, labels and all cycles", minimum=0)
    rate_hz: float = parameter(10.0, "of the camera", "Hz", minimum=1.0, maximum=30.0)
    faulty_share: float = parameter(
        0.0, "of the cycles that have a fault nobody asked for", minimum=0.0, maximum=1.0
    )
    first_cycle: int = parameter(
        0, "number of the first one; each has its own light, pace and fault", minimum=0
    )
    restock_share: float = parameter(
        0.0,
        "of the cycles before which the hand puts a part into a bin or takes one out",
        minimum=0.0,
        maximum=1.0,
    )
    next_fault: str = parameter(
        "",
        "fault of the next cycle that begins; then empty again",
        choices=("", *KINDS),
        runtime=True,
    )
    next_detail: str = parameter(
        "",
        "what exactly: of defective_part the defect, of a fault in one step the step; empty: drawn",
        runtime=True,
    )
