"""Params and FLOPs are those of the model that runs, and counting them allocates nothing."""

import functools
import json
import math
from pathlib import Path

import psutil
import pytest
import torch
from tiny import BASELINE, Bench, entry, patched, rung
from torch.utils.flop_counter import FlopCounterMode

from scaling import shape
from scaling.edits import Edit, Recipe
from scaling.ladder import Rung, load_ladder
from scaling.loading import LoadedRecipe, RecipeError, load
from scaling.shape import measure
from scaling.training import train
from search.catalogue import CATALOGUE

SMALL = rung(depth=2, width=32)
VOCABULARY = 257
OTHER_THAN_SHAPE = {"optimiser", "schedule", "initialisation", "objective", "regularisation"}
OPTIMISERS = {one.slug for one in CATALOGUE if one.category == "optimiser" and one.edit.replacements}
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


DEMO = load_ladder("demo")


@pytest.mark.parametrize("slug", [one.slug for one in CATALOGUE])
def test_the_optimisers_of_every_entry_are_counted(slug: str) -> None:
    everywhere = slug in OPTIMISERS
    for at in DEMO.rungs if everywhere else (DEMO.base,):
        counted = measure(load(entry(slug)), at, DEMO.base, VOCABULARY)
        assert counted.optimizer_flops_per_token is not None
        assert math.isfinite(counted.flops_per_token)
        assert 0 <= counted.optimizer_flops_per_token < counted.flops_per_token


@pytest.mark.parametrize("at", DEMO.rungs, ids=lambda one: one.name)
def test_newton_schulz_products_are_counted_to_the_last_one(at: Rung) -> None:
    plain, muon = (measure(recipe, at, DEMO.base, VOCABULARY) for recipe in (baseline(), load(entry("muon"))))
    assert plain.optimizer_flops_per_token == 0
    # Of a matrix n x m, n <= m, each of five steps takes x x^T, the square of that, and a product with x.
    square, tall = (5 * (4 * at.width**2 * columns + 2 * at.width**3) for columns in (at.width, 4 * at.width))
    expected = at.depth * (4 * square + 2 * tall) / at.batch_tokens
    assert muon.optimizer_flops_per_token == expected
    assert muon.flops_per_token == plain.flops_per_token + expected
    if at.width >= 32:
        assert muon.flops_per_token > 1.03 * plain.flops_per_token


def stepped(body: str, base: str = "torch.optim.SGD") -> LoadedRecipe:
    """The baseline, with an optimiser whose step is `body`, which knows `self`, `p` (a parameter) and `group`."""
    return load(
        Recipe(
            BASELINE.source
            + f"\n\nclass Own({base}):\n    @torch.no_grad()\n    def step(self, closure=None):\n"
            + "        for group in self.param_groups:\n            for p in group['params']:\n"
            + "".join(f"                {line}\n" for line in body.splitlines())
            + "\n\ndef build_optimizer(model, rung, knobs):\n    return Own(model.parameters(), lr=0.1)\n"
        )
    )


PRODUCT = "if p.ndim == 2:\n    p.add_(p.grad @ (p.grad.T @ p.grad))"


def optimizer_flops(recipe: LoadedRecipe, at: Rung = SMALL) -> float | None:
    return measure(recipe, at, at, VOCABULARY).optimizer_flops_per_token


def test_an_optimiser_that_must_see_numbers_is_counted_on_a_small_cpu_copy() -> None:
    everywhere = optimizer_flops(stepped(PRODUCT))
    assert everywhere is not None
    assert everywhere > 0
    seeing = f"if p.grad.norm().item() > 0:\n    pass\n{PRODUCT}"
    before = torch.get_rng_state()
    assert optimizer_flops(stepped(seeing)) == everywhere
    assert torch.equal(torch.get_rng_state(), before)


def test_what_cannot_be_counted_anywhere_is_left_out_and_said_so() -> None:
    counted = measure(stepped("raise SystemExit('not here')"), SMALL, SMALL, VOCABULARY)
    assert counted.optimizer_flops_per_token is None
    assert counted.flops_per_token == measure(baseline(), SMALL, SMALL, VOCABULARY).flops_per_token
    assert optimizer_flops(stepped("p.grad.norm().item()"), rung(depth=5, width=512)) is None, "too large to allocate"


def test_what_an_optimiser_does_once_in_ten_steps_counts_a_tenth() -> None:
    rarely = (
        "count = self.state[p]['count'] = self.state[p].get('count', 0) + 1\n"
        + "if p.ndim == 2:\n    p.add_(p.grad @ (p.grad.T @ p.grad))\n"
        + "if p.ndim == 2 and count % 10 == 0:\n    for _ in range(10):\n        p.add_(p.grad @ (p.grad.T @ p.grad))"
    )
    once = optimizer_flops(stepped(PRODUCT))
    assert once is not None
    assert optimizer_flops(stepped(rarely)) == pytest.approx(2 * once)


@pytest.mark.parametrize("slug", ["", *SHAPED[::16]])
def test_flops_that_progress_does_not_change_are_those_of_one_sequence_to_the_last_bit(slug: str) -> None:
    recipe = load(entry(slug)) if slug else baseline()
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        model = recipe.build_model(SMALL, recipe.resolve(SMALL, SMALL), VOCABULARY)
        ids = torch.zeros(1, SMALL.context, dtype=torch.long)
        recipe.training_loss(model, ids, ids).backward()  # type: ignore[no-untyped-call]
    counted = measure(recipe, SMALL, SMALL, VOCABULARY).flops_per_token
    assert counted == counter.get_total_flops() / SMALL.context


def training(loss: str) -> LoadedRecipe:
    """The baseline, with the body of a training loss, which knows the progress."""
    return load(
        Recipe(
            BASELINE.source
            + "\n\nPROGRESS = [0.0]\n_schedule = schedule\n\n\ndef schedule(progress, knobs):\n"
            + "    PROGRESS[0] = progress\n    return _schedule(progress, knobs)\n"
            + f"\n\ndef training_loss(model, inputs, targets):\n    {loss}\n"
        )
    )


def cut_to(length: str) -> str:
    """A training loss on the first tokens of each sequence."""
    logits = f"model(inputs[:, :{length}]).flatten(0, 1)"
    return f"return functional.cross_entropy({logits}, targets[:, :{length}].flatten())"


def test_short_sequences_first_cost_what_they_cost_over_the_whole_schedule() -> None:
    tiny = rung()
    short, full, both = (
        measure(training(cut_to(length)), tiny, tiny, VOCABULARY).flops_per_token
        for length in ("4", "16", "(4 if PROGRESS[0] < 0.25 else 16)")
    )
    assert both == pytest.approx(0.25 * short + 0.75 * full)


MICRO_BATCHES = """parts = zip(inputs.view(4, -1, inputs.shape[1]), targets.view(4, -1, targets.shape[1]))
    return sum(functional.cross_entropy(model(a).flatten(0, 1), b.flatten()) for a, b in parts) / 4"""


def test_a_training_loss_may_split_its_batch() -> None:
    split = measure(training(MICRO_BATCHES), SMALL, SMALL, VOCABULARY)
    assert split == measure(baseline(), SMALL, SMALL, VOCABULARY)


@pytest.mark.parametrize(
    "loss",
    [
        "loss = model(inputs).var()\n    return loss * 0.5 if loss.item() > 4 else loss",
        "logits = model(inputs).flatten()\n    return logits[logits > logits.detach().median()].mean()",
    ],
)
def test_a_training_loss_that_must_see_numbers_is_told_what_to_do(loss: str) -> None:
    said = (
        r"training step fails at rung a: training_loss must also run on the meta device: no \.item\(\), no "
        r"data-dependent shapes \(\w+: (?s:.*)\(line \d+ of the recipe\)\)\.$"
    )
    with pytest.raises(RecipeError, match=said):
        measure(training(loss), SMALL, SMALL, VOCABULARY)


def test_a_model_of_which_nothing_is_counted_is_rejected() -> None:
    loss = "return model(inputs).var() if inputs.is_cpu else model.head.weight.var()"
    with pytest.raises(RecipeError, match=r"counts 0 FLOPs per token at rung a, .* counted on the meta device: do"):
        measure(training(loss), SMALL, SMALL, VOCABULARY)


def test_what_is_compiled_is_counted_as_it_is_written() -> None:
    compiled = patched("functional.gelu(h)", "activation(h)")
    plain = compiled.source + "\n\ndef activation(h):\n    return functional.gelu(h @ h.mT) @ h\n"
    sizes = [
        measure(load(plain + by), SMALL, SMALL, VOCABULARY) for by in ("", "activation = torch.compile(activation)\n")
    ]
    assert sizes[0] == sizes[1]


def test_what_a_recipe_remembers_of_being_counted_is_not_there_in_training(bench: Bench) -> None:
    latched = patched(
        '    warmup = knobs["warmup_share"]\n',
        '    LATE.extend([1] * (progress > 0.9))\n    warmup = knobs["warmup_share"] * len(LATE)\n',
        Recipe(BASELINE.source.replace("def schedule(", "LATE = [1]\n\n\ndef schedule(")),
    )
    spec = bench.spec(latched, seed=90)
    train(bench.study.path, spec)
    counted = bench.row(spec)
    train(bench.study.path, spec)
    known = bench.row(spec)
    assert (counted["attempt"], known["attempt"]) == (1, 2)
    assert counted["val_loss"] == known["val_loss"], "the second attempt knew the FLOPs already"


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


def test_a_kept_shape_of_an_earlier_version_is_measured_anew(tmp_path: Path) -> None:
    def kept() -> shape.Shape:
        return shape.cached(tmp_path, "0123", baseline(), rung=SMALL, base=SMALL, vocab_size=VOCABULARY)

    now = kept()
    (file,) = tmp_path.iterdir()
    earlier = json.loads(file.read_text(encoding="utf-8"))
    del earlier["optimizer_flops_per_token"]
    file.write_text(json.dumps(earlier | {"flops_per_token": 1.0}), encoding="utf-8")
    assert kept() == now
