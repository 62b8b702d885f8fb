"""A/A: the baseline against itself on fresh seeds. A rung where it seems to win or lose cannot be trusted."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from data.errors import InputError
from transfer.slope import Slope, pooled_noise
from transfer.student import quantile


@dataclass(frozen=True, slots=True)
class AAResult:
    """lnS of baseline against baseline with its 99 % interval; `frozen` where the interval excludes 0."""

    ln_speedup: float
    low_99: float
    high_99: float
    pairs: int
    frozen: bool


def check(first: ArrayLike, second: ArrayLike, slope: Slope, *, others: Sequence[ArrayLike]) -> AAResult:
    """Compare two halves of A/A baselines, each of shape (pairs,), all on seeds of their own.

    The seeds differ, so no correlation is assumed: the variance is 2 sigma^2/(pairs kappa^2). sigma is pooled anew from
    `others` (the rung's finished baselines by horizon) and the two halves apart: were their difference part of
    sigma, as it is of `slope.noise`, it would hide itself, and few pairs could never freeze a rung. A rung whose slope
    is unusable, or whose halves differ by more than the slope can express, is frozen with an interval of nan.
    """
    first, second = (np.atleast_1d(np.asarray(losses, dtype=np.float64)) for losses in (first, second))
    if first.shape != second.shape or first.ndim != 1 or first.size == 0:
        raise InputError("An A/A check needs the same number of baselines, at least one, on both sides.")
    pairs = len(first)
    ln_speedup = slope.ln_tokens(float(first.mean() - second.mean())) if slope.usable else math.nan
    if not math.isfinite(ln_speedup):
        return AAResult(math.nan, math.nan, math.nan, pairs, frozen=True)
    noise = pooled_noise([*others, first, second])
    reach = quantile(0.995, noise.dof) * noise.sigma * math.sqrt(2 / pairs) / slope.kappa
    low, high = ln_speedup - reach, ln_speedup + reach
    return AAResult(ln_speedup, low, high, pairs, frozen=not low <= 0 <= high)
