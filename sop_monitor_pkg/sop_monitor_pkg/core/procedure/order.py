"""Steps in an order that respects `after`, or the circle that makes it impossible."""

from __future__ import annotations

from collections.abc import Sequence
from graphlib import CycleError, TopologicalSorter

from sop_monitor_pkg.core.procedure.procedure import Step


def sorted_steps(steps: Sequence[Step]) -> list[Step]:
    """The steps, predecessors first, otherwise as they stand.

    Raises:
        ValueError: they form a circle; args are the text and the name of a step in it.
        KeyError: `after` names a step that is not there.
    """
    by_name = {step.name: step for step in steps}
    position = {step.name: i for i, step in enumerate(steps)}
    sorter = TopologicalSorter({step.name: step.after for step in steps})
    try:
        sorter.prepare()
    except CycleError as error:
        circle = list(reversed(error.args[1]))
        text = f"the steps wait for each other in a circle: {' after '.join(circle)}"
        raise ValueError(text, circle[0]) from error
    ordered: list[Step] = []
    ready: list[str] = []
    while sorter.is_active():
        ready += sorter.get_ready()
        ready.sort(key=position.__getitem__)
        name = ready.pop(0)
        ordered.append(by_name[name])
        sorter.done(name)
    return ordered
