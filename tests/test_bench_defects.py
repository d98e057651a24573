"""What `./run bench defects` keeps of an interrupted run, and what not."""

from benchmarks.defects import _trainings


def test_a_training_of_other_data_or_code_is_not_gone_on_with(tmp_path):
    what = {"recipe": {"seed": 0}, "source": "a"}
    fold = _trainings(tmp_path, what) / "fold_1"
    fold.mkdir(parents=True)
    (tmp_path / "journal.jsonl").touch()
    assert _trainings(tmp_path, dict(reversed(what.items()))) == fold.parent and fold.is_dir()
    other = _trainings(tmp_path, what | {"source": "b"})
    assert other != fold.parent and not fold.exists()
    assert (tmp_path / "journal.jsonl").exists()
