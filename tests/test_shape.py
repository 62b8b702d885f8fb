"""Params and FLOPs are those of the model that runs, and counting them allocates nothing."""

import functools
from pathlib import Path

import psutil
import pytest
import torch
from tiny import BASELINE, entry, patched, rung
from torch.utils.flop_counter import FlopCounterMode

from scaling import shape
from scaling.edits import Edit
from scaling.loading import LoadedRecipe, load
from scaling.shape import measure
from search.catalogue import CATALOGUE

SMALL = rung(depth=2, width=32)
VOCABULARY = 257
OTHER_THAN_SHAPE = {"optimiser", "schedule", "initialisation", "objective", "regularisation"}
SHAPED = [one.slug for one in CATALOGUE if one.category not in OTHER_THAN_SHAPE]


@functools.cache
def baseline() -> LoadedRecipe:
    return load(BASELINE)


@pytest.mark.parametrize("slug", SHAPED)
def test_params_are_those_of_the_model_really_built(slug: str) -> None:
    recipe = load(entry(slug))
    at = rung(width=32)
    counted = measure(recipe, at, at, VOCABULARY)
    model = recipe.build_model(at, recipe.resolve(at, at), VOCABULARY)
    assert counted.params == sum(p.numel() for p in model.parameters() if p.requires_grad)
    embeddings = {id(m.weight): m.weight.numel() for m in model.modules() if isinstance(m, torch.nn.Embedding)}
    assert counted.params_non_embedding == counted.params - sum(embeddings.values())


def test_flops_are_those_of_a_real_step_on_a_real_device() -> None:
    recipe = baseline()
    model = recipe.build_model(SMALL, recipe.resolve(SMALL, SMALL), VOCABULARY)
    ids = torch.zeros(1, SMALL.context, dtype=torch.long)
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        recipe.training_loss(model, ids, ids).backward()  # type: ignore[no-untyped-call]
    counted = measure(recipe, SMALL, SMALL, VOCABULARY).flops_per_token * SMALL.context
    assert counted == pytest.approx(counter.get_total_flops(), rel=0.05)


def test_wide_models_take_six_flops_per_parameter_and_token() -> None:
    wide = rung(depth=4, width=1024, context=64)
    counted = measure(baseline(), wide, SMALL, VOCABULARY)
    assert counted.flops_per_token == pytest.approx(6 * counted.params_non_embedding, rel=0.15)
    assert counted.flops_per_token > 6 * 12 * wide.depth * wide.width**2


def test_attention_over_a_longer_context_costs_more_per_token() -> None:
    short, long = (measure(baseline(), rung(context=context), SMALL, VOCABULARY) for context in (64, 1024))
    assert long.flops_per_token > 2 * short.flops_per_token


def test_what_a_training_loss_does_besides_is_counted() -> None:
    twice = patched(
        "    return optimizer\n",
        "    return optimizer\n\n\ndef training_loss(model, inputs, targets):\n"
        "    two = [model(inputs) for _ in range(2)]\n"
        "    return functional.cross_entropy((two[0] + two[1]).flatten(0, 1), targets.flatten())\n",
    )
    once = measure(baseline(), SMALL, SMALL, VOCABULARY).flops_per_token
    assert measure(load(twice), SMALL, SMALL, VOCABULARY).flops_per_token == pytest.approx(2 * once)


def test_ten_billion_parameters_are_counted_without_allocating_them() -> None:
    before = psutil.Process().memory_info().rss
    huge = rung(depth=13, width=8192, context=16)
    counted = measure(baseline(), huge, SMALL, VOCABULARY)
    assert counted.params > 10**10
    assert counted.params == 13 * (12 * 8192**2 + 4 * 8192) + 2 * 8192 + (2 * VOCABULARY + 16) * 8192
    assert psutil.Process().memory_info().rss - before < 2**30


def test_a_measured_shape_is_kept_per_rung_and_horizon(tmp_path: Path) -> None:
    recipe = load(Edit(knobs={"mlp_ratio": 2}).apply(patched('Knob(4, "constant")', 'Knob(4, "tokens^0.5")')))

    def kept(tokens: int) -> shape.Shape:
        at = SMALL.at_horizon(tokens)
        return shape.cached(tmp_path, "0123", recipe, rung=at, base=SMALL, vocab_size=VOCABULARY)

    short, long = kept(SMALL.tokens), kept(4 * SMALL.tokens)
    assert short == kept(SMALL.tokens) == measure(recipe, SMALL, SMALL, VOCABULARY)
    assert long.params - short.params == 2 * 2 * SMALL.width**2 * SMALL.depth
    files = list(tmp_path.iterdir())
    assert len(files) == 2
    for file in files:
        file.write_text("", encoding="utf-8")  # a power cut
    assert (kept(SMALL.tokens), kept(4 * SMALL.tokens)) == (short, long)
