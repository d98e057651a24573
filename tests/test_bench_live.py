"""`./run bench live`: what it counts; the nodes themselves have tests of their own."""

from __future__ import annotations

import json
import os
import socket
from types import SimpleNamespace

import pytest
import typer
from benchmarks import live
from benchmarks.live_cycles import CycleEar
from rich.console import Console
from typer.testing import CliRunner


@pytest.mark.parametrize("topic", ["detections", "camera/image_raw"])
def test_a_window_has_rates_delays_and_memory(topic):
    ear = SimpleNamespace(topics=live.TOPICS, delays_s={topic: [0.1, 0.2, 0.3, 0.4]})
    launch = SimpleNamespace(processes={"me": SimpleNamespace(pid=os.getpid())})
    window = live._window(ear, 2.0, [launch])
    assert window.rate_hz[topic] == 2.0 and window.delay_median_s == {topic: 0.25}
    assert sum(window.rate_hz.values()) == 2.0  # nothing came on the others
    assert window.memory_mib["me"] > 10.0


def test_nobody_listens_on_the_port_of_the_page():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", live.free_port()))


def run(rate_hz=10.0, delays_s=(0.1,) * 6, memory_mib=(500.0,) * 6) -> list[live.Window]:
    """Windows of a run in which only this differs from what is asked for."""
    return [
        live.Window(
            5.0,
            rate_hz=dict.fromkeys(live.TOPICS, 10.0) | {"defects": rate_hz},
            # None: nothing came
            delay_p95_s={t: s for t in live.TOPICS if (s := delay if t == "texts" else 0.1)},
            memory_mib={"text": memory, "station": 300.0},
        )
        for delay, memory in zip(delays_s, memory_mib, strict=True)
    ]


def missed(windows: list[live.Window], text_rate: float = 0.0) -> list[str]:
    return [target["what"] for target in live.targets(windows, text_rate) if not target["met"]]


def test_a_run_that_keeps_up_meets_every_target():
    # Models warm up in the first third, and a window may be a little later than the first.
    grown = (500.0, 700.0, 710.0, 720.0, 740.0, 760.0)
    delays_s = (0.1, 0.5, 0.1, 0.1, 0.1, 0.17)
    assert missed(run(rate_hz=9.5, delays_s=delays_s, memory_mib=grown)) == []


@pytest.mark.parametrize(
    ("differs", "what"),
    [
        ({"rate_hz": 9.4}, "defects, slowest window [Hz]"),
        ({"delays_s": (0.1,) * 5 + (0.18,)}, "texts, p95 of the delay in the last window [s]"),
        ({"delays_s": (0.1,) * 5 + (None,)}, "texts, p95 of the delay in the last window [s]"),
        (
            {"memory_mib": (500.0, 500.0, 500.0, 500.0, 540.0, 565.0)},
            "growth of all nodes' memory after the first third [MiB]",
        ),
    ],
)
def test_what_does_not_keep_up_misses_its_target_and_is_shown(differs, what):
    windows = run(**differs)
    assert missed(windows) == [what]
    console = Console(record=True, width=200)
    live.show_targets(console, live.targets(windows))
    (line,) = (line for line in console.export_text().splitlines() if "NOT met" in line)
    assert what in line


def test_the_rate_asked_of_the_text_node_is_set_and_a_target(tmp_path):
    plan = live.launched(tmp_path / "learn", None, 7, 0.2, 9.0)
    assert set(plan) == {"perception", "station"}
    text = plan["perception"]["text_params"].read_text()
    assert "max_rate_hz: 9.0" in text and "window: 8" in text
    assert "text_params" not in live.launched(tmp_path / "learn", None, 7, 0.2, 0.0)["perception"]
    windows = run()
    for window in windows:
        window.rate_hz["texts"] = 8.5
    assert missed(windows) == []
    assert missed(windows, 9.0) == ["texts, slowest window [Hz]"]


def test_a_missed_target_is_in_the_file_and_the_exit_code(tmp_path, monkeypatch):
    monkeypatch.setattr(live, "learned", lambda *_, monitor: (tmp_path, tmp_path))
    file = tmp_path / "live.json"
    for rate_hz, code in ((10.0, 0), (9.0, 1)):
        monkeypatch.setattr(live, "watch", lambda *_, r=rate_hz: (run(rate_hz=r), CycleEar()))
        app = typer.Typer()
        app.command()(live.main)
        result = CliRunner().invoke(app, ["--json", str(file)])
        assert result.exit_code == code, result.output
        written = json.loads(file.read_text())["targets"]
        assert all(target["met"] for target in written) == (not code)


def test_alarms_are_held_against_what_the_station_did():
    ear = CycleEar()
    second = 10**9

    def film(number: int, begin_s: float, *faults: str) -> None:
        for time_s in (begin_s, begin_s + 9.8):
            frame = {"about": "frame", "cycle": number, "stamp_ns": round(time_s * second)}
            ear.truth(json.dumps(frame))
        end = {"about": "cycle_end", "cycle": number, "faults": [{"kind": k} for k in faults]}
        ear.truth(json.dumps(end))

    for number, faults in enumerate(
        [(), (), ("skipped_step",), (), ("hesitation",), ("too_fast",)]
    ):
        film(number, 10.0 * number, *faults)
    ear.truth(json.dumps({"about": "frame", "cycle": 6, "stamp_ns": 60 * second}))
    ear.alarm(1, 5 * second, "defect")  # of a cycle not seen whole
    ear.alarm(2, 30 * second + 1, "skipped")  # told when the next had begun
    ear.alarm(3, 35 * second, "label")  # in a correct one
    ear.alarm(4, 45 * second, "dropped_part")
    ear.alarm(4, 45 * second, "hesitating")
    ear.alarm(5, 47 * second, "label")
    found = ear.verdict()
    assert (found.clean, found.flagged) == (2, 1)
    assert (found.faulty, found.named, found.single, found.stray) == (3, 2, 1, 1)
    assert found.wrong == [
        "cycle 3, correct: label",
        "cycle 4, hesitation: dropped_part, then hesitating; label",
        "cycle 5, too_fast: nothing",
    ]
    assert ear.raised == 5 and "2 named rightly" in str(found)
