"""Promises of the page's server: it shows how things stand, and only a token may answer."""

import csv
import io
import json
import socket
import stat
import urllib.error
import urllib.request

import pytest
from sop_monitor_pkg.core.alarms.book import SECOND_NS, AlarmBook, AlarmRules
from sop_monitor_pkg.core.alarms.journal import Journal, entries
from sop_monitor_pkg.core.alarms.kinds import Kind
from sop_monitor_pkg.core.following.events import AnomalyEvent, CycleEnded, StepBegun, StepEnded
from sop_monitor_pkg.core.following.monitor import Monitor
from sop_monitor_pkg.web.app import make_app
from sop_monitor_pkg.web.board import Beside, CycleTimes, board
from sop_monitor_pkg.web.server import PageServer, ServerError, kept_token

TOKEN = "a token of a test"


class DeskClient:
    """A monitor without a node: what the page needs."""

    def __init__(self, procedure, path):
        self.procedure = procedure
        self.journal = path
        self._journal = Journal(path)
        self.times = CycleTimes()
        rules, past = AlarmRules(on_delay_s=0.0), list(entries(path))
        self.book = AlarmBook(procedure, self._journal, self.on_change, rules, past)
        self.monitor = Monitor(procedure, self.book)
        self.now_s = 1000.0

    def on_change(self, change):
        self.times.take(change.entry)

    def now_ns(self):
        return round(self.now_s * SECOND_NS)

    def board(self):
        return board(self.procedure, self.monitor, self.book, self.times, self.now_ns(), Beside())

    def picture(self):
        return None

    def clip_of_alarm(self, number):
        return None

    def clip_of_step(self, name):
        return None

    def take(self, event, *values):
        self.monitor.take(event(*values), self.now_ns())

    def close(self):
        self._journal.close()


class Browser:
    """Asks the server as a program would."""

    def __init__(self, port):
        self.url = f"http://127.0.0.1:{port}"

    def get(self, path, **headers):
        request = urllib.request.Request(self.url + path, headers=headers)
        with urllib.request.urlopen(request, timeout=10.0) as response:
            return response.read().decode()

    def post(self, path, body, token=TOKEN):
        """Status and what the answer says."""
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
        data = json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, headers)
        try:
            with urllib.request.urlopen(request, timeout=10.0) as response:
                return response.status, ""
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())["detail"]


@pytest.fixture
def desk(station, folder):
    desk = DeskClient(station, folder / "journal.db")
    yield desk
    desk.close()


@pytest.fixture
def browser(desk):
    server = PageServer(make_app(desk, TOKEN, only_this_machine=True), "127.0.0.1", 0)
    server.start()
    yield Browser(server.port)
    server.stop()


def test_the_page_shows_where_the_work_stands(desk, browser):
    desk.take(StepBegun, "pick_base", desk.now_ns())
    desk.now_s += 3.0
    shown = json.loads(browser.get("/api/board"))
    running = [step["name"] for step in shown["steps"] if step["running"]]
    assert running == ["pick_base"] and shown["step_s"] == pytest.approx(3.0)
    desk.take(StepEnded, "pick_base", desk.now_ns())
    desk.take(CycleEnded, desk.now_ns())
    shown = json.loads(browser.get("/api/board"))
    assert shown["cycles"] == [{"cycle": 1, "took_s": 3.0}]


def test_an_alarm_is_shown_with_its_age_and_answered(desk, browser):
    desk.take(AnomalyEvent, Kind.DEFECT, desk.now_ns(), "pick_base", 0.8, "A <scratch>")
    desk.now_s += 61.0
    (alarm,) = json.loads(browser.get("/api/board"))["alarms"]
    assert (alarm["kind"], alarm["priority"]) == ("defect", "high")
    assert alarm["age_s"] == pytest.approx(61.0)
    status = browser.post("/api/alarms/1/acknowledge", {"by": "Ana", "comment": "on my way"})
    assert status == (200, "")
    (alarm,) = json.loads(browser.get("/api/board"))["alarms"]
    assert (alarm["state"], alarm["acknowledged_by"]) == ("acknowledged", "Ana")
    code, text = browser.post("/api/alarms/1/acknowledge", {"by": "Ben"})
    assert code == 409 and "already, by Ana" in text
    assert browser.post("/api/alarms/1/false_alarm", {"by": "Ana"})[0] == 200
    assert json.loads(browser.get("/api/board"))["alarms"] == []


def test_an_alarm_of_another_procedure_in_the_same_journal_is_shown(station, kitting_journal):
    desk = DeskClient(station, kitting_journal)
    (alarm,) = desk.board()["alarms"]
    assert (alarm["kind"], alarm["title"]) == ("skipped", "pack_cable")
    desk.close()


def test_conditions_are_shelved_and_taken_out_of_service(desk, browser):
    condition = "too_slow@rotate_part"
    said = {"by": "Ana", "condition": condition, "minutes": 5}
    assert browser.post("/api/shelve", said)[0] == 200
    assert browser.post("/api/out_of_service", {"by": "Ana", "condition": "label"})[0] == 200
    shown = json.loads(browser.get("/api/board"))
    assert shown["shelves"] == [{"condition": condition, "left_s": 300.0, "by": "Ana"}]
    assert shown["out_of_service"] == {"label": "Ana"}
    assert (
        browser.post("/api/unshelve", {"by": "Ana", "condition": "too_slow@rotate_part"})[0] == 200
    )
    assert browser.post("/api/in_service", {"by": "Ana", "condition": "label"})[0] == 200
    assert browser.post("/api/shelve", {**said, "minutes": 1e9})[0] == 409
    assert browser.post("/api/shelve", {**said, "condition": "x"})[0] == 409


@pytest.mark.parametrize("token", ["", "wrong", TOKEN + "x", "ü"])
def test_without_the_token_nothing_is_answered(desk, browser, token):
    desk.take(AnomalyEvent, Kind.DEFECT, desk.now_ns(), "pick_base")
    token = token.encode().decode("latin-1")
    for path in ("alarms/1/acknowledge", "alarms/1/false_alarm", "shelve", "out_of_service"):
        code, text = browser.post(f"/api/{path}", {"by": "x", "condition": "label"}, token)
        assert code == 401 and "token" in text
    assert desk.book.head == 1


def test_a_foreign_host_name_is_refused(browser):
    with pytest.raises(urllib.error.HTTPError, match="400"):
        browser.get("/api/board", Host="evil.example")


def test_history_goes_back_page_by_page(desk, browser):
    for _ in range(5):
        desk.take(StepBegun, "pick_base", desk.now_ns())
        desk.take(CycleEnded, desk.now_ns())
    numbers = [entry["number"] for entry in json.loads(browser.get("/api/history?limit=4"))]
    assert numbers == list(range(desk.book.head, desk.book.head - 4, -1))
    older = json.loads(browser.get(f"/api/history?limit=500&before={numbers[-1]}"))
    assert [entry["number"] for entry in older] == list(range(numbers[-1] - 1, 0, -1))
    assert json.loads(browser.get("/api/history?before=1")) == []
    newest = json.loads(browser.get(f"/api/history?limit=4&before={'9' * 30}"))
    assert [entry["number"] for entry in newest] == numbers


def test_the_whole_journal_can_be_taken_away(desk, browser):
    desk.take(AnomalyEvent, Kind.DEFECT, desk.now_ns(), "pick_base", 0.8, '=1+1,"quoted"')
    rows = list(csv.DictReader(io.StringIO(browser.get("/api/history.csv"))))
    assert len(rows) == desk.book.head
    assert rows[0]["reason"] == '\'=1+1,"quoted"'  # no formula for a spreadsheet
    lines = browser.get("/api/history.jsonl").splitlines()
    assert json.loads(lines[0])["hash"] == rows[0]["hash"]


def test_a_long_journal_is_taken_away_whole(desk, browser):
    for i in range(500):
        desk.take(StepBegun, "pick_base" if i % 2 else "rotate_part", desk.now_ns())
        desk.take(CycleEnded, desk.now_ns())
    for path in ("/api/history.csv", "/api/history.jsonl"):
        lines = browser.get(path).splitlines()
        assert len(lines) == desk.book.head + path.endswith("csv")


def test_without_a_camera_there_is_no_picture(browser):
    with pytest.raises(urllib.error.HTTPError, match="404"):
        browser.get("/api/picture.jpg")


def test_the_page_and_its_files_are_served_and_no_other_file(browser):
    assert "Open alarms" in browser.get("/")
    assert "drawChart" in browser.get("/static/chart.js")
    with pytest.raises(urllib.error.HTTPError, match="404"):
        browser.get("/static/..%2fapp.py")


def test_a_taken_port_is_told():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ServerError, match=f"127.0.0.1:{port}.*web_port"):
            PageServer(None, "127.0.0.1", port)


def test_the_token_is_made_once_and_only_its_owner_reads_it(tmp_path):
    path = tmp_path / "new" / "token"
    token = kept_token(path)
    assert len(token) >= 32 and kept_token(path) == token
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.write_text("short\n")
    with pytest.raises(ServerError, match="remove the file"):
        kept_token(path)
