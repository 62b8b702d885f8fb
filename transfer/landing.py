"""The landing run: the stack on its own full schedule, shortened by the least that was claimed."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from data.errors import InputError
from transfer.saving import delta_of
from transfer.slope import Slope
from transfer.student import quantile

LEAST_PAIRS = 5
LEAST_PAIRS_WHERE_NOISY = 12


@dataclass(frozen=True, slots=True)
class Landing:
    """Finished loss of the shortened stack less the baseline's (nats), its one-sided 95 % bound, and the margin."""

    pairs: int
    loss_difference: float
    high_95: float
    margin: float
    stands: bool


def landing_tokens(tokens: float, saving_low: float) -> int:
    """Tokens of the landing run: T (1 - max(saving_low, 0)), rounded up.

    `saving_low` is the lower end of the 90 % interval of the saving in tokens: shortened by the point
    estimate, many a true claim would not land.
    """
    if not (tokens > 0 and saving_low < 1):
        raise InputError(f"A landing run needs tokens > 0 and a saving below 1, got {tokens} and {saving_low}.")
    return math.ceil(tokens * (1 - max(saving_low, 0.0)))


def judge_landing(baseline_losses: ArrayLike, stack_losses: ArrayLike, slope: Slope, smallest_saving: float) -> Landing:
    """Whether the claim stands: the bound of the paired difference is at most kappa delta; arrays of shape (pairs,).

    Raises InputError on unpaired losses, fewer than two pairs, or a baseline without a slope.
    """
    baseline, stack = (np.atleast_1d(np.asarray(x, dtype=np.float64)) for x in (baseline_losses, stack_losses))
    if baseline.shape != stack.shape or baseline.ndim != 1 or len(baseline) < 2:
        raise InputError("A landing run needs as many baselines as stacks, two at least.")
    if not slope.usable:
        raise InputError("A landing run needs a baseline whose finished loss falls with tokens.")
    differences = stack - baseline
    pairs, mean = len(differences), float(differences.mean())
    high_95 = mean + quantile(0.95, pairs - 1) * float(differences.std(ddof=1)) / math.sqrt(pairs)
    margin = slope.kappa * delta_of(smallest_saving)
    return Landing(pairs, mean, high_95, margin, stands=high_95 <= margin)
