"""A sliding window over a stream of pictures: clips for the encoder, from a buffer with an end.

Windows follow each other every `hop` frames. A buffer of one window and one hop waits for whoever
encodes; when it is full, a policy says what is lost, and everything lost is counted. No clip has a
gap in it, a silence of more than three periods of `rate_hz`, or of 0.5 s where all pictures are
taken: after one, a new window begins.
"""

from __future__ import annotations

import collections
import threading
from dataclasses import dataclass

import numpy as np
import torch

from vjepa_world_model.model.encoder import preprocess

MOST_FRAMES = 64  # of a clip, as V-JEPA 2 was trained
POLICIES = ("oldest", "newest")
# A longer silence ends the window; periods of `rate_hz`, seconds where no rate is given.
_GAP_PERIODS, _GAP_S = 3.0, 0.5


@dataclass(frozen=True)
class ClipSizes:
    """Which clips are cut from the stream.

    Attributes:
        frames: of a clip; even, at most 64.
        hop: frames from the start of one clip to that of the next.
        rate_hz: pictures per second that are taken; others are left out, evenly. 0: all, of a
            camera that gives at least two a second.
        policy: what is lost when the buffer is full: `oldest` skips to the newest window, so that
            clips are late by one hop at most; `newest` refuses pictures until the clip that waits
            is taken, so that what was begun is encoded.
    """

    frames: int = MOST_FRAMES
    hop: int = 16
    rate_hz: float = 0.0
    policy: str = "oldest"

    def __post_init__(self) -> None:
        if not 2 <= self.frames <= MOST_FRAMES or self.frames % 2:
            raise ValueError(
                f"clips of {self.frames} frames; give an even number from 2 to {MOST_FRAMES}"
            )
        if not 1 <= self.hop <= self.frames:
            raise ValueError(f"a hop of {self.hop} frames; give 1 to {self.frames}")
        if self.rate_hz < 0 or self.policy not in POLICIES:
            raise ValueError(f"rate_hz {self.rate_hz}, policy {self.policy!r}; see ClipSizes")

    @property
    def capacity(self) -> int:
        """Pictures in the buffer at most."""
        return self.frames + self.hop

    def buffer_bytes(self, image_size: int) -> int:
        """Memory of a full buffer, for pictures of `image_size` px."""
        return self.capacity * 3 * image_size * image_size * 4


@dataclass(frozen=True)
class Clip:
    """What one window holds.

    pixels: float32 [1, T, 3, S, S], normalised. first_ns, last_ns: stamps of its ends [ns].
    """

    pixels: torch.Tensor
    first_ns: int
    last_ns: int


@dataclass
class ClipCounts:
    """What became of the pictures.

    Attributes:
        received: pictures offered. left_out: of these, beyond the rate.
        dropped: pictures that were taken or due, but are in no clip.
        clips: windows handed out. skipped: windows that were complete and never handed out.
        gaps: times that the stream broke off, or its stamps went back.
    """

    received: int = 0
    left_out: int = 0
    dropped: int = 0
    clips: int = 0
    skipped: int = 0
    gaps: int = 0


class ClipStream:
    """Pictures in, from one thread; clips out, from another."""

    def __init__(self, sizes: ClipSizes, image_size: int) -> None:
        """`image_size` [px]: side of the squares that the model sees."""
        self.sizes = sizes
        self._image_size = image_size
        self._counts = ClipCounts()
        self._waiting: collections.deque[tuple[int, torch.Tensor]] = collections.deque()
        self._fresh = 0  # of the buffer's pictures, counted from the newest, in no clip so far
        self._refusing = False
        self._last_ns: int | None = None
        self._due_ns: int | None = None
        self._lock = threading.Lock()

    @property
    def counts(self) -> ClipCounts:
        """A copy of what was counted so far."""
        with self._lock:
            return ClipCounts(**vars(self._counts))

    def wants(self, stamp_ns: int) -> bool:
        """Whether the picture of this stamp is due; to be asked once for every picture."""
        with self._lock:
            self._counts.received += 1
            if not self.sizes.rate_hz:
                return True
            period_ns = round(1e9 / self.sizes.rate_hz)
            if self._due_ns is not None and self._due_ns - period_ns <= stamp_ns < self._due_ns:
                self._counts.left_out += 1
                return False
            on_time = self._due_ns is not None and 0 <= stamp_ns - self._due_ns < period_ns
            self._due_ns = (self._due_ns if on_time else stamp_ns) + period_ns
            return True

    def push(self, frame: np.ndarray, stamp_ns: int) -> bool:
        """Take a picture, uint8 RGB [H, W, 3]; True when a clip is ready.

        Raises:
            FrameError: not such a picture; nothing is changed.
        """
        pixels = preprocess(np.asarray(frame)[None], self._image_size)[0]
        with self._lock:
            if self._broken_at(stamp_ns):
                self._counts.gaps += 1
                self._restart()
            self._last_ns = stamp_ns
            if len(self._waiting) == self.sizes.capacity:
                if self.sizes.policy == "newest":
                    self._counts.dropped += 1
                    self._refusing = True
                    return True
                self._counts.skipped += 1
                self._forget(self.sizes.hop)
            self._waiting.append((stamp_ns, pixels))
            self._fresh += 1
            return len(self._waiting) >= self.sizes.frames

    def take(self) -> Clip | None:
        """The clip that is ready, or None; the window moves on by one hop."""
        with self._lock:
            if len(self._waiting) < self.sizes.frames:
                return None
            chosen = [self._waiting[i] for i in range(self.sizes.frames)]
            self._counts.clips += 1
            self._fresh = min(self._fresh, len(self._waiting) - self.sizes.frames)
            if self._refusing:  # what follows is later than what is left
                self._restart()
            else:
                self._forget(self.sizes.hop)
        pixels = torch.stack([pixels for _, pixels in chosen])[None]
        return Clip(pixels, chosen[0][0], chosen[-1][0])

    def _broken_at(self, stamp_ns: int) -> bool:
        if self._last_ns is None:
            return False
        longest_s = _GAP_PERIODS / self.sizes.rate_hz if self.sizes.rate_hz else _GAP_S
        return not 0 < stamp_ns - self._last_ns <= 1e9 * longest_s

    def _restart(self) -> None:
        self._forget(len(self._waiting))
        self._refusing = False

    def _forget(self, count: int) -> None:
        for _ in range(count):
            self._counts.dropped += len(self._waiting) <= self._fresh
            self._waiting.popleft()
        self._fresh = min(self._fresh, len(self._waiting))
