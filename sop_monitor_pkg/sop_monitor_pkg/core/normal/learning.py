"""Learns normal work from recordings of correct cycles."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from sop_monitor_pkg.core.following.follower import CycleFollower
from sop_monitor_pkg.core.following.scores import CycleScores
from sop_monitor_pkg.core.normal import conformal, places
from sop_monitor_pkg.core.normal.extremes import ExtremesWatch
from sop_monitor_pkg.core.normal.model import Extremes, NormalModel
from sop_monitor_pkg.core.procedure.procedure import Procedure
from sop_monitor_pkg.core.recognition import anticipation, appearance, tempo
from sop_monitor_pkg.core.recognition.decoder import Decoder
from sop_monitor_pkg.core.recognition.evidence import Evidence, changes, settled
from sop_monitor_pkg.core.recognition.order_language import OrderLanguage
from sop_monitor_pkg.core.recognition.phases import (
    NO_STATE,
    PHASES,
    STATES_PER_STEP,
    Segment,
    states_of,
)
from sop_monitor_pkg.core.tracks import scene, speeds
from sop_monitor_pkg.core.tracks.sightings import Sighting

RATE_HZ = 5.0
MOTION_S = 0.6
TEMPER = 0.08
FOLDS = 5
ROUNDS = 4  # of aligning unlabelled cycles and learning from them
_STILL_SHARE = 0.3  # of the usual change of a latent


class LearningError(ValueError):
    """Recordings from which nothing can be learned; the text says what is missing."""


@dataclass(frozen=True)
class Example:
    """One correct cycle.

    Attributes:
        name: for people. latents: float32 [T, D]. times_s: float64 [T].
        segments: its steps; None: to be aligned.
        sightings: what the eyes saw, in order of time.
    """

    name: str
    latents: np.ndarray
    times_s: np.ndarray
    segments: tuple[Segment, ...] | None
    sightings: tuple[Sighting, ...] = ()


def learn(
    procedure: Procedure,
    examples: Sequence[Example],
    encoder: str,
    pooled: int,
    accepted: float = conformal.ACCEPTED,
    advance: Callable[[str], None] = lambda doing: None,
) -> NormalModel:
    """Learns from correct cycles, of which at least one is labelled.

    Thresholds rest on cycles that the judge has not learned from: each fifth is judged by what the
    other four fifths teach (cross-conformal prediction).

    Raises:
        LearningError: nothing is labelled, or a step is never done.
    """
    _check(procedure, examples)
    advance("aligning cycles without labels")
    labelled = _aligned(procedure, examples, encoder, pooled)
    advance("learning from all cycles")
    normal = _base(procedure, labelled, encoder, pooled)
    folds = min(FOLDS, len(labelled))
    if folds < 2:
        raise LearningError("one cycle says nothing about how cycles differ; record more")
    judged: dict[int, Extremes] = {}
    for fold in range(folds):
        advance(f"judging cycles by the others, part {fold + 1} of {folds}")
        held = range(fold, len(labelled), folds)
        others = [e for i, e in enumerate(labelled) if i not in held]
        judge = _base(procedure, others, encoder, pooled)
        for index in held:
            judged[index] = judge_cycle(procedure, judge, labelled[index])
    return normal.calibrated([judged[index] for index in range(len(labelled))], accepted)


def judge_cycle(procedure: Procedure, normal: NormalModel, example: Example) -> Extremes:
    """The most unusual in a cycle."""
    watch = ExtremesWatch(procedure)
    for _, seen in play(procedure, normal, example):
        watch.take(seen)
    return replace(watch.ended(), name=example.name)


def play(
    procedure: Procedure, normal: NormalModel, example: Example
) -> Iterator[tuple[float, CycleScores]]:
    """Follows a recorded cycle as if it were live: times [s] and what they brought, in order."""
    follower = CycleFollower(procedure, normal)
    for time_s, what in in_order(example):
        yield time_s, follower.take(what, time_s)
    end_s = float(example.times_s[-1])
    yield end_s, follower.end(end_s)


def in_order(example: Example) -> Iterator[tuple[float, np.ndarray | Sighting]]:
    """Times [s] of latents and sightings, and these, as they come live."""
    sightings = deque(example.sightings)
    for latent, time_s in zip(example.latents, example.times_s):
        while sightings and sightings[0].time_s <= time_s + 1e-6:
            yield sightings[0].time_s, sightings.popleft()
        yield float(time_s), latent


def align(procedure: Procedure, normal: NormalModel, example: Example) -> tuple[Segment, ...]:
    """The most likely segments of a correct cycle; empty if none fits."""
    evidence = Evidence(procedure, normal)
    fits, waiting = [], []
    for time_s, what in in_order(example):
        if not isinstance(what, Sighting):
            fits.append(evidence.look(what, time_s))
            waiting.append(evidence.waiting)
        elif what.parts is not None:
            evidence.see(what.parts, time_s)
    belief = None
    # Before the work begins the picture is outside of all states; else it begins at once.
    for outside in (waiting, [-np.inf] * len(fits)):
        decoder = Decoder(OrderLanguage(procedure, escape=0.0), normal.lengths, normal.tempo)
        for fit, time_s, waits in zip(fits, example.times_s, outside):
            belief = decoder.step(fit, float(time_s), waits)
        if belief is not None:
            break
    if belief is None:
        return ()
    begins = [begin_s for _, begin_s in belief.path]
    ends = [*begins[1:], float(example.times_s[-1])]
    return tuple(
        Segment(normal.steps[step], begin_s, max(end_s, begin_s + 1e-3))
        for (step, begin_s), end_s in zip(belief.path, ends)
    )


def _check(procedure: Procedure, examples: Sequence[Example]) -> None:
    labelled = [e for e in examples if e.segments]
    if not labelled:
        raise LearningError(
            "no cycle says when its steps begin and end; label at least one: a JSON file beside "
            'the video, {"steps": [{"step": NAME, "begin_s": 0.0, "end_s": 2.5}, ...]}'
        )
    done = {segment.step for e in labelled for segment in e.segments or ()}
    missing = [step.name for step in procedure.steps if step.name not in done]
    if missing:
        raise LearningError(f"no labelled cycle does {', '.join(missing)}; label one that does")


def _aligned(
    procedure: Procedure, examples: Sequence[Example], encoder: str, pooled: int
) -> list[Example]:
    """The examples with segments for all; a cycle that fits no correct order is left out."""
    known = [e for e in examples if e.segments]
    unknown = [e for e in examples if not e.segments]
    found: list[Example] = []
    for _ in range(ROUNDS if unknown else 0):
        normal = _base(procedure, [*known, *found], encoder, pooled, foresees=False)
        aligned = [replace(e, segments=align(procedure, normal, e)) for e in unknown]
        found = [e for e in aligned if e.segments]
    return [*known, *found]


def _base(
    procedure: Procedure,
    examples: Sequence[Example],
    encoder: str,
    pooled: int,
    foresees: bool = True,
) -> NormalModel:
    """What is learned from cycles whose steps are known; without thresholds.

    `foresees`: whether the probe for what comes next is trained; aligning does without.
    """
    steps = tuple(procedure.by_name)
    segments = [example.segments or () for example in examples]
    states = np.concatenate([_states(e, steps) for e in examples])
    count = len(steps) * STATES_PER_STEP
    motions = [changes(e.latents, e.times_s, MOTION_S) for e in examples]
    features = [np.hstack([e.latents, motion]) for e, motion in zip(examples, motions)]
    how = appearance.learn(np.concatenate(motions), states, count)
    points = [how.project(motion) for motion in motions]
    where = places.learn((e.sightings, _running(e, steps)) for e in examples if e.sightings)
    scenes = None
    if where.classes and all(e.sightings for e in examples):
        seen = [scene.at(e.times_s, e.sightings, where.classes, procedure.parts) for e in examples]
        scenes = appearance.learn(np.concatenate(seen), states, count)
        points = [np.hstack([p, scenes.project(maps)]) for p, maps in zip(points, seen)]
    moves = np.sqrt((np.concatenate(motions) ** 2).mean(1))
    return NormalModel(
        procedure=procedure.name,
        steps=steps,
        encoder=encoder,
        pooled=pooled,
        rate_hz=RATE_HZ,
        motion_s=MOTION_S,
        temper=TEMPER,
        still=_STILL_SHARE * float(np.median(moves)),
        appearance=appearance.learn(np.concatenate(features), states, count),
        motions=how,
        tempo=tempo.learn(segments, steps),
        places=where,
        scenes=scenes,
        anticipator=_anticipator(examples, points, steps, foresees),
        lengths=_lengths(segments, steps),
        speeds=speeds.learn(zip([e.sightings for e in examples], segments), procedure.parts, steps),
    )


def _states(example: Example, steps: Sequence[str]) -> np.ndarray:
    """State of each picture, int64 [T]; NO_STATE also while nobody knows what has come before."""
    states = states_of(example.segments or (), example.times_s, steps)
    known = settled(example.times_s, example.times_s[0], MOTION_S)
    return np.where(known, states, NO_STATE)


def _anticipator(
    examples: Sequence[Example], points: Sequence[np.ndarray], steps: Sequence[str], trained: bool
) -> anticipation.Anticipator:
    """`points`: of each example, float32 [T, K], its latents in the projections."""
    moments = []
    for example, point in zip(examples, points):
        begins = [(steps.index(s.step), s.begin_s) for s in example.segments or ()]
        moments.append((point, anticipation.following(begins, example.times_s)))
    iterations = anticipation.ITERATIONS if trained else 0
    return anticipation.learn(moments, len(steps), RATE_HZ, iterations)


def _running(example: Example, steps: Sequence[str]) -> list[int]:
    """Index of the step at each sighting, or -1."""
    times = np.array([sighting.time_s for sighting in example.sightings])
    states = states_of(example.segments or (), times, steps)
    return [int(s) // STATES_PER_STEP if s != NO_STATE else -1 for s in states]


def _lengths(cycles: Sequence[Sequence[Segment]], steps: Sequence[str]) -> np.ndarray:
    """Mean number of latents in each state, float64 [S, STATES_PER_STEP]."""
    lengths = np.zeros((len(steps), STATES_PER_STEP))
    for index, name in enumerate(steps):
        own = [s.length_s for cycle in cycles for s in cycle if s.step == name]
        gaps = [
            max(0.0, after.begin_s - before.end_s)
            for cycle in cycles
            for before, after in zip(cycle, cycle[1:])
            if before.step == name
        ]
        lengths[index, :PHASES] = (np.mean(own) if own else 1.0) * RATE_HZ / PHASES
        lengths[index, PHASES] = (np.mean(gaps) if gaps else 1.0) * RATE_HZ
    return np.maximum(lengths, 1.0)
