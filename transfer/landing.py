"""The landing run: the stack on its own full schedule, shortened by the very saving that is printed."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from data.errors import InputError
from transfer.saving import delta_of
from transfer.student import quantile

ROUNDING = 1e-6


@dataclass(frozen=True, slots=True)
class Landing:
    """Finished loss of the shortened stack less the baseline's (nats), its one-sided 95 % bound, and the margin."""

    pairs: int
    loss_difference: float
    high_95: float
    margin: float
    stands: bool


def landing_tokens(tokens: float, saving: float, batch_tokens: int = 1) -> int:
    """Tokens of the landing run: T (1 - max(saving, 0)), in whole steps of `batch_tokens`, rounded up.

    `saving` is the printed saving in tokens, or the least that is claimed where no number is.
    """
    if not (tokens > 0 and saving < 1):
        raise InputError(f"A landing run needs tokens > 0 and a saving below 1, got {tokens} and {saving}.")
    if saving <= 0:
        return math.ceil(tokens)
    return math.ceil(tokens * (1 - saving) / batch_tokens - ROUNDING) * batch_tokens


def landing_margin(slope: float, smallest_saving: float, claimed: float = 0.0) -> float:
    """Nats by which the shortened stack may end above the baseline.

    `slope`: the stack's own kappa where it lands; `claimed`: lnS less the lower end of its interval, which the printed
    interval concedes. The smallest saving worth having comes on top.
    """
    return slope * (delta_of(smallest_saving) + max(claimed, 0.0))


def judge_landing(baseline_losses: ArrayLike, stack_losses: ArrayLike, margin: float) -> Landing:
    """Whether the claim stands: the one-sided 95 % bound of (stack - baseline) is at most `margin` nats.

    Arrays of shape (pairs,). Raises InputError on unpaired losses or fewer than two pairs.
    """
    baseline, stack = (np.atleast_1d(np.asarray(x, dtype=np.float64)) for x in (baseline_losses, stack_losses))
    if baseline.shape != stack.shape or baseline.ndim != 1 or len(baseline) < 2:
        raise InputError("A landing run needs as many baselines as stacks, two at least.")
    differences = stack - baseline
    pairs, mean = len(differences), float(differences.mean())
    high_95 = mean + quantile(0.95, pairs - 1) * float(differences.std(ddof=1)) / math.sqrt(pairs)
    return Landing(pairs, mean, high_95, margin, stands=high_95 <= margin)
