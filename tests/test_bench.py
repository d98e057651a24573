"""`./run bench`: what it prints, and that lost pictures show in the exit code."""

from __future__ import annotations

import json
import re

import cv2
import numpy as np
import pytest
from benchmarks.calibration import chosen, whole_numbers

TIMEOUT_S = 240.0


@pytest.mark.alone
def test_no_picture_is_lost_between_two_processes(command):
    run = command("benchmarks.cli", "bench", "transport", "--seconds", 3)
    output, _ = run.communicate(timeout=TIMEOUT_S)
    assert "sent 90, received 90, lost 0" in output
    assert re.search(r"p50 [\d.]+ ms, p99 [\d.]+ ms", output)
    assert run.returncode == 0


@pytest.mark.alone
def test_without_the_dds_profile_pictures_are_lost_and_the_exit_code_says_so(
    command, tmp_path, monkeypatch
):
    profile = tmp_path / "small.xml"  # as large as Fast DDS makes it by itself
    profile.write_text(
        """<dds xmlns="http://www.eprosima.com"><profiles>
        <transport_descriptors><transport_descriptor>
          <transport_id>shm</transport_id><type>SHM</type><segment_size>524288</segment_size>
        </transport_descriptor></transport_descriptors>
        <participant profile_name="small" is_default_profile="true"><rtps>
          <userTransports><transport_id>shm</transport_id></userTransports>
          <useBuiltinTransports>false</useBuiltinTransports>
        </rtps></participant></profiles></dds>"""
    )
    monkeypatch.setenv("FASTDDS_DEFAULT_PROFILES_FILE", str(profile))
    run = command("benchmarks.cli", "bench", "transport", "--seconds", 1)
    output, _ = run.communicate(timeout=TIMEOUT_S)
    assert run.returncode == 1
    lost = re.search(r"sent 30, received \d+, lost (\d+)", output)
    assert lost is not None and int(lost[1]) > 0, output


def test_planning_is_timed_on_all_cores_and_on_one(command, small_model):
    options = ("--scenes", 2, "--model", small_model)
    run = command("benchmarks.cli", "bench", "planning", *options)
    output, _ = run.communicate(timeout=TIMEOUT_S)
    assert run.returncode == 0, output
    assert "both p95" in output


def test_defects_are_cross_validated(command, tmp_path):
    rng = np.random.default_rng(0)
    for kind in ("crack", "free"):
        (tmp_path / "data" / kind).mkdir(parents=True)
        for number in range(2):
            image = rng.normal(120, 4, (64, 64))
            mask = np.zeros((64, 64), np.uint8)
            if kind != "free":
                mask[20:40, 20:40] = 255
                image[mask > 0] = 30
            cv2.imwrite(str(tmp_path / "data" / kind / f"{number}.jpg"), image)
            cv2.imwrite(str(tmp_path / "data" / kind / f"{number}.png"), mask)
    result = tmp_path / "result.json"
    run = command(
        "benchmarks.cli", "bench", "defects", tmp_path / "data", "--folds", 2, "--json", result,
        "--iterations", 1, "--no-pretrained", "--out", tmp_path / "work",
    )  # fmt: skip
    output, _ = run.communicate(timeout=TIMEOUT_S)
    assert run.returncode == 0, output
    figures = json.loads(result.read_text())
    assert set(figures["folds"]) == {"fold_1", "fold_2"}
    assert figures["kinds"]["crack"]["pictures"] == 2 and figures["free_pictures"] == 2
    assert 0.0 <= figures["mean_iou"] <= 1.0 and 0.0 <= figures["auroc"] <= 1.0


def test_turned_cameras_are_reached_without_and_with_calibration(command, small_model, tmp_path):
    file, parameters = tmp_path / "calibration.json", tmp_path / "mpc.yaml"
    parameters.write_text("mpc: {ros__parameters: {max_steps: 2, time_budget_ms: 0.0}}")
    options = ("--episodes", 1, "--json", file, "--model", small_model, "--mpc-params", parameters)
    run = command("benchmarks.cli", "bench", "calibration", "--turns=-20", "--workers", 1, *options)
    output, _ = run.communicate(timeout=TIMEOUT_S)
    assert run.returncode == 0, output
    assert "calibrated" in output and "-20°" in output
    (row,) = json.loads(file.read_text())["turns"]
    # Random weights see no turn: the calibration is refused, and nothing is turned.
    assert row["turn_deg"] == -20 and "unexplained" in row["calibration"]["refused"]
    without, with_, true = (row[name]["episodes"] for name in ("without", "with", "true turn"))
    assert len(without) == len(true) == 1
    assert with_[0]["error_cm"] == without[0]["error_cm"]


def test_turns_and_columns_that_are_none_are_named():
    assert whole_numbers("10,-30,10") == [-30, 10]
    assert chosen("true turn,without") == ["without", "true turn"]
    for bad, read in (("left", whole_numbers), ("10,200", whole_numbers), ("both", chosen)):
        with pytest.raises(ValueError, match=bad):
            read(bad)
