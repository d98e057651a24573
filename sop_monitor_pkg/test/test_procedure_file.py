"""Promises of procedure files: good ones are understood, bad ones are explained with their line."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sop_monitor_pkg.core.alarms.kinds import Kind, Priority
from sop_monitor_pkg.core.procedure.file import ProcedureError, check, load, read_text
from typer.testing import CliRunner

EXAMPLES = sorted((Path(__file__).resolve().parents[1] / "config" / "procedures").glob("*.yaml"))
STATION = read_text(EXAMPLES[-1])


@pytest.fixture
def station():
    return load(EXAMPLES[-1])


def complaints(text: str) -> list[str]:
    procedure, problems = check(text)
    errors = [str(problem) for problem in problems if not problem.warning]
    assert (procedure is None) == bool(errors)
    return errors


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_examples_are_right_and_leave_nobody_untold(path):
    procedure, problems = check(read_text(path))
    assert procedure is not None and problems == []
    assert all(procedure.told(kind) for kind in Kind)


def test_screws_may_come_in_either_order_and_the_rest_only_in_its_own(station):
    start = ["pick_base", "place_base", "clean_base"]
    names = [step.name for step in station.next_steps(start)]
    assert names == ["screw_m3", "screw_m4"]
    names = [step.name for step in station.next_steps([*start, "screw_m4"])]
    assert names == ["screw_m3"]


def test_an_optional_step_may_be_left_out_but_not_done_later(station):
    start = ["pick_base", "place_base"]
    names = [step.name for step in station.next_steps(start)]
    assert names == ["clean_base", "screw_m3", "screw_m4"]
    assert [s.name for s in station.next_steps([*start, "screw_m3"])] == ["screw_m4"]


def test_a_step_may_come_as_often_as_the_procedure_says():
    kit = load(EXAMPLES[0])
    packed = ["open_box", "pack_cable", "pack_cable"]
    assert "pack_cable" in [s.name for s in kit.next_steps(packed)]
    assert "pack_cable" not in [s.name for s in kit.next_steps([*packed, "pack_cable"])]
    assert "look_through" in [s.name for s in kit.next_steps(["open_box", *["look_through"] * 9])]


def test_everything_done_leaves_nothing_to_do(station):
    done = [step.name for step in station.steps if not step.optional]
    assert station.next_steps(done) == []


def test_free_order_lets_parts_come_in_any_order():
    kit = load(EXAMPLES[0])
    assert [s.name for s in kit.next_steps([])] == ["open_box"]
    assert len(kit.next_steps(["open_box"])) == 5
    assert "close_box" not in [s.name for s in kit.next_steps(["open_box", "pack_cable"])]
    assert kit.priority(Kind.SKIPPED) is Priority.CRITICAL


STEPS = "procedure: p\nsteps:\n  - step: a\n  - step: b\n"
REGION = STEPS + "regions:\n  plate:\n"


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("", 0, "a procedure file holds"),
        ("steps: [\n", 2, "not YAML"),
        ("procedure: p\n", 0, "at least one step"),
        ("procedure: p\nsteps: []\n", 2, "at least one step"),
        ("steps:\n  - step: a\n", 1, "procedure: NAME is missing"),
        ("procedure: p\nstepps:\n  - step: a\n", 2, "did you mean steps?"),
        (STEPS + "    optinal: true\n", 5, "did you mean optional?"),
        (STEPS + "    optional: maybe\n", 5, "true or false"),
        (STEPS + "    after: [c]\n", 5, "there is no step 'c'"),
        (STEPS + "    after: a\n", 5, "write a list"),
        (STEPS + "    after: [b]\n", 5, "comes after itself"),
        (STEPS + "  - step: a\n", 5, "step a stands twice, first in line 3"),
        (STEPS + "  - step: A b\n", 5, "is no name"),
        (STEPS + "  - fasten\n", 5, "write `- step: NAME`"),
        (STEPS + "    repeat: 0\n", 5, "how often at most"),
        (STEPS + "    takes_s: [5, 2]\n", 5, "[shortest, longest]"),
        (STEPS + "    takes_s: [1, .nan]\n", 5, "[shortest, longest]"),
        (STEPS + "    parts: [screw]\n", 5, "there is no part 'screw'"),
        (STEPS + "    labels: [{text: '['}]\n", 5, "no regular expression"),
        (STEPS + "    labels: [{text: 'a{99999999999999}'}]\n", 5, "no regular expression"),
        (STEPS + "    checks: [{defect: a}]\n", 5, "did you mean no_defect?"),
        (STEPS + "    title: 7\n", 5, "title is 7"),
        (STEPS + "order: random\n", 5, "choose one of listed, free"),
        (STEPS + "tell:\n  wrong_order: [boss]\n", 6, "there is no person 'boss'"),
        (STEPS + "tell:\n  wrong_odor: []\n", 6, "did you mean wrong_order?"),
        (STEPS + "people:\n  boss: {told_by: [phone]}\n", 6, "choose one of page, mqtt"),
        (STEPS + "priorities:\n  defect: urgent\n", 6, "choose one of low"),
        (STEPS + "title: a\ntitle: b\n", 6, "title stands twice, first in line 5"),
        (STEPS + "parts: &x [a]\npeople: *x\n", 6, "aliases"),
        (STEPS + "size: [640]\n", 5, "[width, height]"),
        (STEPS + "mm_per_px: .inf\n", 5, "width of a pixel"),
        (REGION + "    box: [4, 0, 2, 9]\n    look_for: text\n", 7, "[x0, y0, x1, y1]"),
        (REGION + "    box: [0, 0, 2, 9]\n    look_for: texts\n", 8, "one of text, part, surface"),
        (REGION + "    box: [0, 0, 2, 9]\n    look_four: text\n", 8, "did you mean look_for?"),
        (REGION + "    pattern: '['\n", 7, "no regular expression"),
    ],
)
def test_a_mistake_is_explained_with_its_line(text, line, words):
    errors = complaints(text)
    assert any(words in e and (not line or e.startswith(f"line {line}:")) for e in errors), errors


def test_regions_of_the_picture_may_stand_in_a_procedure():
    layout = "size: [640, 480]\nmm_per_px: 0.5\n"
    label = (
        "    {box: [4, 4, 9, 9], look_for: text, pattern: 'LOT.*', codes: [qr], mm_per_px: 0.4}\n"
    )
    assert complaints(STEPS + layout) == []
    assert complaints(layout + REGION + label) == []


def test_variants_and_holders_are_written_not_guessed_from_names(station):
    assert station.variants == (("screw_m3", "screw_m4"),)
    assert station.holders == ("hand", "tool")
    assert station.are_variants("screw_m3", "screw_m4")
    assert not station.are_variants("base", "screw_m3")


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("parts: [a, b]\nvariants: [[a, c]]\n", 2, "there is no part 'c'"),
        ("parts: [a, b]\nvariants: [[a]]\n", 2, "name what it is mistaken for"),
        ("parts: [a, b, c]\nvariants: [[a, b], [b, c]]\n", 2, "two groups"),
        ("parts: [a, b]\nholders: [a]\n", 2, "a is a part"),
    ],
)
def test_mistakes_in_variants_and_holders_are_explained(text, line, words):
    errors = complaints(text + STEPS)
    assert any(words in e and e.startswith(f"line {line}:") for e in errors), errors


def test_parts_that_nobody_moves_are_a_warning():
    _, problems = check("parts: [a]\n" + STEPS)
    assert any(p.warning and "no holders" in p.text for p in problems)


def test_a_circle_is_spelt_out():
    text = (
        "procedure: p\norder: free\nsteps:\n  - {step: a, after: [b]}\n  - {step: b, after: [a]}\n"
    )
    (error,) = complaints(text)
    assert "a after b after a" in error or "b after a after b" in error


def test_all_mistakes_are_told_at_once():
    errors = complaints(STEPS + "    repeat: 0\n    after: [c]\n    colour: red\n")
    assert len(errors) == 3


def test_an_alarm_that_nobody_hears_of_is_a_warning_only():
    procedure, problems = check(STEPS)
    assert procedure is not None
    assert [p for p in problems if p.warning and "nobody is told" in p.text]


def test_a_file_that_is_no_text_is_refused(tmp_path):
    path = tmp_path / "p.yaml"
    path.write_bytes(b"procedure: \xff\xfe")
    with pytest.raises(ProcedureError, match="UTF-8"):
        load(path)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_whatever_stands_in_a_file_is_answered_and_never_crashes(data):
    lines = STATION.splitlines()
    for _ in range(data.draw(st.integers(1, 4))):
        i = data.draw(st.integers(0, len(lines) - 1))
        j = data.draw(st.integers(0, len(lines[i])))
        lines[i] = (
            lines[i][:j] + data.draw(st.text("[]{}:,-&*!'\" a1\n", max_size=3)) + lines[i][j + 1 :]
        )
    procedure, problems = check("\n".join(lines))
    assert procedure is not None or problems


@settings(max_examples=60, deadline=None)
@given(order=st.permutations(["pack_manual", "pack_adapter", "pack_cable", "pack_battery"]))
def test_every_allowed_order_can_be_walked_to_its_end(order):
    kit = load(EXAMPLES[0])
    done: list[str] = []
    for name in ["open_box", *order, "close_box", "label_box"]:
        assert name in [step.name for step in kit.next_steps(done)]
        done.append(name)


def test_the_command_explains_and_its_exit_code_says_whether_the_file_is_good(tmp_path):
    from sop_monitor_pkg.commands.sop import app

    good = CliRunner().invoke(app, ["check", str(EXAMPLES[-1])])
    assert good.exit_code == 0 and "screw_m4: after clean_base" in good.output
    path = tmp_path / "bad.yaml"
    path.write_text(STEPS + "    after: [c]\n")
    bad = CliRunner().invoke(app, ["check", str(path)])
    assert bad.exit_code == 1 and "line 5: there is no step 'c'" in bad.output
    missing = CliRunner().invoke(app, ["check", str(tmp_path / "none.yaml")])
    said = " ".join(missing.output.replace("│", " ").split())
    assert missing.exit_code == 2 and "is no file and no example" in said
    example = CliRunner().invoke(app, ["check", "kitting"])
    assert example.exit_code == 0 and example.output.startswith("kitting: ")
