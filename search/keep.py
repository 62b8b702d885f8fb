"""Keep or drop a change on rung 0: calibrate, screen, confirm, finish (docs/method.md, "Keep or drop").

A difference is always baseline minus arm of one pair, in nats per token: positive is better. Effects are read from
confirmation pairs alone, on seeds that the screening run did not use, and never against a best-so-far number.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from data.errors import ScaleproofError
from search.shrinkage import effect_variance, shrink

LOOKS = (2, 4, 8)
PLACEBO_FLOOR = 0.1  # in sigmas: a placebo that changes nothing at all must not make every difference significant
SCREEN_LIMIT = -1.0  # in placebo standard deviations
KEEP_LIMIT = 2.8  # z at the last look; earlier looks ask for more, after O'Brien and Fleming (1979)
FUTILE_LIMITS = {2: -0.2, 4: 0.5, 8: 0.5}
FALSE_DISCOVERY_RATE = 0.1

Decision = Literal["keep", "futile", "more", "unresolved"]
FinalStatus = Literal["kept", "dropped", "unresolved"]


@dataclass(frozen=True, slots=True)
class Calibration:
    """The noise of rung 0, in nats per token.

    sigma: standard deviation of a baseline's finished loss over seeds. placebo_sd: standard deviation of a pair's
    difference that means nothing, at least a tenth of sigma. seeds: how many seeds both were measured on.
    """

    sigma: float
    placebo_sd: float
    seeds: int


@dataclass(frozen=True, slots=True)
class Look:
    """What n confirmation pairs say: mean difference, standard deviation of one difference, and z of the mean."""

    decision: Decision
    n: int
    effect: float
    sd: float
    z: float
    p_value: float


@dataclass(frozen=True, slots=True)
class Finish:
    """How a confirmed trial ended; effect is shrunk, effect_low and effect_high are its 90 % interval."""

    status: FinalStatus
    reason: str
    effect: float
    effect_low: float
    effect_high: float
    pairs: int
    z: float
    p_value: float
    q_value: float


def calibrate(baseline_losses: ArrayLike, placebo_losses: ArrayLike) -> Calibration:
    """Measure the noise from baselines (seeds,) and placebos (seeds,) that were run on the same seeds, in this order.

    Raises ScaleproofError where a loss is not finite or where the seed changes nothing.
    """
    baseline = np.asarray(baseline_losses, dtype=np.float64)
    placebo = np.asarray(placebo_losses, dtype=np.float64)
    if baseline.ndim != 1 or baseline.shape != placebo.shape or baseline.size < 2:
        raise ValueError("calibration needs one baseline and one placebo loss for each of at least two seeds")
    if not (np.isfinite(baseline).all() and np.isfinite(placebo).all()):
        raise ScaleproofError(
            "a calibration run ended without a finite loss: make the baseline recipe stable on rung 0 "
            "(a smaller learning rate, a longer warm-up) before searching"
        )
    sigma = float(baseline.std(ddof=1))
    if sigma == 0.0:
        raise ScaleproofError(
            "all calibration baselines ended at the same loss, so nothing can be told from noise: "
            "check that the recipe draws its weights from the seed"
        )
    placebo_sd = float((baseline - placebo).std(ddof=1))
    return Calibration(sigma, max(placebo_sd, PLACEBO_FLOOR * sigma), baseline.size)


def screen(difference: float, calibration: Calibration) -> bool:
    """Whether the trial goes on to confirmation after its one screening pair; one that is not finite never does."""
    return bool(np.isfinite(difference) and difference >= SCREEN_LIMIT * calibration.placebo_sd)


def screen_reason(difference: float, calibration: Calibration) -> str:
    """One sentence for a trial that the screen dropped."""
    return (
        f"dropped at the screen: worse than the baseline by {-difference:.2g} nats per token, "
        f"more than one placebo standard deviation ({calibration.placebo_sd:.2g})"
    )


def confirm(differences: ArrayLike, calibration: Calibration) -> Look:
    """Look at the confirmation pairs so far, differences (n,) with n one of 2, 4, 8.

    keep: z >= 2.8 / sqrt(n / 8), at any look. Else futile: z < -.2 at n = 2, z < .5 at n = 4 and n = 8.
    Else more at n = 2 and 4, and unresolved at n = 8 (.5 <= z < 2.8: neither a gain nor none).
    """
    values = _pairs(differences)
    n = values.size
    if n not in LOOKS:
        raise ValueError(f"confirmation is looked at after 2, 4 or 8 pairs, not {n}")
    effect = float(values.mean())
    sd = pooled_sd(values, calibration)
    z = effect / (sd / n**0.5)
    return Look(_decide(z, n), n, effect, sd, z, _upper_tail(z, n, calibration))


def pooled_sd(differences: ArrayLike, calibration: Calibration) -> float:
    """Standard deviation of one difference: the placebos' and the trial's own, pooled by degrees of freedom.

    sd^2 = (7 s_pl^2 + (n-1) s_own^2)/(6 + n) for 8 calibration seeds. The trial's own spread is in it because an edit
    may be noisier than the baseline; alone it would have too few degrees of freedom.
    """
    values = _pairs(differences)
    own_dof, placebo_dof = values.size - 1, calibration.seeds - 1
    total = placebo_dof * calibration.placebo_sd**2 + own_dof * float(values.var(ddof=1))
    return float((total / (placebo_dof + own_dof)) ** 0.5)


def p_value(differences: ArrayLike, calibration: Calibration) -> float:
    """One-sided p of "no gain": Student's t of the mean difference, with the pooled variance's degrees of freedom.

    These are (calibration seeds - 1) + (n - 1): 6 + n for 8 seeds.
    """
    values = _pairs(differences)
    z = float(values.mean()) / (pooled_sd(values, calibration) / values.size**0.5)
    return _upper_tail(z, values.size, calibration)


def benjamini_hochberg(p_values: ArrayLike) -> NDArray[np.float64]:
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
    search ended before 8 pairs), or it says keep and q > rate.
    """
    if not looks:
        return {}
    last = list(looks.values())
    q_values = benjamini_hochberg([look.p_value for look in last])
    tau2 = effect_variance([look.effect for look in last], [look.sd**2 / look.n for look in last])
    return {
        trial_id: _finish_one(look, float(q), tau2, calibration, rate)
        for (trial_id, look), q in zip(looks.items(), q_values, strict=True)
    }


def _finish_one(look: Look, q_value: float, tau2: float, calibration: Calibration, rate: float) -> Finish:
    status, reason = _status(look, q_value, rate)
    shrunk = shrink(look.effect, look.sd, look.n, tau2, _dof(look.n, calibration))
    return Finish(status, reason, shrunk.effect, shrunk.low, shrunk.high, look.n, look.z, look.p_value, q_value)


def _status(look: Look, q_value: float, rate: float) -> tuple[FinalStatus, str]:
    seen = f"z = {look.z:.2f} after {look.n} pairs"
    if look.decision == "keep" and q_value <= rate:
        return "kept", f"kept: {seen}, at least {_keep_limit(look.n):.2f}, and q = {q_value:.2g}"
    if look.decision == "keep":
        return (
            "unresolved",
            f"unresolved: {seen} is enough alone, but q = {q_value:.2g} over all trials is above {rate:g}",
        )
    if look.decision == "futile":
        return "dropped", f"dropped as futile: {seen}, below {FUTILE_LIMITS[look.n]:g}"
    if look.decision == "more":
        return "unresolved", f"unresolved: the search ended at {seen}, before {LOOKS[-1]} pairs"
    return "unresolved", f"unresolved: {seen}, between {FUTILE_LIMITS[look.n]:g} and {_keep_limit(look.n):g}"


def _decide(z: float, n: int) -> Decision:
    if z >= _keep_limit(n):
        return "keep"
    if z < FUTILE_LIMITS[n]:
        return "futile"
    return "unresolved" if n == LOOKS[-1] else "more"


def _upper_tail(z: float, n: int, calibration: Calibration) -> float:
    return float(special.stdtr(_dof(n, calibration), -z))


def _dof(n: int, calibration: Calibration) -> int:
    return (calibration.seeds - 1) + (n - 1)


def _keep_limit(n: int) -> float:
    return float(KEEP_LIMIT / (n / LOOKS[-1]) ** 0.5)


def _pairs(differences: ArrayLike) -> NDArray[np.float64]:
    values = np.asarray(differences, dtype=np.float64)
    if values.ndim != 1 or values.size < 2 or not np.isfinite(values).all():
        raise ValueError("confirmation needs at least two finite differences")
    return values
