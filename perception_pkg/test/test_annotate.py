"""What is drawn can be read, and hides nothing that is small."""

from __future__ import annotations

import numpy as np
from perception_pkg.core.annotate import draw_parts
from perception_pkg.core.detection.tracking import TrackedPart


def part(track: int, x: int, y: int, size: int = 20) -> TrackedPart:
    box = np.array([x, y, x + size, y + size], float)
    return TrackedPart("screw_m3", ("screw_m3",), 0.9, track, box, None)


def test_labels_cover_no_small_part_and_stay_inside():
    image = np.full((120, 200, 3), 128, np.uint8)
    crowd = [part(i, 5 + 24 * (i % 8), 5 + 24 * (i // 8)) for i in range(32)]
    drawn = draw_parts(image, crowd)
    assert (image == 128).all() and drawn.shape == image.shape
    for p in crowd:
        x0, y0, x1, y1 = p.box.astype(int)
        assert (drawn[y0 + 1 : y1 - 1, x0 + 1 : x1 - 1] == 128).all()


def test_a_part_alone_has_its_label():
    image = np.zeros((120, 200, 3), np.uint8)
    drawn = draw_parts(image, [part(1, 90, 60)])
    assert (drawn == 255).all(-1).any()  # the letters
    outside = drawn.copy()
    outside[60:80, 90:110] = 0
    assert outside.any()
