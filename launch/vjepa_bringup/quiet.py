"""Silence for libraries that print from C, as PyBullet does on import and at each start."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet() -> Iterator[None]:
    """Nothing reaches standard output or error meanwhile; exceptions pass."""
    sys.stdout.flush()
    sys.stderr.flush()
    silence = os.open(os.devnull, os.O_WRONLY)
    kept = [(number, os.dup(number)) for number in (1, 2)]
    for number, _ in kept:
        os.dup2(silence, number)
    try:
        yield
    finally:
        ctypes.CDLL(None).fflush(None)  # what C holds back would come out afterwards
        for number, copy in kept:
            os.dup2(copy, number)
            os.close(copy)
        os.close(silence)
