"""What a search asks of a baseline, looked at before the first run is spent on it."""

from __future__ import annotations

from collections.abc import Mapping

from scaling.edits import EditError, Recipe
from scaling.knobs import Knob
from scaling.ladder import Ladder
from scaling.loading import RecipeError, load
from scaling.preflight import check
from search.calibration import BRACKET_KNOB
from search.catalogue import placebo_edit


def knobs_of(recipe: Recipe) -> Mapping[str, Knob]:
    """The recipe's knobs; raises RecipeError where it does not load."""
    return dict(load(recipe).knobs)


def check_baseline(recipe: Recipe, ladder: Ladder, vocab_size: int) -> None:
    """Check the recipe's contract on the ladder, take one step, and see that it can be bracketed and calibrated.

    Raises:
        RecipeError: naming the first thing that is wrong.
    """
    loaded = load(recipe)
    if BRACKET_KNOB not in loaded.knobs:
        raise RecipeError(f"The recipe has no knob {BRACKET_KNOB!r}; a search brackets it, so give KNOBS one.")
    try:
        load(placebo_edit(1).apply(recipe))
    except EditError as error:
        raise RecipeError(
            f"Placebos cannot be made of the recipe, which must hold `def build_model(` once: {error}"
        ) from error
    check(loaded, ladder, vocab_size)
