"""Compiling changes no number, and a machine without a compiler plans all the same."""

from __future__ import annotations

import pytest
import torch
from torch._inductor import config
from vjepa_world_model.model.world_model import WorldModel


@pytest.fixture()
def model(small_parts, tmp_path, monkeypatch) -> WorldModel:
    """Nothing that was compiled before is at hand."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    torch._dynamo.reset()
    yield WorldModel(None, small_parts[1], "small", torch.device("cpu"))
    torch._dynamo.reset()


@torch.no_grad()
def energies(model: WorldModel) -> list[torch.Tensor]:
    """Of several sequences and of one, and the gradient that refines a plan."""
    generator = torch.Generator().manual_seed(0)
    features, goal = torch.randn(2, 4, 24, generator=generator)
    actions = [
        torch.randn(size, generator=generator)
        for size in ((5, 1, 7), (1, 1, 7), (4, 3, 7), (1, 3, 7))
    ]
    scored = [model.score(features, goal, torch.zeros(7), a) for a in actions]
    with torch.enable_grad():
        leaf = actions[-1].requires_grad_(True)
        last = model.score(features, goal, torch.zeros(7), leaf)[:, -1]
        return [*scored, *torch.autograd.grad(last, leaf)]


@pytest.mark.parametrize("anchored", [False, True])
def test_compiled_it_scores_the_same_for_any_number_of_sequences(model, anchored):
    model.anchored = anchored
    before = energies(model)
    model.compile(backend="aot_eager")  # all but the C++ compiler, which takes long
    assert model.compiled, model.not_compiled
    assert model.predictor.run.blocks[0] is not model.predictor.predictor_blocks[0]
    with torch.compiler.set_stance("fail_on_recompile"):  # no plan waits for the compiler
        after = energies(model)
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(after, before, strict=True))


def test_without_a_compiler_the_model_stays_as_it_was_and_says_why(model, monkeypatch):
    monkeypatch.setattr(config.cpp, "cxx", ("/no/such/compiler",))
    before = energies(model)
    model.compile()
    assert "compiler" in model.not_compiled
    assert model.predictor.run.blocks == list(model.predictor.predictor_blocks)
    assert all(map(torch.equal, energies(model), before))
