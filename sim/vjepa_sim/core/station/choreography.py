"""Who moves what when: tracks of actors and parts that can be asked for any moment.

An actor's path is a sum of smooth movements, each of which may begin before the one before it has
ended, as people's reaching movements do (Flash and Henis 1991). A part is held by an actor, stands
on another part, or lies where it was left.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from vjepa_sim.core.station.layout import PlanarPose

GRAVITY = 9.81  # [m/s2]
SETTLE_S = 0.15  # in which a gripped part comes to rest in the grip


@dataclass
class Track:
    """An actor's way: `moves` are (begin [s], duration [s], change of pose [5])."""

    start: np.ndarray
    moves: list[tuple[float, float, np.ndarray]] = field(default_factory=list)

    @property
    def goal(self) -> np.ndarray:
        """Where the actor is when all moves are done [5]."""
        return self.start + sum((change for *_, change in self.moves), np.zeros(5))

    def pose(self, t: float) -> PlanarPose:
        """The actor's pose at `t` [s]."""
        value = self.start.copy()
        for begin, seconds, change in self.moves:
            if t > begin:
                value += change * smooth(min((t - begin) / seconds, 1.0))
        return PlanarPose(*value.tolist())


@dataclass(frozen=True)
class Stay:
    """Where a part is from `begin_s` on: from `first` to `last` in the frame of its holder."""

    begin_s: float
    holder: str  # an actor or part; empty: the station
    first: PlanarPose
    last: PlanarPose
    seconds: float = 0.0
    falls: bool = False

    def local(self, t: float) -> PlanarPose:
        """The pose in the holder's frame at `t` [s]."""
        share = 1.0 if t >= self.begin_s + self.seconds else (t - self.begin_s) / self.seconds
        a, b = self.first.array, self.last.array
        value = a + share * (b - a)
        if self.falls:
            value[2] = a[2] + share * share * (b[2] - a[2])
        return PlanarPose(*value.tolist())


class Choreography:
    """Builds the tracks; `now` is the moment up to which everything is decided [s].

    Args:
        actors: name to starting pose.
        parts: name to starting pose.
        rng: jitter of durations.
        pace: how fast this cycle is worked, 1 is normal.
    """

    def __init__(
        self,
        actors: dict[str, PlanarPose],
        parts: dict[str, PlanarPose],
        rng: np.random.Generator,
        pace: float,
    ) -> None:
        self.now = 0.0
        self.tracks = {name: Track(pose.array) for name, pose in actors.items()}
        self.stays = {name: [Stay(0.0, "", pose, pose)] for name, pose in parts.items()}
        self.pauses: list[tuple[float, float]] = []
        self.drops: list[tuple[float, str]] = []
        self.speed = 1.0
        self._rng = rng
        self._pace = pace

    def pose(self, name: str, t: float) -> PlanarPose:
        """Of an actor or part, in the station's frame, at `t` [s]."""
        if name in self.tracks:
            return self.tracks[name].pose(t)
        stay = self._stay(name, t)
        local = stay.local(t)
        return self.pose(stay.holder, t).times(local) if stay.holder else local

    def holder(self, part: str, t: float) -> str:
        """Who or what holds the part at `t` [s]; empty: it lies in the station."""
        return self._stay(part, t).holder

    def move(self, actor: str, pose: PlanarPose, seconds: float, blend: float = 0.0) -> None:
        """Bring the actor to `pose`; with `blend` the next move begins that share earlier."""
        seconds = self._duration(seconds)
        self._add(actor, pose.array, seconds)
        self.now += seconds * (1.0 - blend)

    def move_aside(self, actor: str, pose: PlanarPose, seconds: float) -> None:
        """Send the actor to `pose` while others go on."""
        self._add(actor, pose.array, self._duration(seconds))

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.now += self._duration(seconds)

    def pause(self, seconds: float) -> None:
        """Everything stops for exactly `seconds`."""
        self.pauses.append((self.now, self.now + seconds))
        self.now += seconds

    def grip(self, actor: str, part: str, offset: PlanarPose) -> None:
        """The actor takes the part, which comes to `offset` in the actor's frame."""
        first = self.pose(actor, self.now).inverse_times(self.pose(part, self.now))
        self._put(part, Stay(self.now, actor, first, _nearest_turn(offset, first), SETTLE_S))
        self.wait(SETTLE_S)

    def release(self, part: str, pose: PlanarPose, onto: str = "") -> None:
        """The part is left at `pose`, fixed to the part `onto` if one is named."""
        local = self.pose(onto, self.now).inverse_times(pose) if onto else pose
        self._put(part, Stay(self.now, onto, local, local))
        self.wait(0.12)

    def drop(self, part: str, landing: PlanarPose) -> None:
        """The part falls to `landing`."""
        first = self.pose(part, self.now)
        seconds = float(np.sqrt(2.0 * max(first.z - landing.z, 1e-3) / GRAVITY))
        self._put(part, Stay(self.now, "", first, landing, seconds, falls=True))
        self.drops.append((self.now, part))

    def slide(
        self, part: str, begin_s: float, start: PlanarPose, end: PlanarPose, seconds: float
    ) -> None:
        """The part, held by nobody, moves evenly from `start` to `end` at a time of its own."""
        self.stays[part] += [Stay(begin_s, "", start, end, seconds)]

    def _add(self, actor: str, goal: np.ndarray, seconds: float) -> None:
        track = self.tracks[actor]
        track.moves.append((self.now, seconds, goal - track.goal))

    def _put(self, part: str, stay: Stay) -> None:
        self.stays[part].append(stay)

    def _stay(self, part: str, t: float) -> Stay:
        return next((s for s in reversed(self.stays[part]) if s.begin_s <= t), self.stays[part][0])

    def _duration(self, seconds: float) -> float:
        jitter = float(np.clip(self._rng.lognormal(0.0, 0.12), 0.75, 1.35))
        return seconds * jitter / (self._pace * self.speed)


def smooth(share: float) -> float:
    """The minimum-jerk profile from 0 to 1 (Flash and Hogan 1985)."""
    return share**3 * (10.0 - 15.0 * share + 6.0 * share**2)


def _nearest_turn(pose: PlanarPose, near: PlanarPose) -> PlanarPose:
    """`pose` with its yaw within half a turn of `near`'s."""
    turns = round((near.yaw - pose.yaw) / (2 * np.pi))
    return PlanarPose(pose.x, pose.y, pose.z, pose.yaw + 2 * np.pi * turns, pose.tilt)
