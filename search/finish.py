"""The end of a search: the noise that its trials showed, false-discovery control, shrunk effects."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from search.keep import FUTILE_LIMITS, KEEP_LIMITS, LOOKS, Calibration, Look, pooled_sd
from search.shrinkage import Shrunk, shrink

Floats = NDArray[np.float64]
FinalStatus = Literal["kept", "dropped", "unresolved"]

FALSE_DISCOVERY_RATE = 0.12


class Ends(NamedTuple):
    """How the confirmed trials of a search ended, (k,) each; z, p and q take the noise of the whole search."""

    z: Floats
    p_value: Floats
    q_value: Floats
    shrunk: Shrunk


@dataclass(frozen=True, slots=True)
class Finish:
    """How one confirmed trial ended; effect is shrunk, effect_low and effect_high are its 90 % interval.

    z, p_value and q_value take the noise that the whole search showed; the reason tells z as it was looked at.
    """

    status: FinalStatus
    reason: str
    effect: float
    effect_low: float
    effect_high: float
    pairs: int
    z: float
    p_value: float
    q_value: float


def end(effects: ArrayLike, own_variances: ArrayLike, pairs: ArrayLike, calibration: Calibration) -> Ends:
    """End a search, from the mean difference, its spread and the number of pairs at the last look of each trial, (k,).

    p is one-sided, Student's with the prior's and n-1 degrees of freedom; q is over all that reached confirmation.
    """
    d, own, n = (np.asarray(one, dtype=np.float64) for one in (effects, own_variances, pairs))
    error = pooled_sd(own, n, noise_shown(own, n, calibration), calibration.prior_dof) / np.sqrt(n)
    dof = calibration.prior_dof + n - 1
    z = d / error
    p_value = np.asarray(special.stdtr(dof, -z))
    return Ends(z, p_value, benjamini_hochberg(p_value), shrink(d, error, dof))


def noise_shown(own_variances: ArrayLike, pairs: ArrayLike, calibration: Calibration) -> float:
    """Standard deviation of a difference, as placebos and trials have it together; never less than the placebos'.

    The trials' is the median of their own variances, each as a share of its chi-squared median, so that one wild edit
    does not blur all others. Both are pooled by degrees of freedom.
    """
    own, n = np.asarray(own_variances, dtype=np.float64), np.asarray(pairs, dtype=np.float64)
    placebo = calibration.difference_sd**2
    several = n > 1
    if not several.any():
        return calibration.difference_sd
    own_dof = n[several] - 1
    typical = float(np.median(own[several] * own_dof / special.chdtri(own_dof, 0.5)))
    pooled = (calibration.dof * placebo + own_dof.sum() * typical) / (calibration.dof + own_dof.sum())
    return float(max(pooled, placebo) ** 0.5)


def benjamini_hochberg(p_values: ArrayLike) -> Floats:
    """q-values (k,) of p-values (k,): the smallest false discovery rate at which each would be called.

    Benjamini and Hochberg (1995), step-up; call those with q <= rate.
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p)[::-1]
    scaled = p[order] * p.size / np.arange(p.size, 0, -1)
    q = np.empty_like(p)
    q[order] = np.minimum(np.minimum.accumulate(scaled), 1.0)
    return q


def finish(
    looks: Mapping[str, Look], calibration: Calibration, rate: float = FALSE_DISCOVERY_RATE
) -> dict[str, Finish]:
    """End a search: status, reason, shrunk effect and q-value of every trial that reached confirmation.

    looks holds the last look of each, by trial id, placebos too: the rate is over all that reached confirmation.
    kept: the last look says keep and q <= rate. dropped: it says futile. unresolved: it says unresolved or more (the
    search ended before 12 pairs), or it says keep and q > rate.
    """
    last = list(looks.values())
    ends = end([x.effect for x in last], [x.own_variance for x in last], [x.n for x in last], calibration)
    finished = {}
    for place, (trial_id, look) in enumerate(looks.items()):
        z, p, q, effect, low, high = (float(one[place]) for one in (*ends[:3], *ends.shrunk))
        status, reason = _status(look, q, rate)
        finished[trial_id] = Finish(status, reason, effect, low, high, look.n, z, p, q)
    return finished


def _status(look: Look, q_value: float, rate: float) -> tuple[FinalStatus, str]:
    seen = f"z = {look.z:.2f} after {look.n} {'pair' if look.n == 1 else 'pairs'}"
    with_screen = f"{seen}, {look.z_screened:.2f} with the screening pair"
    if look.decision == "keep" and q_value <= rate:
        return "kept", f"kept: {seen}, at least {KEEP_LIMITS[look.n]:.2f}, and q = {q_value:.2g}"
    if look.decision == "keep":
        return (
            "unresolved",
            f"unresolved: {seen} is enough alone, but q = {q_value:.2g} over all trials is above {rate:g}",
        )
    if look.decision == "futile":
        return "dropped", f"dropped as futile: {with_screen}, below {FUTILE_LIMITS[look.n]:g}"
    if look.decision == "more":
        return "unresolved", f"unresolved: the search ended at {seen}, before {LOOKS[-1]} pairs"
    return "unresolved", f"unresolved: {seen}, below {KEEP_LIMITS[look.n]:g}, yet not futile"
