"""How the baseline's finished loss falls with tokens: its noise, its slope and its curvature at one rung.

With x = ln(tokens/T), L(x) = L_T - kappa (1 - e^(-b x))/b: kappa = -dL/dlnT at T in nats per e-fold, b the curvature,
0 where the loss is straight in ln T and negative where it steepens, as in a transition. b > 0 is the power law
E + B T^-b. Only finished runs may enter: a run's own curve is not one of finished runs. Derivations: docs/method.md.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from data.errors import InputError
from transfer.bent_line import (
    CURVATURE_RANGE,
    PRIOR_CURVATURE,
    PRIOR_CURVATURE_SD,
    Floats,
    drop,
    drop_by_exponent,
    drop_inverse,
)

LN_2 = math.log(2)
TRANSITION_LEVEL = 1.645
"""A curve is in its transition where its curvature, without the prior, lies so many standard errors below 0."""


@dataclass(frozen=True, slots=True)
class Noise:
    """Spread of one finished run's loss over seeds (nats per token), with the degrees of freedom behind it.

    `assumed` marks a sigma that was taken over from elsewhere, not measured at this rung.
    """

    sigma: float
    dof: float
    assumed: bool = False

    def __post_init__(self) -> None:
        """Raise InputError on a sigma or dof that no runs could give."""
        if not (math.isfinite(self.sigma) and self.sigma >= 0 and self.dof > 0):
            raise InputError(f"The noise of a rung needs sigma >= 0 and dof > 0, got {self.sigma} and {self.dof}.")


@dataclass(frozen=True, slots=True)
class Slope:
    """`kappa` = -dL/dlnT in nats per e-fold of tokens at T, the curvature b of the loss around T, and their errors.

    `transition`: whether the loss steepens beyond T by more than the runs' noise; None where the runs cannot tell.
    """

    kappa: float
    kappa_se: float
    curvature: float
    curvature_se: float
    noise: Noise
    transition: bool | None = None

    @property
    def usable(self) -> bool:
        """Whether the baseline's loss falls with tokens at all; without that no saving can be told."""
        return math.isfinite(self.kappa) and self.kappa > 0

    def ln_tokens(self, gain: float) -> float:
        """ln of how many times T's tokens the baseline needs to end `gain` nats lower; nan beyond the curve's floor."""
        return float(drop_inverse(np.array(gain / self.kappa), np.array(self.curvature)))

    def noisier(self, factor: float) -> "Slope":
        """The same slope, had the runs been `factor` times as noisy: only the errors change, not the estimates."""
        prior = 1 / PRIOR_CURVATURE_SD**2
        precision = max(1 / self.curvature_se**2 - prior, 0.0) if self.curvature_se > 0 else math.inf
        return Slope(
            self.kappa,
            self.kappa_se * factor,
            self.curvature,
            1 / math.sqrt(precision / factor**2 + prior),
            Noise(self.noise.sigma * factor, self.noise.dof, self.noise.assumed),
            self.transition,
        )


def pooled_noise(groups: Sequence[ArrayLike], *, assumed: bool = False) -> Noise:
    """Noise from baselines that differ in their seeds alone, pooled within groups.

    `groups` holds the finished losses of each horizon and of the A/A runs, each of shape (seeds,); groups are never
    compared with each other. Raises InputError where no group holds two runs.
    """
    known = [losses for group in groups if len(losses := _losses(group, "the noise")) > 1]
    dof = sum(len(losses) - 1 for losses in known)
    if dof == 0:
        raise InputError(
            "The noise of a rung needs at least two finished baselines of the same horizon; run more seeds."
        )
    squares = math.fsum((loss - mean) ** 2 for losses in known for mean in [_mean(losses)] for loss in losses)
    return Noise(sigma=math.sqrt(squares / dof), dof=dof, assumed=assumed)


def fit_slope(horizons: Mapping[float, ArrayLike], noise: Noise) -> Slope:
    """Slope and curvature at T from finished baselines by ln(horizon/T), each of shape (seeds,).

    Least squares in units of the noise, with a prior N(.3, .5^2) on the curvature, held within [-1.5, 2]; given
    b the law is linear. The errors are those of Gauss and Newton. Two horizons tell no curvature: it is then the
    prior's. Raises InputError on fewer than two horizons, or an empty or non-finite array.
    """
    if len(horizons) < 2:
        raise InputError("A slope needs finished baselines on at least two horizons.")
    groups = [_losses(losses, "the slope") for losses in horizons.values()]
    x = np.array(list(horizons), dtype=np.float64)
    means, runs = np.array([_mean(group) for group in groups]), np.array([float(len(group)) for group in groups])
    weights = runs / max(noise.sigma, 1e-9) ** 2
    coarse = np.linspace(*CURVATURE_RANGE, 71)
    b = _best(coarse, x, means, weights)
    for width in (0.05, 0.001):
        b = _best(np.clip(np.linspace(b - width, b + width, 101), *CURVATURE_RANGE), x, means, weights)
    kappa = float(_solve(np.array([b]), x, means, weights)[0][0])
    exponent = np.array([b])
    jacobian = np.stack([np.ones_like(x), -drop(x, exponent), -kappa * drop_by_exponent(x, exponent)], axis=1)
    information = (jacobian * weights[:, None]).T @ jacobian
    information[2, 2] += 1 / PRIOR_CURVATURE_SD**2
    covariance = np.linalg.pinv(information)
    return Slope(
        kappa=kappa,
        kappa_se=math.sqrt(max(float(covariance[1, 1]), 0.0)),
        curvature=b,
        curvature_se=math.sqrt(max(float(covariance[2, 2]), 0.0)),
        noise=noise,
        transition=_transition(b, float(covariance[2, 2])) if len(x) > 2 else None,
    )


def _transition(curvature: float, variance: float) -> bool:
    """Whether the runs alone, the prior taken out again, put the curvature below 0 by TRANSITION_LEVEL errors."""
    precision, prior = 1 / max(variance, 1e-18), 1 / PRIOR_CURVATURE_SD**2
    own = precision - prior
    if own <= 0:
        return False
    raw = (curvature * precision - PRIOR_CURVATURE * prior) / own
    return raw + TRANSITION_LEVEL / math.sqrt(own) < 0


def _best(curvatures: Floats, x: Floats, means: Floats, weights: Floats) -> float:
    """The curvature of those (k,) that fits best, the prior counted."""
    squares = _solve(curvatures, x, means, weights)[1]
    return float(curvatures[np.argmin(squares + ((curvatures - PRIOR_CURVATURE) / PRIOR_CURVATURE_SD) ** 2)])


def _solve(curvatures: Floats, x: Floats, means: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """kappa (k,) by least squares at each curvature (k,), and what is left, in units of the noise."""
    drops = drop(x, curvatures[:, None])
    share = weights / weights.sum()
    centred = drops - (drops @ share)[:, None]
    losses = means - means @ share
    kappa = -(centred * losses) @ weights / (centred**2 @ weights)
    return kappa, (losses + kappa[:, None] * centred) ** 2 @ weights


def _losses(values: ArrayLike, purpose: str) -> list[float]:
    array = np.atleast_1d(np.asarray(values, dtype=np.float64))
    # Plain lists: for the handful of runs of a rung they are several times faster than numpy's reductions.
    losses: list[float] = array.tolist() if array.ndim == 1 else []
    if not losses or not all(map(math.isfinite, losses)):
        raise InputError(f"Losses for {purpose} must be a non-empty list of finite numbers.")
    return losses


def _mean(losses: Sequence[float]) -> float:
    return math.fsum(losses) / len(losses)
