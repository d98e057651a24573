"""One writer for commands: two planners that move one arm in turns lead it to neither's goal."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class SingleWriter:
    """Who may write a topic: the first one heard, until it is gone.

    Attributes:
        topic: for the reasons.
        present: publisher ids that the ROS graph shows; None while unknown.
        bound: id of the writer heard first; empty where the middleware gives no ids.
        lost: ids that died, which the graph goes on to show for a while.
    """

    topic: str
    present: frozenset[bytes] | None = None
    bound: bytes | None = None
    lost: set[bytes] = field(default_factory=set)

    @property
    def crowd(self) -> str:
        """Why nobody is to be believed; empty while there is at most one writer."""
        alive = len(self.present - self.lost) if self.present is not None else 0
        return f"{self.topic} has {alive} writers: stop all but one" if alive > 1 else ""

    @property
    def left(self) -> bool:
        """Whether the bound writer was there and is gone."""
        return bool(self.bound) and self.present is not None and self.bound not in self.present

    def lose(self) -> None:
        """The bound writer died, whatever the graph says."""
        if self.bound is not None:
            self.lost.add(self.bound)
            self.bound = None

    def refuse(self, writer: bytes) -> str:
        """Why a message of `writer` must not be believed; empty when it may."""
        self.lost.discard(writer)  # who speaks is not dead
        if self.crowd:
            return self.crowd
        if self.bound is not None and writer != self.bound and not self.left:
            return f"{self.topic} comes from a second writer: stop all but one"
        return ""

    def accept(self, writer: bytes) -> None:
        """A message of `writer` was good: it is the one."""
        self.bound = writer
