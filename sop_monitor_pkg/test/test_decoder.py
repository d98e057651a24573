"""Promises of the decoder and of the order that it enforces."""

from __future__ import annotations

import numpy as np
import pytest
from small_work import PROCEDURE, STEPS
from sop_monitor_pkg.core.recognition.decoder import Decoder
from sop_monitor_pkg.core.recognition.order_language import OrderLanguage
from sop_monitor_pkg.core.recognition.phases import PHASES, STATES_PER_STEP


def test_mistakes_are_rare_and_what_is_allowed_is_not():
    language = OrderLanguage(PROCEDURE)
    chance = dict(zip(STEPS, np.exp(language.log_next((0,)))))
    assert chance["turn"] == pytest.approx(1.0)
    assert 0 < chance["take"] < 0.02 and 0 < chance["put"] < 0.02
    after_skip = dict(zip(STEPS, np.exp(language.log_next((0, 3)))))
    assert after_skip["turn"] > 0.1  # late, but it comes
    next_piece = dict(zip(STEPS, np.exp(language.log_next((0, 1, 0)))))
    assert next_piece["turn"] == pytest.approx(1.0)  # the piece before was broken off
    forbidden = OrderLanguage(PROCEDURE, escape=0.0).log_next((0,))
    assert forbidden[STEPS.index("put")] == -np.inf


def at_the_end_of_take() -> tuple[Decoder, dict[str, float], np.ndarray]:
    """A decoder that has seen the first step (until 0.8 s), the log-probability of each step to be
    next, and fits of a picture like no state, to be changed."""
    language = OrderLanguage(PROCEDURE)
    decoder = Decoder(language, np.full((len(STEPS), STATES_PER_STEP), 5.0))
    decoder.begin(STEPS.index("take"), 0.0)
    chance = dict(zip(STEPS, language.log_next((0,))))
    fits = np.full(len(STEPS) * STATES_PER_STEP, -200.0)
    for time_s, phase in enumerate(range(PHASES), 1):
        decoder.step(np.where(np.arange(len(fits)) == phase, 0.0, fits), 0.2 * time_s)
    return decoder, chance, fits


@pytest.mark.parametrize(
    "rival, ahead, told", [("wipe", 10.0, 2), ("wipe", 8.0, 1), ("turn", 10.0, 1)]
)
def test_among_steps_out_of_order_less_is_enough_to_tell_which(rival, ahead, told):
    decoder, chance, fits = at_the_end_of_take()
    fits[STEPS.index("put") * STATES_PER_STEP] = ahead
    fits[STEPS.index(rival) * STATES_PER_STEP] = chance["put"] - chance[rival]
    belief = decoder.step(fits, 1.2)
    assert [STEPS[step] for step, _ in belief.path] == ["take", "put"]
    assert belief.told == told


@pytest.mark.parametrize(
    "next_, still, told", [("put", True, 1), ("put", False, 2), ("turn", True, 2)]
)
def test_while_nothing_moves_no_mistake_becomes_likelier(next_, still, told):
    """A pause is one picture, seen again and again; it may look like another step's."""
    decoder, _, fits = at_the_end_of_take()
    begun = STEPS.index(next_) * STATES_PER_STEP
    fits[[PHASES - 1, begun]] = 0.0, 10.0
    for look in range(20):
        belief = decoder.step(fits, 1.2 + 0.2 * look, still=still)
    assert belief.told == told


@pytest.mark.parametrize("behind, ended", [(10.0, False), (30.0, True)])
def test_that_a_step_has_ended_is_certain_before_it_is_what_comes_next(behind, ended):
    decoder, chance, fits = at_the_end_of_take()
    for step in ("turn", "put"):  # one as likely as the other
        fits[STEPS.index(step) * STATES_PER_STEP] = -chance[step]
    fits[PHASES - 1] = -behind
    belief = decoder.step(fits, 1.2)
    assert (len(belief.path), belief.told, belief.ended) == (2, 1, ended)


@pytest.mark.parametrize("behind, latest_s", [(2.0, 1.4), (20.0, 1.2)])
def test_a_step_may_have_begun_when_a_token_nearly_as_good_says(behind, latest_s):
    decoder, _, fits = at_the_end_of_take()
    put, end = STEPS.index("put") * STATES_PER_STEP, PHASES - 1
    first, second = fits.copy(), fits.copy()
    first[[put, end]] = 20.0, 20.0 - behind
    second[put] = 20.0
    decoder.step(first, 1.2)
    belief = decoder.step(second, 1.4)
    assert [STEPS[step] for step, _ in belief.path] == ["take", "put"]
    assert belief.begun_s(1) == pytest.approx((1.2, latest_s))
    assert belief.begun_s(0) == (0.0, 0.0)
