"""From paired loss differences to the saving and its interval, rung by rung up a ladder.

lnS is the natural logarithm of the speed-up to the same finished loss: positive where the arm is better than the
baseline; the saving is 1 - e^-lnS = 1 - T_arm/T_baseline. Formulas, and what failed before them: docs/method.md.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from data.errors import InputError
from transfer.pair_variance import POOLED_WEIGHT, PairSpread, PooledSpread, pooled_spreads
from transfer.slope import LN_2, Noise, Slope
from transfer.student import quantile, upper_tail, welch_dof

Axis = Literal["tokens", "flops", "seconds"]

SMALLEST_REST = 0.05  # of the baseline's remaining loss: beyond it the curve, not the data, would set the number


@dataclass(frozen=True, slots=True, eq=False)
class RungPairs:
    """All that is known of one arm at one rung: the slope, and finished losses of its pairs, each of shape (pairs,).

    `ln_time_ratios`: ln(seconds per token, arm / baseline) of each timed pair; `ln_flops_ratio`: the same of FLOPs per
    token, counted, so without error. None where unknown; the axis that needs it then gives no number.
    """

    slope: Slope
    baseline: NDArray[np.float64]
    arm: NDArray[np.float64]
    ln_time_ratios: NDArray[np.float64] | None = None
    ln_flops_ratio: float | None = None
    _sums: "_Sums" = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Check the arrays and sum them up. Raises InputError where they are unpaired, empty or not finite."""
        baseline, arm = _array(self.baseline, "losses"), _array(self.arm, "losses")
        if baseline.shape != arm.shape:
            raise InputError(f"Pairs need one arm run per baseline run, got {len(arm)} and {len(baseline)}.")
        times = None if self.ln_time_ratios is None else _array(self.ln_time_ratios, "time ratios")
        object.__setattr__(self, "baseline", baseline)
        object.__setattr__(self, "arm", arm)
        object.__setattr__(self, "ln_time_ratios", times)
        object.__setattr__(self, "_sums", _Sums.of(baseline - arm, times))


@dataclass(frozen=True, slots=True)
class Saving:
    """lnS with its standard error and degrees of freedom.

    `pair_variance` is the part of the variance that falls with pairs, for one pair. Where no number can be given
    ln_speedup is nan and `reason` says why; `out_of_range` marks a gain too large for the slope.
    """

    axis: Axis
    ln_speedup: float
    ln_speedup_se: float
    dof: float
    pairs: int
    out_of_range: bool = False
    pair_variance: float = math.nan
    reason: str = ""

    @property
    def known(self) -> bool:
        """Whether there is a number."""
        return math.isfinite(self.ln_speedup) and math.isfinite(self.ln_speedup_se)

    @property
    def low(self) -> float:
        """Lower end of the two-sided 90 % interval of lnS."""
        return self.lower(0.95)

    @property
    def high(self) -> float:
        """Upper end of the two-sided 90 % interval of lnS."""
        return self.upper(0.95)

    @property
    def saving(self) -> float:
        """1 - T_arm/T_baseline."""
        return saved(self.ln_speedup)

    @property
    def saving_low(self) -> float:
        """Lower end of the two-sided 90 % interval of the saving."""
        return saved(self.low)

    @property
    def saving_high(self) -> float:
        """Upper end of the two-sided 90 % interval of the saving."""
        return saved(self.high)

    @property
    def p_better(self) -> float:
        """One-sided p-value of "the arm is no better than the baseline"; 1 where there is no number."""
        if not self.known:
            return 1.0
        if self.ln_speedup_se == 0:
            return 0.0 if self.ln_speedup > 0 else 1.0
        return upper_tail(self.ln_speedup / self.ln_speedup_se, self.dof)

    def lower(self, level: float) -> float:
        """One-sided lower bound of lnS at `level` (.8 for 80 %)."""
        return self.ln_speedup - self._reach(level)

    def upper(self, level: float) -> float:
        """One-sided upper bound of lnS at `level`."""
        return self.ln_speedup + self._reach(level)

    def _reach(self, level: float) -> float:
        return quantile(level, self.dof) * self.ln_speedup_se if self.known else math.nan


def saved(ln_speedup: float) -> float:
    """The saving 1 - e^-lnS of a speed-up; -inf where the speed-up is beyond any number."""
    return -math.expm1(-ln_speedup) if not ln_speedup < -700 else -math.inf


def delta_of(smallest_saving: float) -> float:
    """The smallest saving worth having as delta in lnS. Raises InputError outside (0, 1)."""
    if not 0 < smallest_saving < 1:
        raise InputError(f"The smallest saving worth having must lie between 0 and 1, got {smallest_saving}.")
    return -math.log1p(-smallest_saving)


def savings_up_the_ladder(
    rungs: Sequence[RungPairs], axis: Axis, *, noise_factors: Sequence[float] = ()
) -> list[Saving]:
    """The saving of one arm at each rung, lowest first; what pairing gains is pooled over the rungs.

    `noise_factors`, one per rung, asks what would follow if runs were that much noisier than their sigma.
    """
    factors = list(noise_factors) or [1.0] * len(rungs)
    times = _pooled_time(rungs) if axis == "seconds" else None
    pooled = pooled_spreads([rung._sums.spread(rung.slope.noise) for rung in rungs])
    return [_saving(rung, axis, pooled[i], times, factors[i]) for i, rung in enumerate(rungs)]


def difference(top: Saving, bottom: Saving) -> Saving:
    """lnS at the top less lnS at the bottom: variances add (Welch). Its `saving` has no meaning of its own."""
    reason = top.reason or bottom.reason
    if not (top.known and bottom.known):
        return Saving(top.axis, math.nan, math.nan, math.nan, min(top.pairs, bottom.pairs), reason=reason)
    variances = [(s.ln_speedup_se**2, s.dof) for s in (top, bottom)]
    return Saving(
        axis=top.axis,
        ln_speedup=top.ln_speedup - bottom.ln_speedup,
        ln_speedup_se=math.sqrt(sum(v for v, _ in variances)),
        dof=welch_dof(variances),
        pairs=min(top.pairs, bottom.pairs),
        pair_variance=top.pair_variance + bottom.pair_variance,
    )


@dataclass(frozen=True, slots=True)
class _Sums:
    """What the formulas need of a rung's arrays, summed once."""

    pairs: int
    difference: float
    difference_variance: float
    time_mean: float
    time_squares: float
    timings: int

    @classmethod
    def of(cls, differences: NDArray[np.float64], times: NDArray[np.float64] | None) -> "_Sums":
        mean, squares = _moments(differences)
        pairs = len(differences)
        time_mean, time_squares = (math.nan, 0.0) if times is None else _moments(times)
        variance = squares / (pairs - 1) if pairs > 1 else math.nan
        return cls(pairs, mean, variance, time_mean, time_squares, 0 if times is None else len(times))

    def spread(self, noise: Noise) -> PairSpread:
        tells = self.pairs > 1 and noise.sigma > 0
        return PairSpread(self.pairs, self.difference_variance / noise.sigma**2 if tells else None, noise.dof)


@dataclass(frozen=True, slots=True)
class _Times:
    variance: float
    dof: int


def _pooled_time(rungs: Sequence[RungPairs]) -> _Times:
    dof = sum(max(r._sums.timings - 1, 0) for r in rungs)
    squares = sum(r._sums.time_squares for r in rungs)
    return _Times(squares / dof if dof else math.nan, dof)


def _saving(rung: RungPairs, axis: Axis, pooled: PooledSpread, times: _Times | None, factor: float) -> Saving:
    slope, sums = rung.slope if factor == 1 else rung.slope.noisier(factor), rung._sums
    n, noise, b = sums.pairs, slope.noise, slope.curvature
    reason = _missing(rung, axis, times)
    if reason:
        return Saving(axis, math.nan, math.nan, math.nan, n, reason=reason)
    q = sums.difference / slope.kappa
    rest = 1 - b * q
    if rest < SMALLEST_REST:
        reason = "the gain is larger than the baseline's slope can turn into tokens"
        return Saving(axis, math.nan, math.nan, math.nan, n, out_of_range=True, reason=reason)
    ln_speedup = -math.log1p(-b * q) / b
    own = (n - 1) * sums.difference_variance if n > 1 else 0.0
    mixed = (own * factor**2 + POOLED_WEIGHT * pooled.ratio * noise.sigma**2) / (n - 1 + POOLED_WEIGHT)
    data = mixed / (rest * slope.kappa) ** 2
    by_kappa = q / rest * slope.kappa_se / slope.kappa
    by_curvature = (q / rest * (LN_2 / math.tanh(b * LN_2) - 1 / b) + (q / rest - ln_speedup) / b) * slope.curvature_se
    # One sigma stands behind both errors of the slope: their degrees of freedom do not add up.
    terms = [(data / n, pooled.dof), (by_kappa**2 + by_curvature**2, noise.dof)]
    pair_variance = data
    if axis == "flops" and rung.ln_flops_ratio is not None:
        ln_speedup -= rung.ln_flops_ratio
    elif times is not None:
        ln_speedup -= sums.time_mean
        terms.append((times.variance / sums.timings, times.dof))
        pair_variance += times.variance
    se = math.sqrt(sum(variance for variance, _ in terms))
    return Saving(axis, ln_speedup, se, welch_dof(terms), n, pair_variance=pair_variance)


def _missing(rung: RungPairs, axis: Axis, times: _Times | None) -> str:
    if not rung.slope.usable:
        return "the baseline's finished loss does not fall with tokens, so there is no slope"
    if axis == "flops" and rung.ln_flops_ratio is None:
        return "the arm's FLOPs per token were not counted"
    if axis == "seconds" and rung._sums.timings == 0:
        return "the arm was not timed against the baseline"
    if times is not None and times.dof == 0:
        return "the arm was timed only once a rung, so the spread of its timing is unknown"
    return ""


def _moments(values: NDArray[np.float64]) -> tuple[float, float]:
    # Plain sums: for the handful of pairs of a rung they are several times faster than numpy's reductions.
    items = values.tolist()
    mean = math.fsum(items) / len(items)
    return mean, math.fsum((item - mean) ** 2 for item in items)


def _array(values: ArrayLike, what: str) -> NDArray[np.float64]:
    array = np.atleast_1d(np.asarray(values, dtype=np.float64))
    if array.ndim != 1 or array.size == 0 or not all(map(math.isfinite, array.tolist())):
        raise InputError(f"The {what} of a rung's pairs must be a non-empty list of finite numbers.")
    return array
