"""Promises on what lies where: what is held, what fell, and what it may be."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from small_work import part
from sop_monitor_pkg.core.checks.place_watch import PlaceWatch
from sop_monitor_pkg.core.normal import places
from sop_monitor_pkg.core.tracks.resting import RestWatch
from sop_monitor_pkg.core.tracks.sightings import UNKNOWN, SeenPart, Sighting


def test_a_part_of_either_size_may_lie_where_one_of_them_does():
    boxes = np.array([part("", 0, 0.5, 0.2).box, part("", 0, 0.7, 0.4).box], np.float32)
    known_places = places.Places(("nut_m3", "nut_m4"), boxes, np.zeros(2, int), np.arange(2))
    either = replace(part(UNKNOWN, 1, 0.7, 0.4), candidates=("nut_m3", "nut_m4"))
    assert known_places.misplaced(either, [0]).distance == pytest.approx(0.0, abs=1e-6)
    assert known_places.misplaced(part("nut_m3", 1, 0.7, 0.4), [0]).belongs == "nut_m4"


def test_a_part_of_either_size_is_what_its_size_is_nearer_to():
    def nut(x: float, y: float, side: float) -> tuple[float, ...]:
        return x - side / 2, y - side / 2, x + side / 2, y + side / 2

    boxes = np.array([nut(0.5, 0.2, 0.030), nut(0.7, 0.4, 0.040)], np.float32)
    known_places = places.Places(("nut_m3", "nut_m4"), boxes, np.zeros(2, int), np.arange(2))

    def found(*sides: float) -> list[tuple[tuple[str, ...], str]]:
        watch_ = PlaceWatch(known_places, ["hand", "tool"])
        for i, side in enumerate(sides):
            seen = part(UNKNOWN, 1, 0.5, 0.2)
            seen = replace(seen, box=nut(0.5, 0.2, side), candidates=("nut_m3", "nut_m4"))
            items = watch_.take(Sighting(0.2 * i, (seen,)), [0])
        return [(item.names, item.belongs) for item in items]

    assert found(*[0.031] * 6) == [(("nut_m3",), "")]
    assert found(*[0.038] * 6) == [(("nut_m4",), "nut_m3")]
    assert found(*[0.035] * 6) == [(("nut_m3", "nut_m4"), "")]  # as near to both
    assert found(*[0.031] * 6, 0.038) == []  # for a moment


def test_what_is_taken_for_something_else_now_and_then_is_not_usual():
    def seen(often: int) -> list[Sighting]:
        coin, nut = part("coin", 2, 0.2, 0.8), part("nut_m3", 1, 0.5, 0.2)
        return [Sighting(0.2 * i, (nut, coin) if i < often else (nut,)) for i in range(40)]

    often, rarely = (places.learn([(seen(times), [0] * 40) for _ in range(5)]) for times in (20, 2))
    assert often.classes == ("coin", "nut_m3") and rarely.classes == ("nut_m3",)


@pytest.mark.parametrize(
    "hand_stops, part_stops, hand_goes, beside, held_until",
    [
        (2.0, 2.0, 9.9, False, 9.9),  # both stand still
        (2.0, 2.0, 5.0, False, 5.6),  # and the hand goes away without it
        (2.0, 2.4, 9.9, False, 0.0),  # it falls after the hand has stopped
        (2.0, 2.0, 9.9, True, 0.0),  # the hand is elsewhere
        (9.9, 2.0, 9.9, False, 0.0),  # the hand moves over it
    ],
)
def test_what_stops_together_with_a_hand_is_held(
    hand_stops, part_stops, hand_goes, beside, held_until
):
    watch_ = PlaceWatch(places.Places(("hand", "nut_m3")), ["hand", "tool"])
    held, left = [], []
    for time_s in np.arange(0.0, 8.0, 0.2):
        away = 0.05 * (max(0.0, hand_stops - time_s) + max(0.0, time_s - hand_goes))
        hand = part("hand", 1, 0.3 + away + 0.5 * beside, 0.5)
        nut = part("nut_m3", 2, 0.31 + 0.05 * max(0.0, part_stops - time_s), 0.5)
        for item in watch_.take(Sighting(float(time_s), (hand, nut)), [0]):
            if item.name == "nut_m3":
                (held if item.held else left).append(time_s)
                assert item.dropped == (0.0 if item.held else item.weight)
    assert max(held, default=0.0) == pytest.approx(min(held_until, 7.8), abs=0.21)
    assert bool(left) == (held_until < 7.8)


@pytest.mark.parametrize("settles", [0.0, 0.015])
@pytest.mark.parametrize("hand_too, falls", [(False, True), (True, False)])
def test_a_part_that_moves_while_the_hand_over_it_does_not_has_fallen(hand_too, falls, settles):
    watch_ = PlaceWatch(places.Places(("hand", "nut_m3")), ["hand", "tool"])
    for time_s in np.arange(0.0, 4.0, 0.2):
        away, fallen = 0.05 * max(0.0, 1.0 - time_s), 0.03 if time_s > 1.1 else 0.0
        fallen += settles if time_s > 1.3 else 0.0
        hand = part("hand", 1, 0.3 + away, 0.5 + hand_too * fallen)
        nut = part("nut_m3", 2, 0.31 + away, 0.5 + fallen)
        found = watch_.take(Sighting(float(time_s), (hand, nut)), [0])
    (item,) = (item for item in found if item.name == "nut_m3")
    assert (item.fell, item.held) == (falls, not falls)
    assert item.dropped == (2.0 * item.weight if falls else 0.0)


@pytest.mark.parametrize("place, rests_s", [((0.3, 0.8), 3.8), ((0.7, 0.4), 1.8)])
def test_what_lies_where_nothing_does_has_lain_there_whatever_it_seemed(place, rests_s):
    boxes = np.array([part("", 0, 0.5, 0.2).box, part("", 0, 0.7, 0.4).box], np.float32)
    known_places = places.Places(("nut_m3", "nut_m4"), boxes, np.zeros(2, int), np.arange(2))
    watch_ = PlaceWatch(known_places, ["hand", "tool"])
    for time_s in np.arange(0.0, 4.0, 0.2):
        name = "nut_m4" if time_s < 1.9 else "nut_m3"
        (item,) = watch_.take(Sighting(float(time_s), (part(name, 1, *place),)), [0]) or [None]
    assert (item.names, item.rests_s) == (("nut_m3",), pytest.approx(rests_s))


@pytest.mark.parametrize("count, sure, kept", [(1, 0.5, False), (1, 0.8, True), (2, 0.5, True)])
def test_what_is_one_more_than_there_are_must_be_seen_as_surely(count, sure, kept):
    """A pattern of the table that is taken for a nut, a nut too many, and one of two nuts."""
    nut = replace(part("nut_m3", 1, 0.2, 0.2), confidence=0.9)
    other = replace(part("nut_m3", 2, 0.7, 0.7), confidence=sure)
    looks = [Sighting(0.2 * i, (nut, other) if i < 50 * count - 49 else (nut,)) for i in range(50)]
    known_places = places.learn([(looks, [0] * len(looks))])
    assert known_places.most.tolist() == [count]
    parts = [other, nut, part("hand", 3, 0.5, 0.5)]
    assert {p.track for p in known_places.surest(parts)} == ({1, 2, 3} if kept else {1, 3})


@pytest.mark.parametrize(
    "tool_seen_until, stopped, held",
    [
        (1.8, True, True),  # it was there, and nothing has moved since it is not seen
        (1.8, False, False),  # something has
        (0.5, True, False),  # it was gone before
        (9.9, True, False),  # it is in view elsewhere
    ],
)
def test_what_stops_with_all_else_may_be_in_a_hand_that_is_not_seen(tool_seen_until, stopped, held):
    watch_ = PlaceWatch(places.Places(("nut_m3", "tool")), ["hand", "tool"])
    for time_s in np.arange(0.0, 5.0, 0.2):
        nut = part("nut_m3", 1, 0.3 + 0.05 * max(0.0, 2.0 - time_s), 0.5)
        seen = (nut, part("tool", 2, 0.8, 0.5)) if time_s <= tool_seen_until else (nut,)
        stopped_s = 2.0 if stopped else time_s
        found = watch_.take(Sighting(float(time_s), seen), [0], stopped_s)
    assert [item.held for item in found if item.name == "nut_m3"] == [held]


def test_what_a_hand_hid_until_its_carrier_lay_still_came_along_with_it():
    watch_ = PlaceWatch(places.Places(("hand", "nut_m3", "plate")), ["hand", "tool"])
    for time_s in np.arange(0.0, 6.0, 0.2):
        moved = 0.05 * max(0.0, 1.0 - time_s)
        seen = [SeenPart("plate", 1, (0.2 + moved, 0.4, 0.5 + moved, 0.7))]
        seen += [part("nut_m3", 2, 0.3, 0.5)] if time_s >= 1.5 else []  # the hand goes away
        seen += [part("nut_m3", 3, 0.4, 0.6)] if time_s >= 3.0 else []  # much later
        if time_s > 5.0:
            seen = seen[1:]  # the plate is hidden now
        found = watch_.take(Sighting(float(time_s), tuple(seen)), [0])
        lying = sorted(item.held for item in found if item.name == "nut_m3")
        assert lying == ([] if time_s < 2.1 else [True] if time_s < 3.5 else [False, True])


@pytest.mark.parametrize("hidden, told", [(True, ""), (False, "nut_m4")])
def test_what_a_tool_half_hides_may_be_what_it_was_before(hidden, told):
    boxes = np.array([part("nut_m4", 1, 0.5, 0.2).box], np.float32)
    known_places = places.Places(("nut_m3", "nut_m4", "tool"), boxes, np.zeros(1, int), np.ones(1))
    watch_ = PlaceWatch(known_places, ["hand", "tool"])
    for time_s in np.arange(0.0, 4.0, 0.2):
        name = "nut_m4" if time_s < 2.0 else "nut_m3"
        tool = part("tool", 2, 0.53 if hidden and time_s >= 2.0 else 0.8, 0.2)
        found = watch_.take(Sighting(float(time_s), (part(name, 1, 0.5, 0.2), tool)), [0])
    assert [item.belongs for item in found if "nut_m3" in item.names] == [told]


@pytest.mark.parametrize("looks, rests_s", [((0.0, 0.8), 0.0), ((0.0, 0.2, 1.0), 1.0)])
def test_what_came_just_before_it_was_lost_from_sight_may_have_been_away(looks, rests_s):
    watch = RestWatch()
    for time_s in looks:
        ((_, rested_s),) = watch.take([part("screw", 1, 0.5, 0.5)], time_s)
    assert rested_s == pytest.approx(rests_s)


def test_the_last_of_a_motion_is_no_motion_once_it_has_ended():
    """A box that jitters about where it has stopped, a little beyond the threshold from before."""
    watch = RestWatch()
    for time_s, x in ((0.0, 0.55), (0.2, 0.511), (0.4, 0.5), (0.6, 0.5), (0.8, 0.4985)):
        ((_, rested_s),) = watch.take([part("tool", 1, x, 0.5)], time_s)
    assert rested_s == pytest.approx(0.6)
    ((_, rested_s),) = watch.take([part("tool", 1, 0.487, 0.5)], 1.0)
    assert rested_s == 0.0


def test_what_a_held_part_carries_is_held_and_what_falls_on_it_is_not():
    watch_ = PlaceWatch(places.Places(("hand", "nut_m3", "plate")), ["hand", "tool"])
    for time_s in np.arange(0.0, 3.0, 0.2):
        moved = 0.05 * max(0.0, 1.0 - time_s)
        hand = part("hand", 1, 0.3 + moved, 0.7)
        plate = SeenPart("plate", 2, (0.2 + moved, 0.4, 0.5 + moved, 0.7))
        on_it = part("nut_m3", 3, 0.4 + moved, 0.5)
        fallen = part("nut_m3", 4, 0.4 + 0.05 * max(0.0, 2.0 - time_s), 0.6)
        found = watch_.take(Sighting(float(time_s), (hand, plate, on_it, fallen)), [0])
    assert sorted((item.name, item.held) for item in found if item.name != "hand") == [
        ("nut_m3", False), ("nut_m3", True), ("plate", True)
    ]  # fmt: skip
