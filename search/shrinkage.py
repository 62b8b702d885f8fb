"""How far confirmed effects are pulled towards what the search's effects are like, and what is left of them."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

Floats = NDArray[np.float64]

_NORMAL_95 = 1.6448536269514722
_FINEST = 0.25  # the narrowest scale, in the smallest standard error: in effect the nulls
_PRIOR_TRIALS = 1.0  # trials that the even mixture counts for, so that a few effects do not choose one scale alone
_EM_STEPS = 200
_HALVINGS = 30
_NO_SHARE = 1e-6  # a half-normal that no effect has this much of moves no quantile


class Shrunk(NamedTuple):
    """Shrunk effects (k,) and the ends of their 90 % intervals, in nats per token."""

    effect: Floats
    low: Floats
    high: Floats


class _Posterior(NamedTuple):
    """Of each effect and half-normal (k, c): its share, and the normal that is cut off at zero; signs (c,)."""

    shares: Floats
    centre: Floats
    width: Floats
    signs: Floats


class _Mixture(NamedTuple):
    """Half-normals: scales and signs (c,), +1 for gains and -1 for losses, and their weights (c,)."""

    scales: Floats
    signs: Floats
    weights: Floats


def shrink(effects: ArrayLike, errors: ArrayLike, dof: ArrayLike) -> Shrunk:
    """Shrink measured effects (k,) with standard errors (k,) and degrees of freedom (k,), nulls and all.

    Adaptive shrinkage (Stephens 2017, Biostatistics 18): true effects are a mixture of half-normals about zero, on a
    grid of scales, its weights the likeliest for all effects together (EM). Gains and losses have weights of their
    own: the screen lets through few losses and most gains. An effect is the posterior's median (its mean may lie
    outside the interval), the interval its 5 and 95 % points. Errors count as normal with standard deviation
    t_{.95,dof}/1.645 errors, Student's at that point. A posterior needs no correction for when measuring stopped.

    Raises ValueError unless every effect is finite and has its error above zero.
    """
    d = np.asarray(effects, dtype=np.float64)
    se = np.asarray(errors, dtype=np.float64) * special.stdtrit(np.asarray(dof, dtype=np.float64), 0.95) / _NORMAL_95
    if d.ndim != 1 or d.shape != se.shape or not np.isfinite(d).all() or not (se > 0).all():
        raise ValueError("every effect must be finite and needs its standard error, above zero")
    if not d.size:
        return Shrunk(d, d, d)
    prior = _fit(d, se)
    posterior = _Posterior(_shares(_log_marginals(d, se, prior), prior.weights), *_cut_off(d, se, prior), prior.signs)
    reach = 8 * se + np.abs(d)
    low, middle, high = (_quantile(p, reach, posterior) for p in (0.05, 0.5, 0.95))
    return Shrunk(middle, low, high)


def _fit(d: Floats, se: Floats) -> _Mixture:
    finest, widest = _FINEST * se.min(), max(2 * float(np.abs(d).max()), 2 * float(se.max()))
    scales = np.geomspace(finest, widest, 2 + int(np.log2(widest / finest)))
    both = np.tile(scales, 2)
    even = np.full(both.size, 1 / both.size)
    mixture = _Mixture(both, np.repeat([1.0, -1.0], scales.size), even)
    marginals = _log_marginals(d, se, mixture)
    likelihoods = np.exp(marginals - marginals.max(axis=1, keepdims=True))
    weights = even
    for _ in range(_EM_STEPS):
        trials = weights * (likelihoods.T @ (1 / (likelihoods @ weights)))
        weights = (trials + _PRIOR_TRIALS * even) / (d.size + _PRIOR_TRIALS)
    return mixture._replace(weights=weights)


def _log_marginals(d: Floats, se: Floats, prior: _Mixture) -> Floats:
    """Logarithm, but for a constant, of each effect's density under each half-normal, (k, c)."""
    total = prior.scales**2 + se[:, None] ** 2
    centre, width = _cut_off(d, se, prior)
    return np.asarray(-0.5 * (np.log(total) + d[:, None] ** 2 / total) + special.log_ndtr(centre / width))


def _cut_off(d: Floats, se: Floats, prior: _Mixture) -> tuple[Floats, Floats]:
    """Centre and width (k, c) of the normal that, cut off at zero, is the posterior of sign * effect."""
    factor = prior.scales**2 / (prior.scales**2 + se[:, None] ** 2)
    return factor * prior.signs * d[:, None], np.sqrt(factor) * se[:, None]


def _shares(log_marginals: Floats, weights: Floats) -> Floats:
    return np.asarray(special.softmax(log_marginals + np.log(weights), axis=1))


def _quantile(p: float, reach: Floats, posterior: _Posterior) -> Floats:
    """Where the posterior's distribution function is p, (k,), by halving what lies within reach (k,) of zero."""
    shares, centre, width, signs = posterior
    told = shares.max(axis=0) > _NO_SHARE
    shares, centre, width, signs = shares[:, told], centre[:, told], width[:, told], signs[told]
    all_of_it = special.log_ndtr(centre / width)
    low, high = -reach, reach
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        size = np.maximum(signs * middle[:, None], 0.0)
        beyond = np.exp(special.log_ndtr((centre - size) / width) - all_of_it)  # further from zero
        below = np.sum(shares * np.where(signs > 0, 1 - beyond, beyond), axis=1)
        low, high = np.where(below < p, middle, low), np.where(below < p, high, middle)
    return (low + high) / 2
