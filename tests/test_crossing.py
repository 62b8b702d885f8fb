"""The local fit: exact without noise, honest where horizons are few, and its intervals cover on curves of any shape."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from transfer.bent_line import PRIOR_CURVATURE
from transfer.crossing_fit import CURVATURE_DIFFERS, SLOPE_RATIO_SD, Crossings, fit_crossings

Floats = NDArray[np.float64]

KAPPA = 0.4
QUIET = 1e-14


def drop(x: Floats | float, curvature: float) -> Floats:
    """How far the loss falls over x ln tokens, in units of the slope where x is 0."""
    x = np.asarray(x, dtype=np.float64)
    return x if curvature == 0 else -np.expm1(-curvature * x) / curvature


def fitted(
    shortenings: Sequence[float],
    gaps: Sequence[float],
    *,
    pairs: Sequence[float] | None = None,
    variance: float = QUIET,
    slope: float = KAPPA,
    slope_error: float = 0.02,
    curvature: float = PRIOR_CURVATURE,
    curvature_error: float = 0.4,
    first: Sequence[float] | None = None,
) -> Crossings:
    """One arm alone."""
    counts = np.ones(len(gaps)) * 4 if pairs is None else np.asarray(pairs, dtype=np.float64)
    return fit_crossings(
        np.array([shortenings]),
        np.array([gaps]),
        counts[None],
        first=None if first is None else np.array([first]),
        pair_variance=np.array([variance]),
        slope=np.array([slope]),
        slope_error=np.array([slope_error]),
        curvature=np.array([curvature]),
        curvature_error=np.array([curvature_error]),
    )


def total(found: Crossings) -> float:
    """Standard error by all that is uncertain."""
    return math.sqrt(float(found.noise[0] + found.assumed[0]))


@given(st.floats(-0.1, 1.2), st.sampled_from([-1.0, 0.0, 0.3, 1.5]), st.floats(0.5, 2), st.floats(0.1, 0.4))
def test_a_horizon_at_the_crossing_gives_it_whatever_the_curve(
    truth: float, curvature: float, steepness: float, away: float
) -> None:
    # The arm's own slope may be half or twice the baseline's.
    shortenings = [0.0, truth, truth + away]
    found = fitted(shortenings, [KAPPA * steepness * float(drop(truth - g, curvature)) for g in shortenings])
    assert found.shortening[0] == pytest.approx(truth, abs=1e-4)
    assert total(found) < 1e-3


@pytest.mark.parametrize("truth", [0.2, 0.7, 1.2])
@pytest.mark.parametrize("curvature", [-1.0, 0.0, 0.3, 1.5])
def test_horizons_on_both_sides_leave_an_error_of_second_order(curvature: float, truth: float) -> None:
    # Between x = .15 before and .1 beyond, a curvature of b where .3 is expected shifts it by (b - .3) x_1 x_2/2.
    second_order = 1.02 * abs(curvature - 0.3) * 0.15 * 0.1 / 2
    for shortenings in ([truth - 0.15, truth + 0.1], [0.0, truth - 0.15, truth + 0.1]):
        found = fitted(shortenings, [KAPPA * float(drop(truth - g, curvature)) for g in shortenings])
        assert abs(found.shortening[0] - truth) < second_order + 1e-6
        # That is as many standard errors as the curvature lies off what is expected, in units of .5, or fewer.
        assert abs(found.shortening[0] - truth) < abs(curvature - 0.3) / 0.5 * total(found) + 1e-6


@given(st.floats(-0.1, 0.5))
def test_one_horizon_follows_the_baselines_curve(truth: float) -> None:
    for curvature in (-0.4, PRIOR_CURVATURE):
        found = fitted([0.0], [KAPPA * float(drop(truth, curvature))], curvature=curvature)
        assert found.shortening[0] == pytest.approx(truth, abs=1e-6)
    found = fitted([0.0], [KAPPA * float(drop(truth, PRIOR_CURVATURE))])
    assert found.shortening[0] == pytest.approx(truth, abs=1e-6)
    # The baseline's slope is that at the arm's own crossing: where an arm acts as so many times the tokens.
    assert found.slope[0] == pytest.approx(KAPPA)


def test_the_error_of_one_horizon_by_hand() -> None:
    # A gap of .1 nats at T with 4 pairs of variance .0004; kappa .4 +- .02.
    found = fitted([0.0], [0.1], variance=0.0004)
    rest = 1 - 0.3 * 0.1 / 0.4
    g = -math.log(rest) / 0.3
    q = 0.1 / 0.4
    assert found.shortening[0] == pytest.approx(g)
    assert found.noise[0] == pytest.approx(0.0004 / 4 / (0.4 * rest) ** 2)
    by_slope = (q / rest) ** 2 * (SLOPE_RATIO_SD**2 + 0.05**2)
    spread = math.hypot(CURVATURE_DIFFERS, 0.4)
    by_curvature = ((g * rest - q) / PRIOR_CURVATURE / rest * spread) ** 2
    by_law = (0.1 * g**2 / rest) ** 2
    assert found.assumed[0] == pytest.approx(by_slope + by_curvature + by_law)


@pytest.mark.parametrize(("steepness", "curvature"), [(0.75, 0.3), (1.3, 0.3), (1.0, -0.4), (1.0, 1.0)])
def test_one_horizon_admits_every_slope_and_curvature_that_is_likely(steepness: float, curvature: float) -> None:
    # Up to 1.4 standard deviations of the prior; with the pairs' scatter alone none of them would be admitted.
    for truth in (0.15, 0.4):
        found = fitted([0.0], [KAPPA * steepness * float(drop(truth, curvature))], variance=1e-8)
        assert 3 * math.sqrt(found.noise[0]) < abs(found.shortening[0] - truth) < 1.645 * total(found)


def test_more_pairs_shrink_the_noise_alone() -> None:
    few, many = (fitted([0.0], [0.1], pairs=[n], variance=0.0004) for n in (4, 16))
    assert many.shortening[0] == pytest.approx(few.shortening[0])
    assert many.noise[0] == pytest.approx(few.noise[0] / 4)
    assert many.assumed[0] == pytest.approx(few.assumed[0])


def test_a_nearer_horizon_leaves_less_to_be_assumed() -> None:
    errors = [fitted([g], [KAPPA * float(drop(0.5 - g, 0.3))], variance=0.0004).assumed[0] for g in (0.0, 0.3, 0.45)]
    assert errors[0] > 4 * errors[1] > 16 * errors[2]
    assert fitted([0.5], [0.0], variance=0.0004).assumed[0] == pytest.approx(0)


def test_two_horizons_share_the_baselines_run() -> None:
    # Both at the crossing, 4 pairs each and correlated by a half: the mean of two has 3/4 of one's variance. Seeds of
    # fewer pairs are among those of more: with 2 and 4 the variances are v/2 and v/4, the covariance v/8.
    v = 0.0004 / KAPPA**2
    assert fitted([0.5, 0.5], [0.0, 0.0], variance=0.0004).noise[0] == pytest.approx(0.75 * v / 4)
    both = np.array([[1 / 2, 1 / 8], [1 / 8, 1 / 4]]) * v
    expected = 1 / np.linalg.inv(both).sum()
    assert fitted([0.5, 0.5], [0.0, 0.0], pairs=[2, 4], variance=0.0004).noise[0] == pytest.approx(expected)
    # Seeds 0 to 3 and 2 to 5 have two in common; seeds 0 and 1 and 2 to 5 none, and are six pairs.
    overlapping = np.array([[1 / 4, 1 / 16], [1 / 16, 1 / 4]]) * v
    two = fitted([0.5, 0.5], [0.0, 0.0], first=[0, 2], variance=0.0004)
    assert two.noise[0] == pytest.approx(1 / np.linalg.inv(overlapping).sum())
    apart = fitted([0.5, 0.5], [0.0, 0.0], pairs=[2, 4], first=[0, 2], variance=0.0004)
    assert apart.noise[0] == pytest.approx(v / 6)


@given(st.permutations([0, 1, 2]), st.floats(0.01, 100))
def test_the_order_of_horizons_and_the_unit_of_loss_do_not_matter(order: list[int], unit: float) -> None:
    shortenings, gaps, pairs = np.array([0.0, 0.4, 0.6]), np.array([0.2, 0.03, -0.03]), np.array([2.0, 4.0, 8.0])
    first = fitted(list(shortenings), list(gaps), pairs=list(pairs), variance=0.0004)
    other = fitted(
        list(shortenings[order]),
        list(gaps[order] * unit),
        pairs=list(pairs[order]),
        variance=0.0004 * unit**2,
        slope=KAPPA * unit,
        slope_error=0.02 * unit,
    )
    for name in ("shortening", "noise", "assumed"):
        assert getattr(other, name)[0] == pytest.approx(getattr(first, name)[0], rel=1e-4)
    assert other.slope[0] == pytest.approx(first.slope[0] * unit, rel=1e-4)


def test_arms_that_are_fitted_together_do_not_touch_each_other() -> None:
    table = np.array([[0.0, 0.4], [0.0, math.nan], [0.7, math.nan]])
    gaps = np.array([[0.15, -0.01], [-0.05, math.nan], [0.02, math.nan]])
    pairs = np.array([[2.0, 4.0], [8.0, 0.0], [4.0, 0.0]])
    variance, slope, error = np.array([4e-4, 1e-6, 1e-4]), np.array([0.4, 0.1, 2.0]), np.array([0.02, 0.01, 0.5])
    bend, bend_error = np.array([0.3, -0.5, 1.0]), np.array([0.5, 0.1, 0.2])
    together = fit_crossings(
        table,
        gaps,
        pairs,
        pair_variance=variance,
        slope=slope,
        slope_error=error,
        curvature=bend,
        curvature_error=bend_error,
    )
    for row in range(3):
        keep = np.isfinite(gaps[row])
        alone = fit_crossings(
            table[row : row + 1, keep],
            gaps[row : row + 1, keep],
            pairs[row : row + 1, keep],
            pair_variance=variance[row : row + 1],
            slope=slope[row : row + 1],
            slope_error=error[row : row + 1],
            curvature=bend[row : row + 1],
            curvature_error=bend_error[row : row + 1],
        )
        for name in ("shortening", "noise", "assumed", "slope"):
            assert getattr(together, name)[row] == pytest.approx(getattr(alone, name)[0], rel=1e-4, abs=1e-12)


def test_distant_horizons_hardly_move_what_near_ones_say() -> None:
    # At 1 e-fold from the crossing the law errs by .1 kappa; there the gap is .1 off what any curve would give.
    near = fitted([0.9, 1.1], [0.04, -0.04], variance=0.0001)
    moved = fitted([0.0, 0.9, 1.1], [0.5, 0.04, -0.04], variance=0.0001)
    assert near.shortening[0] == pytest.approx(1.0, abs=0.01)
    assert abs(moved.shortening[0] - near.shortening[0]) < math.sqrt(near.noise[0])


def _power(curvature: float) -> Callable[[Floats], Floats]:
    return lambda x: drop(x, curvature)


def _transition(x: Floats) -> Floats:
    """Half of the slope at T is a logistic fall whose middle lies .3 ahead."""

    def logistic(at: Floats) -> Floats:
        return np.asarray(1 / (1 + np.exp(-(at - 0.3) / 0.5)), dtype=np.float64)

    here = float(logistic(np.zeros(1))[0])
    return np.asarray(0.5 * (logistic(x) - here) / (here * (1 - here) / 0.5) + 0.5 * drop(x, 0.3), dtype=np.float64)


CURVES: dict[str, Callable[[Floats], Floats]] = {
    "power": _power(0.3),
    "steep power": _power(1.2),
    "straight": _power(0.0),
    "steepening": _power(-0.5),
    "sum of two powers": lambda x: np.asarray(0.6 * drop(x, 0.2) + 0.4 * drop(x, 1.2), dtype=np.float64),
    "transition": _transition,
}
ARMS = 1500


@pytest.mark.parametrize("gain", [-0.1, 0.05, 0.4, 0.8, 1.2])
@pytest.mark.parametrize("curve", CURVES)
def test_intervals_cover_the_crossing_on_curves_of_every_shape(curve: str, gain: float) -> None:
    """Two pairs at T, four where the arm is then expected to cross and four where it is expected after those."""
    fall, rng = CURVES[curve], np.random.default_rng(17)
    sigma, shape = 0.01, (ARMS, 4)
    own_of_baseline = sigma * rng.standard_normal(shape)
    slope_error = 0.02

    def mean_gap(g: Floats, pairs: int) -> Floats:
        # An arm acts as e^gain times the tokens. Half of the variance is its seeds' and the baseline's: it cancels.
        own = own_of_baseline[:, :pairs] - sigma * rng.standard_normal((ARMS, pairs))
        return np.asarray(KAPPA * fall(gain - g) + math.sqrt(0.5) * own.mean(1), dtype=np.float64)

    at = [np.zeros(ARMS)]
    gaps, pairs = [mean_gap(at[0], 2)], [2.0]
    for step in range(3):
        found = fit_crossings(
            np.stack(at, axis=1),
            np.stack(gaps, axis=1),
            np.tile(pairs, (ARMS, 1)),
            pair_variance=np.full(ARMS, sigma**2),
            slope=KAPPA + slope_error * rng.standard_normal(ARMS),
            slope_error=np.full(ARMS, slope_error),
            curvature=np.full(ARMS, PRIOR_CURVATURE),
            curvature_error=np.full(ARMS, 0.4),
        )
        if step < 2:
            at.append(np.clip(found.shortening, 0.0, math.log(8)))
            gaps.append(mean_gap(at[-1], 4))
            pairs.append(4.0)
    inside = np.abs(found.shortening - gain) < 1.645 * np.sqrt(found.noise + found.assumed)
    assert np.mean(inside) >= 0.85 - 2 * math.sqrt(0.85 * 0.15 / ARMS)
    assert np.mean(np.sqrt(found.noise + found.assumed)) < 0.05
