"""Keep or drop a change on rung 0: calibrate, screen, confirm (docs/method.md, "Keep or drop").

A difference is always reference minus arm on one seed, in nats per token: positive is better. The reference is the mean
of the baseline and of placebos of it on that seed. Effects are read from confirmation pairs alone, on seeds that the
screening run did not use, and never against a best-so-far number.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from data.errors import ScaleproofError

Floats = NDArray[np.float64]
Decision = Literal["keep", "futile", "more", "unresolved"]

SCREEN_LIMIT = 0.55  # in standard deviations of a difference that means nothing
KEEP_LIMITS = {1: np.inf, 2: 5.0, 4: 4.2, 8: 2.8, 12: 2.2}
"""z of the confirmation pairs, by their number. One pair says nothing of an edit's own noise, two and four little."""
FUTILE_LIMITS = {1: 0.9, 2: 1.2, 4: 1.7, 8: 1.6, 12: 1.0}
"""z of the confirmation pairs and the screening pair together, by the number of the former."""
LOOKS = tuple(KEEP_LIMITS)
PLACEBO_FLOOR = 0.1  # in sigmas: a placebo that changes nothing at all must not make every difference significant
MOST_PRIOR_DOF = 7


@dataclass(frozen=True, slots=True)
class Calibration:
    """The noise of rung 0, in nats per token.

    sigma: standard deviation of a baseline's finished loss over seeds. placebo_sd: standard deviation of the difference
    of two runs on one seed that means nothing, at least a tenth of sigma. seeds: how many seeds both were measured on.
    references: runs, the baseline among them, whose mean a trial is compared with on each seed.
    """

    sigma: float
    placebo_sd: float
    seeds: int
    references: int = 1

    @property
    def difference_sd(self) -> float:
        """Standard deviation of one run minus the mean of the references on its seed, where that means nothing."""
        return float(self.placebo_sd * ((1 + 1 / self.references) / 2) ** 0.5)

    @property
    def dof(self) -> int:
        """Degrees of freedom of placebo_sd."""
        return (self.seeds - 1) * max(self.references - 1, 1)

    @property
    def prior_dof(self) -> int:
        """What the calibration counts for beside a trial's own spread.

        7 at most, however well it is known: edits differ in their noise (a moderated t, Smyth 2004, Statistical
        Applications in Genetics and Molecular Biology 3).
        """
        return min(self.dof, MOST_PRIOR_DOF)


class Looked(NamedTuple):
    """What n confirmation pairs of each of k trials say; every array is (k,).

    own_variance is that of a trial's differences (0 for one pair), sd of one difference with the calibration's pooled
    in, z of the mean difference, z_screened of the mean with the screening pair's.
    """

    effect: Floats
    own_variance: Floats
    sd: Floats
    z: Floats
    z_screened: Floats
    decision: NDArray[np.str_]


@dataclass(frozen=True, slots=True)
class Look:
    """What n confirmation pairs of one trial say; see `Looked`."""

    decision: Decision
    n: int
    effect: float
    own_variance: float
    sd: float
    z: float
    z_screened: float

    @property
    def low(self) -> float:
        """Lower end of the effect's 90 % interval, so far: not shrunk, and not corrected for the looks."""
        return self.effect - self._margin

    @property
    def high(self) -> float:
        """Upper end of the effect's 90 % interval, so far."""
        return self.effect + self._margin

    @property
    def _margin(self) -> float:
        # The calibration counts for as much as it can.
        return float(special.stdtrit(self.n - 1 + MOST_PRIOR_DOF, 0.95) * self.sd / self.n**0.5)


def references_for(trials: int) -> int:
    """Runs, the baseline among them, of every seed's reference: 2, from 100 trials 3, from 400 trials 4.

    Noise of the reference is shared by all trials, and dearer the more there are (Dunnett 1955, Journal of the American
    Statistical Association 50: a control wants more replicates than what is compared with it).
    """
    return 2 + (trials >= 100) + (trials >= 400)


def calibrate(baseline_losses: ArrayLike, placebo_losses: ArrayLike) -> Calibration:
    """Measure the noise from baselines (seeds,) and placebos (seeds,) or (seeds, placebos) on the same seeds.

    The noise of a run is what neither its seed nor its column explains. Raises ScaleproofError where a loss is not
    finite or where the seed changes nothing.
    """
    baseline = np.asarray(baseline_losses, dtype=np.float64)
    placebos = np.asarray(placebo_losses, dtype=np.float64)
    placebos = placebos[:, None] if placebos.ndim == 1 else placebos
    if baseline.ndim != 1 or placebos.ndim != 2 or placebos.shape[0] != baseline.size or baseline.size < 2:
        raise ValueError("calibration needs one baseline and at least one placebo loss for each of at least two seeds")
    if not (np.isfinite(baseline).all() and np.isfinite(placebos).all()):
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
    losses = np.column_stack([baseline, placebos])
    rest = losses - losses.mean(axis=1, keepdims=True)
    rest -= rest.mean(axis=0)
    dof = (baseline.size - 1) * placebos.shape[1]
    placebo_sd = float((2 * np.sum(rest**2) / dof) ** 0.5)
    return Calibration(sigma, max(placebo_sd, PLACEBO_FLOOR * sigma), baseline.size, losses.shape[1])


def screen(differences: ArrayLike, calibration: Calibration) -> NDArray[np.bool_]:
    """Whether trials go on to confirmation after their one screening pair, (k,); not where it is not finite."""
    values = np.asarray(differences, dtype=np.float64)
    return np.isfinite(values) & (values >= SCREEN_LIMIT * calibration.difference_sd)


def screen_reason(difference: float, calibration: Calibration) -> str:
    """One sentence for a trial that the screen dropped."""
    limit = SCREEN_LIMIT * calibration.difference_sd
    return (
        f"dropped at the screen: {difference:+.2g} nats per token against the baseline, below "
        f"{limit:+.2g}, which is {SCREEN_LIMIT:g} standard deviations of a placebo's difference"
    )


def judge(differences: ArrayLike, screens: ArrayLike, calibration: Calibration) -> Looked:
    """Look at the confirmation pairs so far of k trials: differences (k, n), n one of 1, 2, 4, 8, 12; screens (k,).

    keep: z >= 5, 4.2, 2.8, 2.2 at n = 2, 4, 8, 12, never at 1. Else futile: z with the screening pair < .9, 1.2, 1.7,
    1.6, 1. Else more, and unresolved at n = 12. The screening pair helps to stop, and enters no effect.

    Raises ValueError for another n, and for what is not finite.
    """
    values, screened = (np.asarray(one, dtype=np.float64) for one in (differences, screens))
    if values.ndim != 2 or values.shape[1] not in LOOKS:
        raise ValueError(
            f"confirmation is looked at after {', '.join(map(str, LOOKS))} pairs, not after {values.shape[-1]}"
        )
    if screened.shape != values.shape[:1] or not (np.isfinite(values).all() and np.isfinite(screened).all()):
        raise ValueError("every trial needs finite differences, and that of its screening pair")
    n = values.shape[1]
    effect = values.mean(axis=1)
    own = values.var(axis=1, ddof=1) if n > 1 else np.zeros(len(values))
    sd = pooled_sd(own, n, calibration.difference_sd, calibration.prior_dof)
    z = effect / (sd / n**0.5)
    z_screened = (n**0.5 * z + screened / calibration.difference_sd) / (n + 1) ** 0.5
    going = "unresolved" if n == LOOKS[-1] else "more"
    decision = np.where(z >= KEEP_LIMITS[n], "keep", np.where(z_screened < FUTILE_LIMITS[n], "futile", going))
    return Looked(effect, own, sd, z, z_screened, decision)


def confirm(differences: ArrayLike, screen_difference: float, calibration: Calibration) -> Look:
    """Look at one trial's confirmation pairs so far, differences (n,); see `judge`."""
    values = np.atleast_1d(np.asarray(differences, dtype=np.float64))
    seen = judge(values[None, :], [screen_difference], calibration)
    decision: Decision = seen.decision[0].item()
    numbers = (float(one[0]) for one in (seen.effect, seen.own_variance, seen.sd, seen.z, seen.z_screened))
    return Look(decision, values.size, *numbers)


def pooled_sd(own_variance: ArrayLike, pairs: ArrayLike, prior_sd: float, prior_dof: int) -> Floats:
    """Standard deviation of one difference: what is known of all, and the trial's own, pooled by degrees of freedom.

    sd^2 = (7 s^2 + (n-1) s_own^2)/(6 + n) for a prior of 7. The trial's own spread is in it because an edit may be
    noisier than the baseline; alone it would have too few degrees of freedom.
    """
    own_dof = np.asarray(pairs, dtype=np.float64) - 1
    total = prior_dof * prior_sd**2 + own_dof * np.asarray(own_variance, dtype=np.float64)
    return np.asarray(np.sqrt(total / (prior_dof + own_dof)))
