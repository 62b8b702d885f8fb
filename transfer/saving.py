"""From paired finished losses to the saving and its interval, rung by rung up a ladder.

lnS = ln(T/T_arm) is the natural logarithm of the speed-up to the baseline's finished loss at T: positive where the arm
is better; the saving is 1 - e^-lnS = 1 - T_arm/T. Where the arm crosses: transfer/crossing.py. Formulas, and what
failed before them: docs/method.md.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from data.errors import InputError
from transfer.crossing import SHARED, fit_crossings
from transfer.pair_variance import POOLED_WEIGHT, PairSpread, PooledSpread, pooled_spreads
from transfer.slope import Noise, Slope
from transfer.student import quantile, upper_tail, welch_dof
from transfer.timing import TimeRatio, time_ratios

Axis = Literal["tokens", "flops", "seconds"]

Method = Literal["crossing", "pairs", "baseline curve"]

MAX_SHORTENING = math.log(8)
"""The shortest horizon that an arm is run on, as ln(T/horizon); one that has not crossed there saves 'at least' 7/8."""
NEARBY = 0.2
"""Pairs on a horizon so near the crossing, in ln tokens, count as pairs there."""
MAX_DISTANCE = 0.5
"""Between the crossing and the nearest horizon that was run, in ln tokens: beyond it no number is given."""
UNSEEN_SLOPE_SHARE = 1.0
"""A loss whose error by slope and curvature exceeds so many times that of pairs and text is given as 'at least'.

Not where it is significant: of an arm that truly loses, only the luckiest runs would then have numbers.
"""
BOUND_TOLERANCE = 0.15
"""Horizons are whole steps, so that the shortest is MAX_SHORTENING but for so much."""
LEVELS, BISECTIONS = (0.0, 1.0 - 1e-12), 50
ASSUMED_DOF = 30.0
"""Degrees of freedom of the errors that come from priors: their constants were settled on a few dozen curves."""


@dataclass(frozen=True, slots=True, eq=False)
class PairsAt:
    """Finished losses (pairs,) of an arm on T e^-`ln_shortening` tokens, and of the baseline on T, of the same seeds.

    `text_variance`: variance of the mean difference by the choice of the held-out text, in squared nats, with its
    degrees of freedom; all pairs share that text, so that more pairs do not lower it. `first`: the first of their
    seeds, numbered within the rung; the others follow it.
    """

    ln_shortening: float
    baseline: NDArray[np.float64]
    arm: NDArray[np.float64]
    text_variance: float = 0.0
    text_dof: float = math.inf
    first: int = 0

    def __post_init__(self) -> None:
        """Raise InputError where the losses are unpaired, empty or not finite."""
        baseline, arm = _array(self.baseline, "losses"), _array(self.arm, "losses")
        if baseline.shape != arm.shape:
            raise InputError(f"Pairs need one arm run per baseline run, got {len(arm)} and {len(baseline)}.")
        object.__setattr__(self, "baseline", baseline)
        object.__setattr__(self, "arm", arm)

    @property
    def pairs(self) -> int:
        """Their number."""
        return len(self.arm)

    @property
    def seeds(self) -> range:
        """The seeds of the pairs, numbered within the rung."""
        return range(self.first, self.first + len(self.arm))

    @property
    def differences(self) -> NDArray[np.float64]:
        """Baseline less arm (pairs,), in nats: positive where the arm ends lower although it was shortened."""
        return self.baseline - self.arm


@dataclass(frozen=True, slots=True, eq=False)
class RungPairs:
    """All that is known of one arm at one rung: the baseline's slope at T, and the arm's pairs by horizon.

    `ln_time_ratios` (blocks,): ln(seconds per token, arm / baseline) of each timed block; `ln_flops_ratio`: the same of
    FLOPs per token, counted, so without error. None where unknown; the axis that needs it then gives no number.
    """

    slope: Slope
    points: tuple[PairsAt, ...]
    ln_time_ratios: NDArray[np.float64] | None = None
    ln_flops_ratio: float | None = None
    _sums: "_Sums" = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Sum the points up. Raises InputError where there is none, or a time ratio is not finite."""
        if not self.points:
            raise InputError("An arm needs pairs on at least one horizon.")
        times = None if self.ln_time_ratios is None else _array(self.ln_time_ratios, "time ratios")
        object.__setattr__(self, "ln_time_ratios", times)
        object.__setattr__(self, "_sums", _Sums.of(self.points))

    @classmethod
    def at_horizon(
        cls,
        slope: Slope,
        baseline: ArrayLike,
        arm: ArrayLike,
        ln_time_ratios: ArrayLike | None = None,
        ln_flops_ratio: float | None = None,
    ) -> "RungPairs":
        """Pairs at T alone, each array of shape (pairs,)."""
        times = None if ln_time_ratios is None else np.asarray(ln_time_ratios, dtype=np.float64)
        return cls(slope, (PairsAt(0.0, np.asarray(baseline), np.asarray(arm)),), times, ln_flops_ratio)

    @property
    def pairs(self) -> int:
        """Seeds that the arm was paired on, on whatever horizon."""
        return len(set().union(*(point.seeds for point in self.points)))

    def with_point(self, point: PairsAt) -> "RungPairs":
        """The same with pairs on one more horizon, in the place of those that it had there."""
        others = tuple(one for one in self.points if one.ln_shortening != point.ln_shortening)
        return replace(self, points=(*others, point))


@dataclass(frozen=True, slots=True)
class Afar:
    """How a saving was read from a horizon that the arm has not crossed yet.

    `origin`: lnS of an arm that crosses at that horizon. `measured_se`: the error by pairs, text and clock, with its
    degrees of freedom; `doubt`: what slope and curvature may be off by, as a share of the distance.
    """

    origin: float
    measured_se: float
    dof: float
    doubt: float

    def nearer(self, centre: float, level: float) -> float:
        """The one-sided bound between `origin` and `centre`; beyond `origin` where the gap there is not clear of 0.

        Slope and curvature are a factor of the distance: they cannot turn a gap into none.
        """
        distance = abs(centre - self.origin)
        clear = distance - quantile(level, self.dof) * self.measured_se
        if clear > 0:
            doubt = quantile(level, ASSUMED_DOF) * self.doubt
            clear = distance * math.exp(-math.hypot(math.log(distance / clear), doubt))
        return self.origin + math.copysign(1.0, centre - self.origin) * clear


@dataclass(frozen=True, slots=True)
class Saving:
    """lnS with its standard error and degrees of freedom.

    `pair_variance` is the part of the variance that falls with pairs, for one pair. Where no number can be given
    ln_speedup is nan and `reason` says why. `at_least`: the arm did not cross on the horizons that it was run on, so
    that it is known only to gain, or to lose, so much; its bounds are then taken from `centre`, and a gain is claimed
    up to `ceiling` alone. `afar`: how it was read from pairs at some distance.
    """

    axis: Axis
    ln_speedup: float
    ln_speedup_se: float
    dof: float
    pairs: int
    pair_variance: float = math.nan
    reason: str = ""
    at_least: Literal["", "gain", "loss"] = ""
    centre: float = math.nan
    ceiling: float = math.inf
    afar: Afar | None = None
    method: Method = "pairs"
    horizons: int = 1

    @property
    def known(self) -> bool:
        """Whether there is a number."""
        return math.isfinite(self.ln_speedup) and math.isfinite(self.ln_speedup_se)

    @property
    def bounded(self) -> bool:
        """Whether anything is known: a number, or a bound on one side."""
        return self.known or (self.at_least != "" and math.isfinite(self.centre))

    @property
    def bound(self) -> float:
        """The lnS that an arm gains at least, or loses at least (then below 0): one-sided 95 %; else nan."""
        return {"gain": self.low, "loss": self.high}.get(self.at_least, math.nan)

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
        """1 - T_arm/T."""
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
        if not self.known and self.at_least != "gain":
            return 1.0
        if self.ln_speedup_se == 0:
            return 0.0 if self.middle > 0 else 1.0
        if self.afar is None or self.afar.origin > self.middle:
            return upper_tail(self.middle / self.ln_speedup_se, self.dof)
        return _tail(lambda level: self.lower(level) > 0)

    @property
    def p_worse(self) -> float:
        """One-sided p-value of "the arm is no worse than the baseline"; 1 where there is no number."""
        if not self.known and self.at_least != "loss":
            return 1.0
        if self.ln_speedup_se == 0:
            return 0.0 if self.middle < 0 else 1.0
        if self.afar is None or self.afar.origin < self.middle:
            return upper_tail(-self.middle / self.ln_speedup_se, self.dof)
        return _tail(lambda level: self.upper(level) < 0)

    def lower(self, level: float) -> float:
        """One-sided lower bound of lnS at `level` (.8 for 80 %); -inf where only a loss's bound is known."""
        if self.at_least == "loss":
            return -math.inf
        if not self.bounded:
            return math.nan
        if self.afar is not None and self.afar.origin < self.middle:
            return min(self.afar.nearer(self.middle, level), self.ceiling)
        return min(self.middle - quantile(level, self.dof) * self.ln_speedup_se, self.ceiling)

    def upper(self, level: float) -> float:
        """One-sided upper bound of lnS at `level`; inf where only a gain's bound is known."""
        if self.at_least == "gain":
            return math.inf
        if not self.bounded:
            return math.nan
        if self.afar is not None and self.afar.origin > self.middle:
            return self.afar.nearer(self.middle, level)
        return self.middle + quantile(level, self.dof) * self.ln_speedup_se

    @property
    def middle(self) -> float:
        """lnS, or what the bounds of one that has no number are taken from."""
        return self.centre if self.at_least else self.ln_speedup


def _tail(clear: Callable[[float], bool]) -> float:
    """1 less the highest level at which a bound is clear of 0."""
    low, high = LEVELS
    for _ in range(BISECTIONS):
        level = (low + high) / 2
        low, high = (level, high) if clear(level) else (low, level)
    return 1 - low


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
    return savings_of_arms([rungs], axis, noise_factors=[noise_factors])[0]


def savings_of_arms(
    arms: Sequence[Sequence[RungPairs]], axis: Axis, *, noise_factors: Sequence[Sequence[float]] = ()
) -> list[list[Saving]]:
    """`savings_up_the_ladder` of many arms, each pooled over its own rungs: one fit for all takes far less time."""
    factors = [list(one) for one in noise_factors] or [[] for _ in arms]
    asked = [
        _Asked(rung, spread, factor)
        for rungs, own in zip(arms, factors, strict=True)
        for rung, spread, factor in zip(rungs, _pooled(rungs), own or [1.0] * len(rungs), strict=True)
    ]
    crossings = iter(_crossings(asked))
    savings = []
    for rungs in arms:
        known = [() if rung.ln_time_ratios is None else rung.ln_time_ratios for rung in rungs]
        times = time_ratios(known) if axis == "seconds" else [None] * len(rungs)
        savings.append([_saving(rung, axis, next(crossings), time) for rung, time in zip(rungs, times, strict=True)])
    return savings


def difference(top: Saving, bottom: Saving) -> Saving:
    """lnS at the top less lnS at the bottom: variances add (Welch). Its `saving` has no meaning of its own.

    Where one of them is known to exceed a bound only, so is the difference; where both are, nothing is known of it.
    """
    pairs, reason = min(top.pairs, bottom.pairs), top.reason or bottom.reason
    if not (top.bounded and bottom.bounded) or not (top.known or bottom.known):
        return Saving(top.axis, math.nan, math.nan, math.nan, pairs, reason=reason)
    variances = [(s.ln_speedup_se**2, s.dof) for s in (top, bottom)]
    apart = Saving(
        axis=top.axis,
        ln_speedup=top.middle - bottom.middle,
        ln_speedup_se=math.sqrt(sum(v for v, _ in variances)),
        dof=welch_dof(variances),
        pairs=pairs,
        pair_variance=top.pair_variance + bottom.pair_variance,
    )
    if top.known and bottom.known:
        return apart
    above = top.at_least == "gain" or bottom.at_least == "loss"
    known_to = top.ceiling - bottom.middle if top.at_least == "gain" else math.inf
    known_from = top.middle - bottom.ceiling if bottom.at_least == "gain" else -math.inf
    return replace(
        apart,
        ln_speedup=math.nan,
        at_least="gain" if above else "loss",
        centre=max(min(apart.ln_speedup, known_to), known_from),
        reason=reason,
    )


@dataclass(frozen=True, slots=True)
class _Sums:
    """What the formulas need of a rung's points (horizons,), summed once."""

    shortenings: NDArray[np.float64]
    gaps: NDArray[np.float64]
    pairs: NDArray[np.float64]
    first: NDArray[np.float64]
    variance: float
    dof: float

    @classmethod
    def of(cls, points: Sequence[PairsAt]) -> "_Sums":
        moments = [_moments(point.differences) for point in points]
        free = sum(point.pairs - 1 for point in points)
        # Differences on two horizons and one seed share the baseline's run, so that their squares tell less than two.
        again = sum(
            max(_common(one, other) - 1, 0) for i, one in enumerate(points) for j, other in enumerate(points) if i != j
        )
        dof = free**2 / (free + SHARED**2 * again) if free else 0.0
        return cls(
            np.array([point.ln_shortening for point in points]),
            np.array([mean for mean, _ in moments]),
            np.array([float(point.pairs) for point in points]),
            np.array([float(point.first) for point in points]),
            sum(squares for _, squares in moments) / free if free else math.nan,
            dof,
        )

    def spread(self, noise: Noise) -> PairSpread:
        tells = self.dof > 0 and noise.sigma > 0
        return PairSpread(self.dof + 1, self.variance / noise.sigma**2 if tells else None, noise.dof)


@dataclass(frozen=True, slots=True)
class Crossing:
    """Where one arm crosses at one rung, in tokens: ln(T/T_arm), and the variances behind it.

    `noise` by the scatter of pairs, `text` by the held-out text, `assumed` by slope, curvature and the law's misfit;
    `nearest`: the horizon next to it. `slope` is the arm's own there, in nats per e-fold; `pair_variance`: of lnS by
    one pair there.
    """

    shortening: float
    noise: float
    text: float
    assumed: float
    slope: float
    dof: float
    nearest: PairsAt
    pair_variance: float
    text_dof: float

    @property
    def terms(self) -> list[tuple[float, float]]:
        """Each variance with its degrees of freedom."""
        return [(self.noise, self.dof), (self.text, self.text_dof), (self.assumed, ASSUMED_DOF)]


def crossings_up_the_ladder(rungs: Sequence[RungPairs]) -> list[Crossing | None]:
    """Where one arm crosses at each rung, lowest first; None where the baseline has no slope."""
    return _crossings([_Asked(rung, spread, 1.0) for rung, spread in zip(rungs, _pooled(rungs), strict=True)])


def last_crossings(arms: Sequence[Sequence[RungPairs]]) -> list[Crossing | None]:
    """Where each of many arms crosses at its last rung, what pairing gains being pooled over its rungs."""
    return _crossings([_Asked(rungs[-1], _pooled(rungs)[-1], 1.0) for rungs in arms])


@dataclass(frozen=True, slots=True)
class _Asked:
    """One arm at one rung, what pairing gains there, and how many times noisier its runs are supposed to be."""

    rung: RungPairs
    pooled: PooledSpread
    factor: float

    @property
    def slope(self) -> Slope:
        return self.rung.slope if self.factor == 1 else self.rung.slope.noisier(self.factor)

    @property
    def pair_variance(self) -> float:
        """Variance of one pair's difference, in squared nats: the rung's own, mixed with the ladder's."""
        sums, borrowed = self.rung._sums, POOLED_WEIGHT * self.pooled.ratio * self.slope.noise.sigma**2
        own = sums.dof * sums.variance * self.factor**2 if sums.dof else 0.0
        return (own + borrowed) / (sums.dof + POOLED_WEIGHT)


def _pooled(rungs: Sequence[RungPairs]) -> list[PooledSpread]:
    return pooled_spreads([rung._sums.spread(rung.slope.noise) for rung in rungs])


def _crossings(asked: Sequence[_Asked]) -> list[Crossing | None]:
    """Where each crosses, by one fit for all; None where the baseline has no slope."""
    usable = [one for one in asked if one.slope.usable]
    if not usable:
        return [None] * len(asked)
    width = max(len(one.rung.points) for one in usable)
    table = np.full((4, len(usable), width), np.nan)
    for row, one in enumerate(usable):
        sums = one.rung._sums
        table[:, row, : len(sums.gaps)] = sums.shortenings, sums.gaps, sums.pairs, sums.first
    found = fit_crossings(
        table[0],
        table[1],
        np.nan_to_num(table[2]),
        first=np.nan_to_num(table[3]),
        pair_variance=np.array([one.pair_variance for one in usable]),
        slope=np.array([one.slope.kappa for one in usable]),
        slope_error=np.array([one.slope.kappa_se for one in usable]),
        curvature=np.array([one.slope.curvature for one in usable]),
        curvature_error=np.array([one.slope.curvature_se for one in usable]),
    )
    made = iter(
        _made(one, *(float(column[row]) for column in (found.shortening, found.noise, found.assumed, found.slope)))
        for row, one in enumerate(usable)
    )
    return [next(made) if one.slope.usable else None for one in asked]


def _made(one: _Asked, shortening: float, noise: float, assumed: float, slope: float) -> Crossing:
    nearest = min(one.rung.points, key=lambda point: abs(point.ln_shortening - shortening))
    near = [point for point in one.rung.points if abs(point.ln_shortening - shortening) <= NEARBY] or [nearest]
    told = max(near, key=lambda point: point.pairs)
    return Crossing(
        shortening,
        noise,
        told.text_variance * one.factor**2 / slope**2,
        assumed,
        slope,
        dof=one.pooled.dof,
        nearest=nearest,
        pair_variance=noise * len(set().union(*(point.seeds for point in near))),
        text_dof=told.text_dof,
    )


def _saving(rung: RungPairs, axis: Axis, crossing: Crossing | None, time: TimeRatio | None) -> Saving:
    pairs, horizons = rung.pairs, len(rung.points)
    reason = _missing(rung, axis, time)
    if reason or crossing is None:
        return Saving(axis, math.nan, math.nan, math.nan, pairs, reason=reason, horizons=horizons)
    shift = 0.0
    terms = crossing.terms
    if axis == "flops" and rung.ln_flops_ratio is not None:
        shift = rung.ln_flops_ratio
    elif time is not None:
        shift = time.mean
        terms.append((time.variance, time.dof))
    measured = [terms[0], terms[1], *terms[3:]]
    distance = crossing.shortening - crossing.nearest.ln_shortening
    afar = None
    if distance and crossing.assumed > crossing.noise + crossing.text:
        afar = Afar(
            origin=crossing.nearest.ln_shortening - shift,
            measured_se=math.sqrt(sum(variance for variance, _ in measured)),
            dof=welch_dof(measured),
            doubt=math.sqrt(crossing.assumed) / abs(distance),
        )
    saving = Saving(
        axis=axis,
        ln_speedup=crossing.shortening - shift,
        ln_speedup_se=math.sqrt(sum(variance for variance, _ in terms)),
        dof=welch_dof(terms),
        pairs=pairs,
        pair_variance=crossing.pair_variance,
        afar=afar,
        method="crossing" if horizons > 1 or crossing.nearest.ln_shortening != 0 else "pairs",
        horizons=horizons,
    )
    return _within_reach(saving, rung, crossing, shift)


def _within_reach(saving: Saving, rung: RungPairs, crossing: Crossing, shift: float) -> Saving:
    """The saving; 'at least' where the arm crosses beyond the horizons that it was run on."""
    shortest = max(point.ln_shortening for point in rung.points)
    longest = min(point.ln_shortening for point in rung.points)
    at_bound = shortest >= MAX_SHORTENING - BOUND_TOLERANCE
    if crossing.shortening > (shortest if at_bound else shortest + MAX_DISTANCE):
        ceiling = (shortest if at_bound else MAX_SHORTENING) - shift
        return replace(saving, ln_speedup=math.nan, at_least="gain", centre=saving.ln_speedup, ceiling=ceiling)
    unseen = crossing.assumed > UNSEEN_SLOPE_SHARE * (crossing.noise + crossing.text)
    beyond = crossing.shortening < min(longest, 0.0)
    # On another axis an arm that needs more tokens may still save: then its interval says so, as wide as it is.
    if beyond and saving.high < 0 and (unseen or crossing.shortening < longest - MAX_DISTANCE):
        return replace(saving, ln_speedup=math.nan, at_least="loss", centre=saving.ln_speedup)
    return saving


def _missing(rung: RungPairs, axis: Axis, time: TimeRatio | None) -> str:
    if not rung.slope.usable:
        return "the baseline's finished loss does not fall with tokens, so there is no slope"
    if axis == "flops" and rung.ln_flops_ratio is None:
        return "the arm's FLOPs per token were not counted"
    if axis == "seconds" and (time is None or not math.isfinite(time.mean)):
        return "the arm was not timed against the baseline"
    if time is not None and not math.isfinite(time.variance):
        return "the arm was timed only once a rung, so the spread of its timing is unknown"
    return ""


def _common(one: PairsAt, other: PairsAt) -> int:
    """Seeds that both have."""
    return len(range(max(one.first, other.first), min(one.seeds.stop, other.seeds.stop)))


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
