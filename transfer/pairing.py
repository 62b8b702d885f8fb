"""What pairing gains, and how well arms are timed: pooled over what was measured, since few pairs cannot tell it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from transfer.pairs import RungPairs

ASSUMED_CORRELATION = 0.5
MAX_CORRELATION = 0.95  # few pairs can look perfectly correlated, and no plan should rest on that


@dataclass(frozen=True, slots=True)
class Pairing:
    """Correlation of the two runs of a pair, and the sd over timing blocks of ln(seconds per token, arm / baseline).

    `assumed` marks a correlation that was not measured, for want of an arm.
    """

    correlation: float
    s_time: float
    assumed: bool = False


def pairing(measured: Sequence[RungPairs]) -> Pairing:
    """Pool over arms and rungs: correlation = 1 - c/2 with c = s_d^2/sigma^2 of each rung, kept within [0, .95]."""
    noisy = [one for one in measured if one.slope.noise.sigma > 0]
    c = _within([point.differences / one.slope.noise.sigma for one in noisy for point in one.points])
    s_time = math.sqrt(_within([one.ln_time_ratios for one in measured if one.ln_time_ratios is not None]) or 0.0)
    if c is None:
        return Pairing(ASSUMED_CORRELATION, s_time, assumed=True)
    return Pairing(min(max(1 - c / 2, 0.0), MAX_CORRELATION), s_time)


def _within(groups: Sequence[np.ndarray[tuple[int, ...], np.dtype[np.float64]]]) -> float | None:
    """Variance pooled within groups; None where no group holds two numbers."""
    dof = sum(len(group) - 1 for group in groups)
    if dof <= 0:
        return None
    return sum(float(((group - group.mean()) ** 2).sum()) for group in groups) / dof
