"""`./run sop learn` and `./run sop watch` on videos of a small work."""

from __future__ import annotations

import json

from filmed_work import film, run
from small_work import STEPS


def test_a_correct_cycle_is_followed_and_a_wrong_one_raises_an_alarm(workshop, learned):
    options = ("--normal", learned, "--procedure", workshop / "small.yaml", "--device", "cpu")
    good = film(workshop / "good.mp4", STEPS, 50, labelled=False)
    result = run("watch", good, *options, "--json", workshop / "good.jsonl")
    assert result.exit_code == 0, result.output
    lines = [json.loads(line) for line in (workshop / "good.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(STEPS)
    bad = film(workshop / "bad.mp4", ("take", "put", "turn"), 51, labelled=False)
    result = run("watch", bad, *options)
    assert result.exit_code == 2, result.output
    assert ": wrong_order in put" in result.output and "1 alarms" in result.output


def test_new_cycles_are_added_to_what_was_learned(workshop, learned, small_model):
    film(workshop / "clean" / "c9.mp4", STEPS, 60)
    options = ("--procedure", workshop / "small.yaml", "--encoder", small_model)
    result = run("learn", workshop / "clean", *options, "--out", learned, "--device", "cpu")
    assert "learned from 7 clean cycles" in result.output, result.output


def test_what_cannot_be_used_is_said(workshop, learned, tmp_path):
    (tmp_path / "empty").mkdir()
    small = workshop / "small.yaml"
    result = run("learn", tmp_path / "empty", "--procedure", small, "--out", tmp_path / "x")
    assert result.exit_code == 1 and "holds no cycle" in result.output
    (tmp_path / "wrong").mkdir()
    video = film(tmp_path / "wrong" / "a.mp4", STEPS, 0)
    video.with_suffix(".json").write_text('{"steps": [{"step": "glue", "begin_s": 0, "end_s": 1}]}')
    result = run("learn", tmp_path / "wrong", "--procedure", small, "--out", tmp_path / "x")
    assert result.exit_code == 1 and "has no step 'glue'" in result.output
    result = run("watch", video, "--normal", learned)  # of the small work, not the station
    assert result.exit_code == 1 and "learn anew" in result.output
    result = run("watch", video, "--normal", tmp_path, "--procedure", small)
    assert result.exit_code == 1 and "make one with ./run sop learn" in result.output
    (tmp_path / "no.mp4").write_text("no video")
    result = run("watch", tmp_path / "no.mp4", "--normal", learned, "--procedure", small)
    assert result.exit_code == 1 and "cannot be read as a video" in result.output
