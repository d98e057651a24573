"""Promises of the files of regions: what they say, and what is refused."""

import json
import re

import numpy as np
import pytest
import yaml
from perception_pkg.core.regions import Region, RegionError, layout_from, load_layout

GOOD = """
size: [100, 80]
mm_per_px: 0.5
regions:
  label: {box: [10, 10, 60, 30], look_for: text, pattern: "M[34]", codes: [QR]}
  plate: {box: [10, 40, 60, 80], look_for: defects, mm_per_px: 0.4}
"""


def test_regions_carry_what_the_file_says(tmp_path):
    (tmp_path / "r.yaml").write_text(GOOD)
    layout = load_layout(tmp_path / "r.yaml")
    assert layout.size == (100, 80) and layout.mm_per_px == 0.5
    assert layout.of("text") == [Region("label", (10, 10, 60, 30), "text", "M[34]", ("qr",), 0.5)]
    (plate,) = layout.of("defects")
    assert plate.mm_per_px == 0.4
    assert plate.crop(np.zeros((80, 100, 3), np.uint8)).shape == (40, 50, 3)


def test_a_procedure_may_hold_the_regions(tmp_path):
    procedure = "procedure: press\nsteps:\n  - {name: pick, detections: [base]}\n"
    (tmp_path / "procedure.yaml").write_text(procedure + GOOD)
    (tmp_path / "r.yaml").write_text(GOOD)
    layout = load_layout(tmp_path / "procedure.yaml")
    assert layout == load_layout(tmp_path / "r.yaml")
    assert layout_from(yaml.safe_load(procedure + GOOD), "press") == layout
    with pytest.raises(RegionError, match="press has no regions"):
        layout_from(yaml.safe_load(procedure), "press")


@pytest.mark.parametrize(
    ("name", "kind"),
    [("qrcode", "qr"), ("QR", "qr"), ("DataMatrix", "datamatrix"), ("EAN-13", "ean13")],
)
def test_kinds_of_code_may_be_spelled_as_zxing_does(name, kind):
    values = yaml.safe_load(GOOD.replace("[QR]", f"[{name}]"))
    assert layout_from(values, "here").of("text")[0].codes == (kind,)


def test_a_recorded_station_serves_as_well(tmp_path):
    station = {
        "schema": 1,
        "size": [480, 360],
        "regions": {"label": [1, 2, 30, 40], "fixture": [50.2, 60, 90, 99.7]},
        "mm_per_px": {"table": 0.5, "fixture": 0.45},
        "label": {"product": "VJ-1", "lot": "L[0-9]{2}", "code": "VJ1L[0-9]{2}", "code_kind": "qr"},
    }
    (tmp_path / "station.json").write_text(json.dumps(station))
    layout = load_layout(tmp_path / "station.json")
    (label,) = layout.of("text")
    assert label.name == "label"
    assert all(re.fullmatch(label.pattern, text) for text in ("VJ-1", "L47", "VJ1L47"))
    assert not re.fullmatch(label.pattern, "VJ-1L47")
    assert layout.of("defects") == [Region("fixture", (50, 60, 90, 100), "defects", mm_per_px=0.45)]
    (tmp_path / "station.json").write_text(json.dumps({**station, "schema": 2}))
    with pytest.raises(RegionError, match="schema 2; 1 is known"):
        load_layout(tmp_path / "station.json")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("[", "cannot be read"),
        ("regions: 3", "has no regions"),
        (GOOD.replace("[10, 10, 60, 30]", "[60, 10, 10, 30]"), "give x0, y0, x1, y1"),
        (GOOD.replace("[10, 10, 60, 30]", "[10, 10, 60]"), "give x0, y0, x1, y1"),
        (GOOD.replace("look_for: text", "look_for: cats"), "look_for is text, part, surface"),
        (GOOD.replace('"M[34]"', '"M[34"'), "unterminated"),
        (GOOD.replace("codes:", "code:"), "unknown entries code"),
        (GOOD.replace("[QR]", "[qrs]"), "unknown kinds of code qrs; known are .*datamatrix.* qr"),
    ],
)
def test_wrong_files_are_refused_with_a_reason(tmp_path, content, reason):
    (tmp_path / "r.yaml").write_text(content)
    with pytest.raises(RegionError, match=reason):
        load_layout(tmp_path / "r.yaml")


def test_pictures_that_the_regions_do_not_fit_are_refused(tmp_path):
    (tmp_path / "r.yaml").write_text(GOOD)
    layout = load_layout(tmp_path / "r.yaml")
    layout.check(np.zeros((80, 100, 3), np.uint8))
    with pytest.raises(RegionError, match="the picture is 200x80, the regions are for 100x80"):
        layout.check(np.zeros((80, 200, 3), np.uint8))
    (tmp_path / "r.yaml").write_text(GOOD.replace("size: [100, 80]", ""))
    with pytest.raises(RegionError, match="region 'label' reaches to"):
        load_layout(tmp_path / "r.yaml").check(np.zeros((80, 50, 3), np.uint8))
