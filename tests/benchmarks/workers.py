"""Plays episodes in process, several at a time, each in a worker process with a simulation."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import Any

from vjepa_bringup.quiet import quiet

from benchmarks.recipe import Key, ReachRecipe

_player = None


def reach_player(recipe: ReachRecipe) -> Any:
    """The player of plain reach episodes."""
    from benchmarks.episodes import Player

    return Player(recipe)


def play(
    recipe: ReachRecipe,
    todo: Sequence[Key],
    processes: int,
    make_player: Callable[[ReachRecipe], Any] = reach_player,
) -> Iterator[tuple[Key, dict]]:
    """The record of each episode in `todo`, as soon as it is played.

    `make_player(recipe)` is called in each worker; its `play(method, seed, varied)` plays one.

    Closing the iterator (an interrupt does) drops what was not begun and waits for the rest.

    Raises:
        RuntimeError: a worker process died.
    """
    pool = ProcessPoolExecutor(
        min(processes, len(todo)),
        get_context("spawn"),
        _prepare,
        (recipe, threads(processes), make_player),
    )
    try:
        running = {pool.submit(_play, recipe, key): key for key in todo}
        for future in as_completed(running):
            yield running[future], future.result()
    except BrokenProcessPool:
        raise RuntimeError(
            "a worker process died, perhaps for want of memory; the same command goes on where it "
            "stopped, with --workers 1 it needs less"
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def threads(processes: int) -> int:
    """Threads of torch in each worker: together as many as there are cores."""
    return max(1, (os.cpu_count() or 1) // processes)


def _prepare(recipe: ReachRecipe, threads: int, make_player: Callable[[ReachRecipe], Any]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends the pool
    global _player
    with quiet():
        import torch

        _player = make_player(recipe)
    torch.set_num_threads(threads)


def _play(recipe: ReachRecipe, key: Key) -> dict:
    method, index = key
    return _player.play(method, recipe.episode_seed(index), recipe.varied)
