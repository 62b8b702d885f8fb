import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from data.errors import ScaleproofError
from search.keep import (
    Calibration,
    Look,
    benjamini_hochberg,
    calibrate,
    confirm,
    finish,
    p_value,
    pooled_sd,
    screen,
    screen_reason,
)
from search.shrinkage import effect_variance, shrink

QUIET = Calibration(sigma=1.0, placebo_sd=1.0, seeds=8)


def spread_around(mean: float, sd: float, n: int) -> np.ndarray:
    """n values with exactly this mean and sample standard deviation."""
    values = np.linspace(-1.0, 1.0, n)
    return np.asarray(mean + sd * values / values.std(ddof=1))


def look(decision: str, z: float, n: int) -> Look:
    return Look(decision, n, z / math.sqrt(n), 1.0, z, float(stats.t.sf(z, 6 + n)))  # type: ignore[arg-type]


def test_calibration_takes_the_pairing_into_account() -> None:
    seeds = np.array([0.0, 3.0, 1.0, 4.0, 1.0, 5.0, 9.0, 2.0])
    shift = np.array([0.1, -0.1] * 4)
    calibration = calibrate(seeds, seeds - shift)
    assert calibration.sigma == pytest.approx(seeds.std(ddof=1))
    assert calibration.placebo_sd == pytest.approx(0.1 * calibration.sigma)  # .107 raw, below a tenth of sigma
    assert calibrate(seeds, seeds - 10 * shift).placebo_sd == pytest.approx((10 * shift).std(ddof=1))
    assert calibration.seeds == 8


def test_calibration_refuses_losses_that_tell_nothing() -> None:
    with pytest.raises(ScaleproofError, match="finite loss"):
        calibrate([1.0, math.nan, 2.0], [1.0, 2.0, 2.0])
    with pytest.raises(ScaleproofError, match="same loss"):
        calibrate([2.0] * 8, np.arange(8.0))
    with pytest.raises(ValueError, match="each of at least two seeds"):
        calibrate(np.arange(8.0), np.arange(7.0))


@pytest.mark.parametrize(("difference", "passes"), [(-0.99, True), (-1.01, False), (5.0, True), (math.nan, False)])
def test_screen_drops_what_is_worse_by_a_placebo_deviation(difference: float, passes: bool) -> None:
    assert screen(difference, QUIET) is passes


def test_screen_reason_names_both_numbers() -> None:
    assert "0.0042" in screen_reason(-0.0042, Calibration(1e-3, 1.3e-3, 8))
    assert "0.0013" in screen_reason(-0.0042, Calibration(1e-3, 1.3e-3, 8))


@pytest.mark.parametrize(
    ("n", "z", "decision"),
    [
        (2, 5.61, "keep"),
        (2, 5.59, "more"),
        (2, -0.19, "more"),
        (2, -0.21, "futile"),
        (4, 3.97, "keep"),
        (4, 3.95, "more"),
        (4, 0.51, "more"),
        (4, 0.49, "futile"),
        (8, 2.81, "keep"),
        (8, 2.79, "unresolved"),
        (8, 0.51, "unresolved"),
        (8, 0.49, "futile"),
    ],
)
def test_each_look_has_its_own_limits(n: int, z: float, decision: str) -> None:
    seen = confirm(spread_around(z / math.sqrt(n), 1.0, n), QUIET)
    assert (seen.decision, seen.n) == (decision, n)
    assert seen.z == pytest.approx(z)


def test_a_noisy_edit_widens_its_own_interval() -> None:
    differences = spread_around(2.0, 3.0, 8)
    assert pooled_sd(differences, QUIET) == pytest.approx(math.sqrt((7 * 1.0 + 7 * 9.0) / 14))
    assert confirm(differences, QUIET).decision == "unresolved"
    assert confirm(spread_around(2.0, 1.0, 8), QUIET).decision == "keep"


def test_confirmation_is_not_looked_at_in_between() -> None:
    with pytest.raises(ValueError, match="not 3"):
        confirm([1.0, 2.0, 3.0], QUIET)
    with pytest.raises(ValueError, match="finite"):
        confirm([1.0, math.inf], QUIET)


def test_p_value_is_that_of_a_pooled_t_test() -> None:
    differences = spread_around(1.0, 1.0, 4)
    assert p_value(differences, QUIET) == pytest.approx(stats.t.sf(2.0, 10))
    assert p_value(-differences, QUIET) == pytest.approx(1 - stats.t.sf(2.0, 10))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_q_values_agree_with_scipy(p_values: list[float]) -> None:
    expected = stats.false_discovery_control(p_values, method="bh")
    assert benjamini_hochberg(p_values) == pytest.approx(expected)


def test_q_values_of_nothing() -> None:
    assert benjamini_hochberg([]).size == 0


def test_finish_says_why() -> None:
    looks = {
        "strong": look("keep", 6.0, 2),
        "futile": look("futile", -0.5, 2),
        "half": look("unresolved", 2.0, 8),
        "cut": look("more", 1.0, 4),
    }
    ends = finish(looks, QUIET)
    assert {trial: end.status for trial, end in ends.items()} == {
        "strong": "kept",
        "futile": "dropped",
        "half": "unresolved",
        "cut": "unresolved",
    }
    assert "2 pairs" in ends["strong"].reason
    assert "futile" in ends["futile"].reason
    assert "before 8 pairs" in ends["cut"].reason
    strong = ends["strong"]
    assert 0 < strong.effect_low < strong.effect < looks["strong"].effect
    assert finish({}, QUIET) == {}


def test_a_lone_keep_among_many_nulls_does_not_survive_the_false_discovery_rate() -> None:
    looks = {f"null-{i}": look("futile", -0.5, 2) for i in range(99)} | {"lucky": look("keep", 2.9, 8)}
    assert finish(looks, QUIET)["lucky"].status == "unresolved"
    assert "above 0.1" in finish(looks, QUIET)["lucky"].reason
    assert finish({"lucky": looks["lucky"]}, QUIET)["lucky"].status == "kept"


def test_effect_variance_is_that_of_the_real_effects() -> None:
    rng = np.random.default_rng(5)
    real = rng.normal(0.0, 10.0, 300)
    effects = np.concatenate([real, np.zeros(1200)]) + rng.normal(0.0, 1.0, 1500)
    assert effect_variance(effects, np.ones(1500)) == pytest.approx(100.0, rel=0.25)


def test_effects_that_are_all_noise_shrink_to_almost_nothing_but_keep_a_width() -> None:
    noise = np.random.default_rng(6).normal(0.0, 1.0, 400)
    tau2 = effect_variance(noise, np.ones(400))
    shrunk = shrink(0.5, 1.0, 1, tau2, 14)
    assert abs(shrunk.effect) < 0.5
    assert shrunk.high - shrunk.low > 0.5


def test_shrink_weighs_the_pairs() -> None:
    few, many = shrink(1.0, 1.0, 2, 0.5, 8), shrink(1.0, 1.0, 8, 0.5, 14)
    assert few.effect == pytest.approx(0.5)
    assert many.effect == pytest.approx(0.8)
    assert many.high - many.low == pytest.approx(2 * stats.t.ppf(0.95, 14) * math.sqrt(0.8 / 8))
