"""Promises of the page, in a real browser: a supervisor on a desk and on a phone can use it.

`SOP_SCREENSHOTS=FOLDER ./run test sop_monitor_pkg/test/test_page.py` keeps its pictures.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from playwright.sync_api import expect, sync_playwright
from sop_monitor_pkg.core.alarms.book import SECOND_NS, AlarmBook, AlarmRules
from sop_monitor_pkg.core.alarms.clips import ClipFolder, step_clip, write
from sop_monitor_pkg.core.alarms.journal import Journal
from sop_monitor_pkg.core.alarms.kinds import Kind
from sop_monitor_pkg.core.following.events import AnomalyEvent, CycleEnded, StepBegun
from sop_monitor_pkg.core.following.monitor import Monitor
from sop_monitor_pkg.web.app import make_app
from sop_monitor_pkg.web.board import Beside, CycleTimes, Expected, board
from sop_monitor_pkg.web.server import PageServer

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
TOKEN = "the token of this test"
TIMEOUT_MS = 30_000
DESK = {"viewport": {"width": 1200, "height": 900}}
expect.set_options(timeout=TIMEOUT_MS)
PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}


class PageStation:
    """A monitor with some cycles behind it and two alarms open."""

    def __init__(self, procedure, path):
        self.procedure, self.journal = procedure, path
        self._journal = Journal(path)
        self.times = CycleTimes()
        rules = AlarmRules(on_delay_s=0.0)
        self.book = AlarmBook(procedure, self._journal, self.on_change, rules)
        self.monitor = Monitor(procedure, self.book)
        self.now_s = 1.79e9
        rng = np.random.default_rng(0)
        for _ in range(12):
            for step in [s.name for s in procedure.steps if not s.optional]:
                self.begin(step, rng.uniform(2.0, 4.0))
            self.monitor.take(CycleEnded(self.now_ns()), self.now_ns())
        self.begin("pick_base", 3.0)
        scratch = "Scratch on the base"
        self.suspect(Kind.DEFECT, "pick_base", scratch)
        self.begin("place_base", 3.0)
        self.now_s += 20.0
        self.begin("rotate_part", 2.0)
        self.now_s += 65.0
        folder = path.parent
        self.clips = ClipFolder(folder / "moments", folder)
        self.clips.keep(1, [scene(x, (60, 60, 190)) for x in range(100, 200, 10)])
        write(
            step_clip(folder, "pick_base"), [scene(x, (180, 190, 180)) for x in range(100, 200, 10)]
        )
        forecast = Expected("screw_m3", 0.87, 0.7, True, self.now_ns())
        self.beside = Beside({"rotate_part": (2.4, 4.8)}, self.clips, forecast)

    def on_change(self, change):
        self.times.take(change.entry)

    def begin(self, step, seconds):
        self.monitor.take(StepBegun(step, self.now_ns(), 0.9), self.now_ns())
        self.now_s += seconds

    def suspect(self, kind, step, reason):
        self.monitor.take(AnomalyEvent(kind, self.now_ns(), step, 0.9, reason), self.now_ns())

    def now_ns(self):
        return round(self.now_s * SECOND_NS)

    def board(self):
        return board(
            self.procedure, self.monitor, self.book, self.times, self.now_ns(), self.beside
        )

    def picture(self):
        return cv2.imencode(".jpg", scene(100, (180, 180, 190)))[1].tobytes()

    def clip_of_alarm(self, number):
        return self.clips.moment(number)

    def clip_of_step(self, name):
        return self.clips.step(name)

    def close(self):
        self._journal.close()


def scene(x, colour):
    """A picture of a part at this place."""
    picture = np.full((240, 320, 3), (70, 90, 60), np.uint8)
    cv2.rectangle(picture, (x, 80), (x + 120, 180), colour, -1)
    return picture


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("no browser here; on Debian: apt install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        yield browser
        browser.close()


@pytest.fixture
def served(station, folder):
    desk = PageStation(station, folder / "journal.db")
    server = PageServer(make_app(desk, TOKEN, only_this_machine=True), "127.0.0.1", 0)
    server.start()
    desk.url = f"http://127.0.0.1:{server.port}"
    yield desk
    server.stop()
    desk.close()


@pytest.fixture
def open_page(browser, served):
    """`open_page(PHONE)`: the page in a browser of that kind; it must not report an error."""
    opened = []

    def open_(kind):
        context = browser.new_context(**kind)
        context.set_default_timeout(TIMEOUT_MS)
        page = context.new_page()
        page.errors = []
        page.on("pageerror", lambda error: page.errors.append(str(error)))
        page.on("console", lambda m: page.errors.append(m.text) if m.type == "error" else None)
        page.goto(served.url)
        page.locator("#connection", has_text="live").wait_for()
        opened.append(page)
        return page

    yield open_
    for page in opened:
        page.context.close()


def keep(page, name):
    """A screenshot of the whole page, for the README and for people."""
    folder = os.environ.get("SOP_SCREENSHOTS")
    if folder:
        page.locator("#picture").wait_for(state="visible")
        page.screenshot(path=str(Path(folder) / f"{name}.png"), full_page=True)


def answer(page, button, by="Ana", token=TOKEN):
    """Presses a button of an alarm and fills in the form."""
    page.get_by_role("button", name=button).first.click()
    page.get_by_label("Your name").fill(by)
    page.get_by_label("Token").fill(token)
    page.get_by_role("button", name="Send").click()


@pytest.mark.parametrize(("kind", "name"), [(DESK, "desk"), (PHONE, "phone")])
def test_everything_is_there_and_fits(open_page, served, kind, name):
    page = open_page(kind)
    alarms = page.locator("li.alarm")
    expect(alarms).to_have_count(2)
    expect(alarms.nth(0)).to_contain_text("Scratch on the base")
    expect(alarms.nth(0)).to_contain_text("1 min ago")
    expect(page.locator("#steps li.done")).to_have_count(2)
    expect(page.locator("#now")).to_contain_text(
        "Turn the base by 90 degrees: 67 s, usually 2 to 5 s"
    )
    expect(page.locator("#tempo")).to_have_class("late")
    expect(page.locator("#forecast")).to_contain_text("seems to come next (87 %), too early")
    expect(page.locator("#chart .bar")).to_have_count(12)
    page.locator("#picture").wait_for(state="visible")
    page.locator("#history tr").first.wait_for()
    too_wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert page.evaluate(too_wide) == 0
    keep(page, name)
    assert page.errors == []


def test_the_moment_of_an_alarm_plays_beside_the_step_done_right(open_page):
    page = open_page(DESK)
    clips = page.locator("li.alarm").nth(0).locator(".clips img")
    expect(clips).to_have_count(2)
    for clip in clips.all():
        page.wait_for_function(
            "image => image.complete && image.naturalWidth === 320", arg=clip.element_handle()
        )
    expect(page.locator("li.alarm").nth(1).locator(".clips img")).to_have_count(0)
    first = clips.first.element_handle()
    page.wait_for_timeout(2500)  # the page has asked again; the clip must not begin anew
    assert page.evaluate("image => image.isConnected", first)
    assert page.errors == []


def test_a_finger_finds_the_buttons(open_page):
    page = open_page(PHONE)
    for button in page.locator("li.alarm button").all():
        assert button.bounding_box()["height"] >= 40.0


def test_an_alarm_is_acknowledged_and_then_closed_as_false(open_page, served):
    page = open_page(PHONE)
    answer(page, "Acknowledge")
    page.locator("li.alarm.acknowledged").wait_for()
    expect(page.locator("li.alarm").nth(0)).to_contain_text("seen by Ana")
    # Name and token are remembered.
    page.get_by_role("button", name="False alarm").first.click()
    expect(page.get_by_label("Your name")).to_have_value("Ana")
    assert not page.locator("#minutes").is_visible()  # only a shelf asks for a time
    keep(page, "answer")
    page.get_by_role("button", name="Send").click()
    expect(page.locator("li.alarm")).to_have_count(1)
    # The history is asked for beside the board: the alarm may be gone a moment before it.
    expect(page.locator("#history tr").first).to_contain_text("false alarm")
    assert page.errors == []


def test_a_wrong_token_is_told_in_the_form(open_page, served):
    page = open_page(DESK)
    answer(page, "Acknowledge", token="a wrong one, surely")
    page.locator("#refusal", has_text="token").wait_for()
    assert not any(alarm.acknowledged_by for alarm, _ in served.book.snapshot())


def test_an_alarm_is_shelved_and_taken_back(open_page, served):
    page = open_page(DESK)
    page.get_by_role("button", name="Shelve").first.click()
    page.get_by_label("For").select_option("5")
    page.get_by_label("Your name").fill("Ana")
    page.get_by_label("Token").fill(TOKEN)
    page.get_by_role("button", name="Send").click()
    page.locator("#conditions li", has_text="shelved by Ana").wait_for()
    assert list(served.book.table.shelves) == ["defect@pick_base"]
    page.locator("li.alarm.shelved").wait_for()
    answer(page, "Unshelve")
    page.locator("#aside").wait_for(state="hidden")
    assert served.book.table.shelves == {}


def test_a_condition_is_taken_out_of_service_and_returned(open_page, served):
    page = open_page(DESK)
    answer(page, "Out of service")
    page.locator("#conditions li", has_text="out of service, by Ana").wait_for()
    assert served.book.table.out_of_service == {"defect@pick_base": "Ana"}
    page.locator("li.alarm.out_of_service").wait_for()
    answer(page, "Return to service")
    page.locator("#aside").wait_for(state="hidden")
    assert served.book.table.out_of_service == {}
    assert page.errors == []


def test_a_new_alarm_appears_by_itself_and_markup_in_it_stays_text(open_page, served):
    page = open_page(DESK)
    served.now_s += 30.0
    served.suspect(Kind.LABEL, "read_label", "<img src=x onerror=alert(1)> LOT-47")
    page.locator("li.alarm", has_text="<img src=x onerror=alert(1)> LOT-47").wait_for()
    expect(page.locator("li.alarm", has_text="LOT-47").locator("img")).to_have_count(0)
    expect(page).to_have_title(re.compile(r"\(3\)"))


def test_older_history_is_loaded_and_the_journal_downloads(open_page, served):
    for _ in range(40):
        served.begin("pick_base", 1.0)
        served.monitor.take(CycleEnded(served.now_ns()), served.now_ns())
    page = open_page(DESK)
    rows, last = page.locator("#history tr"), served.book.head
    expect(rows).to_have_count(25)
    for shown in range(50, last + 25, 25):
        page.locator("#older").click()
        expect(rows).to_have_count(min(shown, last))
    page.locator("#older").wait_for(state="hidden")
    with page.expect_download() as download:
        page.get_by_role("link", name="Export CSV").click()
    lines = Path(download.value.path()).read_text().splitlines()
    assert len(lines) == last + 1


def test_a_monitor_that_is_gone_is_told(open_page, served):
    page = open_page(DESK)
    page.context.set_offline(True)
    page.locator("#connection.lost").wait_for()
    page.context.set_offline(False)
    page.locator("#connection", has_text="live").wait_for()
