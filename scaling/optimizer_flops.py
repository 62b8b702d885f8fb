"""FLOPs of a recipe's optimisers: the matrix products of their steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from scaling.ladder import Rung
from scaling.loading import LoadedRecipe

FIRST_STEPS = 2
"""Steps in which nothing is counted for most optimisers, which have no matrix products."""
STEPS = 10
"""Steps after the first of which the mean is taken, since some optimisers do the dear part once in several."""
MAX_CPU_PARAMS = 5_000_000
"""A larger model is not allocated to count what its optimisers do."""


def optimizer_flops_per_step(
    recipe: LoadedRecipe, model: nn.Module, rung: Rung, knobs: Mapping[str, float], vocab_size: int
) -> float | None:
    """Count with torch's FlopCounterMode, on the meta device where the optimisers run there, else on a small CPU copy.

    FLOPs are those of matrix products, 2 per multiply-add; element-wise work and decompositions are not counted. They
    are the mean over the steps after the first. None where the optimisers run on neither device.

    model: on the meta device, with a gradient wherever training gives one.
    """
    gradients = [(name, one.grad is not None) for name, one in model.named_parameters()]

    def on_meta(at_step: AbstractContextManager[object]) -> float:
        with torch.device("meta"):
            optimizers = recipe.build_optimizers(model, rung, knobs)
        with at_step:
            return _counted(optimizers)

    def on_cpu() -> float:
        with torch.random.fork_rng(devices=[]), torch.device("cpu"):
            small = recipe.build_model(rung, knobs, vocab_size)
            parameters = dict(small.named_parameters())
            for name, trained in gradients:
                parameters[name].grad = torch.randn_like(parameters[name]) if trained else None
            return _counted(recipe.build_optimizers(small, rung, knobs))

    # Adam counts its steps in a tensor that it reads, which must not lie on the meta device; the state of others must.
    tries: list[Callable[[], float]] = [lambda: on_meta(nullcontext()), lambda: on_meta(torch.device("meta"))]
    if sum(one.numel() for one in model.parameters()) < MAX_CPU_PARAMS:
        tries.append(on_cpu)
    for attempt in tries:
        try:
            return attempt()
        except (Exception, SystemExit):  # whatever the recipe raises where it is not meant to run
            continue
    return None


def _counted(optimizers: list[torch.optim.Optimizer]) -> float:
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            if group.get("fused"):
                group["fused"] = False  # the same sums, in one kernel that the meta device lacks
    first = [_flops(optimizers) for _ in range(FIRST_STEPS)]
    if not any(first):
        return 0.0
    return sum(_flops(optimizers) for _ in range(STEPS)) / STEPS


def _flops(optimizers: list[torch.optim.Optimizer]) -> int:
    with FlopCounterMode(display=False) as counter:
        for optimizer in optimizers:
            optimizer.step()
    return int(counter.get_total_flops())
