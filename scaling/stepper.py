"""One optimiser step of a recipe, whoever drives it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from scaling.ladder import Rung
from scaling.loading import LoadedRecipe


class Stepper:
    """Steps a recipe's optimisers along its schedule.

    Every group's learning rate is its own, as the recipe built it, times the schedule's factor.
    """

    def __init__(
        self,
        recipe: LoadedRecipe,
        network: Callable[[Tensor], Tensor],
        optimizers: list[torch.optim.Optimizer],
        rung: Rung,
        knobs: Mapping[str, float],
    ) -> None:
        """Take over `optimizers`, built for the parameters of `network`; `rung.steps` is the schedule's length."""
        self.recipe = recipe
        self.network = network
        self.optimizers = optimizers
        self.steps = rung.steps
        self.knobs = dict(knobs)
        self.rates = [[float(group["lr"]) for group in one.param_groups] for one in optimizers]

    def step(self, index: int, ids: Tensor, backward: Callable[[Tensor], None]) -> Tensor:
        """Take step `index` on `ids`, int64 (batch, context + 1); returns the detached loss."""
        factor = float(self.recipe.schedule(index / self.steps, self.knobs))
        for optimizer, rates in zip(self.optimizers, self.rates, strict=True):
            optimizer.zero_grad(set_to_none=True)
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * factor
        loss = self.recipe.training_loss(self.network, ids[:, :-1], ids[:, 1:])
        backward(loss)
        for optimizer in self.optimizers:
            optimizer.step()
        return loss.detach()
