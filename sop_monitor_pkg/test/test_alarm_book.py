"""Promises of the alarms: raised once, in the right state, and the same after a restart."""

import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from sop_monitor_pkg.core.alarms.book import SECOND_NS, AlarmBook, AlarmError, AlarmRules
from sop_monitor_pkg.core.alarms.journal import Journal, entries, verify
from sop_monitor_pkg.core.alarms.kinds import Kind, Priority
from sop_monitor_pkg.core.alarms.table import AlarmState
from sop_monitor_pkg.core.following.events import AnomalyEvent
from sop_monitor_pkg.core.procedure.file import load

STATION = load(Path(__file__).resolve().parents[1] / "config" / "procedures" / "station.yaml")
RULES = AlarmRules(on_delay_s=1.0, off_delay_s=2.0, cause_window_s=10.0)


class AlarmBench:
    """A book on a real journal, with a clock to turn."""

    def __init__(self, path):
        self.path = path
        self.changes = []
        self.now_s = 0.0
        self.start()

    def start(self):
        self.journal = Journal(self.path)
        past = list(entries(self.path))
        self.book = AlarmBook(STATION, self.journal, self.published, RULES, past)

    def restart(self):
        self.journal.close()
        self.start()

    def published(self, change):
        self.changes.append(change)
        assert change.entry.number <= self.journal.head[0]

    @property
    def now_ns(self):
        return round(self.now_s * SECOND_NS)

    def wait(self, seconds):
        self.now_s += seconds
        self.book.tick(self.now_ns)

    def see(self, kind, step="", active=True, score=0.9, reason="", ago_s=0.0):
        stamp_ns = self.now_ns - round(ago_s * SECOND_NS)
        anomaly = AnomalyEvent(Kind(kind), stamp_ns, step, score, reason, active)
        self.book.observe(anomaly, self.now_ns)

    def states(self):
        return {(str(a.kind), a.step): str(state) for a, state in self.book.snapshot()}

    def kinds(self):
        return [change.entry.kind for change in self.changes]


@pytest.fixture
def bench(folder):
    bench = AlarmBench(folder / "journal.db")
    yield bench
    bench.journal.close()


def test_an_alarm_is_raised_acknowledged_cleared_and_closed(bench):
    bench.see("too_slow", "rotate_part")
    bench.wait(1.0)
    assert bench.states() == {("too_slow", "rotate_part"): "unacknowledged"}
    bench.book.acknowledge(1, "Ana", "I help", bench.now_ns)
    assert bench.states() == {("too_slow", "rotate_part"): "acknowledged"}
    bench.see("too_slow", "rotate_part", active=False)
    bench.wait(2.0)
    assert bench.states() == {}
    assert bench.kinds() == ["raised", "acknowledged", "cleared"]
    assert bench.changes[-1].state is AlarmState.CLOSED


def test_one_that_ends_by_itself_waits_for_somebody_to_have_seen_it(bench):
    bench.see("too_slow", "rotate_part")
    bench.wait(1.0)
    bench.see("too_slow", "rotate_part", active=False)
    bench.wait(2.0)
    assert bench.states() == {("too_slow", "rotate_part"): "cleared"}
    bench.book.acknowledge(1, "Ana", "", bench.now_ns)
    assert bench.states() == {}


def test_what_is_shorter_than_the_on_delay_raises_nothing(bench):
    bench.see("unknown_action", "rotate_part")
    bench.wait(0.9)
    bench.see("unknown_action", "rotate_part", active=False)
    bench.wait(5.0)
    assert bench.changes == []


def test_a_fact_of_the_order_needs_no_delay(bench):
    bench.see("wrong_order", "insert_peg")
    assert bench.states() == {("wrong_order", "insert_peg"): "unacknowledged"}


def test_a_flickering_cause_is_one_alarm(bench):
    bench.see("defect", "pick_base")
    bench.wait(1.0)
    for _ in range(5):
        bench.see("defect", "pick_base", active=False)
        bench.wait(1.0)  # shorter than the off-delay
        bench.see("defect", "pick_base")
        bench.wait(1.0)
    assert bench.kinds() == ["raised"]


def test_a_cause_that_comes_back_for_a_moment_has_not_been_gone(bench):
    bench.see("defect", "pick_base")
    bench.wait(1.0)
    for _ in range(5):
        bench.see("defect", "pick_base", active=False)
        bench.wait(0.7)
        bench.see("defect", "pick_base")
        bench.wait(0.3)  # shorter than the on-delay
    assert bench.kinds() == ["raised"]


def test_a_moment_that_is_over_is_no_alarm_whatever_was_said_of_it(bench):
    bench.see("dropped_part", "screw_m3", reason="peg where it never is")
    bench.wait(0.2)
    bench.see("dropped_part", "screw_m4", active=False)  # the step has changed meanwhile
    bench.wait(5.0)
    assert bench.changes == []


def test_an_alarm_of_a_cycle_before_does_not_swallow_a_new_one(bench):
    bench.see("defect", "pick_base")
    bench.wait(1.0)
    bench.book.end_cycle(bench.now_ns, {})
    bench.see("defect", "pick_base")
    bench.see("defect", "pick_base", active=False)
    bench.see("defect", "pick_base")
    bench.wait(1.0)
    assert [(alarm.number, str(state)) for alarm, state in bench.book.snapshot()] == [
        (1, "cleared"),
        (2, "unacknowledged"),
    ]


def test_an_alarm_ends_when_the_last_of_what_was_seen_is_over(bench):
    bench.see("too_slow", "pick_base")
    bench.wait(1.0)
    bench.see("defect", "pick_base", reason="a scratch")
    bench.wait(1.0)
    bench.see("too_slow", "pick_base", active=False)  # what it was about at first
    bench.wait(5.0)
    assert bench.states() == {("defect", "pick_base"): "unacknowledged"}
    bench.see("defect", "place_base", active=False)
    bench.wait(2.0)
    assert bench.states() == {("defect", "pick_base"): "cleared"}


def test_a_shelved_alarm_that_is_over_comes_back_as_one_that_is_cleared(bench):
    bench.book.shelve("too_slow", 60.0, "Ana", "", bench.now_ns)
    bench.see("too_slow", "rotate_part")
    bench.wait(1.0)
    bench.see("too_slow", "rotate_part", active=False)
    bench.wait(2.0)
    assert bench.states() == {("too_slow", "rotate_part"): "shelved"}
    bench.wait(60.0)
    assert bench.states() == {("too_slow", "rotate_part"): "cleared"}


def test_what_follows_from_a_cause_is_no_alarm_of_its_own(bench):
    bench.see("dropped_part", "insert_peg", reason="The peg fell")
    bench.wait(1.0)
    bench.see("too_slow", "insert_peg", reason="'Push the peg in' takes longer")
    bench.wait(1.0)
    bench.see("wrong_order", "place_cover", reason="cover before peg")
    ((alarm, _),) = bench.book.snapshot()
    assert alarm.reason == "The peg fell"
    assert alarm.consequences == ("'Push the peg in' takes longer", "cover before peg")


def test_a_new_fault_long_after_is_an_alarm_of_its_own(bench):
    bench.see("wrong_order", "insert_peg")
    bench.wait(11.0)
    bench.see("repeated", "place_cover")
    assert len(bench.book.snapshot()) == 2


@pytest.mark.parametrize("mistake", ["wrong_order", "skipped", "repeated"])
def test_where_parts_lie_after_a_mistake_of_the_order_follows_from_it(bench, mistake):
    bench.see(mistake, "rotate_part")
    bench.wait(11.0)
    bench.see("dropped_part", "place_cover", reason="a screw where it never is")
    bench.wait(1.0)
    ((alarm, _),) = bench.book.snapshot()
    assert alarm.kind == mistake and alarm.consequences == ("a screw where it never is",)


@pytest.mark.parametrize("ago_s, kind", [(4.0, Kind.WRONG_ORDER), (1.0, Kind.DROPPED_PART)])
def test_a_mistake_made_before_a_part_lay_there_is_the_cause_whenever_told(bench, ago_s, kind):
    bench.see("dropped_part", "clean_base", reason="a peg where it never is")
    bench.wait(2.0)
    bench.see("wrong_order", "insert_peg", reason="too early", ago_s=ago_s)
    ((alarm, _),) = bench.book.snapshot()
    assert alarm.kind is kind and len(alarm.consequences) == 1


def test_a_part_dropped_long_after_another_mistake_is_an_alarm_of_its_own(bench):
    bench.see("too_fast", "rotate_part")
    bench.wait(11.0)
    bench.see("dropped_part", "place_cover")
    bench.wait(1.0)
    assert len(bench.book.snapshot()) == 2


def test_quality_takes_over_from_process_and_wants_to_be_seen_again(bench):
    bench.see("too_slow", "pick_base", reason="slow")
    bench.wait(1.0)
    bench.book.acknowledge(1, "Ana", "", bench.now_ns)
    bench.see("defect", "pick_base", reason="a scratch")
    bench.wait(1.0)
    ((alarm, state),) = bench.book.snapshot()
    assert (alarm.number, alarm.kind, alarm.reason) == (1, Kind.DEFECT, "a scratch")
    assert alarm.consequences == ("slow",)
    assert alarm.priority is Priority.HIGH and state is AlarmState.UNACKNOWLEDGED


def test_found_together_quality_is_the_alarm_and_process_the_consequence(bench):
    bench.see("hesitating", "pick_base", reason="hesitates")
    bench.see("defect", "pick_base", reason="a scratch")
    bench.wait(1.0)
    ((alarm, _),) = bench.book.snapshot()
    assert alarm.kind is Kind.DEFECT and alarm.consequences == ("hesitates",)


def test_two_ways_of_being_bad_are_two_alarms(bench):
    bench.see("defect", "pick_base")
    bench.see("label", "read_label")
    bench.wait(1.0)
    assert len(bench.book.snapshot()) == 2


def test_a_piece_that_is_hardly_bad_is_bad_for_the_reason_that_is_sure(bench):
    bench.see("wrong_part", "place_cover", score=0.5)
    bench.wait(1.0)
    bench.see("too_slow", "place_cover", score=0.9)
    bench.wait(1.0)
    assert bench.states() == {("wrong_part", "place_cover"): "unacknowledged"}
    bench.see("label", "read_label", score=0.55)  # a fact
    assert bench.states() == {("label", "read_label"): "unacknowledged"}
    bench.see("defect", "read_label", score=0.6)
    bench.wait(1.0)
    assert bench.states() == {("label", "read_label"): "unacknowledged"}
    bench.wait(20.0)
    bench.see("defect", "hand_over", score=0.6, reason="another")
    bench.wait(1.0)
    assert bench.kinds().count("raised") == 2


def test_a_false_alarm_is_closed_and_stays_away_for_this_cycle(bench):
    bench.see("defect", "pick_base")
    bench.wait(1.0)
    bench.book.false_alarm(1, "Ana", "only a reflection", bench.now_ns)
    bench.wait(1.0)
    bench.see("defect", "pick_base")
    bench.restart()
    bench.see("defect", "pick_base")
    bench.wait(2.0)
    assert bench.states() == {}
    bench.book.end_cycle(bench.now_ns, {})
    bench.see("defect", "pick_base")
    bench.wait(1.0)
    assert bench.states() == {("defect", "pick_base"): "unacknowledged"}


def test_a_thing_called_false_stays_away_in_other_steps_and_another_thing_does_not(bench):
    bench.see("dropped_part", "screw_m3", reason="cloth where it never is")
    bench.wait(1.0)
    bench.book.false_alarm(1, "Ana", "it lies there", bench.now_ns)
    bench.see("dropped_part", "screw_m3", active=False)
    bench.see("dropped_part", "screw_m4", reason="cloth where it never is")
    bench.wait(1.0)
    assert bench.states() == {}
    bench.see("dropped_part", "screw_m4", reason="peg where it never is")
    bench.wait(1.0)
    assert bench.states() == {("dropped_part", "screw_m4"): "unacknowledged"}


def test_the_work_called_false_in_one_step_is_watched_in_the_next(bench):
    bench.see("too_slow", "screw_m3", reason="slow")
    bench.wait(1.0)
    bench.book.false_alarm(1, "Ana", "", bench.now_ns)
    bench.see("too_slow", "screw_m4", reason="slow")
    bench.wait(1.0)
    assert bench.states() == {("too_slow", "screw_m4"): "unacknowledged"}


def test_a_shelved_condition_is_quiet_until_its_time_is_over(bench):
    bench.book.shelve("too_slow@rotate_part", 60.0, "Ana", "new operator", bench.now_ns)
    bench.see("too_slow", "rotate_part")
    bench.wait(1.0)
    assert bench.states() == {("too_slow", "rotate_part"): "shelved"}
    assert bench.book.table.open_alarms() == []
    bench.wait(59.0)
    assert bench.states() == {("too_slow", "rotate_part"): "unacknowledged"}
    assert bench.kinds() == ["shelved", "raised", "unshelved"]


def test_a_real_fault_does_not_hide_behind_a_shelved_one(bench):
    bench.book.shelve("too_slow", 60.0, "Ana", "", bench.now_ns)
    bench.see("too_slow", "rotate_part")
    bench.wait(1.0)
    bench.see("wrong_order", "insert_peg")
    assert bench.states()[("wrong_order", "insert_peg")] == "unacknowledged"


def test_a_real_alarm_is_not_taken_to_the_shelf_by_its_cause(bench):
    bench.book.shelve("defect", 60.0, "Ana", "", bench.now_ns)
    bench.see("skipped", "rotate_part")
    bench.see("defect", "insert_peg")
    bench.wait(1.0)
    assert bench.states() == {
        ("skipped", "rotate_part"): "unacknowledged",
        ("defect", "insert_peg"): "shelved",
    }


def test_a_real_fault_does_not_hide_behind_one_out_of_service(bench):
    bench.see("defect", "pick_base")
    bench.wait(1.0)
    bench.book.take_out_of_service("defect", "Ana", "", bench.now_ns)
    bench.see("wrong_order", "insert_peg")
    assert bench.states()[("wrong_order", "insert_peg")] == "unacknowledged"


def test_a_shelf_runs_out_while_the_monitor_is_off(bench):
    bench.book.shelve("too_slow", 60.0, "Ana", "", bench.now_ns)
    bench.restart()
    assert list(bench.book.table.shelves) == ["too_slow"]
    bench.wait(61.0)
    assert bench.book.table.shelves == {}


def test_out_of_service_raises_nothing_and_the_journal_still_knows(bench):
    bench.book.take_out_of_service("label", "Ana", "camera is dirty", bench.now_ns)
    bench.see("label", "read_label")
    bench.see("label", "read_label")
    bench.wait(5.0)
    assert bench.states() == {}
    assert bench.kinds() == ["out_of_service", "suppressed"]
    bench.book.return_to_service("label", "Ana", bench.now_ns)
    bench.see("label", "read_label")
    bench.wait(1.0)
    assert bench.states() == {("label", "read_label"): "unacknowledged"}


def test_a_label_that_nobody_read_is_told_when_the_cycle_ends_at_once(bench):
    bench.see("label", "read_label", reason="no label reads VJ-3347-B")
    bench.see("hesitating", "read_label")
    bench.book.end_cycle(bench.now_ns, {})
    assert bench.states() == {("label", "read_label"): "cleared"}


def test_the_end_of_a_cycle_ends_its_causes_but_forgets_no_alarm(bench):
    bench.see("wrong_order", "insert_peg")
    bench.book.end_cycle(bench.now_ns, {"steps": []})
    assert bench.states() == {("wrong_order", "insert_peg"): "cleared"}
    bench.see("wrong_order", "insert_peg")
    assert len(bench.book.snapshot()) == 2


@pytest.mark.parametrize(
    ("act", "words"),
    [
        (lambda b, t: b.acknowledge(7, "Ana", "", t), "no open alarm 7"),
        (lambda b, t: b.acknowledge(1, " ", "", t), "say who you are"),
        (lambda b, t: b.shelve("nonsense", 5.0, "Ana", "", t), "no condition"),
        (lambda b, t: b.shelve("too_slow@nowhere", 5.0, "Ana", "", t), "no condition"),
        (lambda b, t: b.shelve("too_slow@", 5.0, "Ana", "", t), "no condition"),
        (lambda b, t: b.shelve("too_slow", 0.0, "Ana", "", t), "give 1 to"),
        (lambda b, t: b.shelve("too_slow", float("nan"), "Ana", "", t), "give 1 to"),
        (lambda b, t: b.unshelve("too_slow", "Ana", t), "not shelved"),
        (lambda b, t: b.return_to_service("label", "Ana", t), "not out of service"),
    ],
)
def test_an_answer_that_cannot_be_is_refused_and_leaves_no_trace(bench, act, words):
    bench.see("wrong_order", "rotate_part")
    with pytest.raises(AlarmError, match=words):
        act(bench.book, bench.now_ns)
    assert bench.kinds() == ["raised"]


def test_nobody_acknowledges_twice(bench):
    bench.see("wrong_order", "rotate_part")
    bench.book.acknowledge(1, "Ana", "", bench.now_ns)
    with pytest.raises(AlarmError, match="already, by Ana"):
        bench.book.acknowledge(1, "Ben", "", bench.now_ns)


def test_answers_from_many_threads_stay_in_the_order_of_the_journal(bench):
    bench.book = AlarmBook(STATION, bench.journal, bench.changes.append, AlarmRules())

    def work(name):
        for i in range(40):
            fault = AnomalyEvent(Kind.REPEATED, i, "rotate_part")
            bench.book.observe(fault, i)
            with refused():
                bench.book.acknowledge(bench.book.table.raised, name, "", i)
            if name == "0":
                bench.book.end_cycle(i, {})

    threads = [threading.Thread(target=work, args=(str(n),)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [change.entry for change in bench.changes] == list(entries(bench.path))
    assert verify(bench.path).broken == ""


KINDS = st.sampled_from(list(Kind))
STEPS = st.sampled_from(["", "pick_base", "rotate_part", "insert_peg"])


class AnyDay(RuleBasedStateMachine):
    """Whatever happens in whatever order."""

    @initialize()
    def begin(self):
        memory = Path("/dev/shm")
        self.folder = tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None)
        self.bench = AlarmBench(Path(self.folder.name) / "journal.db")

    def teardown(self):
        self.bench.journal.close()
        self.folder.cleanup()

    @rule(kind=KINDS, step=STEPS, active=st.booleans(), score=st.floats(0.0, 1.0))
    def see(self, kind, step, active, score):
        self.bench.see(kind, step, active, score)

    @rule(seconds=st.sampled_from([0.1, 1.0, 3.0, 20.0]))
    def wait(self, seconds):
        self.bench.wait(seconds)

    @rule(number=st.integers(0, 4), false=st.booleans())
    def answer(self, number, false):
        book, now_ns = self.bench.book, self.bench.now_ns
        with refused():
            (book.false_alarm if false else book.acknowledge)(number, "Ana", "", now_ns)

    @rule(kind=KINDS, step=STEPS, what=st.integers(0, 3))
    def set_aside(self, kind, step, what):
        book, now_ns = self.bench.book, self.bench.now_ns
        condition = f"{kind}@{step}" if step else str(kind)
        with refused():
            if what == 0:
                book.shelve(condition, 30.0, "Ana", "", now_ns)
            elif what == 1:
                book.unshelve(condition, "Ana", now_ns)
            elif what == 2:
                book.take_out_of_service(condition, "Ana", "", now_ns)
            else:
                book.return_to_service(condition, "Ana", now_ns)

    @rule(complete_s=st.sampled_from([None, 0.0, 2.0]))
    def end_cycle(self, complete_s):
        now_ns = self.bench.now_ns
        since_ns = None if complete_s is None else now_ns - round(complete_s * SECOND_NS)
        self.bench.book.end_cycle(now_ns, {}, since_ns)

    @rule()
    def restart(self):
        before = self.bench.book.table
        self.bench.restart()
        assert self.bench.book.table == before

    @invariant()
    def what_is_published_is_the_journal_in_order_and_without_a_gap(self):
        if not hasattr(self, "bench"):
            return
        published = [change.entry for change in self.bench.changes]
        assert published == list(entries(self.bench.path))

    @invariant()
    def alarms_are_in_a_state_that_can_be(self):
        if not hasattr(self, "bench"):
            return
        table = self.bench.book.table
        faults = [(a.cycle, a.kind, a.step) for a in table.alarms.values() if a.active]
        assert len(faults) == len(set(faults))
        assert not any(alarm.closed for alarm in table.alarms.values())
        loud = {a.number for a in table.open_alarms()}
        for alarm, state in self.bench.book.snapshot():
            quiet = state in (AlarmState.SHELVED, AlarmState.OUT_OF_SERVICE)
            assert (alarm.number in loud) != quiet
            assert alarm.active or alarm.raised_ns <= alarm.changed_ns
            assert not (alarm.active and alarm.cycle <= table.cycle)


@contextmanager
def refused():
    """An answer may be refused; then nothing has happened, which the invariants see."""
    try:
        yield
    except AlarmError:
        pass


AnyDay.TestCase.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
TestAnyDay = AnyDay.TestCase
