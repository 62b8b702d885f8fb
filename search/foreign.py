"""What a log of single runs can tell: gains over the best so far, the noise of its repeats, and what luck alone does.

A foreign search ran every trial once and kept what was lower than the best so far. Losses are in whatever unit the log
has, lower is better, and a gain is positive where a trial is better.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import integrate, special

Array = NDArray[np.float64]

DECIMALS = 12
"""Losses are written in decimals; rounding their differences keeps 'larger than' free of binary dust."""
LEVEL, POWER = 0.05, 0.9


class Steps(NamedTuple):
    """Rows against the best kept before them: `gains` (m,), NaN without a loss; `best` (m,), its row, -1 for row 0."""

    gains: Array
    best: NDArray[np.int64]


def against_best(losses: ArrayLike, kept: ArrayLike) -> Steps:
    """Compare each of m runs, in the order in which they were tried, with the lowest loss kept before it.

    `losses` (m,) may hold NaN where `kept` (m,) is False; row 0 is the baseline, which nothing came before.
    """
    values, flags = np.asarray(losses, dtype=np.float64), np.asarray(kept, dtype=np.bool_)
    if values.ndim != 1 or values.shape != flags.shape or not values.size or not flags[0]:
        raise ValueError("losses and kept need one value per run, the first of them a baseline that was kept")
    if not np.isfinite(values[flags]).all():
        raise ValueError("a kept run needs a finite loss")
    best = np.full(values.size, -1, dtype=np.int64)
    for row in range(1, values.size):
        before = best[row - 1] if row > 1 else 0
        best[row] = row - 1 if flags[row - 1] and values[row - 1] < values[before] else before
    gains: Array = np.round(values[best] - values, DECIMALS)
    gains[0] = np.nan
    return Steps(gains, best)


@dataclass(frozen=True, slots=True)
class Noise:
    """Standard deviation of the difference of two runs that differ in their seed alone, with its 90 % interval.

    `dof` degrees of freedom: how many repeats it rests on.
    """

    sd: float
    low: float
    high: float
    dof: int


def noise_of(sd: float, dof: int = 1) -> Noise:
    """The chi-square interval of a standard deviation known from `dof` repeats: dof sd^2/s^2 ~ chi-square(dof)."""
    if not (np.isfinite(sd) and sd > 0 and dof > 0):
        raise ValueError("a standard deviation above 0 and at least one degree of freedom are needed")
    low, high = (sd * float(np.sqrt(dof / special.chdtri(dof, 1 - level))) for level in (0.95, 0.05))
    return Noise(sd, low, high, dof)


def noise_of_repeats(changes: Sequence[Sequence[float]]) -> Noise | None:
    """The noise that repeats measure; None where there is none, or where repeats change nothing at all.

    `changes` holds, per run that was repeated, each repeat's loss less its own. The variance of a run is pooled within
    these groups (k repeats give k degrees of freedom), and doubled for a difference of two: one repeat gives |change|,
    repeats of different runs the root mean square of theirs.
    """
    groups = [[0.0, *group] for group in changes if any(group)]
    dof = sum(len(group) - 1 for group in groups)
    if not dof:
        return None
    squares = sum(float(np.var(group)) * len(group) for group in groups)
    return noise_of(round((2.0 * squares / dof) ** 0.5, DECIMALS), dof)


def larger(gains: ArrayLike, than: float) -> int:
    """How many gains are strictly larger."""
    return int(np.sum(np.asarray(gains, dtype=np.float64) > than))


def beyond_chance(noise_sd: float, tries: int) -> float:
    """The gain that not one of `tries` empty trials passes, 19 times in 20: Bonferroni's normal quantile, in noise."""
    return -float(special.ndtri(LEVEL / tries)) * noise_sd


def expected_lucky_keeps(tries: int) -> float:
    """How many of `tries` empty trials beat the best so far: the records of equal draws, whatever their distribution.

    The i-th of exchangeable draws is the lowest of the first i with chance 1/i (Renyi 1962), so that the baseline is
    followed by sum of 1/i, i = 2 to tries + 1.
    """
    return float(special.digamma(tries + 2) - special.digamma(2))


def expected_lowest(runs: int) -> float:
    """How far below its mean the lowest of `runs` normal draws lies, in their standard deviation (David 1970)."""
    grid = np.linspace(0.0, 12.0, 6001)
    above = 1.0 - np.exp(runs * special.log_ndtr(grid))
    below = np.exp(runs * special.log_ndtr(-grid))
    return float(integrate.trapezoid(above - below, grid))


def pairs_to_settle(gain: float, noise_sd: float) -> int | None:
    """Pairs that would show a true gain of this size, one-sided 5 % with 90 % power; at least 2, None for no gain.

    n = ((z_.95 + z_.90) s/gain)^2, s the noise of one pair's difference. Pairs that share a seed may have less.
    """
    if gain <= 0:
        return None
    quantiles = float(special.ndtri(POWER) - special.ndtri(LEVEL))
    return max(2, int(np.ceil((quantiles * noise_sd / gain) ** 2)))
