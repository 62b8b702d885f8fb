"""How many pairs a word needs, and the smallest saving that a plan can see. Formulas: docs/method.md.

The degrees of freedom of a plan with n pairs are 1/(1/(n+1) + 1/(n+4)): n+1 behind the differences, n+4 behind sigma.
"""

import math
from dataclasses import dataclass
from typing import Literal

from data.errors import InputError
from transfer.saving import saved
from transfer.student import quantile

Settling = Literal["transfers", "gains", "grows", "shrinks", "vanishes", "reverses", "harmful"]

ALPHA = 0.05
POWER = {
    "transfers": 0.90,
    "gains": 0.90,
    "grows": 0.90,
    "shrinks": 0.90,
    "vanishes": 0.95,
    "reverses": 0.90,
    "harmful": 0.90,
}
EQUIVALENCE_SHARE = 0.25
"""Of lnS at rung 0: a change within it, up or down, is called none (docs/method.md, "Words")."""
UNSEEN = 0.3
"""What slope, curvature and the choice of horizons add to the variance by pairs at a crossing, half of it each."""
MOST_PAIRS = 10_000


@dataclass(frozen=True, slots=True)
class Expected:
    """What a plan expects of an arm, in lnS: at the top rung and at rung 0, and the variance of one pair at each.

    `delta` is the smallest saving worth having in lnS; `findings` share the one-sided level `alpha` of the top rung.
    """

    top: float
    bottom: float
    top_variance: float
    bottom_variance: float
    delta: float
    findings: int = 1
    alpha: float = ALPHA


def pair_variance(sigma: float, kappa: float, correlation: float, s_time: float = 0.0) -> float:
    """Variance of lnS from one pair: sigma and kappa in nats, s_time the sd of ln(time ratio), 0 for tokens.

    What slope and curvature add to it is allowed for, by UNSEEN.
    """
    if not (kappa > 0 and sigma >= 0 and -1 <= correlation <= 1 and s_time >= 0):
        raise InputError("A plan needs kappa > 0, sigma >= 0, s_time >= 0 and a correlation between -1 and 1.")
    return (1 + UNSEEN) * 2 * sigma**2 * (1 - correlation) / kappa**2 + s_time**2


def pairs_needed(word: Settling, expected: Expected) -> int | None:
    """Pairs a rung that establish `word` with the chance in POWER; None where no number up to MOST_PAIRS does.

    grows and shrinks need the gain at the top and the difference to rung 0; vanishes must fit within +-delta, being 0;
    transfers needs the gain, and a difference within the margin.
    """
    if word == "vanishes":
        return pairs_for(expected.delta, expected.top_variance, alpha=expected.alpha, power=POWER[word])
    if word in ("reverses", "harmful"):
        return pairs_for(
            -expected.top, expected.top_variance, alpha=expected.alpha / expected.findings, power=POWER[word]
        )
    gain = pairs_for(expected.top, expected.top_variance, alpha=expected.alpha / expected.findings, power=POWER[word])
    if word == "gains":
        return gain
    both = expected.top_variance + expected.bottom_variance
    change = expected.top - expected.bottom
    if word == "transfers":
        # Both of its one-sided tests must pass, as for vanishes.
        within = margin_of(expected.bottom, expected.delta) - abs(change)
        trend = pairs_for(within, both, alpha=expected.alpha, power=POWER["vanishes"])
    else:
        change = change if word == "grows" else -change
        trend = pairs_for(change - expected.delta / 2, both, alpha=expected.alpha, power=POWER[word])
    return None if gain is None or trend is None else max(gain, trend)


def margin_of(ln_speedup: float, delta: float) -> float:
    """The change from rung 0 that counts as none, in lnS, from lnS at rung 0; `delta` where that is unknown."""
    return max(delta, EQUIVALENCE_SHARE * ln_speedup) if math.isfinite(ln_speedup) else delta


def pairs_for(effect: float, variance: float, *, alpha: float, power: float, fixed_variance: float = 0.0) -> int | None:
    """Smallest n >= 2 with n >= variance (t_{1-alpha} + t_power)^2/effect^2; None where MOST_PAIRS are not enough.

    `fixed_variance` is what more pairs do not shrink (slope and curvature of the baseline).
    """
    if not effect > 0 or not math.isfinite(variance):
        return None

    def enough(pairs: int) -> bool:
        reach = quantile(1 - alpha, planned_dof(pairs)) + quantile(power, planned_dof(pairs))
        return (variance / pairs + fixed_variance) * reach**2 <= effect**2

    if not enough(MOST_PAIRS):
        return None
    low, high = 1, 2
    while not enough(high):
        low, high = high, min(2 * high, MOST_PAIRS)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def smallest_visible_saving(
    *, sigma: float, kappa: float, s_time: float, pairs: int, correlation: float, alpha: float, power: float
) -> float:
    """The smallest saving (a fraction) that `pairs` pairs establish at level `alpha` with chance `power`."""
    if pairs < 1:
        raise InputError("A plan needs at least one pair.")
    reach = quantile(1 - alpha, planned_dof(pairs)) + quantile(power, planned_dof(pairs))
    return saved(reach * math.sqrt(pair_variance(sigma, kappa, correlation, s_time) / pairs))


def planned_dof(pairs: int) -> float:
    """Degrees of freedom that a rung with `pairs` pairs will have."""
    return 1 / (1 / (pairs + 1) + 1 / (pairs + 4))
