"""One thread that works on the newest item only."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")


class LatestWorker(Generic[Item]):
    """Runs `handle(item)` in a thread of its own, on the newest item offered.

    Callbacks `offer` and return at once; an item still waiting when the next one comes is
    dropped and counted. An exception in `handle` goes to `on_error(exception)` and the thread
    takes the next item: a bad frame must not end the node, its owner decides.
    """

    def __init__(
        self, handle: Callable[[Item], Any], name: str, on_error: Callable[[Exception], Any]
    ):
        self.dropped = 0
        self.handled = 0
        self._handle = handle
        self._on_error = on_error
        self._waiting: list[Item] = []
        self._busy = False
        self._stopping = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def busy(self) -> bool:
        """Whether an item is being handled or waits."""
        with self._changed:
            return self._busy or bool(self._waiting)

    def offer(self, item: Item) -> None:
        """Makes `item` the next one; returns at once. After `stop` it is counted as dropped."""
        with self._changed:
            self.dropped += len(self._waiting)
            if self._stopping:
                self.dropped += 1
                return
            self._waiting = [item]
            self._changed.notify_all()

    def clear(self) -> None:
        """Forgets the waiting item. The one in work is finished."""
        with self._changed:
            self.dropped += len(self._waiting)
            self._waiting = []

    def wait_idle(self, timeout_s: float) -> bool:
        """Waits until nothing is in work or waiting; True if that came in time."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._busy and not self._waiting, timeout_s)

    def stop(self, timeout_s: float = 5.0) -> bool:
        """Forgets the waiting item and ends the thread; True if it ended in time."""
        with self._changed:
            self._stopping = True
            self.dropped += len(self._waiting)
            self._waiting = []
            self._changed.notify_all()
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._busy = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._waiting or self._stopping)
                if self._stopping:
                    return
                item = self._waiting.pop()
                self._busy = True
            try:
                self._handle(item)
            except Exception as error:  # the owner decides what a failure means
                self._on_error(error)
            finally:
                self.handled += 1
            del item  # an image kept here would live until the next one
