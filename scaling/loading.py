"""A recipe's source made a module, with its contract checked."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from data.errors import InputError
from scaling.edits import Recipe
from scaling.knobs import Knob, resolve
from scaling.ladder import Rung

RECIPE_FILE = "recipe.py"
SAID_CHARACTERS = 300


class RecipeError(InputError):
    """A recipe breaks its contract."""


@dataclass(frozen=True, slots=True)
class LoadedRecipe:
    """The functions of a recipe's contract; see `load`."""

    module: ModuleType
    knobs: Mapping[str, Knob]

    def resolve(self, rung: Rung, base: Rung) -> dict[str, float]:
        """Knob values at `rung`, whose tokens are the run's horizon."""
        return resolve(self.knobs, rung, base)

    def build_model(self, rung: Rung, knobs: Mapping[str, float], vocab_size: int) -> nn.Module:
        """Build the module from token ids (B, T) to logits (B, T, V).

        Raises:
            RecipeError: when it raises or is no module.
        """
        try:
            model = self.module.build_model(rung, knobs, vocab_size)
        except (Exception, SystemExit) as error:
            raise RecipeError(f"The recipe's build_model fails at rung {rung.name}: {said(error)}.") from error
        if not isinstance(model, nn.Module):
            raise RecipeError(f"The recipe's build_model must return a torch module, not {type(model).__name__}.")
        return model

    def build_optimizers(self, model: nn.Module, rung: Rung, knobs: Mapping[str, float]) -> list[torch.optim.Optimizer]:
        """Build the optimiser, or several.

        Raises:
            RecipeError: when it raises or returns something else.
        """
        try:
            built = self.module.build_optimizer(model, rung, knobs)
        except (Exception, SystemExit) as error:
            raise RecipeError(f"The recipe's build_optimizer fails at rung {rung.name}: {said(error)}.") from error
        optimizers = list(built) if isinstance(built, (list, tuple)) else [built]
        if not optimizers or not all(isinstance(one, torch.optim.Optimizer) for one in optimizers):
            raise RecipeError("The recipe's build_optimizer must return a torch optimizer, or a list of them.")
        return optimizers

    @property
    def schedule(self) -> Callable[[float, Mapping[str, float]], float]:
        """Learning-rate factor of progress in [0, 1]."""
        function: Callable[[float, Mapping[str, float]], float] = self.module.schedule
        return function

    def training_loss(self, model: Callable[[Tensor], Tensor], inputs: Tensor, targets: Tensor) -> Tensor:
        """Loss to minimise, of inputs and targets (B, T); cross-entropy where the recipe has none of its own."""
        own: Callable[..., Tensor] | None = getattr(self.module, "training_loss", None)
        if own is not None:
            return own(model, inputs, targets)
        return cross_entropy(model(inputs), targets)


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy in nats per token of logits (B, T, V) and targets (B, T), in float32 at least."""
    return functional.cross_entropy(logits.float().flatten(0, 1), targets.flatten())


def load(recipe: Recipe | str) -> LoadedRecipe:
    """Execute a recipe's text in a module of its own.

    Raises:
        RecipeError: when it does not import, or lacks a part of the contract.
    """
    text = recipe.text if isinstance(recipe, Recipe) else recipe
    module = ModuleType("scaleproof_recipe")
    # Classes look their own module up while they are defined (dataclasses do).
    sys.modules[module.__name__] = module
    try:
        exec(compile(text, RECIPE_FILE, "exec"), module.__dict__)
    except (Exception, SystemExit) as error:
        _require_overlaid_knobs(text, module)
        raise RecipeError(f"The recipe does not import: {said(error)}.") from error
    for name in ("build_model", "build_optimizer", "schedule"):
        if not callable(getattr(module, name, None)):
            raise RecipeError(f"The recipe has no function {name}; every recipe must define it.")
    knobs: Any = getattr(module, "KNOBS", None)
    if not isinstance(knobs, dict) or not all(isinstance(knob, Knob) for knob in knobs.values()):
        raise RecipeError("The recipe has no table KNOBS of Knob values.")
    return LoadedRecipe(module, knobs)


def check_logits(logits: object, batch: int, time: int, vocab_size: int) -> None:
    """Raise `RecipeError` unless `logits` is a tensor of shape (batch, time, vocab_size)."""
    if not isinstance(logits, Tensor):
        raise RecipeError(f"The recipe's model must return logits, a tensor, not {type(logits).__name__}.")
    if tuple(logits.shape) != (batch, time, vocab_size):
        raise RecipeError(
            f"The recipe's model returns logits of shape {tuple(logits.shape)}; "
            f"(batch, time, vocabulary) = {(batch, time, vocab_size)} is wanted."
        )


def said(error: BaseException) -> str:
    """What an error says, without a full stop, and the last line of the recipe that it passed."""
    text = f"{type(error).__name__}: {str(error).strip()[:SAID_CHARACTERS] or 'no message'}".rstrip(".")
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == RECIPE_FILE]
    return f"{text} (line {lines[-1]} of the recipe)" if lines else text


def _require_overlaid_knobs(text: str, module: ModuleType) -> None:
    """Raise `RecipeError` when a knob value is laid over a recipe that lacks the knob."""
    known = getattr(module, "KNOBS", None)
    for name in Recipe.from_text(text).knobs:
        if isinstance(known, dict) and name not in known:
            raise RecipeError(f"The recipe has no knob {name!r}; its knobs are {', '.join(map(str, known))}.")
