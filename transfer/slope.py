"""How the baseline's finished loss falls with tokens: its noise, its slope and its curvature at one rung.

Around a rung's tokens T the finished loss follows L(T) = E + B T^-b; kappa = -dL/dlnT = b B T^-b. Only finished runs
may enter: a run's own curve is not a curve of finished runs. Derivations: docs/method.md.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

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
        return replace(
            self,
            kappa_se=self.kappa_se * factor,
            curvature_se=1 / math.sqrt(precision / factor**2 + prior),
            noise=replace(self.noise, sigma=self.noise.sigma * factor),
        )


def pooled_noise(groups: Sequence[ArrayLike], *, assumed: bool = False) -> Noise:
    """Noise from baselines that differ in their seeds alone, pooled within groups.

    `groups` holds the finished losses of each horizon and of the A/A runs, each of shape (seeds,); groups are never
    compared with each other. Raises InputError where no group holds two runs.
    """
    arrays = [_losses(group, "the noise") for group in groups]
    dof = sum(len(array) - 1 for array in arrays if len(array) > 1)
    if dof == 0:
        raise InputError(
            "The noise of a rung needs at least two finished baselines of the same horizon; run more seeds."
        )
    squares = sum(float(((array - array.mean()) ** 2).sum()) for array in arrays if len(array) > 1)
    return Noise(sigma=math.sqrt(squares / dof), dof=dof, assumed=assumed)


def fit_slope(half: ArrayLike, one: ArrayLike, two: ArrayLike, noise: Noise) -> Slope:
    """Slope and curvature from finished baselines scheduled for T/2, T and 2T tokens, each of shape (seeds,).

    The ratio of the two drops gives b; it is noisy, so a prior N(.45, .25^2) holds it. Two horizons alone cannot tell
    b, which biases kappa. Where the loss does not fall, b is the prior and the slope may be unusable. Raises InputError
    on an empty or non-finite array.
    """
    half, one, two = (_losses(losses, "the slope") for losses in (half, one, two))
    first_drop = float(half.mean() - one.mean())
    second_drop = float(one.mean() - two.mean())
    whole_drop = first_drop + second_drop
    ends = 1 / len(half) + 1 / len(two)  # 2/m where both outer horizons have m seeds
    curvature, curvature_se = PRIOR_CURVATURE, PRIOR_CURVATURE_SD
    if first_drop > 0 and second_drop > 0:
        raw = math.log(first_drop / second_drop) / LN_2
        variance = noise.sigma**2 * (ends + 4 / len(one)) / (whole_drop / 2) ** 2 / LN_2**2
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


def _losses(values: ArrayLike, purpose: str) -> NDArray[np.float64]:
    array = np.atleast_1d(np.asarray(values, dtype=np.float64))
    if array.ndim != 1 or array.size == 0 or not np.isfinite(array).all():
        raise InputError(f"Losses for {purpose} must be a non-empty list of finite numbers.")
    return array
