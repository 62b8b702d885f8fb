"""How tight a plan's forecast at the target will be: quickly for every plan, and by the forecast itself for the best.

A forecast is widened by the disagreement of simple methods, which grows with the noise of the rungs; so the expected
width is the mean over outcomes of the plan, not the width of the expected outcome.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.special import ndtri, stdtrit
from scipy.stats import qmc

from transfer.decay import LEAST_FOR_HIERARCHY
from transfer.forecast import DISAGREEMENT, LEAST_SE, NORMAL_95, forecast
from transfer.planning.world import Floats
from transfer.saving import Axis, Saving

OUTCOMES = 16  # their mean width is within 2 % of that of hundreds; with 8 it would be 7 %
FLOOR_SD, SIZE_SD, EXPECTED_DECAY, DECAY_SD = 1.0, 0.5, 0.3, 1.2
"""Of the quick width: chosen so that it comes near the forecast's, within 10 to 25 %."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What a rung is expected to say of an arm: lnS, its standard error and degrees of freedom."""

    ln_speedup: float
    error: float
    dof: float


@dataclass(frozen=True, slots=True)
class Expectation:
    """The mean over a plan's outcomes of the forecast at the target, in lnS: estimate and two-sided 90 % interval."""

    ln_speedup: float
    ln_speedup_low: float
    ln_speedup_high: float

    @property
    def width(self) -> float:
        """Of the interval, in lnS."""
        return self.ln_speedup_high - self.ln_speedup_low


def quick_width(
    params: Floats, ln_speedups: Floats, errors: Floats, dofs: Floats, *, target: float, drifts: Floats
) -> Floats:
    """Roughly the width in lnS of each plan's interval, shape (P,).

    `params` (R,); what the rungs will say (P, R); `drifts` (P,) are sds added at the target. One normal prior in place
    of the forecast's mixture, m + s N^-g made linear about the expected gain, with the expected square of what the
    simple methods disagree by: fit to tell which plans are worth a forecast, and for nothing else.
    """
    x = np.log(np.append(params, target) / params[0])
    decay = np.exp(-EXPECTED_DECAY * x)
    bend = DECAY_SD * ln_speedups[:, :1] * x * decay
    prior = FLOOR_SD**2 + (SIZE_SD * decay)[:, None] * (SIZE_SD * decay) + bend[:, :, None] * bend[:, None, :]
    wide = np.maximum(errors, LEAST_SE) * stdtrit(dofs, 0.95) / NORMAL_95
    here, there = prior[:, :-1, :-1] + wide[:, :, None] ** 2 * np.eye(len(params)), prior[:, :-1, -1]
    weights = np.linalg.solve(here, there[:, :, None])[:, :, 0]
    variance = prior[:, -1, -1] - (weights * there).sum(1)
    centred = x[:-1] - x[:-1].mean()
    line = 1 / len(params) + (x[-1] - x[:-1].mean()) * centred / (centred @ centred)
    last = np.eye(len(params))[-1]
    apart = [
        ((other - weights) * ln_speedups).sum(1) ** 2 + ((other - weights) ** 2 * errors**2).sum(1)
        for other in (line, last)
    ]
    variance = variance + DISAGREEMENT**2 * np.maximum(*apart) + drifts**2
    found: Floats = 2 * NORMAL_95 * np.sqrt(variance)
    return found


def expect(
    params: Sequence[float], said: Sequence[Measured], *, target: float, axis: Axis, drift: float = 0.0
) -> Expectation:
    """The forecast at `target` params that a plan leads to, averaged over its outcomes; `drift` is an sd added there.

    Of an arm by itself, as the stack is forecast: what five findings tell of one another's decay is not counted on.
    """
    found = [bound for few in _columns(said, axis) for bound in _bounds(params, few, target)]
    middle, below, above = np.array(found).T
    extra = (NORMAL_95 * drift) ** 2
    return Expectation(
        float(middle.mean()),
        float((middle - np.sqrt(below**2 + extra)).mean()),
        float((middle + np.sqrt(above**2 + extra)).mean()),
    )


def _columns(said: Sequence[Measured], axis: Axis) -> Iterator[list[list[Saving]]]:
    """The savings of each outcome, rung by rung, a few outcomes at a time: so few that none informs another."""
    outcomes = [
        [
            Saving(axis, rung.ln_speedup + rung.error * z, rung.error, rung.dof, 2)
            for rung, z in zip(said, row, strict=True)
        ]
        for row in _normals(len(said)).tolist()
    ]
    few = LEAST_FOR_HIERARCHY - 1
    return (outcomes[first : first + few] for first in range(0, len(outcomes), few))


def _bounds(params: Sequence[float], columns: list[list[Saving]], target: float) -> list[tuple[float, float, float]]:
    """Of each outcome, the forecast lnS and how far its interval reaches below and above."""
    found = []
    for forecasts in forecast(params, {str(i): column for i, column in enumerate(columns)}, target).values():
        decay = forecasts[0]
        low, high = -math.log1p(-decay.saving_low), -math.log1p(-decay.saving_high)
        found.append((decay.ln_speedup, decay.ln_speedup - low, high - decay.ln_speedup))
    return found


@cache
def _normals(dimensions: int, outcomes: int = OUTCOMES) -> Floats:
    """Standard normal points (outcomes, dimensions), spread evenly, and each with its opposite: their mean is 0."""
    half = ndtri(qmc.Sobol(dimensions, seed=1).random(outcomes // 2))
    points: Floats = np.concatenate([half, -half])
    # Few points scatter less or more than they should: set right, or every width would carry that error.
    scaled: Floats = points / np.sqrt((points**2).mean(0))
    return scaled
