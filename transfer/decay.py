"""How a gain goes on with scale: posterior of lnS(N) = m + s (N/N_0)^-gamma + w(ln N/N_0), in closed form.

Most gains decay towards nothing (m = 0, w = 0), some towards a gain or a loss, some faster or slower than any such law.
Which it is, the measurements decide: every kind is fitted, and weighed by its evidence. Nothing is drawn: given gamma
(on a grid) and the kind all is normal, so the posterior is an exact mixture of normals (docs/method.md).
From five findings on, the shares of the kinds, and mean and spread of gamma, are learnt from all of them; one gamma for
all would be far too sure.
"""

from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

Floats = NDArray[np.float64]

PRIOR_GAMMA = 0.3
PRIOR_GAMMA_SD = 0.2
LEAST_FOR_HIERARCHY = 5
STRAY = 1e-6  # chance that a finding decays like no other: one of them must not rule out every spread
LEAST_FOR_KINDS = 3  # rungs: fewer cannot tell one kind of course from another, and the plain decay stands
NEGLIGIBLE = 1e-7  # weight of a normal below which it is left out
UNMEASURED_VARIANCE = 1e6

GAMMAS: Floats = np.arange(-1.0, 1.605, 0.04)
_MEANS = np.linspace(PRIOR_GAMMA - 3 * PRIOR_GAMMA_SD, PRIOR_GAMMA + 3 * PRIOR_GAMMA_SD, 25)
_SPREADS = np.array([0.02, 0.04, 0.07, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5])


class Stray(NamedTuple):
    """How far a gain strays from the law: each rung by itself, step by step, or with a slope that wanders.

    `size` is the standard deviation per rung, or that reached after one e-fold of scale.
    """

    kind: Literal["none", "rungs", "steps", "slope"]
    size: float
    prior: float


STRAYS = (Stray("none", 0.0, 0.7), Stray("rungs", 0.03, 0.1), Stray("steps", 0.05, 0.1), Stray("slope", 0.05, 0.1))
PRIOR_FINDINGS = 5.0
ROUNDS = 4
SIZES = ((0.5, 0.5), (2.0, 0.5))
"""Standard deviation of s, and its prior: usual gains, and those of broken small models."""
FLOORS = ((0.0, 0.5), (0.05, 0.1), (0.2, 0.1), (1.0, 0.3))
"""Standard deviation of m, and its prior."""
KIND_PRIORS: Floats = np.array([one.prior * p * q for one in STRAYS for _, p in SIZES for _, q in FLOORS])


@dataclass(frozen=True, slots=True)
class Mixture:
    """Normals mixed with `weights`, all of shape (arms, normals); the rows of `weights` sum to 1."""

    weights: Floats
    means: Floats
    variances: Floats

    def widened(self, variance: Floats) -> "Mixture":
        """Every draw plus an independent normal error of `variance`, shape (arms,)."""
        return Mixture(self.weights, self.means, self.variances + variance[:, None])

    def quantiles(self, probabilities: Floats) -> Floats:
        """Quantiles of shape (arms, probabilities), by bisection to a millionth of the mixture's standard deviation."""
        sd = np.sqrt(self.variances)
        mean = (self.weights * self.means).sum(1)[:, None]
        spread = np.sqrt((self.weights * (self.variances + (self.means - mean) ** 2)).sum(1))[:, None]
        # Cantelli's inequality brackets every quantile.
        low = mean - spread * np.sqrt((1 - probabilities) / probabilities)
        high = mean + spread * np.sqrt(probabilities / (1 - probabilities))
        middle: Floats = (low + high) / 2
        for _ in range(23):
            below = ndtr((middle[:, :, None] - self.means[:, None, :]) / sd[:, None, :])
            too_low = np.einsum("apg,ag->ap", below, self.weights) < probabilities
            low, high = np.where(too_low, middle, low), np.where(too_low, high, middle)
            middle = (low + high) / 2
        return middle


def decay_at(
    ln_scales: Floats, ln_speedups: Floats, precisions: Floats, ln_targets: Floats, hierarchical: bool
) -> tuple[Mixture, Mixture]:
    """Posterior of lnS at one target per arm: over all kinds, and over the plain decay towards nothing alone.

    `ln_scales` (rungs,) and `ln_targets` (arms,) are ln(N/N_0); `ln_speedups` and `precisions` (1/variance) have shape
    (arms, rungs), with precision 0 where nothing was measured.
    """
    kinds = [_kinds(one, ln_scales, ln_speedups, precisions, ln_targets) for one in STRAYS]
    evidence, means, variances = (np.concatenate(parts, axis=1) for parts in zip(*kinds, strict=True))
    untold = (precisions > 0).sum(1) < LEAST_FOR_KINDS
    evidence[untold, 1:] = -np.inf
    shares, prior = np.ones(evidence.shape[1]), _normals(PRIOR_GAMMA, PRIOR_GAMMA_SD)[None]
    if hierarchical:
        shares, prior = _learnt(np.exp(evidence - evidence.max((1, 2), keepdims=True)))
    weights = evidence + np.log(shares)[:, None] + np.log(prior)[:, None]
    flat = (len(ln_speedups), -1)
    everything = _mixture(weights.reshape(flat), means.reshape(flat), variances.reshape(flat))
    return everything, _mixture(weights[:, 0], means[:, 0], variances[:, 0])


def _mixture(log_weights: Floats, means: Floats, variances: Floats) -> Mixture:
    weights = np.exp(log_weights - log_weights.max(1, keepdims=True))
    weights /= weights.sum(1, keepdims=True)
    heard = (weights > NEGLIGIBLE).any(0)
    weights = weights[:, heard] / weights[:, heard].sum(1, keepdims=True)
    return Mixture(weights, means[:, heard], variances[:, heard])


def _kinds(
    stray: Stray, ln_scales: Floats, ln_speedups: Floats, precisions: Floats, ln_targets: Floats
) -> tuple[Floats, Floats, Floats]:
    """Log evidence with the kind's prior, mean and variance at the target, each (arms, sizes x floors, gammas)."""
    variances = 1 / np.maximum(precisions, 1 / UNMEASURED_VARIANCE)
    covariance = variances[:, :, None] * np.eye(len(ln_scales)) + _covariance(stray, ln_scales, ln_scales)
    at_target = _covariance(stray, ln_scales, ln_targets).T
    shapes = np.exp(-np.outer(ln_scales, GAMMAS))
    known = [ln_speedups[:, :, None], at_target[:, :, None]]
    shared = [np.broadcast_to(one, (len(variances), *one.shape)) for one in (np.ones((len(ln_scales), 1)), shapes)]
    root = np.linalg.cholesky(covariance)
    white = np.linalg.solve(root, np.concatenate([*known, *shared], axis=2))
    y, k, one, shape = white[:, :, 0], white[:, :, 1], white[:, :, 2], white[:, :, 3:]
    sums = _Sums(
        ss=np.einsum("arg,arg->ag", shape, shape),
        s1=np.einsum("arg,ar->ag", shape, one),
        sy=np.einsum("arg,ar->ag", shape, y),
        of_one=(one * one).sum(1)[:, None],
        one_y=(one * y).sum(1)[:, None],
        yy=(y * y).sum(1)[:, None],
        log_root=np.log(np.diagonal(root, axis1=1, axis2=2)).sum(1)[:, None],
        shape_there=np.exp(-np.outer(ln_targets, GAMMAS)) - np.einsum("arg,ar->ag", shape, k),
        one_there=1 - (one * k).sum(1)[:, None],
        followed=(k * y).sum(1)[:, None],
        strayed=(np.diagonal(_covariance(stray, ln_targets, ln_targets)) - (k * k).sum(1))[:, None],
    )
    parts = [_normal(sums, size, floor, stray.prior * p * q) for (size, p), (floor, q) in product(SIZES, FLOORS)]
    evidence, means, spreads = (np.stack(part, axis=1) for part in zip(*parts, strict=True))
    return evidence, means, spreads


class _Sums(NamedTuple):
    """Inner products of whitened measurements y, ones and N^-gamma, and what the target has of each; (arms, gammas)."""

    ss: Floats
    s1: Floats
    sy: Floats
    of_one: Floats
    one_y: Floats
    yy: Floats
    log_root: Floats
    shape_there: Floats
    one_there: Floats
    followed: Floats
    strayed: Floats


def _normal(of: _Sums, size: float, floor: float, prior: float) -> tuple[Floats, Floats, Floats]:
    """Log evidence, mean and variance at the target given gamma; s ~ N(0, size^2), m ~ N(0, floor^2)."""
    a = of.ss + 1 / size**2
    if floor == 0:
        s, determinant = of.sy / a, a * size**2
        left = of.yy - s * of.sy
        mean, variance = s * of.shape_there, of.shape_there**2 / a
    else:
        c = of.of_one + 1 / floor**2
        area = a * c - of.s1**2
        s, m = (c * of.sy - of.s1 * of.one_y) / area, (a * of.one_y - of.s1 * of.sy) / area
        determinant, left = area * size**2 * floor**2, of.yy - s * of.sy - m * of.one_y
        mean = s * of.shape_there + m * of.one_there
        cross = 2 * of.s1 * of.shape_there * of.one_there
        variance = (c * of.shape_there**2 - cross + a * of.one_there**2) / area
    evidence = np.log(prior) - of.log_root - 0.5 * np.log(determinant) - 0.5 * left
    return evidence, mean + of.followed, variance + np.maximum(of.strayed, 0)


def _covariance(stray: Stray, first: Floats, second: Floats) -> Floats:
    """Covariance of what strays at ln(N/N_0), shape (first, second); a rung not yet run strays by itself."""
    low = np.maximum(np.minimum.outer(first, second), 0)
    high = np.maximum(np.maximum.outer(first, second), 0)
    if stray.kind == "rungs":
        return np.asarray(stray.size**2 * (np.abs(np.subtract.outer(first, second)) < 1e-9), dtype=np.float64)
    if stray.kind == "steps":
        return np.asarray(stray.size**2 * low, dtype=np.float64)
    if stray.kind == "slope":
        return np.asarray(stray.size**2 * low**2 * (3 * high - low) / 6, dtype=np.float64)
    return np.zeros_like(low)


def _learnt(likelihood: Floats) -> tuple[Floats, Floats]:
    """What all arms together say of the kinds, as factors on their priors (kinds,), and of gamma (arms, gammas).

    Kinds by expectation and maximisation, their priors counting as so many findings; `likelihood` (arms, kinds, gammas)
    holds the priors of the kinds.
    """
    shares = np.ones(likelihood.shape[1])
    for _ in range(ROUNDS):
        prior = _learnt_prior(np.einsum("akg,k->ag", likelihood, shares))
        of_kind = np.einsum("akg,ag->ak", likelihood, prior) * shares
        of_kind /= of_kind.sum(1, keepdims=True)
        learnt = (PRIOR_FINDINGS * KIND_PRIORS + of_kind.sum(0)) / (PRIOR_FINDINGS + len(likelihood))
        shares = learnt / KIND_PRIORS
    return shares, prior


def _learnt_prior(likelihood: Floats) -> Floats:
    """Each arm's prior of gamma, averaged over the posterior of the mean and the spread of all arms' gammas.

    Mean ~ N(.3, .2^2), spread ~ half-normal(.2), on a grid; shape (arms, gammas), each row up to a factor.
    """
    log_prior, kernels = _hyperprior()
    evidence = likelihood @ kernels.T
    log_posterior = log_prior + np.log(evidence).sum(0)
    posterior = np.exp(log_posterior - log_posterior.max())
    prior: Floats = (posterior / evidence) @ kernels
    return prior


@cache
def _hyperprior() -> tuple[Floats, Floats]:
    """Log prior of each (mean, spread), shape (pairs,), and the density of gamma under it, shape (pairs, gammas)."""
    means, spreads = (grid.ravel() for grid in np.meshgrid(_MEANS, _SPREADS, indexing="ij"))
    # The spreads are not evenly spaced: the gaps between their midpoints are the widths that they stand for.
    widths = np.gradient(_SPREADS)[None, :].repeat(len(_MEANS), axis=0).ravel()
    log_prior: Floats = -0.5 * ((means - PRIOR_GAMMA) / PRIOR_GAMMA_SD) ** 2 - 0.5 * (spreads / PRIOR_GAMMA_SD) ** 2
    kernels = (1 - STRAY) * _normals(means[:, None], spreads[:, None]) + STRAY / len(GAMMAS)
    return log_prior + np.log(widths), kernels


def _normals(mean: float | Floats, sd: float | Floats) -> Floats:
    density = np.exp(-0.5 * ((GAMMAS - mean) / sd) ** 2)
    normalised: Floats = density / density.sum(-1, keepdims=True)
    return normalised
