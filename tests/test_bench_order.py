"""`./run bench order`: what it counts, against counts made by hand, and what it refuses."""

from __future__ import annotations

import json

import pytest
from benchmarks import order
from benchmarks.cli import app
from typer.testing import CliRunner


def test_the_last_step_is_the_mistake_and_every_flag_before_it_is_false():
    flags = [[False, True, True], [True, False], [False, False, False], []]
    scores = order.score(flags)
    assert (scores.tp, scores.fp, scores.fn, scores.tn) == (1, 2, 3, 3)
    assert scores.precision == pytest.approx(1 / 3)
    assert scores.recall == pytest.approx(1 / 4)
    assert scores.f1 == pytest.approx(2 / 7)
    assert scores.mcc == pytest.approx((1 * 3 - 2 * 3) / (3 * 4 * 5 * 6) ** 0.5)


def recordings(count: int) -> dict:
    """Correct up to the last step, which comes without e before it."""
    return {f"r{i}": {"pred": [*"abcd", "f"], "gt": [*"abcd", "f"]} for i in range(count)}


def test_an_order_learnt_from_the_others_finds_the_mistakes(tmp_path):
    content = recordings(12)
    content["whole"] = {"pred": [*"abcdef", "a"], "gt": [*"abcdef", "a"]}
    content["whole2"] = {"pred": [*"abcdef", "a"], "gt": [*"abcdef", "a"]}
    (tmp_path / "steps.json").write_text(json.dumps(content))
    out = tmp_path / "figures.json"
    run = CliRunner().invoke(
        app, ["bench", "order", str(tmp_path / "steps.json"), "--json", str(out)]
    )
    assert run.exit_code == 0, run.output
    figures = json.loads(out.read_text())
    assert figures["recall"] == 1.0 and figures["f1"] > figures["flag_everything"]["f1"]
    assert figures["flag_everything"] == {
        "f1": pytest.approx(2 * 14 / 74 / (1 + 14 / 74)), "precision": pytest.approx(14 / 74),
        "recall": 1.0, "mcc": 0.0, "tp": 14, "fp": 60, "fn": 0, "tn": 0,
    }  # fmt: skip
    assert figures["flag_nothing"]["f1"] == 0.0 and figures["flag_nothing"]["fn"] == 14
    assert figures["flags"]["r0"] == [False, False, False, False, True]


def test_a_recording_is_judged_without_its_own_truth():
    content = {name: order.OrderRecording(r["pred"], r["gt"]) for name, r in recordings(12).items()}
    figures = order.measure(content, 0.1)
    changed = dict(content)
    changed["r0"] = order.OrderRecording(content["r0"].seen, [*"zyx"])
    assert order.measure(changed, 0.1)["flags"]["r0"] == figures["flags"]["r0"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not JSON"),
        ("[]", "at least 3 recordings"),
        (json.dumps({str(i): {"pred": [1]} for i in range(3)}), "'gt' must be a list"),
        (json.dumps({str(i): {"pred": [1], "gt": []} for i in range(3)}), "'gt' is empty"),
        (json.dumps({str(i): {"pred": [0.5], "gt": [1]} for i in range(3)}), "'pred' must be"),
    ],
)
def test_another_file_is_refused_with_the_reason(tmp_path, text, words):
    path = tmp_path / "steps.json"
    path.write_text(text)
    run = CliRunner().invoke(app, ["bench", "order", str(path)])
    assert run.exit_code == 1 and words in " ".join(run.output.split())
