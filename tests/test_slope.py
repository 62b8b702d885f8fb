import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.errors import InputError
from transfer.slope import Noise, fit_slope, pooled_noise

QUIET = Noise(sigma=1e-6, dof=10)


def losses(kappa: float, curvature: float) -> tuple[list[float], list[float], list[float]]:
    half, one, two = (3 + kappa / curvature * math.exp(-curvature * x) for x in (-math.log(2), 0, math.log(2)))
    return [half, half], [one, one], [two, two]


@given(st.floats(0.05, 2), st.floats(0.1, 1.2))
def test_exact_losses_give_back_slope_and_curvature(kappa: float, curvature: float) -> None:
    slope = fit_slope(*losses(kappa, curvature), QUIET)
    assert slope.kappa == pytest.approx(kappa, rel=1e-3)
    assert slope.curvature == pytest.approx(curvature, abs=1e-3)


def test_noise_is_pooled_within_groups_and_never_between_them() -> None:
    # Squares about the groups' own means: 2 on 1 dof, 2 on 2 dof; the lone run tells nothing.
    noise = pooled_noise([[1.0, 3.0], [11.0, 12.0, 13.0], [500.0]])
    assert noise.sigma == pytest.approx(math.sqrt(4 / 3))
    assert noise.dof == 3


def test_errors_by_hand() -> None:
    # Drops .2 and .1: raw b = 1, k0 = .3/(2 ln 2) = .2164, variance = .0004 (2/2 + 4/4)/(.15^2 .4805) = .0740.
    slope = fit_slope([3.2, 3.2], [3.0] * 4, [2.9, 2.9], Noise(0.02, 8))
    variance = 0.0004 * 2 / 0.15**2 / math.log(2) ** 2
    b = (1 / variance + 0.45 / 0.0625) / (1 / variance + 16)
    assert slope.curvature == pytest.approx(b)
    assert slope.curvature_se == pytest.approx((1 / variance + 16) ** -0.5)
    assert slope.kappa == pytest.approx(b * 0.3 / (2 * math.sinh(b * math.log(2))))
    assert slope.kappa_se == pytest.approx(b * 0.02 / (2 * math.sinh(b * math.log(2))))


def test_a_loss_that_does_not_fall_falls_back_on_the_prior() -> None:
    slope = fit_slope([3.0], [3.05], [2.9], Noise(0.02, 8))
    assert (slope.curvature, slope.curvature_se) == (0.45, 0.25)
    assert slope.usable
    assert not fit_slope([3.0], [3.05], [3.1], Noise(0.02, 8)).usable


def test_noisier_runs_change_errors_only() -> None:
    half, one, two = [3.2, 3.2], [3.0] * 4, [2.9, 2.9]
    slope = fit_slope(half, one, two, Noise(0.02, 8)).noisier(2)
    refitted = fit_slope(half, one, two, Noise(0.04, 8))
    assert slope.curvature_se == pytest.approx(refitted.curvature_se)
    assert slope.noise == refitted.noise
    assert slope.kappa == fit_slope(half, one, two, Noise(0.02, 8)).kappa


@pytest.mark.parametrize("bad", [[], [math.nan], [[3.0]]])
def test_unfinished_or_missing_losses_are_refused(bad: list[float]) -> None:
    with pytest.raises(InputError):
        fit_slope(bad, [3.0], [2.9], QUIET)


def test_noise_needs_two_runs_of_a_kind() -> None:
    with pytest.raises(InputError, match="run more seeds"):
        pooled_noise([[1.0], [2.0]])
    with pytest.raises(InputError):
        Noise(sigma=float(np.nan), dof=3)
