"""What a gate did not spend."""

from scaling.edits import Recipe
from scaling.lab import Lab
from scaling.loading import load
from scaling.shape import cached


def flops_above(lab: Lab, baseline: Recipe, recipe: Recipe, index: int, pairs: int) -> float:
    """FLOPs of the pairs that an arm, stopped at rung `index`, would have had at the rungs above.

    The arm's FLOPs up there are taken to stand to the baseline's as they do at that rung: its recipe is not run for it,
    since a model may have written it.
    """
    loaded, ladder, total = load(baseline), lab.setting.ladder, 0.0
    ratio = _ratio(lab, baseline, recipe, index)
    for rung in ladder.rungs[index + 1 :]:
        size = cached(lab.study.shapes, baseline.hash, loaded, rung=rung, base=ladder.base, vocab_size=lab.vocab_size)
        total += ratio * size.flops_per_token * rung.tokens * pairs
    return total


def _ratio(lab: Lab, baseline: Recipe, recipe: Recipe, index: int) -> float:
    """FLOPs per token, arm / baseline; 1 where one of them was not counted."""
    rows = lab.store.rows(
        "select recipe_hash, max(flops / tokens) as cost from runs "
        "where rung = $rung and list_contains($hashes, recipe_hash) and flops > 0 and tokens > 0 group by recipe_hash",
        {"rung": index, "hashes": [baseline.hash, recipe.hash]},
    )
    costs = {row["recipe_hash"]: float(row["cost"]) for row in rows}
    return costs[recipe.hash] / costs[baseline.hash] if len(costs) == 2 else 1.0
