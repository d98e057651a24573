"""`./run calibrate` on launched nodes; random weights see no turn, and that is said."""

from __future__ import annotations

TIMEOUT_S = 240.0
# Nothing here may depend on how fast the machine is.
PATIENT = """
/**/mpc:
  ros__parameters:
    latent_max_age_s: 20.0
    state_max_age_s: 20.0
    guard_max_age_s: 20.0
    stamp_max_age_s: 20.0
    score_timeout_s: 20.0
"""


def test_the_simulated_arm_makes_the_moves_and_a_refusal_is_told(command, small_model, tmp_path):
    file, parameters = tmp_path / "calibration.json", tmp_path / "mpc.yaml"
    parameters.write_text(PATIENT)
    options = ("--out", file, "--model", small_model, "--mpc-params", parameters)
    run = command("vjepa_bringup.commands.calibrate", "--sim", "--camera-turn-deg", 20, *options)
    output, _ = run.communicate(timeout=TIMEOUT_S)
    assert run.returncode == 1, output
    assert "move 8 of 8" in output and "explaining the moves" in output
    assert "unexplained" in output and "Traceback" not in output
    assert not file.exists()


def test_without_a_planner_the_command_says_how_to_start_one(command):
    run = command("vjepa_bringup.commands.calibrate", "--namespace", "nobody")
    output, _ = run.communicate(timeout=TIMEOUT_S)
    assert run.returncode == 1
    assert "without an MPC; start it with ./run up" in output and "Traceback" not in output
