"""How the baseline's finished loss falls with tokens: its noise, its slope and its curvature at one rung.

Around a rung's tokens T the finished loss follows L(T) = E + B T^-b; kappa = -dL/dlnT = b B T^-b. Only finished runs
may enter: a run's own curve is not a curve of finished runs. Derivations: docs/method.md.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from data.errors import InputError

LN_2 = math.log(2)
PRIOR_CURVATURE = 0.45
PRIOR_CURVATURE_SD = 0.25
CURVATURE_RANGE = (0.1, 1.2)


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
    """`kappa` = -dL/dlnT in nats per e-fold of tokens, and the exponent b ("curvature") of the loss curve around T."""

    kappa: float
    kappa_se: float
    curvature: float
    curvature_se: float
    noise: Noise

    @property
    def usable(self) -> bool:
        """Whether the baseline's loss falls with tokens at all; without that no saving can be told."""
        return math.isfinite(self.kappa) and self.kappa > 0

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


def fit_slope(half: ArrayLike, one: ArrayLike, two: ArrayLike, noise: Noise) -> Slope:
    """Slope and curvature from finished baselines scheduled for T/2, T and 2T tokens, each of shape (seeds,).

    The ratio of the two drops gives b; it is noisy, so a prior N(.45, .25^2) holds it. Two horizons alone cannot tell
    b, which biases kappa. Where the loss does not fall, b is the prior and the slope may be unusable. Raises InputError
    on an empty or non-finite array.
    """
    halves, ones, twos = (_losses(losses, "the slope") for losses in (half, one, two))
    first_drop = _mean(halves) - _mean(ones)
    second_drop = _mean(ones) - _mean(twos)
    whole_drop = first_drop + second_drop
    ends = 1 / len(halves) + 1 / len(twos)  # 2/m where both outer horizons have m seeds
    curvature, curvature_se = PRIOR_CURVATURE, PRIOR_CURVATURE_SD
    if first_drop > 0 and second_drop > 0:
        raw = math.log(first_drop / second_drop) / LN_2
        variance = noise.sigma**2 * (ends + 4 / len(ones)) / (whole_drop / 2) ** 2 / LN_2**2
        prior = PRIOR_CURVATURE_SD**2
        curvature = (raw * prior + PRIOR_CURVATURE * variance) / (variance + prior)
        curvature = min(max(curvature, CURVATURE_RANGE[0]), CURVATURE_RANGE[1])
        curvature_se = math.sqrt(variance * prior / (variance + prior))
    per_drop = curvature / (2 * math.sinh(curvature * LN_2))
    return Slope(
        kappa=per_drop * whole_drop,
        kappa_se=per_drop * noise.sigma * math.sqrt(ends),
        curvature=curvature,
        curvature_se=curvature_se,
        noise=noise,
    )


def _losses(values: ArrayLike, purpose: str) -> list[float]:
    array = np.atleast_1d(np.asarray(values, dtype=np.float64))
    # Plain lists: for the handful of runs of a rung they are several times faster than numpy's reductions.
    losses: list[float] = array.tolist() if array.ndim == 1 else []
    if not losses or not all(map(math.isfinite, losses)):
        raise InputError(f"Losses for {purpose} must be a non-empty list of finite numbers.")
    return losses


def _mean(losses: Sequence[float]) -> float:
    return math.fsum(losses) / len(losses)
