"""Interrupts that come between callbacks, not inside of them."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def held_interrupts() -> Iterator[Callable[[], None]]:
    """Yields a function that raises KeyboardInterrupt if SIGINT has come since its last call.

    What is still to be sent, such as the cancel of an action, then goes through an executor that
    no exception has torn out of a callback. For the main thread.
    """
    came = threading.Event()
    before = signal.signal(signal.SIGINT, lambda *_: came.set())

    def check() -> None:
        if came.is_set():
            came.clear()
            raise KeyboardInterrupt

    try:
        yield check
    finally:
        signal.signal(signal.SIGINT, before)
