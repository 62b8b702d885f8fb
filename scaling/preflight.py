"""What a recipe must do before a run is spent on it."""

from __future__ import annotations

import math

import torch

from scaling.ladder import Ladder
from scaling.loading import LoadedRecipe, RecipeError, check_logits, cross_entropy
from scaling.shape import measure

LEAK_TOLERANCE = 1e-4


def check(recipe: LoadedRecipe, ladder: Ladder, vocab_size: int) -> None:
    """Build at rung 0 and at the top rung, on the meta device; then one step's gradients and the leak test at rung 0.

    Raises:
        RecipeError: naming the first thing that is wrong.
    """
    for rung in (ladder.base, ladder.top):
        measure(recipe, rung, ladder.base, vocab_size)
    rung = ladder.base
    torch.manual_seed(0)
    model = recipe.build_model(rung, recipe.resolve(rung, ladder.base), vocab_size)
    ids = torch.randint(vocab_size, (2, rung.context))
    logits = model(ids)
    check_logits(logits, 2, rung.context, vocab_size)
    loss = cross_entropy(logits.detach(), ids)
    if not math.isfinite(float(loss)):
        raise RecipeError("The recipe's model gives a loss that is not finite before any training.")
    check_leak(model, ids, vocab_size)


def check_leak(model: torch.nn.Module, ids: torch.Tensor, vocab_size: int) -> None:
    """Change the future of a sequence and demand that earlier logits stay, and change one sequence for the other.

    Weights are drawn anew with a visible size, since a model that starts at zero would hide what it looks at.

    Raises:
        RecipeError: when a logit depends on a later token, or on another sequence of the batch.
    """
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)
        model.eval()
        cut = ids.shape[1] // 2
        future, neighbour = ids.clone(), ids.clone()
        future[:, cut:] = (ids[:, cut:] + 1) % vocab_size
        neighbour[1] = (ids[1] + 1) % vocab_size
        before = model(ids)
        if not before.isfinite().all():
            raise RecipeError(
                "The recipe's model cannot be tested for looking ahead: with fresh weights its logits are not finite."
            )
        if float((model(future)[:, :cut] - before[:, :cut]).abs().max()) > LEAK_TOLERANCE:
            raise RecipeError("The recipe's model looks ahead: its logits change with tokens that come later.")
        if float((model(neighbour)[0] - before[0]).abs().max()) > LEAK_TOLERANCE:
            raise RecipeError(
                "The recipe's model looks sideways: its logits change with another sequence of the batch."
            )
