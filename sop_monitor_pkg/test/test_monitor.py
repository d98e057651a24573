"""Promises of the monitor: it follows a cycle, and tells what a procedure alone can tell."""

from pathlib import Path

import pytest
from sop_monitor_pkg.core.alarms import annunciation
from sop_monitor_pkg.core.alarms.book import SECOND_NS, AlarmBook, AlarmRules
from sop_monitor_pkg.core.alarms.journal import Journal, entries
from sop_monitor_pkg.core.alarms.kinds import Kind
from sop_monitor_pkg.core.following.events import (
    AnomalyEvent,
    CycleEnded,
    CycleLost,
    StepBegun,
    StepEnded,
)
from sop_monitor_pkg.core.following.monitor import EventError, Monitor
from sop_monitor_pkg.core.procedure.file import check, load
from sop_monitor_pkg.nodes import messages

PROCEDURES = Path(__file__).resolve().parents[1] / "config" / "procedures"
CLEAN = [
    "pick_base", "place_base", "screw_m4", "screw_m3", "rotate_part", "insert_peg",
    "place_cover", "read_label", "hand_over",
]  # fmt: skip


class WorkScript:
    """A monitor on a real journal, and somebody who works."""

    def __init__(self, procedure, path):
        self.path = path
        self.procedure = procedure
        self.now_s = 100.0
        self.journal = Journal(path)
        self.book = AlarmBook(procedure, self.journal, lambda change: None, AlarmRules())
        self.monitor = Monitor(procedure, self.book)

    def restart(self):
        past = list(entries(self.path))
        self.book = AlarmBook(self.procedure, self.journal, lambda change: None, AlarmRules(), past)
        self.monitor = Monitor(self.procedure, self.book, mid_cycle=True)

    @property
    def now_ns(self):
        return round(self.now_s * SECOND_NS)

    def do(self, *steps, seconds=2.0):
        for step in steps:
            self.monitor.take(StepBegun(step, self.now_ns, 0.9), self.now_ns)
            for _ in range(round(seconds * 10)):
                self.now_s += 0.1
                self.monitor.tick(self.now_ns)
            self.monitor.take(StepEnded(step, self.now_ns), self.now_ns)

    def finish(self):
        self.monitor.take(CycleEnded(self.now_ns), self.now_ns)

    def states(self):
        return [(alarm.number, str(state)) for alarm, state in self.book.snapshot()]

    def cycles(self):
        return [entry.body for entry in entries(self.path) if entry.kind == "cycle_ended"]

    def alarms(self):
        raised = [entry.body for entry in entries(self.path) if entry.kind == "raised"]
        return [(body["kind"], body["step"]) for body in raised]


@pytest.fixture
def work(station, folder):
    work = WorkScript(station, folder / "journal.db")
    yield work
    work.journal.close()


def test_clean_cycles_raise_nothing(work):
    work.do(*CLEAN)
    work.finish()
    work.do(*CLEAN[:2], "clean_base", "screw_m3", "screw_m4", *CLEAN[4:])
    work.finish()
    assert work.alarms() == []
    assert [cycle["cycle"] for cycle in work.cycles()] == [1, 2]
    assert [step for step, _, _ in work.cycles()[0]["steps"]] == CLEAN


def test_a_swap_is_one_alarm(work):
    steps = list(CLEAN)
    steps[4:6] = steps[5], steps[4]
    work.do(*steps)
    work.finish()
    assert work.alarms() == [("wrong_order", "insert_peg")]


def test_a_skipped_step_is_one_alarm_when_the_next_begins(work):
    work.do(*CLEAN[:4])
    work.monitor.take(StepBegun("insert_peg", work.now_ns), work.now_ns)
    assert work.alarms() == [("wrong_order", "insert_peg")]
    work.do(*CLEAN[5:])
    work.finish()
    assert len(work.alarms()) == 1


def test_a_last_step_left_out_is_skipped_at_the_end(work):
    work.do(*CLEAN[:-1])
    work.finish()
    assert work.alarms() == [("skipped", "hand_over")]


def test_a_step_done_too_often_is_repeated(work):
    work.do(*CLEAN[:5], "rotate_part", *CLEAN[5:])
    work.finish()
    assert work.alarms() == [("repeated", "rotate_part")]


def test_an_optional_step_too_late_is_out_of_order(work):
    work.do(*CLEAN[:5], "clean_base")
    assert work.alarms() == [("wrong_order", "clean_base")]


def sees(work, kind, step, reason="screw_m3 where screw_m4 belongs", seconds=0.5):
    for _ in range(round(seconds * 10)):
        work.monitor.take(AnomalyEvent(kind, work.now_ns, step, 0.9, reason), work.now_ns)
        work.now_s += 0.1


def test_what_lies_there_for_the_next_piece_is_one_alarm_and_of_that_piece(work):
    work.do(*CLEAN)
    sees(work, Kind.WRONG_PART, "hand_over")
    work.finish()
    assert work.states() == [(1, "cleared")]
    work.monitor.take(StepBegun("pick_base", work.now_ns), work.now_ns)
    sees(work, Kind.WRONG_PART, "pick_base")
    assert work.states() == [(1, "unacknowledged")]
    assert [alarm.cycle for alarm, _ in work.book.snapshot()] == [2]
    work.restart()
    assert [alarm.cycle for alarm, _ in work.book.snapshot()] == [2]


@pytest.mark.parametrize(
    ("done", "kind", "reason", "idle_s"),
    [
        (CLEAN[:3], Kind.WRONG_PART, "screw_m3 where screw_m4 belongs", 0.0),  # was put in
        (CLEAN, Kind.DEFECT, "base seems defective", 0.0),  # is of the piece
        (CLEAN, Kind.WRONG_PART, "screw_m4 where screw_m3 belongs", 0.0),
        (CLEAN, Kind.WRONG_PART, "screw_m3 where screw_m4 belongs", 20.0),
    ],
)
def test_the_next_piece_has_alarms_of_its_own(work, done, kind, reason, idle_s):
    work.do(*done)
    sees(work, kind, done[-1], reason)
    work.finish()
    work.now_s += idle_s
    work.monitor.take(StepBegun("pick_base", work.now_ns), work.now_ns)
    again = reason if kind is Kind.DEFECT else "screw_m3 where screw_m4 belongs"
    sees(work, kind, "pick_base", again)
    of_this = [a.number for a, _ in work.book.snapshot() if a.kind is kind and a.cycle == 2]
    assert work.alarms().count((str(kind), "pick_base")) == 1 and len(of_this) == 1


def test_times_that_the_procedure_fixes_are_watched(folder):
    text = "procedure: p\nsteps:\n  - {step: glue, takes_s: [2, 5]}\n  - {step: press}\n"
    procedure, _ = check(text)
    work = WorkScript(procedure, folder / "journal.db")
    work.do("glue", seconds=1.0)
    assert work.alarms() == [("too_fast", "glue")]
    work.finish()
    work.do("glue", seconds=5.1)
    assert len(work.alarms()) == 1  # within the on-delay
    work.finish()
    work.do("glue", seconds=7.0)
    # Its alarm was raised in time, and is one.
    assert work.alarms().count(("too_slow", "glue")) == 1
    work.journal.close()


def test_what_looks_like_no_step_is_unknown_until_it_does(work):
    work.do("pick_base")
    work.monitor.take(StepBegun("place_base", work.now_ns), work.now_ns)

    def unknown(**news):
        if news:
            seen = AnomalyEvent(Kind.UNKNOWN_ACTION, work.now_ns, "place_base", **news)
            work.monitor.take(seen, work.now_ns)
        state = work.monitor.state(work.now_ns)
        message = messages.state_message(state, work.monitor._procedure, work.now_ns)
        return state.unknown, message.step

    assert unknown() == (False, "place_base")
    assert unknown(active=True) == (True, "unknown")
    assert unknown(active=False) == (False, "place_base")
    assert unknown(active=True) == (True, "unknown")
    work.do("clean_base")
    assert unknown() == (False, "")


def test_the_state_says_where_the_work_stands(work):
    work.do(*CLEAN[:2])
    work.monitor.take(StepBegun("screw_m3", work.now_ns, 0.7), work.now_ns)
    work.now_s += 1.5
    state = work.monitor.state(work.now_ns)
    assert (state.cycle, state.step, state.probability) == (1, "screw_m3", 0.7)
    assert state.step_s == pytest.approx(1.5)
    assert state.cycle_s == pytest.approx(5.5)
    assert state.progress == pytest.approx(2 / 9)
    assert state.expected == ("screw_m4",)


def test_the_cycle_number_goes_on_after_a_restart(work):
    work.do(*CLEAN)
    work.finish()
    past = list(entries(work.path))
    book = AlarmBook(work.procedure, work.journal, lambda change: None, AlarmRules(), past)
    assert Monitor(work.procedure, book).state(work.now_ns).cycle == 2


def test_what_came_before_a_restart_is_not_missed_and_what_comes_after_is_watched(work):
    work.do(*CLEAN[:3])
    work.restart()
    work.do("screw_m3", "rotate_part")
    assert work.monitor.state(work.now_ns).partly and work.alarms() == []
    work.do(*CLEAN[6:])
    assert work.alarms() == [("wrong_order", "place_cover")]
    work.finish()
    assert len(work.alarms()) == 1 and work.cycles()[0]["partly"]
    work.do(*CLEAN[1:])
    assert not work.monitor.state(work.now_ns).partly
    assert work.alarms()[1:] == [("wrong_order", "place_base")]


def test_a_cycle_whose_last_step_ends_after_a_restart_is_counted_and_ends_its_alarms(work):
    work.do(*CLEAN[:5], "place_cover")
    work.restart()
    work.monitor.take(StepEnded("hand_over", work.now_ns), work.now_ns)
    assert work.states() == [(1, "unacknowledged")]
    work.finish()
    work.finish()  # there is no other one
    assert work.states() == [(1, "cleared")]
    assert [cycle["cycle"] for cycle in work.cycles()] == [1]
    work.do(*CLEAN)
    work.finish()
    assert work.alarms() == [("wrong_order", "place_cover")]


def test_a_new_cycle_after_a_restart_ends_the_alarms_of_the_one_before(work):
    work.do(*CLEAN[:5], "place_cover")
    work.restart()
    work.do("pick_base")
    assert work.states() == [(1, "cleared")]
    assert (work.monitor.state(work.now_ns).cycle, len(work.cycles())) == (2, 1)
    work.do("rotate_part")
    assert work.alarms()[1:] == [("wrong_order", "rotate_part")]


def test_a_lost_cycle_is_not_judged(work):
    work.do(*CLEAN[:2])
    work.monitor.take(CycleLost(work.now_ns), work.now_ns)
    assert work.cycles()[0]["partly"]
    work.do(*CLEAN[5:])
    work.finish()
    work.do(*CLEAN)
    work.finish()
    assert work.alarms() == []


def test_a_step_that_does_not_exist_is_refused_and_changes_nothing(work):
    work.do("pick_base")
    with pytest.raises(EventError, match="no step 'dance'; it has pick_base"):
        work.monitor.take(StepBegun("dance", work.now_ns), work.now_ns)
    assert work.monitor.state(work.now_ns).done == ("pick_base",)


def test_an_end_that_comes_late_does_not_end_the_next_step(work):
    work.monitor.take(StepBegun("pick_base", work.now_ns), work.now_ns)
    work.monitor.take(StepBegun("place_base", work.now_ns), work.now_ns)
    work.monitor.take(StepEnded("pick_base", work.now_ns), work.now_ns)
    assert work.monitor.state(work.now_ns).step == "place_base"


def test_lamp_and_buzzer_follow_the_alarms_of_those_they_tell(work):
    def shown():
        alarms = work.book.snapshot()
        procedure = work.procedure
        return annunciation.lamp(procedure, alarms), annunciation.buzzer(procedure, alarms)

    assert shown() == ("green", False)
    work.monitor.take(AnomalyEvent(Kind.HESITATING, work.now_ns, "rotate_part"), work.now_ns)
    work.do("pick_base")
    assert work.book.snapshot() and shown() == ("green", False)  # only the supervisor is told
    work.now_s += 20.0
    work.monitor.take(AnomalyEvent(Kind.DROPPED_PART, work.now_ns, "rotate_part"), work.now_ns)
    work.do("place_base")
    assert shown() == ("yellow_blinking", True)
    work.do("place_base", seconds=11.0)
    work.do("rotate_part")
    number = work.book.snapshot()[0][0].number
    assert shown() == ("red_blinking", True)
    work.book.acknowledge(number, "Ana", "", work.now_ns)
    assert shown()[0] == "red"
    for alarm, _ in work.book.snapshot():
        work.book.false_alarm(alarm.number, "Ana", "", work.now_ns)
    assert shown() == ("green", False)


def test_the_buzzer_sounds_until_somebody_has_seen_the_alarm_also_when_it_is_gone(work):
    work.do(*CLEAN[:-1])
    work.finish()  # what is left out is raised, and over with the cycle
    assert work.states() == [(1, "cleared")]
    assert annunciation.buzzer(work.procedure, work.book.snapshot())
    work.book.acknowledge(1, "Ana", "", work.now_ns)
    assert not annunciation.buzzer(work.procedure, work.book.snapshot())


def test_a_procedure_without_people_leaves_nobody_out(folder):
    procedure, _ = check("procedure: p\nsteps:\n  - {step: glue}\n  - {step: press}\n")
    work = WorkScript(procedure, folder / "journal.db")
    work.do("press")
    assert annunciation.lamp(procedure, work.book.snapshot()) == "red_blinking"
    assert annunciation.buzzer(procedure, work.book.snapshot())
    work.journal.close()


def test_the_kit_may_be_packed_in_any_order(folder):
    work = WorkScript(load(PROCEDURES / "kitting.yaml"), folder / "journal.db")
    work.do(
        *["open_box", "pack_cable", "pack_battery", "look_through", "pack_cable", "pack_adapter"]
    )
    work.do(*["pack_manual", "close_box", "label_box"])
    work.finish()
    assert work.alarms() == []
    work.journal.close()
