"""The decay of a gain with scale: posterior of lnS(N) = s (N/N_0)^-gamma, in closed form in s and on a grid of gamma.

Nothing is drawn: given gamma the model is linear in s, so the posterior is an exact mixture of normals over the grid.
Priors: s ~ N(0, .5^2), gamma ~ N(.3, .2^2). From five findings on, the mean and spread of gamma are learnt from all of
them; one gamma shared by all would be far too sure (docs/method.md).
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

Floats = NDArray[np.float64]

PRIOR_S_SD = 0.5
PRIOR_GAMMA = 0.3
PRIOR_GAMMA_SD = 0.2
LEAST_FOR_HIERARCHY = 5
STRAY = 1e-6  # chance that a finding decays like no other: one of them must not rule out every spread
NEGLIGIBLE = 1e-9  # weight of a gamma below which it is left out

GAMMAS: Floats = np.arange(-1.0, 1.605, 0.01)
_MEANS = np.linspace(PRIOR_GAMMA - 3 * PRIOR_GAMMA_SD, PRIOR_GAMMA + 3 * PRIOR_GAMMA_SD, 25)
_SPREADS = np.array([0.02, 0.04, 0.07, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5])


@dataclass(frozen=True, slots=True)
class Mixture:
    """Normals mixed with `weights`, all of shape (arms, gammas); the rows of `weights` sum to 1."""

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
) -> Mixture:
    """Posterior of lnS at one target per arm.

    `ln_scales` (rungs,) and `ln_targets` (arms,) are ln(N/N_0); `ln_speedups` and `precisions` (1/variance) have shape
    (arms, rungs), with precision 0 where nothing was measured.
    """
    shrink = np.exp(-np.outer(GAMMAS, ln_scales))
    variances = 1 / (precisions @ (shrink**2).T + 1 / PRIOR_S_SD**2)
    means = variances * ((precisions * ln_speedups) @ shrink.T)
    log_likelihood = 0.5 * np.log(variances) + 0.5 * means**2 / variances
    likelihood = np.exp(log_likelihood - log_likelihood.max(1, keepdims=True))
    weights = likelihood * (_learnt_prior(likelihood) if hierarchical else _normals(PRIOR_GAMMA, PRIOR_GAMMA_SD))
    weights /= weights.sum(1, keepdims=True)
    heard = (weights > NEGLIGIBLE).any(0)
    weights = weights[:, heard] / weights[:, heard].sum(1, keepdims=True)
    at_target = np.exp(-np.outer(ln_targets, GAMMAS[heard]))
    return Mixture(weights, means[:, heard] * at_target, variances[:, heard] * at_target**2)


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
