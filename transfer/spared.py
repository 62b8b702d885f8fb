"""What a gate did not spend."""

from scaling.edits import Recipe
from scaling.lab import Lab
from scaling.loading import RecipeError, load
from scaling.shape import cached


def flops_above(lab: Lab, recipe: Recipe, index: int, pairs: int) -> float:
    """FLOPs of the pairs that an arm, stopped at rung `index`, would have had at the rungs above."""
    loaded, ladder = load(recipe), lab.setting.ladder
    shapes, total = lab.study.recipes / "shapes", 0.0
    for rung in ladder.rungs[index + 1 :]:
        try:
            size = cached(shapes, recipe.hash, loaded, rung=rung, base=ladder.base, vocab_size=lab.vocab_size)
        except RecipeError:  # what does not build up there would have cost nothing either
            continue
        total += size.flops_per_token * rung.tokens * pairs
    return total
