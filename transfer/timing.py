"""What blocks of a timing say of the time ratio at each rung, and whether an arm's own runs contradict it.

A block times arm and baseline interleaved at one moment. All its steps share what is special about that moment, so a
block is one observation, and the spread between blocks is what a mean of several is uncertain by. That spread differs
between rungs, and few blocks hardly tell it: each rung's is drawn a little towards the ladder's: docs/method.md.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import psi

from transfer.student import quantile, welch_dof

PRIOR_DOF = 0.5
"""How many degrees of freedom the ladder's spread is worth beside a rung's own: spreads differ by a factor of 16."""
PRIOR_SHARE = 0.5
"""Of the ladder's variance, which is drawn towards: a rung of large spread is to lose little of it."""
MAX_PRIOR_RATIO = 4.0
"""A quiet rung on a noisy ladder is drawn towards this multiple of its own variance at most."""
MIN_SECONDS = 1.0
"""Of shorter runs nothing is told: what surrounds the steps can be half of such a run."""
MIN_PAIRS = 2
MAX_FLATTERY = 1.5
"""How many times faster than in its own runs an arm may be timed."""
UPPER = 0.95


@dataclass(frozen=True, slots=True)
class TimeRatio:
    """ln(seconds per token, arm / baseline) at one rung.

    variance: of the mean, with `dof` degrees of freedom. spread: standard deviation between blocks, as it is used for
    `variance`. What is not known is NaN.
    """

    mean: float
    variance: float
    dof: float
    blocks: int
    spread: float


def time_ratios(blocks_per_rung: Sequence[ArrayLike]) -> list[TimeRatio]:
    """Mean of each rung's ln time ratios, one array (blocks,) per rung, and how well it is known.

    The variance between blocks has an inverse chi-square prior, whose scale is the median over the other rungs (Gelman
    et al., Bayesian Data Analysis, 2.6; Smyth 2004 for its use on many groups), bounded by `MAX_PRIOR_RATIO`. Its
    degrees of freedom are Satterthwaite's (1946) for that mixture, never fewer than the rung's own. A rung of one block
    has the largest variance of the others, with one degree of freedom.
    """
    rungs = [np.asarray(blocks, dtype=np.float64).ravel() for blocks in blocks_per_rung]
    variances = [float(blocks.var(ddof=1)) if blocks.size > 1 else math.nan for blocks in rungs]
    ratios = []
    for index, (blocks, own) in enumerate(zip(rungs, variances, strict=True)):
        others = [
            (variance, rung.size - 1)
            for other, (rung, variance) in enumerate(zip(rungs, variances, strict=True))
            if other != index and variance > 0  # neither NaN nor a spread of nothing, whose logarithm has no end
        ]
        ratios.append(_ratio(blocks, own, others))
    return ratios


def _ratio(blocks: NDArray[np.float64], own: float, others: Sequence[tuple[float, int]]) -> TimeRatio:
    """others: variance and degrees of freedom of the other rungs."""
    count = blocks.size
    if not count:
        return TimeRatio(math.nan, math.nan, math.nan, 0, math.nan)
    variance, dof = own, float(count - 1)
    if count == 1:
        variance, dof = (max(one for one, _ in others), 1.0) if others else (math.nan, math.nan)
    elif others and math.isfinite(own):
        prior = PRIOR_SHARE * math.exp(statistics.median(_ln_variance(*one) for one in others))
        prior = min(prior, MAX_PRIOR_RATIO * own) if own > 0 else prior
        terms = [(one * nu / (dof + PRIOR_DOF), nu) for one, nu in ((own, dof), (prior, PRIOR_DOF))]
        variance, dof = sum(part for part, _ in terms), max(dof, welch_dof(terms))
    return TimeRatio(float(blocks.mean()), variance / count, dof, count, math.sqrt(variance))


def _ln_variance(variance: float, dof: int) -> float:
    """ln of a variance without the bias that the logarithm of a chi-square variable has."""
    return math.log(variance) - float(psi(dof / 2)) + math.log(dof / 2)


def half_width(ratio: TimeRatio) -> float:
    """Half of the two-sided 90 % interval of the mean; infinite where its variance is not known."""
    if math.isnan(ratio.variance):
        return math.inf
    return quantile(UPPER, ratio.dof) * math.sqrt(ratio.variance)


def blocks_needed(ratio: TimeRatio, half_width: float) -> int:
    """Blocks in all, 2 at least, at which the two-sided 90 % half-width is at most `half_width`, a number above 0.

    By Student's quantile, at the spread of `ratio`; 2 where that is not known.

    Raises:
        ValueError: when `half_width` is not above 0.
    """
    if not half_width > 0:
        raise ValueError(f"A half-width must be above 0, not {half_width:g}.")

    def enough(blocks: int) -> bool:
        dof = max(1.0, ratio.dof + blocks - ratio.blocks)
        return quantile(UPPER, dof) * ratio.spread <= half_width * math.sqrt(blocks)

    if math.isnan(ratio.spread):
        return 2
    high = 2
    while not enough(high):
        high *= 2
    low = high // 2  # not enough, or 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return max(2, high)


def contradiction(timed_ln_ratio: float, own_cpu_seconds: Sequence[tuple[float, float]], load: float) -> str:
    """How the arm's own runs contradict its timing, as a clause; empty where they do not, or where too few pairs tell.

    timed_ln_ratio: ln(CPU seconds per token, arm / baseline), timed. own_cpu_seconds: of the runs of each pair, (arm's,
    baseline's), NaN where not measured. load: share of the machine's cores that others kept busy during the timing, 0
    to 1, or NaN. Of the pairs' own ratios the lower median counts, in the arm's favour.
    """
    own = [math.log(arm / base) for arm, base in own_cpu_seconds if arm >= MIN_SECONDS and base >= MIN_SECONDS]
    if len(own) < MIN_PAIRS:
        return ""
    took = statistics.median_low(own)
    if not took - timed_ln_ratio > math.log(MAX_FLATTERY):
        return ""
    busy = "how busy the machine was is not known" if math.isnan(load) else _busy(load)
    return (
        f"its timing does not hold: timed against the baseline a step takes {math.exp(timed_ln_ratio):.2f} times as "
        f"long, and in its own runs {math.exp(took):.2f} times, both in CPU time; {busy}"
    )


def _busy(load: float) -> str:
    return f"other processes kept {100 * load:.0f} % of the machine's cores busy while it was timed"
