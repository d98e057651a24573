"""The page as a part of the monitor node."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from sop_monitor_pkg.core.alarms.journal import entries
from sop_monitor_pkg.web.app import make_app
from sop_monitor_pkg.web.board import CycleTimes, board
from sop_monitor_pkg.web.server import PageServer, kept_token

_THIS_MACHINE = ("127.0.0.1", "localhost", "::1")


class PageHost(Protocol):
    """What the page needs of the node that it belongs to."""

    book: Any
    p: Any
    procedure: Any
    monitor: Any
    beside: Any
    picture: Any

    def now_ns(self) -> int:
        """Time of the alarms."""
        ...


class Page:
    """Serves the page of a node; its methods are called by the server's threads.

    Raises:
        ServerError: it cannot be served; the text says why.
    """

    def __init__(self, node: PageHost, journal: Path):
        self.book = node.book
        self.journal = journal
        self.times = CycleTimes(entries(journal))
        self._node = node
        host = node.p.web_host
        file = Path(node.p.web_token_file or f"{journal}.token").expanduser()
        app = make_app(self, kept_token(file), host in _THIS_MACHINE)
        self._server = PageServer(app, host, node.p.web_port)
        self._server.start()
        shown = f"[{host}]" if ":" in host else host
        self.invitation = f"page: http://{shown}:{self._server.port} (token in {file})"

    def now_ns(self) -> int:
        return self._node.now_ns()

    def board(self) -> dict[str, Any]:
        node = self._node
        now_ns, beside = node.now_ns(), node.beside
        return board(node.procedure, node.monitor, self.book, self.times, now_ns, beside)

    def picture(self) -> bytes | None:
        return self._node.picture.jpeg()

    def clip_of_alarm(self, number: int) -> Path | None:
        return self._node.beside.clips.moment(number)

    def clip_of_step(self, name: str) -> Path | None:
        known = name in self._node.procedure.by_name
        return self._node.beside.clips.step(name) if known else None

    def stop(self) -> None:
        """Ends the server."""
        self._server.stop()
