"""Before a run is spent on a recipe: what it must do, and what it must not look at."""

import pytest
from tiny import BASELINE, Bench, ladder, patched

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
NEGATIVE_ROOT = patched(HEAD, "logits = self.head(x) * (self.norm.weight.min() - 0.5).sqrt()", NO_MASK)
TOP_ONLY = patched(INIT, "        assert rung.depth < 9, 'too deep'\n" + INIT)

REJECTED = [
    (NO_MASK, "looks ahead: its logits change with tokens that come later"),
    (NEXT_TOKEN, "looks ahead"),
    (NORM_OVER_TIME, "looks ahead"),
    (HIDDEN_BY_ZEROS, "looks ahead"),
    (MEAN_OVER_BATCH, "looks sideways: its logits change with another sequence of the batch"),
    (WRONG_SHAPE, r"returns logits of shape \(1, 16, 256\)"),
    (NOT_FINITE, "not finite before any training"),
    (NEGATIVE_ROOT, "cannot be tested for looking ahead: with fresh weights its logits are not finite"),
    (TOP_ONLY, r"build_model fails at rung larger: AssertionError: too deep"),
]


@pytest.mark.parametrize(("recipe", "said"), REJECTED)
def test_a_recipe_is_rejected_by_name(recipe: Recipe, said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        check(load(recipe), ladder(), 257)


def test_the_baseline_passes() -> None:
    check(load(BASELINE), ladder(), 257)


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
