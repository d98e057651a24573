"""A function called on several pieces at once, each on a core of its own.

Sharing out every single operation makes the cores wait for each other hundreds of times in a
rollout, and lose in each what they have in their caches.
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

import torch


def map_on_cores(
    function: Callable[..., torch.Tensor], pieces: Iterable[tuple]
) -> list[torch.Tensor]:
    """`function(*piece)` of every piece, in order and without gradients.

    As many at once as torch has threads here; each then computes in one thread.
    """

    def call(piece: tuple) -> torch.Tensor:
        with torch.no_grad():  # which mode it is belongs to a thread
            return function(*piece)

    return list(_pool(torch.get_num_threads()).map(call, pieces))


@functools.cache
def _pool(threads: int) -> ThreadPoolExecutor:
    begun = threading.Barrier(threads + 1)

    def begin() -> None:
        torch.get_num_threads()  # a thread takes torch's number when it first needs it: now
        torch.set_num_threads(1)
        begun.wait()

    pool = ThreadPoolExecutor(threads, "imagining", initializer=begin)
    for _ in range(threads):
        pool.submit(lambda: None)
    begun.wait()
    torch.set_num_threads(threads)  # torch takes the last number set for threads yet to come
    return pool


os.register_at_fork(after_in_child=_pool.cache_clear)  # threads stay behind in the parent
