"""A predictor compiled by torch, and an encoder recorded as a CUDA graph.

Neither changes what a model computes, and neither is needed: where one of them cannot be had, for
want of a compiler for example, the model stays as it was.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import torch

from vjepa_world_model.model.predictor import Steps

# Sequences and steps that are scored once, so that no plan waits for the compiler: a single step,
# and a first one, a middle one and a last one, of several sequences and of one.
WARM_UP = ((2, 1), (1, 1), (3, 3), (1, 3))
WARM_UP_GRADIENT = (1, 3)  # as the planner refines a plan
# Kinds of steps that a block is compiled for: first or not, last or not, first block or not, one
# sequence or more, with or without gradients. Beyond torch's limit of 8 it would run some of them
# as they are.
_KINDS = 32


class CannotCompile(RuntimeError):
    """Says why the model stays as it was."""


def compiled(function: Callable, backend: str) -> Callable:
    """For any number of sequences and of earlier frames; all other sizes are built in.

    Args:
        function: its first dimensions of three are sequences, and what it gets as `past` are keys
            and values.
        backend: of torch.compile, which starts with the first call.
    """
    dynamo = torch._dynamo.config
    dynamo.recompile_limit = max(dynamo.recompile_limit, _KINDS)
    run = torch.compile(function, backend=backend)

    def call(*parts, past=None, **options):
        for part in (*parts, *(past or ())):
            # A single sequence is compiled apart.
            if isinstance(part, torch.Tensor) and part.dim() > 2 and len(part) > 1:
                torch._dynamo.maybe_mark_dynamic(part, 0)
        for part in past or ():
            torch._dynamo.maybe_mark_dynamic(part, 2)
        return run(*parts, **options) if past is None else run(*parts, past=past, **options)

    return call


def compiled_steps(steps: Steps, backend: str) -> Steps:
    """Those of a predictor."""
    return Steps(
        compiled(steps.first, backend),
        [compiled(block, backend) for block in steps.blocks],
        compiled(steps.patches, backend),
    )


class RecordedGraph:
    """A CUDA graph of a function for inputs of one shape: one launch in place of hundreds.

    Raises:
        CannotCompile: the function does what a graph cannot hold.
    """

    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor], example: torch.Tensor):
        """`example` is on a GPU; `function` must not wait for the host."""
        self.shape = example.shape
        self._lock = threading.Lock()  # a node encodes pictures and clips in two threads
        self._input = example.clone()
        self._graph = torch.cuda.CUDAGraph()
        side = torch.cuda.Stream(example.device)
        side.wait_stream(torch.cuda.current_stream(example.device))
        try:
            with torch.no_grad():
                with torch.cuda.stream(side):
                    for _ in range(3):  # libraries choose their kernels, allocators their blocks
                        function(self._input)
                torch.cuda.current_stream(example.device).wait_stream(side)
                with torch.cuda.graph(self._graph):
                    self._output = function(self._input)
        except RuntimeError as error:
            raise CannotCompile(str(error).partition("\n")[0]) from error

    def __call__(self, values: torch.Tensor) -> torch.Tensor:
        """The function's value; a copy, since the next call writes over the graph's own."""
        with self._lock:
            self._input.copy_(values)
            self._graph.replay()
            return self._output.clone()
