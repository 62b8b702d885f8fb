import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from data.errors import InputError
from transfer.saving import Axis, RungPairs, Saving, delta_of, difference, savings_up_the_ladder
from transfer.slope import Noise, Slope

NOISE = Noise(0.02, 9)
SLOPE = Slope(0.4, 0.02, 0.5, 0.2, NOISE)
STRAIGHT = Slope(0.4, 0.0, 0.1, 0.0, NOISE)
BASELINE = np.array([3.00, 3.02, 2.99, 3.01])
ARM = np.array([2.95, 2.99, 2.95, 2.97])
SMALL = st.lists(st.floats(-0.05, 0.05), min_size=2, max_size=8)


def pairs(gains: list[float], slope: Slope = SLOPE) -> RungPairs:
    baseline = np.linspace(3.0, 3.02, len(gains))
    return RungPairs(slope, baseline, baseline - np.array(gains), np.full(len(gains), -0.01), 0.02)


def test_one_rung_by_hand() -> None:
    saving = savings_up_the_ladder([RungPairs(SLOPE, BASELINE, ARM)], "tokens")[0]
    # Differences .05 .03 .04 .04: mean .04, variance .0002/3; q = .1, 1 - bq = .95.
    q, rest = 0.1, 0.95
    ln_speedup = -math.log(rest) / 0.5
    # With one rung alone the pooled ratio is its own, so c sigma^2 = (3 + 2)/5 of the variance measured.
    data = 0.0002 / 3 / 4 / (rest * 0.4) ** 2
    kappa = (q / rest * 0.05) ** 2
    # The derivative of lnS in b is taken by hand from L = E + B T^-b, once through kappa and once directly.
    through_kappa = q / rest * (math.log(2) / math.tanh(0.5 * math.log(2)) - 2)
    bend = (through_kappa + (q / rest - ln_speedup) / 0.5) ** 2 * 0.04
    variance = data + kappa + bend
    dof = variance**2 / (data**2 / 3 + (kappa + bend) ** 2 / 9)
    assert saving.ln_speedup == pytest.approx(ln_speedup)
    assert saving.ln_speedup_se == pytest.approx(math.sqrt(variance))
    assert saving.dof == pytest.approx(dof)
    reach = stats.t.ppf(0.95, dof) * math.sqrt(variance)
    assert saving.saving_low == pytest.approx(1 - math.exp(-(ln_speedup - reach)))
    assert saving.saving_high == pytest.approx(1 - math.exp(-(ln_speedup + reach)))


def test_pairing_is_pooled_over_the_ladder() -> None:
    # Six pairs, nu = 5: c = (5 c_r + 2 cbar)/7 and cbar = 2 mean(c)/(1 + 5/3) on a ladder of two rungs.
    first, second = [0.0, 0.02, 0.0, 0.02, 0.0, 0.02], [0.0, 0.04, 0.0, 0.04, 0.0, 0.04]
    saving = savings_up_the_ladder([pairs(first), pairs(second)], "tokens")[0]
    c_1, c_2 = np.var(first, ddof=1) / 0.0004, np.var(second, ddof=1) / 0.0004
    c = (5 * c_1 + 2 * (c_1 + c_2) / 2 * 2 / (1 + 5 / 3)) / 7
    rest = 1 - 0.5 * 0.01 / 0.4
    assert saving.pair_variance == pytest.approx(c * 0.0004 / (0.4 * rest) ** 2)


def test_a_ladder_knows_its_variance_better_than_a_rung_does() -> None:
    gains = [0.0, 0.02, 0.01]
    lone, *ladder = (savings_up_the_ladder([pairs(gains, STRAIGHT)] * rungs, "tokens")[0].dof for rungs in (1, 2, 3, 4))
    assert lone == pytest.approx(2)  # n - 1, and nothing else is known
    assert sorted([lone, *ladder]) == [lone, *ladder]
    assert ladder[-1] < 4 * lone


@given(st.permutations([[0.0, 0.02], [0.01, 0.0, 0.05], [0.02] * 3 + [0.0] * 4, [0.03]]))
def test_the_order_of_the_other_rungs_does_not_matter(others: list[list[float]]) -> None:
    ladder = [pairs(gains) for gains in ([0.0, 0.02, 0.01], *others)]
    first, turned = (
        savings_up_the_ladder(ladder, "tokens")[0],
        savings_up_the_ladder([*ladder[1:], ladder[0]], "tokens")[-1],
    )
    assert turned.ln_speedup_se == pytest.approx(first.ln_speedup_se)
    assert turned.dof == pytest.approx(first.dof)


def test_two_pairs_on_one_rung_promise_no_more_than_student_does() -> None:
    # Sigma known from 9 degrees of freedom says nothing of how alike the two runs of a pair are.
    saving = savings_up_the_ladder([pairs([0.0, 0.02], STRAIGHT)], "tokens")[0]
    assert saving.high - saving.ln_speedup == pytest.approx(stats.t.ppf(0.95, 1) * 0.01 / 0.4, rel=0.02)


def test_the_law_itself_is_inverted_exactly() -> None:
    # An arm that needs a third of the tokens, on L = E + B T^-b: no linear d/kappa would find ln 3.
    kappa, b = 0.4, 0.5
    gain = kappa / b * (1 - math.exp(-b * math.log(3)))
    saving = savings_up_the_ladder([pairs([gain] * 3)], "tokens")[0]
    assert saving.ln_speedup == pytest.approx(math.log(3))
    assert saving.saving == pytest.approx(2 / 3)


def test_seconds_and_flops_are_tokens_less_their_ratio() -> None:
    rung = pairs([0.02, 0.03, 0.04])
    tokens, flops, seconds = (savings_up_the_ladder([rung], axis)[0] for axis in ("tokens", "flops", "seconds"))
    assert flops.ln_speedup == pytest.approx(tokens.ln_speedup - 0.02)
    assert seconds.ln_speedup == pytest.approx(tokens.ln_speedup + 0.01)
    assert flops.ln_speedup_se == pytest.approx(tokens.ln_speedup_se)


def test_timing_noise_is_pooled_and_widens_seconds_alone() -> None:
    losses = (SLOPE, BASELINE, ARM)
    steady, shaky = np.full(4, 0.1), np.array([0.0, 0.2, 0.0, 0.2])
    rungs = [RungPairs(*losses, steady), RungPairs(*losses, shaky)]
    tokens, seconds = (savings_up_the_ladder(rungs, axis)[0] for axis in ("tokens", "seconds"))
    s_time_squared = 0.04 / 6
    assert seconds.ln_speedup_se**2 == pytest.approx(tokens.ln_speedup_se**2 + s_time_squared / 4)


def test_a_gain_beyond_the_curve_gives_no_number() -> None:
    saving = savings_up_the_ladder([pairs([0.77, 0.78])], "tokens")[0]
    assert saving.out_of_range
    assert math.isnan(saving.saving_low)
    assert math.isnan(saving.saving)
    loss = savings_up_the_ladder([pairs([-0.77, -0.78])], "tokens")[0]
    assert not loss.out_of_range
    assert loss.known


@pytest.mark.parametrize("axis", ["seconds", "flops"])
def test_an_axis_without_its_measurement_says_so(axis: Axis) -> None:
    saving = savings_up_the_ladder([RungPairs(SLOPE, BASELINE, ARM)], axis)[0]
    assert not saving.known
    assert "not" in saving.reason


def test_a_single_timing_has_no_known_spread() -> None:
    saving = savings_up_the_ladder([RungPairs(SLOPE, BASELINE, ARM, np.array([0.1]))], "seconds")[0]
    assert not saving.known
    assert "only once" in saving.reason


def test_a_single_pair_borrows_its_variance_from_the_ladder() -> None:
    lone = savings_up_the_ladder([pairs([0.02]), pairs([0.01, 0.03, 0.02])], "tokens")[0]
    c = 0.0001 / 0.0004
    assert lone.pair_variance == pytest.approx(c * 0.0004 / (0.4 * (1 - 0.5 * 0.05)) ** 2)
    unpaired = savings_up_the_ladder([pairs([0.02])], "tokens")[0]
    assert unpaired.pair_variance == pytest.approx(2 * 0.0004 / (0.4 * (1 - 0.5 * 0.05)) ** 2)


@given(SMALL)
def test_swapping_arm_and_baseline_flips_a_straight_curve(gains: list[float]) -> None:
    # With b near 0 the curve is straight: kappa is the same at both losses, so that swapping mirrors exactly.
    slope = Slope(0.4, 0.02, 1e-9, 0.0, NOISE)
    there = savings_up_the_ladder([pairs(gains, slope)], "tokens")[0]
    back = savings_up_the_ladder([pairs([-gain for gain in gains], slope)], "tokens")[0]
    assert back.ln_speedup == pytest.approx(-there.ln_speedup, abs=1e-6)
    assert back.low == pytest.approx(-there.high, abs=1e-6)


@given(SMALL)
def test_swapping_flips_the_sign_on_a_curve_too(gains: list[float]) -> None:
    there = savings_up_the_ladder([pairs(gains)], "tokens")[0].ln_speedup
    q = sum(gains) / len(gains) / SLOPE.kappa
    moved = Slope(SLOPE.kappa * (1 - SLOPE.curvature * q), 0.02, SLOPE.curvature, 0.2, NOISE)
    back = savings_up_the_ladder([pairs([-gain for gain in gains], moved)], "tokens")[0].ln_speedup
    assert back == pytest.approx(-there, abs=1e-9)


@given(SMALL, st.floats(-2, 2), st.floats(0.1, 10))
def test_shifting_or_scaling_all_losses_changes_nothing(gains: list[float], shift: float, scale: float) -> None:
    rung = pairs(gains)
    scaled = Slope(0.4 * scale, 0.02 * scale, 0.5, 0.2, Noise(0.02 * scale, 9))
    other = RungPairs(scaled, (rung.baseline + shift) * scale, (rung.arm + shift) * scale)
    first, second = (savings_up_the_ladder([r], "tokens")[0] for r in (rung, other))
    assert second.ln_speedup == pytest.approx(first.ln_speedup, abs=1e-9)
    assert second.ln_speedup_se == pytest.approx(first.ln_speedup_se, rel=1e-6)
    if first.ln_speedup_se > 1e-12:  # of a spread that is nothing but rounding, there are no degrees of freedom
        assert second.dof == pytest.approx(first.dof, rel=1e-5)


def test_the_difference_adds_variances() -> None:
    top, bottom = Saving("tokens", 0.05, 0.03, 8, 4), Saving("tokens", 0.20, 0.04, 5, 4)
    change = difference(top, bottom)
    assert change.ln_speedup == pytest.approx(-0.15)
    assert change.ln_speedup_se == pytest.approx(0.05)
    assert change.dof == pytest.approx(0.0025**2 / (0.0009**2 / 8 + 0.0016**2 / 5))


def test_bounds_are_one_sided() -> None:
    saving = Saving("tokens", 0.1, 0.02, 6, 4)
    assert saving.lower(0.8) == pytest.approx(0.1 - stats.t.ppf(0.8, 6) * 0.02)
    assert saving.upper(0.9) == pytest.approx(0.1 + stats.t.ppf(0.9, 6) * 0.02)
    assert saving.p_better == pytest.approx(stats.t.sf(5, 6))


def test_unpaired_or_unfinished_losses_are_refused() -> None:
    with pytest.raises(InputError, match="one arm run per baseline"):
        RungPairs(SLOPE, BASELINE, ARM[:2])
    with pytest.raises(InputError, match="finite"):
        RungPairs(SLOPE, BASELINE, np.array([2.9, math.nan, 3.0, 3.0]))
    with pytest.raises(InputError, match="between 0 and 1"):
        delta_of(0.0)
