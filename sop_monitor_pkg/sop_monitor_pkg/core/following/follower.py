"""Follows the work: latents and sightings in, one after the other; events for the monitor out.

What the decoder tells becomes steps. Everything else is a score: how long a step takes, how long
nothing moves, how strange the picture is, what is out of place, how defective a surface is. Each
score has its scale and all have one threshold, from clean cycles (see `conformal`).
"""

from __future__ import annotations

from collections import deque

import numpy as np

from sop_monitor_pkg.core.alarms.kinds import Kind
from sop_monitor_pkg.core.checks.label_watch import LabelWatch
from sop_monitor_pkg.core.checks.place_faults import PLACE_SCORES, PlaceFaults
from sop_monitor_pkg.core.checks.place_watch import PlaceWatch
from sop_monitor_pkg.core.checks.surfaces import SurfaceWatch
from sop_monitor_pkg.core.following.events import SECOND_NS, AnomalyEvent, StepBegun, StepEnded
from sop_monitor_pkg.core.following.scores import CycleScores, Score, StepForecast
from sop_monitor_pkg.core.normal.model import NormalModel
from sop_monitor_pkg.core.procedure.procedure import CheckKind, Procedure
from sop_monitor_pkg.core.recognition.decoder import Belief, Decoder
from sop_monitor_pkg.core.recognition.evidence import Evidence
from sop_monitor_pkg.core.recognition.order_language import OrderLanguage
from sop_monitor_pkg.core.recognition.phases import PHASES, STATES_PER_STEP
from sop_monitor_pkg.core.tracks.resting import ActionWatch
from sop_monitor_pkg.core.tracks.sightings import Sighting
from sop_monitor_pkg.core.tracks.speeds import SpeedWatch

_CHANCES = 3  # answers of the probe that are averaged
_LOOKS = 3  # for a part, before it is missing
_MAYBE = 0.5  # how sure that is: the eyes may take it for something else


class CycleFollower:
    """Follows one cycle. Times are seconds since any moment."""

    def __init__(
        self,
        procedure: Procedure,
        normal: NormalModel,
        after_another: bool = False,
        opened: tuple[str, float] | None = None,
    ):
        """
        Args:
            after_another: until the work begins, the last step of the cycle before is seen.
            opened: the first step, if it is known, and when it began.
        """
        self._last = [
            index * STATES_PER_STEP + phase
            for index, name in enumerate(procedure.by_name)
            if after_another and name in procedure.last_steps
            for phase in range(STATES_PER_STEP)
        ]
        self._procedure, self._normal = procedure, normal
        self._steps = tuple(procedure.by_name)
        self._decoder = Decoder(OrderLanguage(procedure), normal.lengths, normal.tempo)
        self._places = PlaceWatch(normal.places, procedure.holders)
        self._actions = ActionWatch(self._places.holders)
        self._speeds = SpeedWatch(procedure.parts)
        self._evidence = Evidence(procedure, normal)
        self._points: deque[np.ndarray] = deque(maxlen=normal.anticipator.length)
        self._chances: deque[np.ndarray] = deque(maxlen=_CHANCES)
        self._risk = 0.0  # see StepForecast
        self._strange: deque[float] = deque(maxlen=max(1, round(normal.rate_hz)))
        self._faults = PlaceFaults(procedure, normal.places.classes)
        self._surfaces, self._labels = SurfaceWatch(), LabelWatch(procedure)
        self._moved_s: float | None = None
        # Parts that were seen, and when.
        self._named: deque[tuple[float, frozenset[str]]] = deque(maxlen=2000)
        self._told: list[tuple[int, float]] = []
        self._lengths: list[tuple[int, float]] = []  # of the steps that have ended
        self.belief: Belief | None = None
        self._opened = opened is not None
        if opened is not None:
            step, begin_s = self._steps.index(opened[0]), opened[1]
            self._decoder.begin(step, begin_s)
            self._told.append((step, begin_s))

    @property
    def told(self) -> list[tuple[str, float]]:
        """Steps told so far and when each began [s]."""
        return [(self._steps[step], begin_s) for step, begin_s in self._told]

    @property
    def running(self) -> int | None:
        """Index of the step that was told last."""
        return self._told[-1][0] if self._told else None

    @property
    def is_over(self) -> bool:
        """Whether the last step of the procedure is being done or has been."""
        return self._procedure.may_end([name for name, _ in self.told])

    def take(self, what: np.ndarray | Sighting, time_s: float) -> CycleScores:
        """Takes a latent or sighting; see `look` and `see`."""
        return self.see(what) if isinstance(what, Sighting) else self.look(what, time_s)

    def recall(self, what: np.ndarray | Sighting, time_s: float) -> None:
        """Takes a latent or sighting of before the work began: what lies where, and how long."""
        if isinstance(what, Sighting):
            if what.parts is not None:
                self._evidence.see(what.parts, time_s)
                self._places.take(what, [])
        else:
            self._evidence.look(what, time_s)

    # Latents.

    def look(self, latent: np.ndarray, time_s: float) -> CycleScores:
        """Takes the latent of the picture at this time, float32 [D]."""
        normal = self._normal
        fits = self._evidence.look(latent, time_s)
        feature = np.concatenate([latent, self._evidence.change])
        point = normal.appearance.project(feature[None])[0]
        waiting = max([self._evidence.waiting, *fits[self._last]])
        still = not self._changes() and self._actions.moved_s < time_s
        belief = self._decoder.step(fits, time_s, waiting, still)
        self.belief = belief
        seen = CycleScores()
        if belief is None:
            return seen
        self._told = list(belief.path[: len(self._told)])  # a beginning is seen better afterwards
        while len(self._told) < belief.told:
            self._begin(belief, seen)
        if belief.ended and self._told:
            self._score_haste(belief.begun_s(len(self._told))[1], seen)
        self._score_time(belief, time_s, seen)
        self._score_novelty(belief.state, point, time_s, seen)
        self._look_ahead(belief, seen)
        return seen

    def end(self, time_s: float) -> CycleScores:
        """The recording or the cycle ends: the running step does, too."""
        seen = CycleScores()
        if self._told:
            self._close(time_s, time_s, seen)
        return seen

    def _begin(self, belief: Belief, seen: CycleScores) -> None:
        """The next step of the path has begun."""
        step, _ = belief.path[len(self._told)]
        begin_s, latest_s = belief.begun_s(len(self._told))
        if self._told:
            self._close(begin_s, latest_s, seen)
        self._told.append((step, begin_s))
        stamp_ns = round(begin_s * SECOND_NS)
        seen.events.append(StepBegun(self._steps[step], stamp_ns, belief.probability))

    def _close(self, time_s: float, latest_s: float, seen: CycleScores) -> None:
        """The running step has ended, at the latest then."""
        step, begin_s = self._told[-1]
        name = self._steps[step]
        deviation = self._score_haste(latest_s, seen)
        self._lengths.append((step, self._length_s(time_s)))
        seen.events.append(StepEnded(name, round(time_s * SECOND_NS)))
        no_time = self._normal.is_rare("fast", -deviation)
        self._check_labels(step, begin_s, no_time, seen)
        self._check_parts(step, begin_s, time_s, seen)

    def _length_s(self, end_s: float) -> float:
        """How long the step told last has taken if it ended then [s]."""
        length_s = max(0.0, end_s - self._told[-1][1])
        if self._opened and not self._lengths:
            # Nobody has learned how a cycle looks in its first moments: it is known a little late.
            length_s += self._normal.motion_s
        return length_s

    def _score_haste(self, latest_s: float, seen: CycleScores) -> float:
        """By how much the step told last has taken longer than usual, if it ended as late as may be
        [standard deviations]: a score, where it is less. It counts up to twice where a part went
        faster than is usual in this step: when a short one ends is not known so well."""
        step, begin_s = self._told[-1]
        length_s = self._length_s(latest_s)
        deviation = self._normal.tempo.deviation(step, length_s, self._pace())
        if deviation < 0.0:
            peak = self._speeds.peak(begin_s, latest_s)
            haste = -deviation + min(-deviation, self._normal.speeds.excess(step, peak))
            name = self._steps[step]
            title = self._procedure.by_name[name].title
            reason = f"'{title}' took {length_s:.1f} s, far less than usual"
            seen.scores.append(Score("fast", haste, Kind.TOO_FAST, name, reason))
        return deviation

    def _score_time(self, belief: Belief, time_s: float, seen: CycleScores) -> None:
        """By the best hypothesis: a step that is not told yet must not lengthen the one before."""
        running, begin_s = belief.path[-1]
        name = self._steps[running]
        seen.looked |= {"slow", "still"}
        if not self._told or self._procedure.may_end([self._steps[s] for s, _ in belief.path]):
            self._moved_s = None  # standing still counts from when work goes on
            return
        pace = self._pace()
        deviation = self._normal.tempo.deviation(running, time_s - begin_s, pace)
        title = self._procedure.by_name[name].title
        if deviation > 0.0:
            reason = f"'{title}' has taken {time_s - begin_s:.1f} s, far more than usual"
            seen.scores.append(Score("slow", deviation, Kind.TOO_SLOW, name, reason))
        if self._moved_s is None or self._changes():
            self._moved_s = time_s
        if self._procedure.by_name[name].labels:
            return  # a label is held still to be read: that is the work
        # A tool may move where the latent, of the whole picture, hardly changes.
        still_s = time_s - max(self._moved_s, self._actions.moved_s)
        reason = f"nothing has moved for {still_s:.1f} s in '{title}'"
        seen.scores.append(Score("still", still_s, Kind.HESITATING, name, reason))

    @property
    def _stopped_s(self) -> float:
        """Since when nothing has moved at all [s]; infinite: unknown."""
        return np.inf if self._moved_s is None else self._moved_s - self._normal.motion_s

    def _pace(self) -> float:
        """Of this cycle so far; see `Tempo.pace`."""
        return self._normal.tempo.pace(self._lengths)

    def _changes(self) -> bool:
        """Whether the latent has changed over the last `motion_s`: more than a still picture's
        does, root mean square."""
        return bool(np.sqrt(np.mean(self._evidence.change**2)) > self._normal.still)

    def _look_ahead(self, belief: Belief, seen: CycleScores) -> None:
        """The mean of the last few answers of the probe, and the decoder's doubts."""
        self._risk = 0.0
        self._points.append(self._evidence.point)
        self._chances.append(self._normal.anticipator.next_step(np.stack(self._points)))
        if not self._told or self.is_over:
            return
        done = [name for name, _ in self.told]
        allowed = {self._steps.index(step.name) for step in self._procedure.next_steps(done)}
        risk = float(sum(p for step, p in belief.begun.items() if step not in allowed))
        self._risk = min(1.0, risk)  # sums round to a little more than 1
        chances = np.mean(self._chances, axis=0)
        for step, p in belief.begun.items():  # what has begun is no longer to be guessed
            chances[step] = max(chances[step], p)
        best = int(chances.argmax())
        seen.forecast = StepForecast(self._steps[best], min(1.0, float(chances[best])), self._risk)

    def _score_novelty(
        self, state: int, point: np.ndarray, time_s: float, seen: CycleScores
    ) -> None:
        # What moves at first is the change of pieces; in the last step, the next may come any time.
        settled_s = 2.0 * self._normal.motion_s  # it may have begun a little later than believed
        seen.looked.add("strange")
        if not self._told or time_s < self._told[0][1] + settled_s or self.is_over:
            return
        self._strange.append(self._normal.appearance.distance(point, state))
        if len(self._strange) < self._strange.maxlen:
            return
        name = self._steps[self.running]
        reason = "this does not look like anything in a correct cycle"
        value = float(np.median(self._strange))  # for a moment, another state may seem the best
        seen.scores.append(Score("strange", value, Kind.UNKNOWN_ACTION, name, reason))

    # Sightings.

    def see(self, sighting: Sighting) -> CycleScores:
        """Takes what the eyes saw; times as of `look`."""
        seen = CycleScores()
        if sighting.parts is not None:
            self._evidence.see(sighting.parts, sighting.time_s)
            names = frozenset(name for part in sighting.parts for name in part.names)
            self._named.append((sighting.time_s, names))
            self._actions.take(sighting.parts, sighting.time_s)
            self._speeds.take(sighting.parts, sighting.time_s)
        self._places.begin(sighting)
        running = self.running
        if running is None:
            return seen
        name = self._steps[running]
        done = [step for step, _ in self.told]
        near = {running, *(step for step, _ in self._told[-2:-1])}
        first = [self._procedure.opening] if self._procedure.opening else []
        if self.is_over:
            first = [step.name for step in self._procedure.next_steps([])]
        near |= {self._steps.index(step) for step in first}  # it may be the next cycle's beginning
        if self._opened and sighting.time_s < self._told[0][1] + self._normal.motion_s:
            near |= {self._steps.index(step) for step in self._procedure.last_steps}  # or not yet
        if self.belief is not None:
            near |= {step for step, _ in self.belief.path[len(self._told) :]}  # begun, not told yet
            if self.belief.state % STATES_PER_STEP >= PHASES - 1:  # the next may have begun
                near |= {self._steps.index(s.name) for s in self._procedure.next_steps(done)}
        if sighting.parts is not None:
            seen.looked |= set(PLACE_SCORES.values())
        items = self._places.take(sighting, sorted(near), self._stopped_s)
        seen.scores += self._faults.scores(items, done, self._risk)
        self._inspect(sighting, name, seen)
        self._read(sighting, seen)
        return seen

    def _inspect(self, sighting: Sighting, step: str, seen: CycleScores) -> None:
        """How defective surfaces look; a piece that lies astray does so as nobody has learned."""
        if self._places.astray & self._procedure.inspected:
            self._surfaces.forget()
            return
        for region, odds in self._surfaces.take(sighting):
            reason = f"{sighting.defect_kinds.get(region, 'defect')} in region '{region}'"
            seen.scores.append(Score("surface", odds, Kind.DEFECT, step, reason))
            seen.looked.add("surface")

    def _read(self, sighting: Sighting, seen: CycleScores) -> None:
        """Notes which labels have been read, and how long those of the running step have not."""
        if sighting.texts is None or self.belief is None:
            return
        self._labels.take(sighting.texts, sighting.time_s)
        step, begin_s = self.belief.path[-1]
        missing = self._labels.unread(self._steps[step], begin_s)
        seen.looked.add("unread")
        if missing and self._told:
            usual_s = np.exp(self._normal.tempo.log_means[step] + self._pace())
            share = (sighting.time_s - begin_s) / usual_s
            reason = f"no label reads {' or '.join(missing)}"
            seen.scores.append(Score("unread", share, Kind.LABEL, self._steps[step], reason))

    def _check_labels(self, step: int, begin_s: float, no_time: bool, seen: CycleScores) -> None:
        """What a step asks for and nobody has read is a fault when the step has ended; where it had
        `no_time` for reading, it is the step that was skipped."""
        missing = self._labels.unread(self._steps[step], begin_s)
        if missing and self._labels.reads:
            kind = Kind.SKIPPED if no_time else Kind.LABEL
            reason = f"no label reads {' or '.join(missing)}"
            if no_time:
                reason = (
                    f"'{self._procedure.by_name[self._steps[step]].title}' in passing: {reason}"
                )
            stamp_ns = seen.events[-1].stamp_ns
            seen.events.append(AnomalyEvent(kind, stamp_ns, self._steps[step], reason=reason))

    def _check_parts(self, step: int, begin_s: float, end_s: float, seen: CycleScores) -> None:
        """A part that this step asks for, and that nobody has seen while it lasted."""
        during = [names for time_s, names in self._named if begin_s <= time_s <= end_s]
        while self._named and self._named[0][0] <= end_s:
            self._named.popleft()
        about = self._procedure.by_name[self._steps[step]]
        for check in about.checks if len(during) >= _LOOKS else ():
            if check.kind is CheckKind.PART and not any(check.value in names for names in during):
                reason = f"no {check.value} was seen in '{about.title}'"
                stamp_ns = seen.events[-1].stamp_ns
                name = self._steps[step]
                seen.events.append(AnomalyEvent(Kind.WRONG_PART, stamp_ns, name, _MAYBE, reason))
