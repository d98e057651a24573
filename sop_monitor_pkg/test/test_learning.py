"""Promises of learning normal work, and of its thresholds."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from small_work import PROCEDURE, STEPS, cycle, cycles, part, raised, steps
from sop_monitor_pkg.commands.learn import report
from sop_monitor_pkg.core.normal import conformal, learning
from sop_monitor_pkg.core.normal import model as normal
from sop_monitor_pkg.core.normal import store as cycle_store
from sop_monitor_pkg.core.normal.learning import LearningError, learn
from sop_monitor_pkg.core.normal.model import LEAST, SCORES, Extremes, NormalError
from sop_monitor_pkg.core.tracks import sightings
from sop_monitor_pkg.core.tracks.sightings import SightingError


def test_one_labelled_cycle_of_each_kind_is_enough(known):
    few = learn(PROCEDURE, cycles(24, labelled=2), "random", 1)
    assert few.cycles == 24
    for seed, order in ((11, STEPS), (12, ("take", "turn", "put"))):
        assert steps(cycle(order, seed), few) == list(order)
        assert raised(cycle(order, seed), few) == []


def test_it_follows_without_eyes():
    blind = learn(PROCEDURE, cycles(20, eyes=False), "random", 1)
    assert blind.scenes is None
    assert steps(cycle(seed=1, eyes=False), blind) == list(STEPS)


def test_what_cannot_be_learned_from_is_said():
    with pytest.raises(LearningError, match="label at least one"):
        learn(PROCEDURE, cycles(3, labelled=0), "random", 1)
    with pytest.raises(LearningError, match="no labelled cycle does wipe"):
        learn(PROCEDURE, [cycle(("take", "turn", "put"), i) for i in range(3)], "random", 1)
    with pytest.raises(LearningError, match="record more"):
        learn(PROCEDURE, [cycle()], "random", 1)


def test_a_model_is_the_same_when_it_is_read_again(known, tmp_path):
    again = normal.load(known.save(tmp_path / "normal"))
    assert again.threshold == known.threshold and again.scales == known.scales
    example = cycle(seed=8, slower={"turn": 4.0})
    assert raised(example, again) == raised(example, known)
    about = json.loads((tmp_path / "normal" / "normal.json").read_text())
    assert (about["cycles"], about["needed"], about["accepted"]) == (24, 19, 0.05)


def test_damaged_models_and_cycles_are_refused(known, tmp_path):
    with pytest.raises(NormalError, match="make one with ./run sop learn"):
        normal.load(tmp_path / "nothing")
    folder = known.save(tmp_path / "normal")
    (folder / "normal.safetensors").write_bytes(b"damaged")
    with pytest.raises(NormalError, match="no usable model"):
        normal.load(folder)
    (folder / "normal.json").write_text('{"format": "another"}')
    with pytest.raises(NormalError, match="another format"):
        normal.load(folder)
    stored = cycle(extra=[replace(part("coin", 9, 0.2, 0.8), confidence=0.25)])
    cycle_store.save(tmp_path / "c.npz", stored, "random")
    example, encoder = cycle_store.load(tmp_path / "c.npz")
    assert (encoder, example.segments) == ("random", stored.segments)
    assert example.sightings == stored.sightings
    (tmp_path / "c.npz").write_bytes(b"PK damaged")
    with pytest.raises(cycle_store.StoreError, match="remove it"):
        cycle_store.load(tmp_path / "c.npz")
    (tmp_path / "eyes.jsonl").write_text('{"t": 0.0}\n{"t": 0.1, "detections": [{}]}\n')
    with pytest.raises(SightingError, match="line 2"):
        sightings.read(tmp_path / "eyes.jsonl", 640)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("accepted", [0.05, 0.1, 0.2])
def test_a_threshold_keeps_the_accepted_rate(seed, accepted):
    """Over many draws; a single threshold may be unlucky."""
    rng = np.random.default_rng(seed)
    flagged = [
        rng.standard_exponential() > conformal.threshold(rng.standard_exponential(40), accepted)
        for _ in range(400)
    ]
    assert np.mean(flagged) < accepted + 3.5 * np.sqrt(accepted * (1 - accepted) / 400)


@pytest.mark.parametrize(("cycles", "accepted"), [(20, 0.05), (20, 0.1), (40, 0.05), (120, 0.01)])
def test_many_scores_share_the_accepted_rate(known, cycles, accepted):
    """Nine independent scores that spread far wider than what means nothing, over many draws."""
    rng = np.random.default_rng(0)

    def draw(count):
        rows = 10.0 * rng.standard_exponential((count, len(SCORES))) * list(LEAST.values())
        return [Extremes(row, False, 0.0) for row in rows]

    flagged = []
    for _ in range(60):
        judge = known.calibrated(draw(cycles), accepted)
        flagged += [
            any(
                judge.scales[name](value) > judge.threshold
                for name, value in zip(SCORES, extremes.maxima)
            )
            for extremes in draw(50)
        ]
    assert np.mean(flagged) < 1.5 * accepted


def test_more_clean_cycles_are_flagged_where_more_are_accepted():
    usual = np.linspace(0.0, 0.7, 20)  # on their scales: none near the limit
    found = [conformal.shared_threshold(usual, a) for a in (0.01, 0.05, 0.1, 0.2)]
    assert found == pytest.approx([1.0, 1.0, 0.85, 0.72], abs=0.005)
    some, many = np.append(usual, [0.9] * 3), np.append(usual, [0.9] * 6)
    assert conformal.shared_threshold(some, 0.1) == found[2]  # by chance
    assert conformal.shared_threshold(many, 0.1) == 0.9
    assert conformal.shared_threshold(np.append(usual, 1.3), 0.05) == 1.3
    misread = np.append(usual, [np.inf] * 6)
    assert conformal.shared_threshold(misread, 0.1) == found[2]
    with pytest.raises(ValueError, match="0 clean cycles"):
        conformal.shared_threshold(np.array([]), 0.1)


def test_too_few_cycles_are_said_and_still_give_a_threshold():
    assert (conformal.needed(0.05), conformal.needed(0.01)) == (19, 99)
    assert conformal.threshold(np.array([1.0, 2.0]), 0.05) > 2.0
    assert conformal.threshold(np.arange(19.0), 0.05) == 18.0
    with pytest.raises(ValueError, match="accepted rate 0"):
        conformal.threshold(np.ones(3), 0.0)


def test_cycles_that_are_flagged_in_any_case_use_up_the_rate_and_set_no_threshold():
    maxima = np.array([1.0, 2.0, np.inf])
    assert 2.0 < conformal.threshold(maxima, 0.05) < 2.2
    assert conformal.threshold(np.append(np.arange(39.0), np.inf), 0.05) == 38.0


def with_wild(count, wild):
    """Maxima of clean cycles, in the first `wild` of which parts seem to lie about."""
    maxima = np.tile(np.linspace(0.0, 1.0, count)[:, None], len(SCORES)) * 10.0
    maxima[:wild, SCORES.index("dropped")] = 1e6
    return [Extremes(row, False, 0.0, f"cycle {i}") for i, row in enumerate(maxima)]


def test_a_wild_cycle_is_set_aside_as_far_as_the_accepted_rate_goes(known, tmp_path):
    calm, upset = (known.calibrated(with_wild(20, wild), 0.05) for wild in (0, 1))
    assert (calm.aside, upset.aside) == ((), ((0, "dropped"),))
    for name in SCORES:
        assert upset.scales[name].score(upset.threshold) < 15.0
    assert (calm.flagged, upset.flagged) == (0, 1)
    again = normal.load(upset.save(tmp_path / "normal"))
    assert (again.aside, again.threshold) == (upset.aside, upset.threshold)
    about = json.loads((tmp_path / "normal" / "normal.json").read_text())
    assert about["set_aside"] == {"cycle 0": "dropped"} and about["needed"] == 39
    said = report(again)
    assert "set aside: cycle 0, whose 'dropped' of 1000000.00" in said and "9.5%" in said


def test_as_many_are_set_aside_as_the_accepted_rate_allows(known):
    for count, accepted, aside in ((40, 0.05, 2), (40, 0.1, 2), (39, 0.01, 0), (38, 0.05, 0)):
        assert len(known.calibrated(with_wild(count, 2), accepted).aside) == aside


def test_more_wild_cycles_make_their_score_dull_and_no_other(known):
    calm, upset = (known.calibrated(with_wild(20, wild), 0.05) for wild in (0, 2))
    assert upset.aside == () and upset.scales["dropped"].score(upset.threshold) >= 1e6
    for name in set(SCORES) - {"dropped"}:
        assert upset.scales[name].score(upset.threshold) < 2 * calm.scales[name].score(
            calm.threshold
        )


def test_cycles_that_are_all_misread_still_give_a_threshold(known):
    rows = np.random.default_rng(0).random((3, len(SCORES)))
    judge = known.calibrated([Extremes(row, True, 0.0) for row in rows], 0.05)
    assert judge.flagged == 3 and np.isfinite(judge.threshold) and judge.aside == ()


def test_what_people_called_clean_is_never_set_aside(known):
    odd, *others = with_wild(21, 1)
    taught = known.calibrated(others, 0.05).taught([odd])
    assert taught.aside == () and taught.scales["dropped"].score(taught.threshold) >= 1e6


def test_a_lower_accepted_rate_never_flags_more(known):
    strict = known.calibrated(known.clean, 0.01)
    assert strict.threshold >= known.threshold


def test_unlabelled_cycles_are_aligned(known):
    example = cycle(seed=31, labelled=False)
    found = learning.align(PROCEDURE, known, example)
    truth = cycle(seed=31).segments
    assert [s.step for s in found] == [s.step for s in truth]
    assert all(abs(a.begin_s - b.begin_s) < 0.5 for a, b in zip(found, truth))
