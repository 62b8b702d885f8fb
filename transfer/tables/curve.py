"""The baseline's finished loss over tokens, or over FLOPs along its frontier, and its inverse.

The slope kappa = -dL/dln x falls as x^-b between neighbouring points and is continuous there: a power law above a floor
where b > 0, straight in ln x where b = 0, steepening where b < 0. The exponents b of neighbouring intervals differ as a
random walk does, or not at all. Only finished runs are points. Few horizons hardly tell b, so that a prior holds it
(docs/method.md).
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares, minimize_scalar

from transfer.bent_line import (
    CURVATURE_RANGE,
    PRIOR_CURVATURE,
    PRIOR_CURVATURE_SD,
    drop,
    drop_by_exponent,
    drop_inverse,
)

Floats = NDArray[np.float64]

SMALLEST_REST = 0.02
"""Share of the slope left where a loss is reached: below it the floor would set the number."""
GRID, COARSE_GRID = 36, 12
INSIDE = 1e-3
"""A fit must start so far inside its bounds."""


@dataclass(frozen=True, slots=True)
class ExponentPrior:
    """What is known of b before any run: its mean over the intervals is normal, within `low` and `high`.

    `walk`: standard deviation of the change of b from interval to interval, per root e-fold of x; 0 for one exponent.
    """

    mean: float
    sd: float
    low: float
    high: float
    walk: float


ALONG_TOKENS = ExponentPrior(PRIOR_CURVATURE, PRIOR_CURVATURE_SD, *CURVATURE_RANGE, walk=0.5)
ALONG_FLOPS = ExponentPrior(0.2, 0.15, 0.02, 2.0, walk=0.0)
"""Along the compute-optimal frontier: exponents a b/(a + b) of published laws lie near .15 to .2."""


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """A curve but for level and scale: 0 and slope 1 at the first of `knots` (h,), in ln x; `exponents` (h - 1,)."""

    knots: Floats
    exponents: Floats

    def fallen(self, ln_x: Floats) -> Floats:
        """How far the curve has fallen at ln x (k,); the outer intervals go on beyond their ends."""
        place, slopes, depths = self._places(ln_x)
        return depths + slopes * drop(ln_x - self.knots[place], self.exponents[place])

    def fallen_at_knots(self) -> Floats:
        """The same at the knots (h,)."""
        steps = np.diff(self.knots)
        slopes = np.exp(-np.concatenate([[0.0], np.cumsum(self.exponents * steps)[:-1]]))
        return np.concatenate([[0.0], np.cumsum(slopes * drop(steps, self.exponents))])

    def slope(self, ln_x: Floats) -> Floats:
        """Its slope at ln x (k,)."""
        place, slopes, _ = self._places(ln_x)
        return np.asarray(slopes * np.exp(-self.exponents[place] * (ln_x - self.knots[place])), dtype=np.float64)

    def reached(self, fallen: Floats) -> Floats:
        """ln x (k,) at which the curve has fallen so far (k,); nan where the floor would set the number."""
        slopes, depths = self._starts()
        place = np.clip(np.searchsorted(depths, fallen, side="right") - 1, 0, len(self.exponents) - 1)
        q, b = (fallen - depths[place]) / slopes[place], self.exponents[place]
        rest = 1 - b * q
        return self.knots[place] + drop_inverse(np.where(rest >= SMALLEST_REST, q, math.nan), b)

    def by_exponents(self, ln_x: Floats) -> Floats:
        """Derivatives (k, h - 1) of `fallen` by the exponents."""
        place, slopes, _ = self._places(ln_x)
        starts, depths = self._starts()
        steps, fallen = np.diff(self.knots), self.fallen(ln_x)
        own = slopes * drop_by_exponent(ln_x - self.knots[place], self.exponents[place])
        bent = starts * drop_by_exponent(steps, self.exponents)
        made = np.zeros((len(ln_x), len(self.exponents)))
        made[np.arange(len(ln_x)), place] = own
        for one in range(len(self.exponents) - 1):
            # An exponent bends its own interval, and scales all that the curve falls after it.
            later = place > one
            made[later, one] = bent[one] - steps[one] * (fallen[later] - depths[one + 1])
        return made

    def _starts(self) -> tuple[Floats, Floats]:
        """Slope, and how far the curve has fallen, at the start of each interval (h - 1,)."""
        falls = self.exponents * np.diff(self.knots)
        return np.exp(-np.concatenate([[0.0], np.cumsum(falls)[:-1]])), self.fallen_at_knots()[:-1]

    def _places(self, ln_x: Floats) -> tuple[NDArray[np.intp], Floats, Floats]:
        place = np.clip(np.searchsorted(self.knots, ln_x, side="right") - 1, 0, len(self.exponents) - 1)
        slopes, depths = self._starts()
        return place, slopes[place], depths[place]


@dataclass(frozen=True, slots=True, eq=False)
class FinishedCurve:
    """L(x) = loss_ref - kappa_ref F(ln x), F being the `shape`, in nats per token.

    `loss_ref` and `kappa_ref`, in nats per e-fold, are L and -dL/dln x at the first of the `points` x (h,), rising.
    `residuals` are observed less fitted losses there, `weights` (h,) the runs behind each.
    """

    loss_ref: float
    kappa_ref: float
    shape: Shape
    points: Floats
    residuals: Floats
    weights: Floats
    prior: ExponentPrior

    @property
    def usable(self) -> bool:
        """Whether the loss falls with x at all; without that no saving can be told."""
        return math.isfinite(self.kappa_ref) and self.kappa_ref > 0

    @property
    def scatter(self) -> float:
        """Root of the mean square residual per degree of freedom, in nats; nan with three points or fewer."""
        dof = len(self.points) - 3
        return math.sqrt(float(self.weights @ self.residuals**2) / dof) if dof > 0 else math.nan

    def loss(self, x: Floats) -> Floats:
        """Finished loss at x (k,)."""
        return self.loss_ref - self.kappa_ref * self.shape.fallen(np.log(x))

    def kappa(self, x: Floats) -> Floats:
        """-dL/dln x at x (k,), in nats per e-fold."""
        return self.kappa_ref * self.shape.slope(np.log(x))

    def covariance(self, sigma: float) -> Floats:
        """Covariance (p, p) of the parameters, were a single run's loss to have standard deviation `sigma`.

        The parameters are loss_ref, kappa_ref and the exponents, or the one exponent.
        """
        return _covariance(self, sigma)

    def gradient_of_loss(self, x: Floats) -> Floats:
        """Derivatives (k, p) of L(x) by the parameters."""
        ln_x = np.log(x)
        by_exponents = self.shape.by_exponents(ln_x)
        if self.prior.walk == 0:
            by_exponents = by_exponents.sum(axis=1, keepdims=True)
        fallen = self.shape.fallen(ln_x)
        made = np.column_stack([np.ones_like(ln_x), -fallen, -self.kappa_ref * by_exponents])
        return np.asarray(made, dtype=np.float64)

    def ln_speedup(self, x: Floats, gain: Floats) -> Floats:
        """lnS (k,) of runs whose finished loss lies `gain` (k,) below the curve at x (k,); nan beyond its floor.

        Whether the loss lies within those of the points is not asked here: `beyond` tells.
        """
        return self.shape.reached((self.loss_ref - self.loss(x) + gain) / self.kappa_ref) - np.log(x)

    def gradient(self, x: Floats, ln_speedup: Floats, *, of_level: bool) -> Floats:
        """Derivatives (k, p) of lnS (k,) by the parameters, of runs at x (k,).

        `of_level`: the arm's loss is known, and not its gain over L(x).
        """
        there = x * np.exp(ln_speedup)
        made = self.gradient_of_loss(there)
        if not of_level:
            made = made - self.gradient_of_loss(x)
        return np.asarray(made / self.kappa(there)[:, None], dtype=np.float64)

    def beyond(self, losses: Floats, allowed: Floats) -> NDArray[np.intp]:
        """Where losses (k,) lie against those of the curve's points: 0 within them, 1 below all, -1 above all.

        `allowed` (k,), in nats, is how far beyond an end a loss may lie for its noise alone.
        """
        high, low = self.loss(self.points[[0, -1]])
        return np.where(losses < low - allowed, 1, np.where(losses > high + allowed, -1, 0)).astype(np.intp)


def _precision(prior: ExponentPrior, steps: Floats) -> Floats:
    """The prior's precision (m, m) of the exponents of intervals that are `steps` (m,) wide, or of the one exponent."""
    if prior.walk == 0:
        return np.array([[1 / prior.sd**2]])
    share = steps / steps.sum()
    changes = np.diff(np.eye(len(steps)), axis=0)
    spread = prior.walk**2 * (steps[1:] + steps[:-1]) / 2
    return np.asarray(np.outer(share, share) / prior.sd**2 + (changes.T / spread) @ changes, dtype=np.float64)


@lru_cache(maxsize=256)  # asked for by every arm, axis and assumption about the noise
def _covariance(curve: FinishedCurve, sigma: float) -> Floats:
    jacobian = curve.gradient_of_loss(curve.points)
    precision = (jacobian * curve.weights[:, None]).T @ jacobian / max(sigma, 1e-12) ** 2
    precision[2:, 2:] += _precision(curve.prior, np.diff(curve.shape.knots))
    return np.asarray(np.linalg.pinv(precision, rcond=1e-15, hermitian=True), dtype=np.float64)


def fit_curve(x: Floats, losses: Floats, weights: Floats, *, sigma: float, prior: ExponentPrior) -> FinishedCurve:
    """Fit the curve to mean finished losses (h,) at x (h,), rising, each of `weights` (h,) runs, h >= 2.

    Least squares in units of `sigma`, plus the prior's squares; given the exponents the rest is linear. With two points
    b is the prior's.
    """
    knots = np.log(x)
    many = len(x) - 1
    roots = np.sqrt(weights) / max(sigma, 1e-9)
    by_prior = np.linalg.cholesky(_precision(prior, np.diff(knots))).T

    def squares(exponents: Floats) -> Floats:
        """What is left of the losses and of the prior, in standard deviations."""
        fallen = Shape(knots, np.broadcast_to(exponents, many)).fallen_at_knots()
        loss_ref, kappa_ref = _level(fallen, losses, weights)
        left = losses - loss_ref + kappa_ref * fallen
        return np.concatenate([roots * left, by_prior @ (exponents - prior.mean)])

    def cost(b: float) -> float:
        left = squares(np.full(len(by_prior), b))
        return float(left @ left)

    grid = np.linspace(prior.low, prior.high, COARSE_GRID if len(by_prior) > 1 else GRID)
    best = int(np.argmin([cost(one) for one in grid.tolist()]))
    exponents = np.full(len(by_prior), grid[best])
    if len(exponents) == 1:
        ends = grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)]
        exponents[0] = minimize_scalar(cost, bounds=ends, method="bounded", options={"xatol": 1e-10}).x
    else:
        bounds = (np.full(len(exponents), prior.low), np.full(len(exponents), prior.high))
        exponents = np.clip(exponents, prior.low + INSIDE, prior.high - INSIDE)
        exponents = least_squares(squares, exponents, bounds=bounds, xtol=1e-10, ftol=1e-10, gtol=1e-10).x
    shape = Shape(knots, np.array(np.broadcast_to(exponents, many), dtype=np.float64))
    loss_ref, kappa_ref = _level(shape.fallen(knots), losses, weights)
    residuals = losses - loss_ref + kappa_ref * shape.fallen(knots)
    return FinishedCurve(loss_ref, kappa_ref, shape, x, residuals, weights, prior)


def _level(fallen: Floats, losses: Floats, weights: Floats) -> tuple[float, float]:
    """The least-squares loss_ref and kappa_ref, given how far the shape has fallen (h,) at the points."""
    share = weights / weights.sum()
    mean_loss, mean = float(share @ losses), float(share @ fallen)
    centred = fallen - mean
    kappa = -float(share @ (centred * (losses - mean_loss))) / float(share @ centred**2)
    return mean_loss + kappa * mean, kappa
