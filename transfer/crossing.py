"""Where an arm crosses at each rung of a ladder: the horizon on which it ends at the baseline's finished loss at T.

The fit at one rung: transfer/crossing_fit.py. What pairing gains is pooled over the rungs. Formulas: docs/method.md.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from transfer.crossing_fit import fit_crossings
from transfer.pair_variance import POOLED_WEIGHT, PooledSpread, pooled_spreads
from transfer.pairs import PairsAt, RungPairs
from transfer.slope import Slope

MAX_SHORTENING = math.log(8)
"""The shortest horizon that an arm is run on, as ln(T/horizon); one that has not crossed there saves 'at least' 7/8."""
NEARBY = 0.2
"""Pairs on a horizon so near the crossing, in ln tokens, count as pairs there."""
SEQUENTIAL = 0.3
"""What choosing horizons by earlier ones adds to the variance by pairs, over it, where an arm has very many horizons.

A low first look places the next pairs otherwise than a high one, so that errors of both add up: of fixed designs 90 to
92 % of intervals hold the truth, of the same horizons chosen in this way 86 to 88 % without it.
"""
ASSUMED_DOF = 30.0
"""Degrees of freedom of the errors that come from priors: their constants were settled on a few dozen curves."""


@dataclass(frozen=True, slots=True)
class Crossing:
    """Where one arm crosses at one rung, in tokens: ln(T/T_arm), and the variances behind it.

    `noise` by the scatter of pairs, `text` by the held-out text, `assumed` by slope, curvature and the law's misfit;
    `nearest`: the horizon next to it. `slope` is the arm's own there, in nats per e-fold.
    """

    shortening: float
    noise: float
    text: float
    assumed: float
    slope: float
    dof: float
    nearest: PairsAt
    text_dof: float

    @property
    def terms(self) -> list[tuple[float, float]]:
        """Each variance with its degrees of freedom."""
        return [(self.noise, self.dof), (self.text, self.text_dof), (self.assumed, ASSUMED_DOF)]


@dataclass(frozen=True, slots=True)
class _Asked:
    """One arm at one rung, what pairing gains there, and how many times noisier its runs are supposed to be."""

    rung: RungPairs
    pooled: PooledSpread
    factor: float

    @property
    def slope(self) -> Slope:
        return self.rung.slope if self.factor == 1 else self.rung.slope.noisier(self.factor)

    @property
    def pair_variance(self) -> float:
        """Variance of one pair's difference, in squared nats: the rung's own, mixed with the ladder's."""
        sums, borrowed = self.rung.sums, POOLED_WEIGHT * self.pooled.ratio * self.slope.noise.sigma**2
        own = sums.dof * sums.variance * self.factor**2 if sums.dof else 0.0
        return (own + borrowed) / (sums.dof + POOLED_WEIGHT)


def crossings_of_arms(
    arms: Sequence[Sequence[RungPairs]], *, noise_factors: Sequence[Sequence[float]] = ()
) -> list[list[Crossing | None]]:
    """Where each arm crosses at each of its rungs, lowest first, by one fit for all; None where there is no slope.

    `noise_factors`, by arm and rung: how many times noisier than their sigma runs are supposed to be.
    """
    factors = [list(own) for own in noise_factors] or [[] for _ in arms]
    asked = [
        _Asked(rung, spread, factor)
        for rungs, own in zip(arms, factors, strict=True)
        for rung, spread, factor in zip(rungs, _pooled(rungs), own or [1.0] * len(rungs), strict=True)
    ]
    crossings = iter(_crossings(asked))
    return [[next(crossings) for _ in rungs] for rungs in arms]


def crossings_up_the_ladder(rungs: Sequence[RungPairs]) -> list[Crossing | None]:
    """Where one arm crosses at each rung, lowest first; None where the baseline has no slope."""
    return crossings_of_arms([rungs])[0]


def last_crossings(arms: Sequence[Sequence[RungPairs]]) -> list[Crossing | None]:
    """Where each of many arms crosses at its last rung, what pairing gains being pooled over its rungs."""
    return _crossings([_Asked(rungs[-1], _pooled(rungs)[-1], 1.0) for rungs in arms])


def _pooled(rungs: Sequence[RungPairs]) -> list[PooledSpread]:
    return pooled_spreads([rung.sums.spread(rung.slope.noise) for rung in rungs])


def _crossings(asked: Sequence[_Asked]) -> list[Crossing | None]:
    """Where each crosses, by one fit for all; None where the baseline has no slope."""
    usable = [one for one in asked if one.slope.usable]
    if not usable:
        return [None] * len(asked)
    width = max(len(one.rung.points) for one in usable)
    table = np.full((4, len(usable), width), np.nan)
    for row, one in enumerate(usable):
        sums = one.rung.sums
        table[:, row, : len(sums.gaps)] = sums.shortenings, sums.gaps, sums.pairs, sums.first
    found = fit_crossings(
        table[0],
        table[1],
        np.nan_to_num(table[2]),
        first=np.nan_to_num(table[3]),
        pair_variance=np.array([one.pair_variance for one in usable]),
        slope=np.array([one.slope.kappa for one in usable]),
        slope_error=np.array([one.slope.kappa_se for one in usable]),
        curvature=np.array([one.slope.curvature for one in usable]),
        curvature_error=np.array([one.slope.curvature_se for one in usable]),
    )
    made = iter(
        _made(one, *(float(column[row]) for column in (found.shortening, found.noise, found.assumed, found.slope)))
        for row, one in enumerate(usable)
    )
    return [next(made) if one.slope.usable else None for one in asked]


def _made(one: _Asked, shortening: float, noise: float, assumed: float, slope: float) -> Crossing:
    noise *= 1 + SEQUENTIAL * (1 - 1 / len(one.rung.points))
    nearest = min(one.rung.points, key=lambda point: abs(point.ln_shortening - shortening))
    near = [point for point in one.rung.points if abs(point.ln_shortening - shortening) <= NEARBY] or [nearest]
    told = max(near, key=lambda point: point.pairs)
    return Crossing(
        shortening,
        noise,
        told.text_variance * one.factor**2 / slope**2,
        assumed,
        slope,
        dof=one.pooled.dof,
        nearest=nearest,
        text_dof=told.text_dof,
    )
