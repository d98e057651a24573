"""Results as messages. Every number passes through float or int: see node_kit.convert."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from node_kit.convert import finite
from sensor_msgs.msg import Image
from vjepa_interfaces.msg import Defect, Defects, Detection, Detections, Text, Texts

from perception_pkg.core.defects.finder import Inspection
from perception_pkg.core.detection.tracking import TrackedPart
from perception_pkg.core.text.fusing import FusedText


def detections_msg(parts: Sequence[TrackedPart], header: Any, model: str) -> Detections:
    """The parts of the picture with this header."""
    message = Detections(header=header, model=model)
    message.detections = [
        Detection(
            class_name=part.name,
            candidates=list(part.candidates),
            confidence=float(part.confidence),
            track_id=int(part.track),
            box=_numbers(part.box, "box"),
            size_mm=[] if part.size_mm is None else _numbers(part.size_mm, "size_mm"),
        )
        for part in parts
    ]
    return message


def defects_msg(inspection: Inspection, kinds: Sequence[str], header: Any, model: str) -> Defects:
    """The defects of the picture with this header, and their mask."""
    height, width = inspection.mask.shape
    mask = Image(header=header, height=height, width=width, encoding="mono8", step=width)
    mask.data.frombytes(inspection.mask.tobytes())
    message = Defects(header=header, model=model, mask=mask, kinds=list(kinds))
    message.regions = list(inspection.regions)
    message.scores = _numbers(inspection.scores, "scores")
    message.defective = [bool(bad) for bad in inspection.defective]
    message.defects = [
        Defect(
            region=spot.region,
            kind=spot.kind,
            confidence=float(spot.confidence),
            box=_numbers(spot.box, "box"),
            area_px=float(spot.area_px),
            area_mm2=-1.0 if spot.area_mm2 is None else float(spot.area_mm2),
        )
        for spot in inspection.spots
    ]
    return message


def texts_msg(texts: Sequence[FusedText], header: Any) -> Texts:
    """The texts of the picture with this header."""
    message = Texts(header=header)
    message.texts = [
        Text(
            region=text.region,
            kind=text.kind,
            text=text.text,
            confidences=_numbers(text.confidences, "confidences"),
            readable=bool(text.readable),
            matches=bool(text.matches),
            reason=text.reason,
            polygon=_numbers(text.polygon.reshape(-1), "polygon"),
            reads=int(text.reads),
        )
        for text in texts
    ]
    return message


def _numbers(values: Any, name: str) -> list[float]:
    return [float(value) for value in finite(values, name)]
