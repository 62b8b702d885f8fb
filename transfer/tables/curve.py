"""The baseline's finished loss over tokens, or over FLOPs along its frontier: a (x/x_ref)^-b + c, and its inverse.

Only finished runs are points of it. A prior holds the exponent b, which few horizons hardly tell (docs/method.md).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from transfer.slope import PRIOR_CURVATURE, PRIOR_CURVATURE_SD

Floats = NDArray[np.float64]

EXPONENTS = np.geomspace(0.02, 2.0, 60)
SMALLEST_REST = 0.02
"""Share of a (x/x_ref)^-b left at an arm's loss: below it the floor c, not the data, would set the number."""


@dataclass(frozen=True, slots=True)
class ExponentPrior:
    """What is known of b before any run: normal, with this mean and standard deviation."""

    mean: float
    sd: float


ALONG_TOKENS = ExponentPrior(PRIOR_CURVATURE, PRIOR_CURVATURE_SD)
ALONG_FLOPS = ExponentPrior(0.2, 0.15)
"""Along the compute-optimal frontier: exponents a b/(a + b) of published laws lie near .15 to .2."""


@dataclass(frozen=True, slots=True, eq=False)
class FinishedCurve:
    """L(x) = a (x/x_ref)^-b + c with the covariance (3, 3) of (a, b, c) under noise of standard deviation `sigma`.

    `residuals` are observed less fitted losses at the `points` x (h,), `weights` (h,) the runs behind each.
    """

    a: float
    b: float
    c: float
    x_ref: float
    points: Floats
    residuals: Floats
    weights: Floats
    prior: ExponentPrior

    @property
    def usable(self) -> bool:
        """Whether the loss falls with x at all; without that no saving can be told."""
        return math.isfinite(self.a) and self.a > 0

    @property
    def scatter(self) -> float:
        """Root of the mean square residual per degree of freedom, in nats; nan with three points or fewer."""
        dof = len(self.points) - 3
        return math.sqrt(float(self.weights @ self.residuals**2) / dof) if dof > 0 else math.nan

    def loss(self, x: Floats) -> Floats:
        """Finished loss at x (k,)."""
        return self.a * (x / self.x_ref) ** -self.b + self.c

    def kappa(self, x: Floats) -> Floats:
        """-dL/dln x at x (k,), in nats per e-fold."""
        return self.a * self.b * (x / self.x_ref) ** -self.b

    def covariance(self, sigma: float) -> Floats:
        """Covariance (3, 3) of (a, b, c) were a single run's loss to have standard deviation `sigma`."""
        return _covariance(self, sigma)

    def ln_speedup(self, x: Floats, gain: Floats) -> tuple[Floats, Floats]:
        """lnS (k,) of runs whose finished loss lies `gain` (k,) below the curve at x (k,), and d lnS/d gain (k,).

        The curve inverted: lnS = -ln(1 - b q)/b with q = gain/kappa(x); nan where the floor would set the number.
        """
        rest = 1 - self.b * gain / self.kappa(x)
        rest = np.where(rest >= SMALLEST_REST, rest, np.nan)
        return -np.log(rest) / self.b, 1 / (rest * self.kappa(x))

    def gradient(self, x: Floats, gain: Floats, *, of_level: bool) -> Floats:
        """Derivatives (k, 3) of lnS by (a, b, c); `of_level`: the arm's loss is known, and the gain falls with L(x)."""
        power = (x / self.x_ref) ** -self.b
        ln_x = np.log(x / self.x_ref)
        rest = np.maximum(1 - gain / (self.a * power), SMALLEST_REST)
        # lnS = -ln(1 - gain/(a p))/b with p = x^-b; dp/db = -ln(x) p.
        by_gain = 1 / (self.b * self.a * power * rest)
        by_a = -gain / (self.a * rest * self.a * power * self.b)
        by_b = np.log(rest) / self.b**2 + gain * ln_x / (self.a * power * rest * self.b)
        by_c = np.zeros_like(power)
        if of_level:
            by_a, by_b, by_c = by_a + by_gain * power, by_b - by_gain * self.a * ln_x * power, by_gain
        return np.stack([by_a, by_b, by_c], axis=1)


@lru_cache(maxsize=256)  # asked for by every arm, axis and assumption about the noise
def _covariance(curve: FinishedCurve, sigma: float) -> Floats:
    power = (curve.points / curve.x_ref) ** -curve.b
    ln = np.log(curve.points / curve.x_ref)
    jacobian = np.stack([power, -curve.a * ln * power, np.ones_like(power)], axis=1)
    precision = (jacobian * curve.weights[:, None]).T @ jacobian / max(sigma, 1e-12) ** 2
    precision[1, 1] += 1 / curve.prior.sd**2
    return np.asarray(np.linalg.pinv(precision, rcond=1e-15, hermitian=True), dtype=np.float64)


def fit_curve(x: Floats, losses: Floats, weights: Floats, *, sigma: float, prior: ExponentPrior) -> FinishedCurve:
    """Fit the curve to mean finished losses (h,) at x (h,), each of `weights` (h,) runs, h >= 2.

    Least squares in units of `sigma`, plus ((b - mean)/sd)^2 of the prior; given b the rest is linear. With two
    points b is the prior's.
    """
    x_ref = float(np.exp(np.mean(np.log(x))))
    ln = np.log(x / x_ref)
    scale = 1 / max(sigma, 1e-9) ** 2
    solve = _linear(ln, losses, weights)

    def cost(ln_b: float) -> float:
        b = math.exp(ln_b)
        a, c = solve(b)
        squares = float(weights @ (losses - a * np.exp(-b * ln) - c) ** 2)
        return squares * scale + ((b - prior.mean) / prior.sd) ** 2

    grid = np.log(EXPONENTS)
    best = int(np.argmin([cost(one) for one in grid]))
    bounds = grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)]
    b = math.exp(minimize_scalar(cost, bounds=bounds, method="bounded", options={"xatol": 1e-10}).x)
    a, c = solve(b)
    residuals = losses - a * np.exp(-b * ln) - c
    return FinishedCurve(a, b, c, x_ref, x, residuals, weights, prior)


def _linear(ln: Floats, losses: Floats, weights: Floats) -> Callable[[float], tuple[float, float]]:
    """Given b, the least-squares a and c."""
    total = float(weights.sum())
    mean_loss = float(weights @ losses) / total

    def solve(b: float) -> tuple[float, float]:
        power = np.exp(-b * ln)
        mean = float(weights @ power) / total
        centred = power - mean
        a = float(weights @ (centred * (losses - mean_loss))) / float(weights @ centred**2)
        return a, mean_loss - a * mean

    return solve
