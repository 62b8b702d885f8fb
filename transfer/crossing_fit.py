"""Where an arm crosses: the horizon on which it ends at the baseline's finished loss at T, and its error.

An arm that is run to its end on T e^-g tokens ends d(g) nats below the baseline's run on T tokens of the same seed. The
saving is 1 - e^-g* with d(g*) = 0. Near the crossing, with x = g* - g,

    d(g) = kappa (1 - e^(-b x))/b + error

kappa is the arm's own slope there, b its curvature of either sign. Both have priors, for few horizons hardly tell them;
both enter in second order where a horizon lies near the crossing. The law is local: its misfit grows as x^2, so that
distant horizons count little. Derivation and counts: docs/method.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from transfer.bent_line import CURVATURE_RANGE, Floats, drop, drop_by_exponent

SLOPE_RATIO_SD = 0.25
"""Of ln(the arm's slope at the crossing / the baseline's at T): equal where an arm acts as so many times the tokens."""
CURVATURE_DIFFERS = 0.8
"""Standard deviation of the curvature at the arm's crossing about the baseline's at T."""
MISFIT = 0.1
"""Standard deviation of the local law's error over kappa x^2."""
SHARED = 0.5
"""Correlation of an arm's differences on two horizons and one seed: they share the baseline's run."""
MAX_REACH = 3.0
ITERATIONS = 25
_ABSENT = 1e12


@dataclass(frozen=True, slots=True)
class Crossings:
    """Estimates of many arms at once, each of shape (arms,).

    `shortening`: g* = ln(T/T_arm). `noise`: its variance by the scatter of pairs; `assumed`: by slope, curvature and
    the law's misfit. `slope`: kappa at the crossing, in nats per e-fold of tokens.
    """

    shortening: Floats
    noise: Floats
    assumed: Floats
    slope: Floats


def fit_crossings(
    shortenings: Floats,
    gaps: Floats,
    pairs: Floats,
    *,
    first: Floats | None = None,
    pair_variance: Floats,
    slope: Floats,
    slope_error: Floats,
    curvature: Floats,
    curvature_error: Floats,
) -> Crossings:
    """Fit the local law to each arm's horizons by Gauss and Newton, weighted by noise and misfit.

    shortenings, gaps, pairs: (arms, horizons): g = ln(T/horizon), the mean difference d in nats over that many pairs,
    nan where the horizon is absent. first (arms, horizons): the first of each horizon's seeds, which are numbered
    alike on all horizons and follow each other; 0 where it is not given. pair_variance (arms,): variance of one
    pair's difference. slope, slope_error (arms,): the baseline's kappa at T and its standard error, kappa > 0.
    """
    present = np.isfinite(gaps) & (pairs > 0)
    g, d = np.where(present, shortenings, 0.0), np.where(present, gaps, 0.0)
    noise = _noise(present, pairs, np.zeros_like(pairs) if first is None else first, pair_variance)
    precision = np.zeros((len(g), 3, 3))
    precision[:, 1, 1] = 1 / (SLOPE_RATIO_SD**2 + (slope_error / slope) ** 2)
    precision[:, 2, 2] = 1 / (CURVATURE_DIFFERS**2 + curvature_error**2)
    ln_slope = np.log(slope)
    theta = np.stack([_start(g, d, present, slope), ln_slope, curvature], axis=1)
    prior = np.stack([np.zeros_like(slope), ln_slope, curvature], axis=1)
    for _ in range(ITERATIONS):
        jacobian, residuals, misfit = _linearised(theta, g, d, present)
        weights = np.linalg.inv(noise + misfit)
        pull = np.swapaxes(jacobian, 1, 2) @ weights
        information = pull @ jacobian + precision
        force = (pull @ residuals[..., None])[..., 0] - (precision @ (theta - prior)[..., None])[..., 0]
        step = np.linalg.solve(information, force[..., None])[..., 0]
        theta = theta + np.clip(step, -0.5, 0.5)
        theta[:, 2] = np.clip(theta[:, 2], *CURVATURE_RANGE)
        # Near the curve's floor no shortening is long enough: further than the law reaches none is told from another.
        theta[:, 0] = np.clip(theta[:, 0], g.min(1) - MAX_REACH, g.max(1) + MAX_REACH)
        if np.abs(step).max() < 1e-7:
            break
    jacobian, _, misfit = _linearised(theta, g, d, present)
    weights = np.linalg.inv(noise + misfit)
    pull = np.swapaxes(jacobian, 1, 2) @ weights
    gain = np.linalg.solve(pull @ jacobian + precision, pull)[:, 0]
    covariance = np.linalg.inv(pull @ jacobian + precision)[:, 0, 0]
    by_noise = np.einsum("ai,aij,aj->a", gain, np.where(present[:, :, None] & present[:, None, :], noise, 0.0), gain)
    return Crossings(theta[:, 0], by_noise, np.maximum(covariance - by_noise, 0.0), np.exp(theta[:, 1]))


def _noise(present: NDArray[np.bool_], pairs: Floats, first: Floats, variance: Floats) -> Floats:
    """Covariance (arms, horizons, horizons) of the mean gaps: two horizons share what their common seeds do."""
    n, start = np.where(present, pairs, 1.0), np.where(present, first, 0.0)
    end = start + n
    common = np.minimum(end[:, :, None], end[:, None, :]) - np.maximum(start[:, :, None], start[:, None, :])
    share: Floats = np.where(np.eye(n.shape[1], dtype=bool), 1.0, SHARED)
    weights = share * np.maximum(common, 0.0) / (n[:, :, None] * n[:, None, :])
    both = present[:, :, None] & present[:, None, :]
    covariance = np.where(both, weights * np.maximum(variance, 1e-18)[:, None, None], 0.0)
    absent: Floats = np.where(present, 0.0, _ABSENT)[:, :, None] * np.eye(n.shape[1])
    return np.asarray(covariance + absent, dtype=np.float64)


def _start(g: Floats, d: Floats, present: NDArray[np.bool_], slope: Floats) -> Floats:
    """From the horizon with the smallest gap, along the baseline's slope."""
    nearest = np.argmin(np.where(present, np.abs(d), np.inf), axis=1)
    rows = np.arange(len(g))
    start: Floats = g[rows, nearest] + np.clip(d[rows, nearest] / slope, -1.0, 1.0)
    return start


def _linearised(theta: Floats, g: Floats, d: Floats, present: NDArray[np.bool_]) -> tuple[Floats, Floats, Floats]:
    """Jacobian (arms, horizons, 3) by (g*, ln kappa, b), residuals, and the misfit's covariance."""
    kappa, b = np.exp(theta[:, 1])[:, None], theta[:, 2:]
    x = np.clip(theta[:, :1] - g, -MAX_REACH, MAX_REACH)
    fallen = kappa * drop(x, b)
    jacobian = np.stack([kappa * np.exp(-b * x), fallen, kappa * drop_by_exponent(x, b)], axis=2)
    jacobian = np.where(present[:, :, None], jacobian, 0.0)
    residuals: Floats = np.where(present, d - fallen, 0.0)
    misfit = np.where(present, MISFIT * kappa * x**2, 0.0)
    return jacobian, residuals, np.asarray((misfit**2)[:, :, None] * np.eye(g.shape[1]), dtype=np.float64)
