"""What a gate did not spend."""

from scaling.edits import Recipe
from scaling.lab import Lab
from scaling.loading import RecipeError, load
from scaling.shape import measure


def flops_above(lab: Lab, recipe: Recipe, index: int, pairs: int) -> float:
    """FLOPs of the pairs that an arm, stopped at rung `index`, would have had at the rungs above."""
    loaded, ladder = load(recipe), lab.setting.ladder
    total = 0.0
    for rung in ladder.rungs[index + 1 :]:
        try:
            size = measure(loaded, rung, ladder.base, lab.vocab_size)
        except RecipeError:  # what does not build up there would have cost nothing either
            continue
        total += size.flops_per_token * rung.tokens * pairs
    return total
