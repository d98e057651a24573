"""Promises of the worker thread."""

import threading

from node_kit.worker import LatestWorker


def test_only_the_newest_item_is_handled_and_the_rest_is_counted():
    started, proceed, done = threading.Event(), threading.Event(), threading.Event()
    handled = []

    def handle(item):
        handled.append(item)
        started.set()
        if item == 0:
            assert proceed.wait(10)
        else:
            done.set()

    worker = LatestWorker(handle, "test", on_error=lambda error: None)
    worker.offer(0)
    assert started.wait(10)
    for item in range(1, 6):
        worker.offer(item)
    assert worker.busy
    proceed.set()
    assert done.wait(10)
    assert worker.stop()
    assert handled == [0, 5]
    assert worker.dropped == 4
    assert worker.handled == 2
    assert not worker.busy


def test_an_exception_reaches_the_owner_and_the_next_item_is_handled():
    errors, done = [], threading.Event()

    def handle(item):
        if item == "bad":
            raise ValueError("this frame is broken")
        done.set()

    failed = threading.Event()
    worker = LatestWorker(handle, "test", on_error=lambda e: (errors.append(e), failed.set()))
    worker.offer("bad")
    assert failed.wait(10)
    worker.offer("good")
    assert done.wait(10)
    assert worker.stop()
    assert [str(error) for error in errors] == ["this frame is broken"]


def test_a_stopped_worker_takes_nothing_more():
    handled = []
    worker = LatestWorker(handled.append, "test", on_error=lambda error: None)
    assert worker.stop()
    worker.offer(1)
    assert worker.dropped == 1
    assert handled == []


def test_a_worker_may_stop_itself():
    stopped = threading.Event()
    worker = LatestWorker(lambda item: (item.stop(), stopped.set()), "test", on_error=print)
    worker.offer(worker)
    assert stopped.wait(10)
    assert worker.stop()
