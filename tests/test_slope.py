import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.optimize import least_squares

from data.errors import InputError
from transfer.slope import LN_2, Noise, Slope, fit_slope, pooled_noise

QUIET = Noise(sigma=1e-6, dof=10)
NOISE = Noise(sigma=0.02, dof=8)
THREE = (-2 * LN_2, -LN_2, 0.0)


def drop(x: float, curvature: float) -> float:
    """How far the loss falls from T to e^x T, in units of kappa."""
    return x if abs(curvature) < 1e-9 else -math.expm1(-curvature * x) / curvature


def horizons(
    kappa: float, curvature: float, *, at: Sequence[float] = THREE, seeds: int = 2
) -> dict[float, list[float]]:
    return {x: [3 - kappa * drop(x, curvature)] * seeds for x in at}


@given(st.floats(0.05, 2), st.one_of(st.floats(-1.4, 1.9), st.just(0.0)))
def test_exact_losses_give_back_slope_and_curvature(kappa: float, curvature: float) -> None:
    slope = fit_slope(horizons(kappa, curvature), QUIET)
    assert slope.kappa == pytest.approx(kappa, rel=1e-3)
    assert slope.curvature == pytest.approx(curvature, abs=1e-3)


@given(st.permutations([-2 * LN_2, -LN_2, 0.0, LN_2]), st.floats(-1.0, 1.5))
def test_any_horizons_in_any_order_will_do(order: list[float], curvature: float) -> None:
    slope = fit_slope(horizons(0.4, curvature, at=order), QUIET)
    assert slope.kappa == pytest.approx(0.4, rel=1e-3)
    assert slope.curvature == pytest.approx(curvature, abs=1e-3)


@given(st.floats(-1.4, 1.9), st.floats(-1.5, 1.5))
@example(5e-324, 1.0)
def test_tokens_and_loss_are_two_ways_of_saying_the_same(curvature: float, x: float) -> None:
    slope = Slope(0.4, 0.0, curvature, 0.0, QUIET)
    assert slope.ln_tokens(0.4 * drop(x, curvature)) == pytest.approx(x, abs=1e-5)


def test_no_tokens_reach_below_a_power_law_floor_and_a_straight_loss_has_none() -> None:
    # The floor lies kappa/b = .8 nats below the loss at T.
    assert math.isfinite(Slope(0.4, 0.0, 0.5, 0.0, QUIET).ln_tokens(0.79))
    assert math.isnan(Slope(0.4, 0.0, 0.5, 0.0, QUIET).ln_tokens(0.8))
    assert Slope(0.4, 0.0, 0.0, 0.0, QUIET).ln_tokens(0.8) == pytest.approx(2)


def test_noise_is_pooled_within_groups_and_never_between_them() -> None:
    # Squares about the groups' own means: 2 on 1 dof, 2 on 2 dof; the lone run tells nothing.
    noise = pooled_noise([[1.0, 3.0], [11.0, 12.0, 13.0], [500.0]])
    assert noise.sigma == pytest.approx(math.sqrt(4 / 3))
    assert noise.dof == 3


def test_two_horizons_by_hand() -> None:
    # They tell no curvature: b = .3 +- .5. Between T/2 and T the loss falls by kappa (2^b - 1)/b = .2.
    slope = fit_slope({-LN_2: [3.2, 3.2], 0.0: [3.0] * 4}, NOISE)
    fall = (2**0.3 - 1) / 0.3
    steeper = (2**0.3 * LN_2 * 0.3 - (2**0.3 - 1)) / 0.09
    assert (slope.curvature, slope.curvature_se) == pytest.approx((0.3, 0.5))
    assert slope.kappa == pytest.approx(0.2 / fall)
    variance = 0.0004 * (1 / 2 + 1 / 4) / fall**2 + (0.2 * steeper / fall**2) ** 2 * 0.25
    assert slope.kappa_se == pytest.approx(math.sqrt(variance))
    assert slope.transition is None


@pytest.mark.parametrize("losses", [(3.5, 3.2, 3.0), (3.3, 3.2, 3.0), (3.21, 3.2, 3.0)])
def test_three_horizons_are_weighed_against_the_prior(losses: tuple[float, float, float]) -> None:
    # The same posterior by scipy's own least squares: 2 and 4 runs a horizon, sigma .02, b = .3 +- .5.
    se = 0.02 / np.sqrt([2, 2, 4])

    def residuals(theta: np.ndarray[tuple[int], np.dtype[np.float64]]) -> list[float]:
        level, kappa, b = theta
        fitted = [level - kappa * drop(x, b) for x in THREE]
        return [*((np.array(losses) - fitted) / se), (b - 0.3) / 0.5]

    best = least_squares(residuals, [3.0, 0.3, 0.3], xtol=1e-14, ftol=1e-14, gtol=1e-14)
    jacobian = np.asarray(best.jac, dtype=np.float64)
    errors = np.sqrt(np.diag(np.linalg.inv(jacobian.T @ jacobian)))
    quarter, half, one = losses
    slope = fit_slope({-2 * LN_2: [quarter] * 2, -LN_2: [half] * 2, 0.0: [one] * 4}, NOISE)
    assert (slope.kappa, slope.curvature) == pytest.approx((best.x[1], best.x[2]), abs=1e-4)
    assert (slope.kappa_se, slope.curvature_se) == pytest.approx((errors[1], errors[2]), rel=1e-3)


@pytest.mark.parametrize("curvature", [-0.5, 0.0, 0.3, 1.0])
def test_the_error_of_the_slope_covers_the_truth(curvature: float) -> None:
    rng = np.random.default_rng(5)
    z = []
    for _ in range(300):
        losses = {x: np.array(ends) + 0.02 * rng.standard_normal(2) for x, ends in horizons(0.4, curvature).items()}
        slope = fit_slope(losses, NOISE)
        z.append((slope.kappa - 0.4) / slope.kappa_se)
    assert np.mean(np.abs(z) < 1.645) >= 0.85
    assert np.std(z) > 0.6  # nor so wide that it says nothing


def test_a_transition_is_named_where_the_loss_steepens_beyond_the_noise() -> None:
    assert fit_slope(horizons(0.4, -0.8), Noise(0.005, 20)).transition is True
    assert fit_slope(horizons(0.4, 0.3), Noise(0.005, 20)).transition is False
    # So noisy that the runs cannot tell it: the prior is no evidence.
    assert fit_slope(horizons(0.4, -0.8), Noise(0.5, 20)).transition is False


def test_a_straight_loss_is_called_a_transition_one_time_in_twenty() -> None:
    rng = np.random.default_rng(8)
    exact = horizons(0.4, 0.0)
    called = [
        fit_slope({x: np.array(ends) + 0.02 * rng.standard_normal(2) for x, ends in exact.items()}, NOISE).transition
        for _ in range(600)
    ]
    assert 0.02 < np.mean([one is True for one in called]) < 0.08


def test_a_loss_that_rises_with_tokens_has_no_slope() -> None:
    assert not fit_slope({-2 * LN_2: [3.0], -LN_2: [3.05], 0.0: [3.1]}, NOISE).usable
    assert fit_slope({-2 * LN_2: [3.0], -LN_2: [3.05], 0.0: [2.9]}, NOISE).usable


def test_noisier_runs_change_errors_only() -> None:
    slope = Slope(0.4, 0.03, 0.5, 0.2, NOISE, transition=False)
    noisier = slope.noisier(2)
    assert (noisier.kappa, noisier.curvature, noisier.transition) == (0.4, 0.5, False)
    assert noisier.noise == Noise(0.04, 8)
    assert noisier.kappa_se == pytest.approx(0.06)
    # Precision 25, of which the prior's 1/.5^2 = 4 stays and the runs' 21 falls to a quarter.
    assert noisier.curvature_se == pytest.approx((21 / 4 + 4) ** -0.5)
    assert Slope(0.4, 0.03, 0.3, 0.5, NOISE).noisier(2).curvature_se == pytest.approx(0.5)


@pytest.mark.parametrize("bad", [[], [math.nan], [[3.0]]])
def test_unfinished_or_missing_losses_are_refused(bad: list[float]) -> None:
    with pytest.raises(InputError):
        fit_slope({-2 * LN_2: bad, -LN_2: [3.0], 0.0: [2.9]}, QUIET)


def test_one_horizon_has_no_slope() -> None:
    with pytest.raises(InputError, match="two horizons"):
        fit_slope({0.0: [3.0, 3.01]}, QUIET)


def test_noise_needs_two_runs_of_a_kind() -> None:
    with pytest.raises(InputError, match="run more seeds"):
        pooled_noise([[1.0], [2.0]])
    with pytest.raises(InputError):
        Noise(sigma=float(np.nan), dof=3)
