"""Promises of the learned order: what was seen is fine, what is missing or repeated surprises."""

import numpy as np
import pytest
from benchmarks.learned_order import LearnedOrder

CHAIN = list("abcdef")
EITHER = [list("abcd") if i % 2 else list("acbd") for i in range(20)]


def test_a_correct_recording_is_not_flagged_and_a_swap_is():
    order = LearnedOrder([CHAIN] * 20)
    assert not any(j.wrong for j in order.judge_all(CHAIN))
    swapped = order.judge_all(list("abdc"))
    assert [j.wrong for j in swapped] == [False, False, True, False]
    assert swapped[2].missing == "c"


def test_steps_that_come_in_either_order_are_free():
    order = LearnedOrder(EITHER)
    assert not any(j.wrong for steps in EITHER for j in order.judge_all(steps))
    assert order.judge(list("ab"), "d").wrong  # c is always done before d
    assert order.judge([], "b").missing == "a"


def test_once_too_often_and_never_seen_are_flagged():
    order = LearnedOrder([CHAIN] * 20)
    assert order.judge(list("ab"), "a").wrong
    assert order.judge(list("ab"), "a").times == 1
    assert order.judge(list("ab"), "z").wrong


def test_other_procedures_do_not_speak_into_this_one():
    backwards = list("fedcba")
    order = LearnedOrder([CHAIN + list("gh")] * 15 + [backwards + list("xy")] * 15)
    assert not any(j.wrong for j in order.judge_all(CHAIN + list("gh")))
    assert not any(j.wrong for j in order.judge_all(backwards + list("xy")))


def recording(rng: np.random.Generator) -> list[int]:
    """A correct recording: steps left out, repeated and swapped, as often as is normal."""
    steps = [step for step in range(8) for _ in range(rng.choice([0, 1, 1, 1, 2]))]
    for i in range(len(steps) - 1):
        if rng.random() < 0.2:
            steps[i : i + 2] = reversed(steps[i : i + 2])
    return steps


def test_no_more_correct_steps_are_flagged_than_accepted():
    shares = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        order = LearnedOrder([recording(rng) for _ in range(20)], accepted=0.1)
        fresh = [j.wrong for _ in range(10) for j in order.judge_all(recording(rng))]
        shares.append(np.mean(fresh))
    assert 0.02 < np.mean(shares) < 0.15  # the share of one order scatters around the accepted


def test_a_verdict_needs_only_the_past():
    order = LearnedOrder(EITHER)
    steps = list("abdcaz")
    assert order.judge_all(steps)[:4] == order.judge_all(steps[:4])


@pytest.mark.parametrize(
    ("recordings", "accepted", "words"),
    [([CHAIN], 0.1, "at least 2"), ([[], []], 0.1, "no steps"), ([CHAIN] * 2, 1.0, "between")],
)
def test_too_little_is_refused(recordings, accepted, words):
    with pytest.raises(ValueError, match=words):
        LearnedOrder(recordings, accepted)
