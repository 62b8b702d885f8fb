"""Before a run is spent on a recipe: what it must do, and what it must not look at."""

import pytest
import torch
from tiny import BASELINE, Bench, entry, ladder, patched, rung

from scaling.edits import Recipe
from scaling.loading import RecipeError, load
from scaling.preflight import check
from scaling.training import train

SCORES = "functional.scaled_dot_product_attention(q, k, v, is_causal=True)"
EMBEDDED = "        x = self.tokens(ids)  # (B, T, W)\n"
HEAD = "logits: Tensor = self.head(x)  # (B, T, V)"
INIT = "        self.initialise(rung, knobs)\n"

NO_MASK = patched(SCORES, SCORES.replace(", is_causal=True", ""))
NEXT_TOKEN = patched(EMBEDDED, EMBEDDED + "        x = x + x.roll(-1, 1)\n")
NORM_OVER_TIME = patched(EMBEDDED, EMBEDDED + "        x = x - x.mean(1, keepdim=True)\n")
MEAN_OVER_BATCH = patched(EMBEDDED, EMBEDDED + "        x = x - x.mean(0, keepdim=True)\n")
HIDDEN_BY_ZEROS = patched(INIT, INIT + "        for p in self.parameters():\n            nn.init.zeros_(p)\n", NO_MASK)
WRONG_SHAPE = patched(HEAD, "logits = self.head(x)[:, :, 1:]")
NOT_FINITE = patched(HEAD, "logits = self.head(x) / 0")
NEGATIVE_ROOT = patched(
    INIT,
    "        self.heat = nn.Parameter(torch.ones(8, 8))\n" + INIT,
    patched(HEAD, "logits = self.head(x) * self.heat.sqrt().sum()", NO_MASK),
)
ROOT_OF_A_VECTOR = patched(HEAD, "logits = self.head(x) * (self.norm.weight.min() - 0.5).sqrt()")
POWER = patched(
    INIT,
    "        self.power = nn.Parameter(torch.full((rung.width,), 2.0))\n" + INIT,
    patched(HEAD, "logits = self.head(functional.relu(x) ** self.power)"),
)
NEVER = "torch.arange(257, device=x.device) == 255"
NEVER_USED = patched(HEAD, f"logits = self.head(x).masked_fill({NEVER}, -float('inf'))")
MASK_LOOKS_AHEAD = patched(
    HEAD, f"logits = self.head(x).masked_fill(({NEVER}) & (ids[:, -1:, None] % 2 == 0), -float('inf'))"
)
COMPILED = patched(HEAD, "logits = torch.compile(lambda x: self.head(x), backend=lambda *_: 1 / 0)(x)")
TOP_ONLY = patched(INIT, "        assert rung.depth < 9, 'too deep'\n" + INIT)
UNUSED = patched(INIT, "        self.unused, self.lost = (nn.Linear(2, 2) for _ in range(2))\n" + INIT)
OWN_LOSS = "\n\ndef training_loss(model, inputs, targets):\n    return {}\n"
NO_LOSS = Recipe(BASELINE.source + OWN_LOSS.format("model(inputs).mean() / 0"))
MICRO_BATCHES = Recipe(
    BASELINE.source + OWN_LOSS.format("sum(model(one).var() for one in inputs.view(4, -1, inputs.shape[1]))")
)
NO_RATE = patched("    return optimizer\n", "    del optimizer.param_groups[0]['lr']\n    return optimizer\n")
DETACHED = Recipe(BASELINE.source + OWN_LOSS.format("model(inputs).detach().mean()"))

SAMPLE = torch.arange(34).view(2, 17)

REJECTED = [
    (NO_MASK, "looks ahead: its logits change with tokens that come later"),
    (NEXT_TOKEN, "looks ahead"),
    (NORM_OVER_TIME, "looks ahead"),
    (HIDDEN_BY_ZEROS, "looks ahead"),
    (MEAN_OVER_BATCH, "looks sideways: its logits change with another sequence of the batch"),
    (WRONG_SHAPE, r"returns logits of shape \(1, 16, 256\)"),
    (NOT_FINITE, "not finite before any training"),
    (NEGATIVE_ROOT, "cannot be tested for looking ahead: with fresh weights its logits are not finite.* clamp"),
    (patched(SCORES, SCORES.replace(", is_causal=True", ""), ROOT_OF_A_VECTOR), "looks ahead"),
    (MASK_LOOKS_AHEAD, "looks ahead"),
    (UNUSED, r"No gradient reaches unused.weight, unused.bias, lost.weight and 1 more: every trainable parameter"),
    (NO_LOSS, "training loss is not finite at the first step"),
    (DETACHED, "first training step fails: RuntimeError: element 0 of tensors does not require grad"),
    (NO_RATE, r"A parameter group of the recipe's optimizer has no learning rate: each must have an lr"),
    (TOP_ONLY, r"build_model fails at rung larger: AssertionError: too deep"),
]


@pytest.mark.parametrize(("recipe", "said"), REJECTED)
def test_a_recipe_is_rejected_by_name(recipe: Recipe, said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        check(load(recipe), ladder(), 257)


@pytest.mark.parametrize("recipe", [BASELINE, ROOT_OF_A_VECTOR, POWER, NEVER_USED, COMPILED])
def test_an_honest_recipe_passes(recipe: Recipe) -> None:
    check(load(recipe), ladder(), 257, SAMPLE)


def test_a_training_loss_may_split_its_batch() -> None:
    check(load(MICRO_BATCHES), ladder(), 257)


def test_a_parameter_without_numbers_needs_no_gradient() -> None:
    check(load(entry("u-net-skips")), ladder(rung(depth=1)), 257)


def test_the_step_is_taken_on_the_given_text() -> None:
    picky = patched(EMBEDDED, "        assert ids.is_meta or ids.max() < 5, 'another text'\n" + EMBEDDED)
    with pytest.raises(RecipeError, match="fails on text: AssertionError: another text"):
        check(load(picky), ladder(), 257)
    with pytest.raises(RecipeError, match="first training step fails"):
        check(
            load(Recipe(picky.source + OWN_LOSS.format("model(inputs + 100).mean()"))),
            ladder(),
            257,
            torch.ones(2, 17).long(),
        )


def test_a_run_with_preflight_is_rejected_and_one_without_is_made(bench: Bench) -> None:
    spec = bench.spec(NO_MASK, preflight=True)
    train(bench.study.path, spec)
    row = bench.row(spec)
    assert row["status"] == "failed"
    assert row["reason"].startswith("rejected: The recipe's model looks ahead")
    assert bench.curve(spec, 1) == []

    train(bench.study.path, bench.spec(NO_MASK))
    assert bench.row(spec)["status"] == "finished"


def test_a_recipe_that_does_not_import_is_rejected_too(bench: Bench) -> None:
    spec = bench.spec(Recipe("import no_such_library\n"), preflight=True)
    train(bench.study.path, spec)
    assert bench.row(spec)["reason"].startswith("rejected: The recipe does not import: ModuleNotFoundError")


def test_a_preflight_leaves_the_result_as_it_is(bench: Bench) -> None:
    plain, checked = bench.spec(BASELINE, seed=30), bench.spec(BASELINE, seed=30, preflight=True)
    assert plain.run_id == checked.run_id
    losses = []
    for spec in (plain, checked):
        train(bench.study.path, spec)
        losses.append(bench.row(spec)["val_loss"])
    assert losses[0] == losses[1]
