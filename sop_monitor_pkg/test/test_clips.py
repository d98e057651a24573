"""Promises of the clips: what was seen around a moment is kept, small, and not for ever."""

import numpy as np
import pytest
from PIL import Image
from sop_monitor_pkg.core.alarms import clips
from sop_monitor_pkg.core.alarms.clips import ClipFolder, RecentPictures, step_clip, write_steps
from sop_monitor_pkg.core.normal.recordings import CycleRecording
from sop_monitor_pkg.core.recognition.phases import Segment
from vjepa_world_model.data.video import VideoWriter

SECOND_NS = 1_000_000_000


def grey(value, width=64):
    return np.full((48, width, 3), value, np.uint8)


def values(path):
    """Grey value of each picture of a clip."""
    found = []
    with Image.open(path) as clip:
        for number in range(clip.n_frames):
            clip.seek(number)
            found.append(int(np.asarray(clip.convert("L")).mean()))
    return found


def test_the_seconds_around_a_moment_are_kept_five_pictures_a_second():
    recent = RecentPictures()
    for tenth in range(200):
        stamp_ns = tenth * SECOND_NS // 10
        if recent.wants(stamp_ns):
            recent.take(stamp_ns, grey(tenth, 640))
    pictures = recent.around(18 * SECOND_NS)
    assert [int(p[0, 0, 0]) for p in pictures] == list(range(144, 200, 2))
    assert pictures[0].shape == (24, 320, 3)
    recent.take(0, grey(7))  # the clock was set back
    assert len(recent.around(0)) == 1


def test_a_clip_of_an_alarm_is_written_and_the_oldest_go(tmp_path, monkeypatch):
    monkeypatch.setattr(clips, "KEPT", 2)
    folder = ClipFolder(tmp_path / "moments")
    for number in (9, 10, 11):
        folder.keep(number, [grey(10 * k) for k in range(number)])
    assert folder.moment(9) is None
    assert values(folder.moment(11)) == pytest.approx([10 * k for k in range(11)], abs=3)
    assert folder.step("pick_base") is None


def test_clips_of_a_journal_before_are_kept_apart(tmp_path):
    folder = ClipFolder(tmp_path / "moments")
    folder.keep(200, [grey(10)])
    folder.begin_anew()
    assert folder.moment(200) is None
    folder.keep(1, [grey(20)])
    assert values(folder.moment(1)) == pytest.approx([20], abs=3)
    assert len(list(tmp_path.glob("moments.*/00000200.webp"))) == 1


def test_the_execution_of_median_length_shows_a_step_done_right(tmp_path):
    cycles = []
    for index, (begin_s, end_s) in enumerate([(0.0, 0.6), (1.0, 2.0), (0.0, 2.8)]):
        path = tmp_path / f"{index}.mp4"
        with VideoWriter(path, (64, 48), 10) as video:
            for tenth in range(30):
                video.add(grey(8 * tenth))
        cycles.append(CycleRecording(path.stem, path, (Segment("pick", begin_s, end_s),)))
    write_steps(cycles, tmp_path / "normal")
    shown = values(step_clip(tmp_path / "normal", "pick"))
    assert shown == pytest.approx([8 * t for t in (10, 12, 14, 16, 18, 20)], abs=4)
    assert ClipFolder(tmp_path, tmp_path / "normal").step("pick") is not None
