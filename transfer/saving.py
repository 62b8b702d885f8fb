"""The saving of an arm at one rung: a number with its interval, or a bound on one side, and what follows from it.

lnS = ln(T/T_arm) is the natural logarithm of the speed-up to the baseline's finished loss at T: positive where the arm
is better; the saving is 1 - e^-lnS = 1 - T_arm/T. How it is measured: transfer/saving_estimate.py. Formulas, and what
failed before them: docs/method.md.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from data.errors import InputError
from transfer.crossing import ASSUMED_DOF
from transfer.student import quantile, upper_tail, welch_dof

Axis = Literal["tokens", "flops", "seconds"]

Method = Literal["crossing", "pairs", "baseline curve"]

LEVELS, BISECTIONS = (0.0, 1.0 - 1e-12), 50


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
