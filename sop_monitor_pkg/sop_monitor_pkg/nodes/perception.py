"""Messages of the perception nodes as sightings. `time_s` is 0: the stamp counts."""

from __future__ import annotations

from vjepa_interfaces.msg import Defects, Detections, Texts

from sop_monitor_pkg.core.tracks.sightings import SeenPart, SeenText, Sighting


def parts(message: Detections, width: int) -> Sighting:
    """For pictures of this width [px]."""
    found = tuple(
        SeenPart(
            d.class_name,
            d.track_id,
            tuple(float(v) / width for v in d.box),
            tuple(d.candidates),
            float(d.confidence),
        )
        for d in message.detections
    )
    return Sighting(0.0, parts=found)


def surfaces(message: Defects, width: int) -> Sighting:
    """Scores of the inspected regions, and the kind of the first defect in each."""
    scores = dict(zip(message.regions, (float(score) for score in message.scores)))
    kinds = {d.region: d.kind for d in reversed(message.defects)}
    return Sighting(0.0, scores=scores, defect_kinds=kinds)


def texts(message: Texts, width: int) -> Sighting:
    """Texts and codes."""
    found = tuple(SeenText(t.region, t.kind, t.text, t.readable) for t in message.texts)
    return Sighting(0.0, texts=found)
