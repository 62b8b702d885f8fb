import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from data.errors import ScaleproofError
from search.finish import FALSE_DISCOVERY_RATE, benjamini_hochberg, end, finish, noise_shown
from search.keep import (
    FUTILE_LIMITS,
    KEEP_LIMITS,
    LOOKS,
    SCREEN_LIMIT,
    Calibration,
    Look,
    calibrate,
    confirm,
    judge,
    pooled_sd,
    references_for,
    screen,
    screen_reason,
)
from search.shrinkage import shrink

QUIET = Calibration(sigma=1.0, placebo_sd=1.0, seeds=8)


def spread_around(mean: float, sd: float, n: int) -> np.ndarray:
    """n values with exactly this mean and sample standard deviation."""
    values = np.linspace(-1.0, 1.0, n)
    return np.asarray(mean + sd * values / values.std(ddof=1)) if n > 1 else np.array([mean])


def look(decision: str, z: float, n: int) -> Look:
    own = 1.0 if n > 1 else 0.0
    return Look(decision, n, z / math.sqrt(n), own, 1.0, z, z)  # type: ignore[arg-type]


def test_calibration_takes_the_pairing_into_account() -> None:
    seeds = np.array([0.0, 3.0, 1.0, 4.0, 1.0, 5.0, 9.0, 2.0])
    shift = np.array([0.1, -0.1] * 4)
    calibration = calibrate(seeds, seeds - shift)
    assert calibration.sigma == pytest.approx(seeds.std(ddof=1))
    assert calibration.placebo_sd == pytest.approx(0.1 * calibration.sigma)  # .107 raw, below a tenth of sigma
    assert calibrate(seeds, seeds - 10 * shift).placebo_sd == pytest.approx((10 * shift).std(ddof=1))
    assert (calibration.seeds, calibration.references) == (8, 2)


def test_more_placebos_measure_the_noise_better() -> None:
    rng = np.random.default_rng(2)
    losses = rng.normal(0.0, 3.0, (4000, 1)) + rng.normal(0.0, 1.0, (4000, 4))
    calibration = calibrate(losses[:, 0], losses[:, 1:])
    assert calibration.placebo_sd == pytest.approx(math.sqrt(2), rel=0.03)
    assert calibration.difference_sd == pytest.approx(math.sqrt(1 + 1 / 4), rel=0.03)
    fresh = losses[:, :4].mean(axis=1) - (losses - rng.normal(0.0, 1.0, losses.shape)).mean(axis=1)
    assert fresh.std() == pytest.approx(0.5, rel=0.05)
    assert (calibration.dof, calibration.prior_dof) == (3 * 3999, 7)


def test_calibration_refuses_losses_that_tell_nothing() -> None:
    with pytest.raises(ScaleproofError, match="finite loss"):
        calibrate([1.0, math.nan, 2.0], [1.0, 2.0, 2.0])
    with pytest.raises(ScaleproofError, match="same loss"):
        calibrate([2.0] * 8, np.arange(8.0))
    with pytest.raises(ValueError, match="each of at least two seeds"):
        calibrate(np.arange(8.0), np.arange(7.0))


@pytest.mark.parametrize(("difference", "passes"), [(0.56, True), (0.54, False), (-5.0, False), (math.nan, False)])
def test_screen_drops_what_is_not_clearly_better(difference: float, passes: bool) -> None:
    assert screen([difference], QUIET).tolist() == [passes]


def test_screen_reason_names_both_numbers() -> None:
    reason = screen_reason(-0.0042, Calibration(1e-3, 1e-3, 8))
    assert "-0.0042" in reason
    assert "+0.00055" in reason


@pytest.mark.parametrize(
    ("n", "z", "screened", "decision"),
    [
        (1, 90.0, 1.0, "more"),  # one pair says nothing of the edit's own noise
        (2, 5.01, 0.6, "keep"),
        (2, 4.99, 0.6, "more"),
        (2, 5.01, -9.0, "keep"),  # the screening pair stops, and unmakes no gain
        (4, 4.21, 0.6, "keep"),
        (4, 4.19, 0.6, "more"),
        (8, 2.81, 0.6, "keep"),
        (8, 2.79, 0.6, "more"),
        (12, 2.21, 0.6, "keep"),
        (12, 2.19, 0.6, "unresolved"),
    ],
)
def test_each_look_has_its_own_limits(n: int, z: float, screened: float, decision: str) -> None:
    seen = confirm(spread_around(z / math.sqrt(n), 1.0, n), screened, QUIET)
    assert (seen.decision, seen.n) == (decision, n)
    assert seen.z == pytest.approx(z)


@pytest.mark.parametrize("n", LOOKS)
def test_futility_counts_the_screening_pair_as_one_more(n: int) -> None:
    screened = 0.8
    limit = (FUTILE_LIMITS[n] * math.sqrt(n + 1) - screened) / math.sqrt(n)  # z alone that just goes on
    going = confirm(spread_around((limit + 0.01) / math.sqrt(n), 1.0, n), screened, QUIET)
    futile = confirm(spread_around((limit - 0.01) / math.sqrt(n), 1.0, n), screened, QUIET)
    assert going.decision == ("unresolved" if n == LOOKS[-1] else "more")
    assert futile.decision == "futile"
    assert futile.effect == pytest.approx((limit - 0.01) / math.sqrt(n))


def test_limits_fall_from_look_to_look_and_never_contradict_each_other() -> None:
    assert list(LOOKS) == sorted(LOOKS)
    keeps = [KEEP_LIMITS[n] for n in LOOKS]
    assert keeps == sorted(keeps, reverse=True)
    assert all(KEEP_LIMITS[n] > FUTILE_LIMITS[n] for n in LOOKS)
    assert FUTILE_LIMITS[1] > SCREEN_LIMIT


@given(st.lists(st.floats(-3, 3), min_size=1, max_size=5), st.sampled_from(LOOKS), st.integers(0, 9))
def test_many_trials_are_judged_as_each_alone(screens: list[float], n: int, seed: int) -> None:
    differences = np.random.default_rng(seed).normal(1.0, 1.0, (len(screens), n))
    together = judge(differences, screens, QUIET)
    alone = [confirm(one, screened, QUIET) for one, screened in zip(differences, screens, strict=True)]
    assert together.decision.tolist() == [one.decision for one in alone]
    assert together.z == pytest.approx([one.z for one in alone])


def test_a_noisy_edit_widens_its_own_interval() -> None:
    differences = spread_around(2.0, 3.0, 8)
    seen = confirm(differences, 1.0, QUIET)
    assert seen.sd == pytest.approx(math.sqrt((7 * 1.0 + 7 * 9.0) / 14))
    assert pooled_sd(9.0, 8, 1.0, 7) == pytest.approx(seen.sd)
    assert seen.decision == "more"
    assert confirm(spread_around(2.0, 1.0, 8), 1.0, QUIET).decision == "keep"


def test_confirmation_is_not_looked_at_in_between() -> None:
    with pytest.raises(ValueError, match="not after 3"):
        confirm([1.0, 2.0, 3.0], 1.0, QUIET)
    with pytest.raises(ValueError, match="finite"):
        confirm([1.0, math.inf], 1.0, QUIET)


def test_many_trials_share_a_better_reference() -> None:
    assert [references_for(trials) for trials in (4, 99, 100, 399, 400, 5000)] == [2, 2, 3, 3, 4, 4]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_q_values_agree_with_scipy(p_values: list[float]) -> None:
    expected = stats.false_discovery_control(p_values, method="bh")
    assert benjamini_hochberg(p_values) == pytest.approx(expected)


def test_q_values_of_nothing() -> None:
    assert benjamini_hochberg([]).size == 0


def test_p_values_are_those_of_a_pooled_t_test() -> None:
    ends = end([1.0, -1.0], [1.0, 1.0], [4, 4], QUIET)
    sd = pooled_sd(1.0, 4, noise_shown([1.0, 1.0], [4, 4], QUIET), 7)
    assert ends.p_value == pytest.approx(stats.t.sf([2 / sd, -2 / sd], 10))


def test_the_noise_of_a_search_is_what_its_trials_show() -> None:
    rng = np.random.default_rng(4)
    pairs = np.repeat([1, 2, 8], 400)
    own = np.array([rng.normal(0.0, 2.0, n).var(ddof=1) if n > 1 else 0.0 for n in pairs])
    assert noise_shown(own, pairs, QUIET) == pytest.approx(2.0, rel=0.05)
    own[:30] *= 1e6
    own[-30:] *= 1e6  # wild edits
    assert noise_shown(own, pairs, QUIET) == pytest.approx(2.0, rel=0.1)
    assert noise_shown(own / 100, pairs, QUIET) == QUIET.difference_sd  # never less than what placebos show
    assert noise_shown([0.0], [1], QUIET) == QUIET.difference_sd


def test_finish_says_why() -> None:
    looks = {
        "strong": look("keep", 6.0, 2),
        "futile": look("futile", -0.5, 1),
        "half": look("unresolved", 2.0, 12),
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
    assert "1 pair," in ends["futile"].reason
    assert "before 12 pairs" in ends["cut"].reason
    strong = ends["strong"]
    assert 0 < strong.effect_low < strong.effect < looks["strong"].effect
    assert finish({}, QUIET) == {}


def test_a_lone_keep_among_many_nulls_does_not_survive_the_false_discovery_rate() -> None:
    looks = {f"null-{i}": look("futile", -0.5, 2) for i in range(99)} | {"lucky": look("keep", 2.9, 8)}
    assert finish(looks, QUIET)["lucky"].status == "unresolved"
    assert f"above {FALSE_DISCOVERY_RATE:g}" in finish(looks, QUIET)["lucky"].reason
    assert finish({"lucky": looks["lucky"]}, QUIET)["lucky"].status == "kept"


@pytest.mark.parametrize("spread", [0.3, 3.0, 30.0])
def test_shrunk_effects_are_closer_to_the_truth_and_their_intervals_hold_it(spread: float) -> None:
    rng = np.random.default_rng(5)
    truth = np.concatenate([rng.normal(0.0, spread, 300), np.zeros(700)])
    errors = rng.choice([0.5, 1.0, 2.0], 1000)
    measured = truth + rng.normal(0.0, errors)
    shrunk = shrink(measured, errors, np.full(1000, 1e6))
    assert np.mean((shrunk.effect - truth) ** 2) < np.mean((measured - truth) ** 2)
    assert np.mean((shrunk.low <= truth) & (truth <= shrunk.high)) > 0.88
    best = measured > 1.5 * errors  # those that a search would choose
    assert np.mean(((shrunk.low <= truth) & (truth <= shrunk.high))[best]) > 0.84
    assert abs(np.mean((shrunk.effect - truth)[best])) < 0.5 * abs(np.mean((measured - truth)[best]))


def test_effects_that_are_all_noise_shrink_to_almost_nothing_but_keep_a_width() -> None:
    noise = np.random.default_rng(6).normal(0.0, 1.0, 400)
    shrunk = shrink(noise, np.ones(400), np.full(400, 14))
    assert np.abs(shrunk.effect).max() < 0.5 * np.abs(noise).max()
    assert (shrunk.high > shrunk.low).all()
    assert shrunk.high[np.argmax(noise)] > 0.3


def test_a_clear_effect_keeps_the_interval_of_its_pairs() -> None:
    rng = np.random.default_rng(7)
    effects = np.concatenate([rng.normal(0.0, 1.0, 100), [40.0]])
    shrunk = shrink(effects, np.ones(101), np.full(101, 14))
    half = stats.t.ppf(0.95, 14)
    assert shrunk.effect[-1] == pytest.approx(40.0, abs=0.3)
    assert shrunk.high[-1] - shrunk.low[-1] == pytest.approx(2 * half, rel=0.05)


@given(st.lists(st.tuples(st.floats(-1e6, 1e6), st.floats(1e-6, 1e3), st.integers(3, 30)), min_size=1, max_size=12))
def test_whatever_was_measured_shrinks_to_finite_numbers_in_order(rows: list[tuple[float, float, int]]) -> None:
    effects, errors, dof = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
    shrunk = shrink(effects, errors, dof)
    assert np.isfinite(shrunk).all()
    assert (shrunk.low <= shrunk.effect).all()
    assert (shrunk.effect <= shrunk.high).all()


def test_shrinking_needs_errors_above_zero() -> None:
    with pytest.raises(ValueError, match="above zero"):
        shrink([1.0], [0.0], [7])
    assert shrink([], [], []).effect.size == 0
