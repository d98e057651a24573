"""What the tests of the monitor share: the station, a fast disk, and a real MQTT broker."""

import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from node_kit.testing import free_port, ros  # noqa: F401
from sop_monitor_pkg.core.alarms.book import AlarmBook
from sop_monitor_pkg.core.alarms.journal import Journal
from sop_monitor_pkg.core.alarms.kinds import Kind
from sop_monitor_pkg.core.following.events import AnomalyEvent
from sop_monitor_pkg.core.normal.learning import learn
from sop_monitor_pkg.core.normal.model import NormalModel
from sop_monitor_pkg.core.procedure.file import load
from sop_monitor_pkg.core.procedure.procedure import Procedure

sys.path.insert(0, str(Path(__file__).parent))
import small_work  # noqa: E402

PROCEDURES = Path(__file__).resolve().parents[1] / "config" / "procedures"
MOSQUITTO = shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")


@pytest.fixture(scope="session")
def known() -> NormalModel:
    """What 24 cycles of the small work teach."""
    return learn(small_work.PROCEDURE, small_work.cycles(24), "random", 1)


@pytest.fixture
def port() -> int:
    """One on which nobody listens."""
    return free_port()


class Mosquitto:
    """Starts and stops a broker that keeps sessions on the disk."""

    def __init__(self, folder: Path):
        self.port = free_port()
        self._configuration = folder / "mosquitto.conf"
        self._configuration.write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous true\npersistence true\n"
            f"persistence_location {folder}/\nautosave_on_changes true\nautosave_interval 1\n"
            "user root\nmax_queued_messages 0\n"
        )
        self._process: subprocess.Popen | None = None

    def start(self) -> None:
        """Returns when it listens."""
        self._process = subprocess.Popen(
            [str(MOSQUITTO), "-c", str(self._configuration)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 20.0
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1.0).close()
                return
            except OSError:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    raise
                time.sleep(0.02)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Ends it; what it keeps for its clients stays on the disk."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(20.0)
            self._process = None


@pytest.fixture(scope="session")
def station() -> Procedure:
    return load(PROCEDURES / "station.yaml")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A new folder in memory where the system has one: hundreds of journals are written."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as path:
        yield Path(path)


@pytest.fixture
def kitting_journal(folder: Path) -> Path:
    """A journal that the kitting procedure has left, with an open alarm."""
    path = folder / "journal.db"
    with Journal(path) as journal:
        book = AlarmBook(load(PROCEDURES / "kitting.yaml"), journal, lambda change: None)
        book.observe(AnomalyEvent(Kind.SKIPPED, 1, "pack_cable"), 1)
    return path


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    """A broker that is not started yet."""
    if MOSQUITTO is None:
        pytest.skip("no MQTT broker here; on Debian: apt install mosquitto")
    broker = Mosquitto(tmp_path)
    yield broker
    broker.stop()


@pytest.fixture(scope="module")
def workshop(tmp_path_factory):
    """A procedure file, and six clean cycles of which two are labelled."""
    from filmed_work import film

    folder = tmp_path_factory.mktemp("workshop")
    (folder / "small.yaml").write_text(small_work.TEXT)
    (folder / "clean").mkdir()
    for i in range(6):
        steps = small_work.STEPS if i % 2 else ("take", "turn", "put")
        film(folder / "clean" / f"c{i}.mp4", steps, i, labelled=i < 2)
    return folder


@pytest.fixture(scope="module")
def learned(workshop, small_model):
    """Folder of what was learned from them."""
    from filmed_work import run

    out = workshop / "normal"
    options = ("--procedure", workshop / "small.yaml", "--encoder", small_model, "--out", out)
    result = run("learn", workshop / "clean", *options, "--device", "cpu")
    assert result.exit_code == 0, result.output
    assert "learned from 6 clean cycles" in result.output
    assert "13 more are needed" in result.output  # 19 for 5 %
    return out
