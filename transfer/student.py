"""Student's t and Welch's degrees of freedom, on plain floats: every saving of every ladder needs them."""

import math
from collections.abc import Iterable

from scipy.special import stdtr, stdtrit


def quantile(probability: float, dof: float) -> float:
    """Student's quantile at `probability` with `dof` degrees of freedom (infinity gives the normal one)."""
    return float(stdtrit(dof, probability))


def upper_tail(statistic: float, dof: float) -> float:
    """Chance that Student's t with `dof` degrees of freedom exceeds `statistic`."""
    return float(stdtr(dof, -statistic))


def welch_dof(terms: Iterable[tuple[float, float]]) -> float:
    """Degrees of freedom of a sum of independent variances, given as (variance, dof) (Welch 1947, Satterthwaite 1946).

    Terms of variance zero are left out; with no other term the answer is infinite, since nothing is then uncertain.
    """
    total = squares = 0.0
    for variance, dof in terms:
        if variance > 0:
            total += variance
            squares += variance * variance / dof if dof > 0 else math.inf
    return total * total / squares if squares > 0 else math.inf
