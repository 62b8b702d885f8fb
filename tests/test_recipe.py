"""The recipe that comes with the package."""

import functools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny import BASELINE, rung

from scaling.loading import LoadedRecipe, load

RUNG = rung(depth=3, width=32)


@functools.cache
def baseline() -> LoadedRecipe:
    return load(BASELINE)


def test_every_parameter_is_optimised_once_and_vectors_and_embeddings_do_not_decay() -> None:
    recipe = baseline()
    knobs = recipe.resolve(RUNG, RUNG)
    model = recipe.build_model(RUNG, knobs, 257)
    (optimizer,) = recipe.build_optimizers(model, RUNG, knobs)
    optimised = [id(p) for group in optimizer.param_groups for p in group["params"]]
    assert sorted(optimised) == sorted(id(p) for p in model.parameters())
    decaying = {id(p) for group in optimizer.param_groups for p in group["params"] if group["weight_decay"]}
    names = {name for name, p in model.named_parameters() if id(p) in decaying}
    assert names == {
        n for n, p in model.named_parameters() if p.ndim == 2 and n.split(".")[0] not in ("tokens", "positions")
    }


@given(st.floats(0.005, 0.3), st.floats(1e-3, 0.5))
def test_the_schedule_rises_to_one_and_falls_to_its_final_share(warmup: float, final: float) -> None:
    knobs = {**baseline().resolve(RUNG, RUNG), "warmup_share": warmup, "final_share": final}
    factors = [baseline().schedule(step / 1000, knobs) for step in range(1001)]
    assert baseline().schedule(warmup, knobs) == pytest.approx(1.0)
    assert factors[-1] == pytest.approx(final)
    assert 0 < factors[0] < 0.2
    top = factors.index(max(factors))
    assert max(factors) <= 1.0
    assert factors[: top + 1] == sorted(factors[: top + 1])
    assert factors[top:] == sorted(factors[top:], reverse=True)


def test_gradients_are_clipped_to_their_norm_before_a_step() -> None:
    recipe = baseline()
    knobs = {**recipe.resolve(RUNG, RUNG), "gradient_clip": 0.5}
    model = recipe.build_model(RUNG, knobs, 257)
    (optimizer,) = recipe.build_optimizers(model, RUNG, knobs)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    norm = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]).norm()
    assert float(norm) == pytest.approx(0.5, rel=1e-3)


def test_a_fresh_model_knows_nothing_at_any_width() -> None:
    ids = torch.randint(257, (4, RUNG.context), generator=torch.Generator().manual_seed(1))
    for width in (32, 128):
        at = rung(width=width)
        torch.manual_seed(0)
        model = baseline().build_model(at, baseline().resolve(at, RUNG), 257)
        loss = baseline().training_loss(model, ids, ids.roll(-1, 1))
        assert float(loss.detach()) == pytest.approx(torch.tensor(257.0).log().item(), abs=0.6)
