"""`./run parity`: what matches, what does not, and what cannot be compared, for any folder."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

FIXTURES = Path(__file__).resolve().parents[2] / "shared" / "fixtures"
TIMEOUT_S = 240.0


@pytest.fixture()
def folder(tmp_path):
    """A copy of the fixtures under other names, for tests that change it."""
    if not FIXTURES.is_dir():
        pytest.skip(f"no parity fixtures at {FIXTURES}")
    for path in FIXTURES.iterdir():
        shutil.copyfile(path, tmp_path / f"x_{path.name}")
    return tmp_path


def change(path: Path, name: str, difference: float) -> None:
    arrays = dict(np.load(path))
    arrays[name] = arrays[name] + np.float32(difference)
    np.savez(path, **arrays)


def rows(command, folder, code):
    run = command("benchmarks.parity", folder, "--json")
    output, _ = run.communicate(timeout=TIMEOUT_S)
    assert run.returncode == code, output
    return {row["file"]: row for row in json.loads(output)}


def test_every_file_of_the_fixtures_matches(command):
    if not FIXTURES.is_dir():
        pytest.skip(f"no parity fixtures at {FIXTURES}")
    found = rows(command, FIXTURES, 0)
    assert set(found) == {p.name for p in FIXTURES.iterdir()} - {"README.md"}
    assert all(row["largest"] < 1e-4 for row in found.values())
    assert "cem_action" in found["planning.npz"]["differences"]


def test_one_file_that_does_not_match_fails_the_whole(command, folder):
    change(folder / "x_planning.npz", "cem_action", 2e-4)
    found = rows(command, folder, 1)
    assert [name for name, row in found.items() if not row["passed"]] == ["x_planning.npz"]
    assert found["x_planning.npz"]["largest"] == pytest.approx(2e-4, rel=0.05)


def test_a_plan_is_computed_with_the_checkpoint_that_it_was_made_with(command, folder):
    content = torch.load(folder / "x_vjepa2_ac_tiny.pt", weights_only=True)
    for tensor in content["predictor"].values():
        tensor.mul_(0.9)
    torch.save(content, folder / "a_other.pt")
    found = rows(command, folder, 0)
    assert "x_vjepa2_ac_tiny.pt" in found["x_planning.npz"]["note"]
    assert list(found["a_other.pt"]["differences"]) == ["weights of the encoder file"]


def test_what_cannot_be_compared_is_named_and_fails(command, folder):
    (folder / "x_vjepa2_ac_tiny.pt").unlink()
    (folder / "cut.npz").write_bytes((folder / "x_encoder.npz").read_bytes()[:5000])
    np.savez(folder / "foreign.npz", something=np.zeros(3))
    (folder / "text.pt").write_text("hello")
    found = rows(command, folder, 1)
    assert "cannot be read as arrays" in found["cut.npz"]["fault"]
    assert "it holds something" in found["foreign.npz"]["fault"]
    assert "zip format" in found["text.pt"]["fault"]
    assert "no checkpoint" in found["x_planning.npz"]["fault"]
    assert found["x_encoder.npz"]["passed"]


def without(path: Path, new: Path, *names: str) -> None:
    arrays = dict(np.load(path))
    np.savez(new, **{name: array for name, array in arrays.items() if name not in names})


def test_files_that_lack_something_fail_with_the_reason_and_the_others_are_compared(
    command, folder
):
    plan, predictor = folder / "x_planning.npz", folder / "x_ac_predictor.npz"
    without(plan, folder / "no_args.npz", "mpc_args")
    without(plan, folder / "no_action.npz", "cem_action")
    arrays = dict(np.load(predictor))
    length = next(name for name in arrays if name.endswith("/features")).split("/")[0]
    arrays[f"{length}/features"] = arrays[f"{length}/features"][:, :-1]
    np.savez(folder / "few_tokens.npz", **arrays)
    arrays = dict(np.load(plan))
    arrays["rollout_latents"] = arrays["rollout_latents"][0, 0, 0]
    np.savez(folder / "flat.npz", **arrays)
    found = rows(command, folder, 1)
    assert found["no_args.npz"]["fault"] == "it is a plan without mpc_args"
    assert found["no_action.npz"]["fault"] == "it is a plan without cem_action"
    assert "tokens" in found["few_tokens.npz"]["fault"]
    assert found["flat.npz"]["fault"]
    failed = {name for name, row in found.items() if not row["passed"]}
    assert failed == {"no_args.npz", "no_action.npz", "few_tokens.npz", "flat.npz"}


def test_the_largest_difference_of_each_file_is_printed(command, folder):
    change(folder / "x_encoder.npz", "T2/output", 1e-3)
    run = command("benchmarks.parity", folder)
    output, _ = run.communicate(timeout=TIMEOUT_S)
    assert run.returncode == 1
    assert any(
        line.split()[:3] == ["FAIL", "x_encoder.npz", "1.0e-03"] for line in output.splitlines()
    )
    assert "5 of 6 files match" in output and "not compared: x_README.md" in output


def test_a_folder_without_files_is_no_success(command, tmp_path):
    for place, reason in ((tmp_path, "nothing to compare"), (tmp_path / "none", "is no folder")):
        run = command("benchmarks.parity", place)
        output, _ = run.communicate(timeout=TIMEOUT_S)
        assert run.returncode == 1 and reason in " ".join(output.split())
