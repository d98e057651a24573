"""A predictor compiled by torch, and an encoder recorded as a CUDA graph.

Neither changes what a model computes, and neither is needed: where one of them cannot be had, for
want of a compiler for example, the model stays as it was.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import torch

from vjepa_world_model.predictor import ActionConditionedPredictor, Block, KeyValueCache

# Sequences and steps that are imagined once, so that no plan waits for the compiler: a single step,
# and a first one, a middle one and a last one, of several sequences and of one.
_WARM_UP = ((2, 1), (1, 1), (3, 3), (1, 3))
_WARM_UP_GRADIENT = (1, 3)  # as the planner refines a plan
# Kinds of steps that a block is compiled for: first or not, last or not, first block or not, one
# sequence or more, with or without gradients. Beyond torch's limit of 8 it would run some of them
# as they are.
_KINDS = 32


class CannotCompile(RuntimeError):
    """Says why the model stays as it was."""


def compile_predictor(predictor: ActionConditionedPredictor, backend: str = "inductor") -> None:
    """Compile the blocks for any number of sequences; a minute, where nothing is cached.

    `backend` of torch.compile.

    Raises:
        CannotCompile: there is no compiler, or it fails.
    """
    dynamo = torch._dynamo.config
    dynamo.recompile_limit = max(dynamo.recompile_limit, _KINDS)
    blocks = predictor.predictor_blocks
    predictor.run_blocks = [_compiled(block, backend) for block in blocks]
    try:
        for sequences, horizon in _WARM_UP:
            with torch.no_grad():
                _imagine(predictor, sequences, horizon)
        numbers, imagined = _imagine(predictor, *_WARM_UP_GRADIENT)
        torch.autograd.grad(imagined.sum(), numbers)
    except Exception as error:  # the compilers below torch each raise their own kinds
        predictor.run_blocks = list(blocks)
        reason = str(error).partition("\n")[0]
        raise CannotCompile(f"{type(error).__name__}: {reason}") from error


def _compiled(block: Block, backend: str) -> Callable:
    """For any number of sequences and of earlier frames; all other sizes are built in."""
    run = torch.compile(block, backend=backend)

    def call(tokens, change, rotary, mask=None, past=None, keep=False, projected=None):
        for part in (tokens, change, *(projected or ()), *(past or ())):
            if part is not None and len(part) > 1:  # a single one is compiled apart
                torch._dynamo.maybe_mark_dynamic(part, 0)
        for part in past or ():
            torch._dynamo.maybe_mark_dynamic(part, 2)
        return run(tokens, change, rotary, mask, past, keep, projected)

    return call


def _imagine(
    predictor: ActionConditionedPredictor, sequences: int, horizon: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Actions and states [sequences, 7], and the last frame imagined from them."""
    device, config = predictor.predictor_embed.weight.device, predictor.config
    frame = torch.zeros(1, config.tokens, config.embed_dim, device=device)
    state = torch.zeros(1, 7, device=device)
    numbers, cache = torch.zeros(sequences, 7, device=device, requires_grad=True), KeyValueCache()
    for step in range(horizon):
        frame = predictor.step(frame, numbers, state, cache, last=step == horizon - 1)
        state = numbers
    return numbers, frame


class Recorded:
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
