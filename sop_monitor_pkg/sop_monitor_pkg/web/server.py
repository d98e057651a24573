"""Runs the page's server in a thread, and keeps its token."""

from __future__ import annotations

import os
import secrets
import socket
import threading
import time
from pathlib import Path

import uvicorn
from fastapi import FastAPI

_START_S = 10.0


class ServerError(RuntimeError):
    """The page cannot be served; the text says why."""


class PageServer:
    """Serves an application until it is stopped.

    Args:
        app: the application.
        host, port: to listen on; port 0 takes a free one.

    Raises:
        ServerError: the address cannot be used.
    """

    def __init__(self, app: FastAPI, host: str, port: int):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.socket(family)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._socket.bind((host, port))
        except OSError as error:
            self._socket.close()
            raise ServerError(
                f"the page cannot be served on {host}:{port}: {error.strerror}; "
                "set web_host and web_port, or web_port 0 for no page"
            ) from error
        self.port: int = self._socket.getsockname()[1]
        config = uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, args=([self._socket],), name="page", daemon=True
        )

    def start(self) -> None:
        """Returns when it serves.

        Raises:
            ServerError: it does not come up.
        """
        self._thread.start()
        deadline = time.monotonic() + _START_S
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > deadline:
                raise ServerError("the page's server did not start; its log says why")
            time.sleep(0.01)

    def stop(self) -> None:
        """Ends it; open requests get a moment."""
        self._server.should_exit = True
        if self._thread.is_alive():
            self._thread.join(5.0)
        self._socket.close()


def kept_token(path: Path) -> str:
    """The token in a file; a new one, readable by its owner only, if there is none.

    Raises:
        ServerError: the file is too short to be a token.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"{path.name}.part")
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(24) + "\n")
        os.replace(part, path)
    token = path.read_text().strip()
    if len(token) < 16:
        raise ServerError(f"the token in {path} is shorter than 16 characters; remove the file")
    return token
