"""`./run sop learn` and `./run sop watch` on videos of a small work."""

from __future__ import annotations

import json

import pytest
from filmed_work import film, run
from small_work import STEPS
from sop_monitor_pkg.core.normal import store as cycle_store


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


def test_another_video_of_a_known_name_and_new_labels_are_not_taken_for_known(
    workshop, small_model, tmp_path
):
    def learn(folder) -> str:
        options = ("--procedure", workshop / "small.yaml", "--encoder", small_model)
        result = run("learn", folder, *options, "--out", tmp_path / "out", "--device", "cpu")
        assert result.exit_code == 0, result.output
        return result.output

    def stored() -> dict:
        files = sorted((tmp_path / "out" / "cycles").iterdir())
        return {path: cycle_store.load(path)[0] for path in files}

    for day in ("one", "two"):
        (tmp_path / day / "clean").mkdir(parents=True)
        for i in range(2):
            film(tmp_path / day / "clean" / f"c{i}.mp4", STEPS, 70 + i + 10 * (day == "two"))
    assert "learned from 2 clean cycles" in learn(tmp_path / "one" / "clean")
    assert "learned from 4 clean cycles" in learn(tmp_path / "two" / "clean")
    labels = tmp_path / "one" / "clean" / "c0.json"
    about = json.loads(labels.read_text())
    about["steps"][-1]["end_s"] -= 0.25
    labels.write_text(json.dumps(about))
    before = stored()
    assert "learned from 4 clean cycles" in learn(tmp_path / "one" / "clean")
    changed = [p for p, e in stored().items() if e.segments != before[p].segments]
    assert len(changed) == 1


@pytest.mark.parametrize(
    "steps, problem",
    [
        ([("take", 0, 1), ("turn", 0.5, 2), ("put", 2, 3)], "begins at 0.5 s, before"),
        ([("take", 0, 1), ("turn", float("nan"), 2), ("put", 2, 3)], "no number"),
        ([("take", 0, 1), ("put", 1, 2)], "no correct cycle"),
    ],
)
def test_labels_that_cannot_be_right_are_refused(workshop, tmp_path, steps, problem):
    video = film(tmp_path / "a.mp4", STEPS, 0)
    names = ("step", "begin_s", "end_s")
    about = {"steps": [dict(zip(names, step)) for step in steps]}
    video.with_suffix(".json").write_text(json.dumps(about))
    small = workshop / "small.yaml"
    result = run("learn", tmp_path, "--procedure", small, "--out", tmp_path / "x")
    assert result.exit_code == 1 and problem in result.output


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
