"""What a recipe must do before a run is spent on it."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from scaling.ladder import Ladder, Rung
from scaling.loading import LoadedRecipe, RecipeError, check_logits, cross_entropy, said
from scaling.stepper import Stepper

LEAK_TOLERANCE = 1e-4
SAMPLE_SEQUENCES = 2
MOST_SEQUENCES = 16
"""Of a batch that is asked for where the training loss cannot do with the sample, as when it splits its batch."""
NAMED_PARAMETERS = 3
"""How many parameters without a gradient are named."""


def check(recipe: LoadedRecipe, ladder: Ladder, vocab_size: int, sample: Tensor | None = None) -> None:
    """Build at rung 0 and at the top rung, on the meta device; then one training step and the leak test at rung 0.

    `sample`: the real text to step on, int64 (sequences, context + 1) ids; random ids when None.

    Raises:
        RecipeError: naming the first thing that is wrong.
    """
    # What the recipe compiles runs as it is written: inductor fails on the meta device, and takes long on the CPU.
    with torch.compiler.set_stance("force_eager"):
        for rung in (ladder.base, ladder.top):
            _check_scale(recipe, rung, ladder.base, vocab_size)
        rung = ladder.base
        torch.manual_seed(0)
        knobs = recipe.resolve(rung, ladder.base)
        model = recipe.build_model(rung, knobs, vocab_size)
        ids = torch.randint(vocab_size, (SAMPLE_SEQUENCES, rung.context + 1)) if sample is None else sample
        _check_start(model, ids, vocab_size)
        _check_step(recipe, model, ids, rung, knobs)
        check_leak(model, ids[:, :-1], vocab_size)


def _check_scale(recipe: LoadedRecipe, rung: Rung, base: Rung, vocab_size: int) -> None:
    with torch.device("meta"), torch.no_grad():
        model = recipe.build_model(rung, recipe.resolve(rung, base), vocab_size)
        try:
            logits = model(torch.zeros(1, rung.context, dtype=torch.long))
        except Exception as error:
            raise RecipeError(
                f"The recipe does not run on the meta device at rung {rung.name}: {said(error)}."
            ) from error
    check_logits(logits, 1, rung.context, vocab_size)


def _check_start(model: nn.Module, ids: Tensor, vocab_size: int) -> None:
    try:
        logits = model(ids[:, :-1])
    except (Exception, SystemExit) as error:
        raise RecipeError(f"The recipe's model fails on text: {said(error)}.") from error
    check_logits(logits, ids.shape[0], ids.shape[1] - 1, vocab_size)
    if not math.isfinite(float(cross_entropy(logits.detach(), ids[:, 1:]))):
        raise RecipeError("The recipe's model gives a loss that is not finite before any training.")


def _check_step(recipe: LoadedRecipe, model: nn.Module, ids: Tensor, rung: Rung, knobs: Mapping[str, float]) -> None:
    """Take the first step of training; see that its loss is finite and that it reaches every parameter."""
    optimizers = recipe.build_optimizers(model, rung, knobs)
    if not all(isinstance(group.get("lr"), float | int | Tensor) for one in optimizers for group in one.param_groups):
        raise RecipeError(
            "A parameter group of the recipe's optimizer has no learning rate: each must have an lr, which is "
            "multiplied by the schedule."
        )
    stepper = Stepper(recipe, model, optimizers, rung, knobs)
    try:
        loss = _first_loss(stepper, ids, rung)
    except (Exception, SystemExit) as error:
        raise RecipeError(f"The recipe's first training step fails: {said(error)}.") from error
    if not math.isfinite(loss):
        raise RecipeError("The recipe's training loss is not finite at the first step.")
    trained = [(name, one) for name, one in model.named_parameters() if one.requires_grad and one.numel()]
    lost = [name for name, one in trained if one.grad is None]
    if lost:
        more = f" and {len(lost) - NAMED_PARAMETERS} more" if len(lost) > NAMED_PARAMETERS else ""
        raise RecipeError(
            f"No gradient reaches {', '.join(lost[:NAMED_PARAMETERS])}{more}: every trainable parameter of the "
            "recipe's model must have a part in its training loss."
        )


def _first_loss(stepper: Stepper, ids: Tensor, rung: Rung) -> float:
    try:
        return float(stepper.step(0, ids, Tensor.backward))
    except Exception:
        batch = min(rung.batch_size // rung.devices, MOST_SEQUENCES)
        return float(stepper.step(0, ids.repeat(math.ceil(batch / len(ids)), 1)[:batch], Tensor.backward))


def check_leak(model: torch.nn.Module, ids: torch.Tensor, vocab_size: int) -> None:
    """Change the future of a sequence and demand that earlier logits stay, and change one sequence for the other.

    Weights are drawn anew with a visible size, since a model that starts at zero would hide what it looks at. A logit
    may be -inf, as of a token that is never used.

    Raises:
        RecipeError: when a logit depends on a later token, or on another sequence of the batch.
    """
    with torch.no_grad():
        model.eval()
        before = _with_fresh_weights(model, ids)
        cut = ids.shape[1] // 2
        future, neighbour = ids.clone(), ids.clone()
        future[:, cut:] = (ids[:, cut:] + 1) % vocab_size
        neighbour[1] = (ids[1] + 1) % vocab_size
        if not _same(model(future)[:, :cut], before[:, :cut]):
            raise RecipeError("The recipe's model looks ahead: its logits change with tokens that come later.")
        if not _same(model(neighbour)[0], before[0]):
            raise RecipeError(
                "The recipe's model looks sideways: its logits change with another sequence of the batch."
            )


def _with_fresh_weights(model: nn.Module, ids: Tensor) -> Tensor:
    """Draw all weights anew, and give the logits.

    Where some exponent or root cannot bear that, vectors and scalars stay near what they start at.
    """
    generator = torch.Generator().manual_seed(1)
    starts = [one.clone() for one in model.parameters()]
    for near in (False, True):
        for parameter, start in zip(model.parameters(), starts, strict=True):
            noise = torch.randn(start.shape, generator=generator) * 0.1
            parameter.copy_(start + noise if near and start.squeeze().ndim < 2 else noise)
        logits: Tensor = model(ids)
        if logits.amax(-1).isfinite().all():
            return logits
    raise RecipeError(
        "The recipe's model cannot be tested for looking ahead: with fresh weights its logits are not finite. Matrices "
        "are drawn anew for that, with deviation 0.1; keep what roots, logarithms, powers and divisors take from them "
        "in range, as by softplus or clamp."
    )


def _same(one: Tensor, other: Tensor) -> bool:
    """Whether logits are the same but for rounding, and -inf in the same places."""
    return torch.allclose(one, other, rtol=0, atol=LEAK_TOLERANCE)
