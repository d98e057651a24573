"""The page's server: what it shows, the journal to read and to take away, and answers to alarms.

Reading needs no token, because by default only this machine can; every answer needs it.
"""

from __future__ import annotations

import csv
import hmac
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Protocol

from fastapi import Depends, FastAPI, HTTPException, Query, Request, Response
from fastapi.responses import FileResponse, StreamingResponse
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel, Field
from starlette.middleware.trustedhost import TrustedHostMiddleware

from sop_monitor_pkg.core.alarms.book import AlarmBook, AlarmError
from sop_monitor_pkg.core.alarms.journal import Entry, entries

STATIC = Path(__file__).with_name("static")
_HEADERS = {
    "Content-Security-Policy": ("default-src 'self'; img-src 'self' blob:; frame-ancestors 'none'"),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


class Desk(Protocol):
    """What the page needs of the monitor; methods may be called from any thread."""

    book: AlarmBook
    journal: Path

    def now_ns(self) -> int: ...

    def board(self) -> dict[str, Any]:
        """See `sop_monitor_pkg.web.board`."""

    def picture(self) -> bytes | None:
        """The newest camera picture as JPEG, None if there is none."""

    def clip_of_alarm(self, number: int) -> Path | None:
        """Animated WebP of an alarm's moment, None if there is none."""

    def clip_of_step(self, name: str) -> Path | None:
        """Animated WebP of a step done right, None if there is none."""


class Answer(BaseModel):
    """Who answers, and what they add."""

    by: str = Field(max_length=80)
    comment: str = Field("", max_length=500)


class ConditionAnswer(Answer):
    """An answer about a condition, `kind` or `kind@step`."""

    condition: str = Field(max_length=120)
    minutes: float = 0.0


def make_app(desk: Desk, token: str, only_this_machine: bool) -> FastAPI:
    """The server's application.

    `token` opens the answers; `only_this_machine` refuses requests under another host name, which
    is how a foreign web page would get in through the browser.
    """
    app = FastAPI(title="sop_monitor", docs_url=None, redoc_url=None, openapi_url=None)
    if only_this_machine:
        hosts = ["localhost", "127.0.0.1", "[::1]"]
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=hosts)

    @app.middleware("http")
    async def headers(request: Request, call_next: Callable) -> Response:
        response = await call_next(request)
        response.headers.update(_HEADERS)
        if request.url.path.startswith("/api/"):
            response.headers["Cache-Control"] = "no-store"
        return response

    _add_views(app, desk)
    _add_answers(app, desk, token)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    return app


def _add_views(app: FastAPI, desk: Desk) -> None:
    @app.get("/")
    def page() -> FileResponse:
        return FileResponse(STATIC / "index.html")

    @app.get("/api/board")
    def board() -> dict[str, Any]:
        return desk.board()

    @app.get("/api/picture.jpg")
    def picture() -> Response:
        jpeg = desk.picture()
        if jpeg is None:
            raise HTTPException(404, "no picture yet: does the camera publish?")
        return Response(jpeg, media_type="image/jpeg")

    @app.get("/api/alarms/{number}/clip.webp")
    def moment(number: int) -> FileResponse:
        return _clip(desk.clip_of_alarm(number))

    @app.get("/api/steps/{name}/clip.webp")
    def normal(name: str) -> FileResponse:
        return _clip(desk.clip_of_step(name))

    @app.get("/api/history")
    def history(
        before: Annotated[int | None, Query(ge=1)] = None,
        limit: Annotated[int, Query(ge=1, le=500)] = 50,
    ) -> list[dict[str, Any]]:
        """Journal entries, the newest first; `before` is the number to go on below."""
        head = desk.book.head
        last = head if before is None else min(before - 1, head)
        found = list(entries(desk.journal, max(0, last - limit), min(limit, last)))
        return [_plain(entry) for entry in reversed(found)]

    @app.get("/api/history.csv")
    def as_csv() -> StreamingResponse:
        return _download(_csv(entries(desk.journal)), "text/csv", "journal.csv")

    @app.get("/api/history.jsonl")
    def as_json_lines() -> StreamingResponse:
        lines = (json.dumps(_plain(entry)) + "\n" for entry in entries(desk.journal))
        return _download(lines, "application/jsonl", "journal.jsonl")


def _add_answers(app: FastAPI, desk: Desk, token: str) -> None:
    def allowed(request: Request) -> None:
        given = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if not hmac.compare_digest(given.encode(), token.encode()):
            raise HTTPException(401, "this needs the token; the monitor says where it stands")

    @app.exception_handler(AlarmError)
    def refused(request: Request, error: AlarmError) -> Response:
        text = json.dumps({"detail": str(error)})
        return Response(text, status_code=409, media_type="application/json")

    guarded = [Depends(allowed)]
    book = desk.book

    @app.post("/api/alarms/{number}/acknowledge", dependencies=guarded)
    def acknowledge(number: int, said: Answer) -> None:
        book.acknowledge(number, said.by, said.comment, desk.now_ns())

    @app.post("/api/alarms/{number}/false_alarm", dependencies=guarded)
    def false_alarm(number: int, said: Answer) -> None:
        book.false_alarm(number, said.by, said.comment, desk.now_ns())

    @app.post("/api/shelve", dependencies=guarded)
    def shelve(said: ConditionAnswer) -> None:
        book.shelve(said.condition, said.minutes * 60.0, said.by, said.comment, desk.now_ns())

    @app.post("/api/unshelve", dependencies=guarded)
    def unshelve(said: ConditionAnswer) -> None:
        book.unshelve(said.condition, said.by, desk.now_ns())

    @app.post("/api/out_of_service", dependencies=guarded)
    def out_of_service(said: ConditionAnswer) -> None:
        book.take_out_of_service(said.condition, said.by, said.comment, desk.now_ns())

    @app.post("/api/in_service", dependencies=guarded)
    def in_service(said: ConditionAnswer) -> None:
        book.return_to_service(said.condition, said.by, desk.now_ns())


def _clip(path: Path | None) -> FileResponse:
    if path is None:
        raise HTTPException(404, "there is no such clip")
    return FileResponse(path, media_type="image/webp")


def _plain(entry: Entry) -> dict[str, Any]:
    return {
        "number": entry.number,
        "stamp_ns": entry.stamp_ns,
        "kind": entry.kind,
        "body": entry.body,
        "hash": entry.hash,
    }


def _csv(found: Iterator[Entry]) -> Iterator[str]:
    """One line an entry. What a spreadsheet would run as a formula gets a quote before it."""
    columns = ("alarm", "kind", "step", "cycle", "reason", "by", "comment", "condition")
    yield _csv_line(["number", "stamp_ns", "entry", *columns, "hash"])
    for entry in found:
        cells = [str(entry.body.get(column, "")) for column in columns]
        cells = [f"'{cell}" if cell.startswith(("=", "+", "-", "@")) else cell for cell in cells]
        yield _csv_line([entry.number, entry.stamp_ns, entry.kind, *cells, entry.hash])


def _csv_line(cells: list) -> str:
    line = io.StringIO()
    csv.writer(line).writerow(cells)
    return line.getvalue()


def _download(lines: Iterator[str], kind: str, name: str) -> StreamingResponse:
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(lines, media_type=kind, headers=headers)
