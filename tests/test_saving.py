import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from data.errors import InputError
from transfer.crossing import MAX_SHORTENING, SEQUENTIAL, Crossing, crossings_up_the_ladder, last_crossings
from transfer.pairs import PairsAt, RungPairs
from transfer.saving import Axis, Saving, delta_of, difference
from transfer.saving_estimate import savings_of_arms, savings_up_the_ladder
from transfer.slope import Noise, Slope

NOISE = Noise(0.02, 9)
SLOPE = Slope(0.4, 0.02, 0.3, 0.2, NOISE)
BASELINE = np.array([3.00, 3.02, 2.99, 3.01])
ARM = np.array([2.95, 2.99, 2.95, 2.97])
SMALL = st.lists(st.floats(-0.05, 0.05), min_size=2, max_size=8)
EITHER = [0.01, -0.01, 0.01, -0.01]
"""Differences of four pairs at the very horizon where the arm crosses."""


def pairs(gains: list[float], slope: Slope = SLOPE) -> RungPairs:
    baseline = np.linspace(3.0, 3.02, len(gains))
    return RungPairs.at_horizon(slope, baseline, baseline - np.array(gains), np.full(len(gains), -0.01), 0.02)


def point(ln_shortening: float, gains: list[float], text_variance: float = 0.0, text_dof: float = math.inf) -> PairsAt:
    baseline = np.linspace(3.0, 3.02, len(gains))
    return PairsAt(ln_shortening, baseline, baseline - np.array(gains), text_variance, text_dof)


def at(
    ln_shortening: float, gains: list[float], slope: Slope = SLOPE, times: list[float] | None = None
) -> list[RungPairs]:
    """A ladder of one rung, on which the arm has pairs on one horizon."""
    return [RungPairs(slope, (point(ln_shortening, gains),), None if times is None else np.array(times))]


def tokens_of(ladder: list[RungPairs]) -> Saving:
    return savings_up_the_ladder(ladder, "tokens")[-1]


def crossing_of(ladder: list[RungPairs]) -> Crossing:
    crossing = crossings_up_the_ladder(ladder)[-1]
    assert crossing is not None
    return crossing


def test_pairs_where_the_arm_crosses_need_neither_slope_nor_curve() -> None:
    # A third of the tokens, and the mean difference there is 0: se = .01154701/(2 kappa) whatever the curve does.
    vague = Slope(0.4, 0.2, -1.0, 0.5, NOISE)
    for slope in (SLOPE, vague):
        saving = tokens_of(at(math.log(3), EITHER, slope))
        assert saving.saving == pytest.approx(2 / 3)
        assert saving.ln_speedup_se == pytest.approx(math.sqrt(0.0004 / 3 / 4) / 0.4)
        assert saving.dof == pytest.approx(3)
        assert saving.method == "crossing"


def test_one_rung_at_t_alone_by_hand() -> None:
    saving = tokens_of([RungPairs.at_horizon(SLOPE, BASELINE, ARM)])
    # Differences .05 .03 .04 .04: mean .04, variance .0002/3; q = .1. With b = .3 it crosses where 1 - b q = .97.
    rest = 0.97
    ln_speedup = -math.log(rest) / 0.3
    data = 0.0002 / 3 / 4 / (rest * 0.4) ** 2
    # A quarter of the slope and its error move q; so do .8 of curvature and its error; the law errs by .1 lnS^2.
    by_slope = (0.1 / rest) ** 2 * (0.25**2 + 0.05**2)
    by_curvature = ((ln_speedup * rest - 0.1) / 0.3 / rest) ** 2 * (0.8**2 + 0.2**2)
    by_law = (0.1 * ln_speedup**2 / rest) ** 2
    assumed = by_slope + by_curvature + by_law
    variance = data + assumed
    dof = variance**2 / (data**2 / 3 + assumed**2 / 30)
    assert saving.method == "pairs"
    assert saving.ln_speedup == pytest.approx(ln_speedup)
    assert saving.ln_speedup_se == pytest.approx(math.sqrt(variance))
    assert saving.dof == pytest.approx(dof)
    reach = stats.t.ppf(0.95, dof) * math.sqrt(variance)
    assert saving.saving_high == pytest.approx(1 - math.exp(-(ln_speedup + reach)))
    # Slope and curvature are most of that error, and they are a factor of lnS: downwards it is taken off as one.
    by_pairs = ln_speedup / (ln_speedup - stats.t.ppf(0.95, 3) * math.sqrt(data))
    factor = math.hypot(math.log(by_pairs), stats.t.ppf(0.95, 30) * math.sqrt(assumed) / ln_speedup)
    assert saving.low == pytest.approx(ln_speedup * math.exp(-factor))
    # So the arm is better as surely as its pairs say, whatever the slope.
    assert saving.p_better == pytest.approx(stats.t.sf(ln_speedup / math.sqrt(data), 3), rel=1e-3)
    assert saving.lower(1 - saving.p_better) == pytest.approx(0, abs=1e-6)


def test_where_pairs_scatter_more_than_the_slope_is_wrong_errors_add_up_both_ways() -> None:
    saving = tokens_of([pairs([0.1, -0.06, 0.1, -0.06])])
    reach = stats.t.ppf(0.95, saving.dof) * saving.ln_speedup_se
    assert saving.low == pytest.approx(saving.ln_speedup - reach)
    assert saving.high == pytest.approx(saving.ln_speedup + reach)
    assert saving.p_better == pytest.approx(stats.t.sf(saving.ln_speedup / saving.ln_speedup_se, saving.dof))


@given(st.floats(0.5, 0.999999), st.floats(0.5, 0.999999), st.floats(0.005, 0.15), st.floats(0.0001, 0.05))
def test_a_surer_bound_is_a_lower_one(first: float, second: float, gain: float, scatter: float) -> None:
    saving = tokens_of([pairs([gain + scatter, gain - scatter, gain, gain])])
    surer, less_sure = max(first, second), min(first, second)
    assert saving.lower(surer) <= saving.lower(less_sure) + 1e-12
    assert saving.lower(surer) <= saving.ln_speedup + 1e-12
    assert saving.upper(surer) >= saving.upper(less_sure) - 1e-12


def test_pairs_on_more_horizons_tell_the_arms_own_slope() -> None:
    # An arm half as steep as the baseline: its gap falls by .2 per e-fold, where .4 was expected.
    alone = crossing_of(at(0.0, [0.1] * 4))
    two = crossing_of([RungPairs(SLOPE, (point(0.0, [0.1] * 4), point(0.3, [0.04] * 4)))])
    three = crossing_of([RungPairs(SLOPE, tuple(point(g, [0.1 - 0.2 * g] * 4) for g in (0.0, 0.3, 0.5)))])
    assert alone.shortening < 0.3
    assert three.shortening == pytest.approx(0.5, abs=0.01)
    assert three.assumed < two.assumed < alone.assumed
    assert alone.slope == pytest.approx(0.4)  # one horizon tells none
    assert three.slope < two.slope < 0.35


def test_a_point_takes_the_place_of_the_one_on_its_horizon() -> None:
    rung = RungPairs(SLOPE, (point(0.0, [0.1, 0.1]), point(0.3, [0.04] * 4)))
    more = rung.with_point(point(0.0, [0.2] * 6))
    assert sorted((one.ln_shortening, one.pairs) for one in more.points) == [(0.0, 6), (0.3, 4)]
    assert more.pairs == 6
    assert tokens_of([more]).horizons == 2


def test_pairing_is_pooled_over_the_ladder() -> None:
    # Six pairs, nu = 5: c = (5 c_r + 2 cbar)/7 and cbar = 2 mean(c)/(1 + 5/3) on a ladder of two rungs.
    first, second = [0.0, 0.02, 0.0, 0.02, 0.0, 0.02], [0.0, 0.04, 0.0, 0.04, 0.0, 0.04]
    saving = savings_up_the_ladder([pairs(first), pairs(second)], "tokens")[0]
    c_1, c_2 = np.var(first, ddof=1) / 0.0004, np.var(second, ddof=1) / 0.0004
    c = (5 * c_1 + 2 * (c_1 + c_2) / 2 * 2 / (1 + 5 / 3)) / 7
    rest = 1 - 0.3 * 0.01 / 0.4
    assert saving.pair_variance == pytest.approx(c * 0.0004 / (0.4 * rest) ** 2)


def test_the_scatter_of_pairs_is_pooled_over_an_arms_horizons() -> None:
    # Squares .0004 and .0016 on three degrees of freedom each, which share the baseline's runs: 6/(1 + .25) are left.
    quiet, loud = [0.01, -0.01, 0.01, -0.01], [0.02, -0.02, 0.02, -0.02]
    rung = RungPairs(SLOPE, (point(0.0, quiet), point(0.0 + 1e-9, loud)))
    crossing = crossing_of([rung])
    pooled = (0.0004 + 0.0016) / 6
    # The means of two horizons, correlated by a half: variance 3/4 of one's.
    chosen = 1 + SEQUENTIAL / 2  # which of two horizons was run hangs on what the other showed
    assert crossing.noise == pytest.approx(chosen * 0.75 * pooled / 4 / 0.4**2, rel=1e-3)
    assert crossing.dof == pytest.approx(6 / 1.25)


def test_a_ladder_knows_its_variance_better_than_a_rung_does() -> None:
    lone, *ladder = (crossings_up_the_ladder([pairs([0.0, 0.02, 0.01])] * rungs)[0] for rungs in (1, 2, 3, 4))
    assert lone is not None
    assert lone.dof == pytest.approx(2)  # n - 1, and nothing else is known
    dofs = [one.dof for one in (lone, *ladder) if one is not None]
    assert dofs == sorted(dofs)
    assert dofs[-1] < 4 * lone.dof


@given(st.permutations([[0.0, 0.02], [0.01, 0.0, 0.05], [0.02] * 3 + [0.0] * 4, [0.03]]))
def test_the_order_of_the_other_rungs_does_not_matter(others: list[list[float]]) -> None:
    ladder = [pairs(gains) for gains in ([0.0, 0.02, 0.01], *others)]
    first, turned = (
        savings_up_the_ladder(ladder, "tokens")[0],
        savings_up_the_ladder([*ladder[1:], ladder[0]], "tokens")[-1],
    )
    assert turned.ln_speedup_se == pytest.approx(first.ln_speedup_se)
    assert turned.dof == pytest.approx(first.dof)


def test_arms_together_are_told_the_same_as_alone() -> None:
    # One fit for all, of ladders of unlike height and unlike numbers of horizons.
    tall = [pairs([0.0, 0.02, 0.01]), *at(0.7, EITHER)]
    wide = [RungPairs(SLOPE, tuple(point(g, [0.1 - 0.3 * g] * 3 + [0.1]) for g in (0.0, 0.2, 0.4)))]
    arms = [tall, wide, [pairs([-0.01, 0.02])]]
    together, alone = savings_of_arms(arms, "tokens"), [savings_up_the_ladder(arm, "tokens") for arm in arms]
    for ours, theirs in zip(together, alone, strict=True):
        assert [one.ln_speedup for one in ours] == pytest.approx([one.ln_speedup for one in theirs], abs=1e-6)
        assert [one.ln_speedup_se for one in ours] == pytest.approx([one.ln_speedup_se for one in theirs], rel=1e-4)
    lasts = [one.shortening for one in last_crossings(arms) if one is not None]
    assert lasts == pytest.approx([savings[-1].ln_speedup for savings in alone], abs=1e-6)


def test_two_pairs_on_one_rung_promise_no_more_than_student_does() -> None:
    # Sigma known from 9 degrees of freedom says nothing of how alike the two runs of a pair are.
    saving = tokens_of([pairs([-0.01, 0.01])])
    assert saving.high == pytest.approx(stats.t.ppf(0.95, 1) * 0.01 / 0.4)


def test_runs_that_were_noisier_widen_the_interval_and_leave_the_number() -> None:
    plain, noisy = (savings_up_the_ladder(at(0.4, EITHER), "tokens", noise_factors=factors) for factors in ([], [2.0]))
    assert noisy[0].ln_speedup == plain[0].ln_speedup
    assert noisy[0].ln_speedup_se == pytest.approx(2 * plain[0].ln_speedup_se)


def test_the_luck_of_the_text_is_shared_by_all_pairs() -> None:
    few, many = (
        crossing_of([RungPairs(SLOPE, (point(0.3, EITHER * times, text_variance=1e-5, text_dof=12),))])
        for times in (1, 4)
    )
    assert few.text == many.text == pytest.approx(1e-5 / 0.4**2)
    assert many.noise < few.noise / 4
    saving = tokens_of([RungPairs(SLOPE, (point(0.3, EITHER, text_variance=1e-5, text_dof=12),))])
    noise, text = few.noise, few.text
    assert saving.ln_speedup_se == pytest.approx(math.sqrt(noise + text))
    assert saving.dof == pytest.approx((noise + text) ** 2 / (noise**2 / 3 + text**2 / 12))


def test_seconds_and_flops_are_tokens_less_their_ratio() -> None:
    rung = pairs([0.02, 0.03, 0.04])
    tokens, flops, seconds = (savings_up_the_ladder([rung], axis)[0] for axis in ("tokens", "flops", "seconds"))
    assert flops.ln_speedup == pytest.approx(tokens.ln_speedup - 0.02)
    assert seconds.ln_speedup == pytest.approx(tokens.ln_speedup + 0.01)
    assert flops.ln_speedup_se == pytest.approx(tokens.ln_speedup_se)


def test_the_spread_between_timing_blocks_widens_seconds_alone() -> None:
    # Blocks 0 .2 0 .2: mean .1, variance .04/3, so .01/3 of their mean; there may be more blocks than pairs, or fewer.
    ladder = [RungPairs.at_horizon(SLOPE, BASELINE[:3], ARM[:3], np.array([0.0, 0.2, 0.0, 0.2]))]
    tokens, seconds = (savings_up_the_ladder(ladder, axis)[0] for axis in ("tokens", "seconds"))
    assert seconds.ln_speedup == pytest.approx(tokens.ln_speedup - 0.1)
    assert seconds.ln_speedup_se**2 == pytest.approx(tokens.ln_speedup_se**2 + 0.01 / 3)
    assert seconds.pair_variance == tokens.pair_variance


@pytest.mark.parametrize("axis", ["seconds", "flops"])
def test_an_axis_without_its_measurement_says_so(axis: Axis) -> None:
    saving = savings_up_the_ladder([RungPairs.at_horizon(SLOPE, BASELINE, ARM)], axis)[0]
    assert not saving.bounded
    assert "not" in saving.reason


def test_a_single_timing_has_no_known_spread() -> None:
    saving = savings_up_the_ladder([RungPairs.at_horizon(SLOPE, BASELINE, ARM, np.array([0.1]))], "seconds")[0]
    assert not saving.bounded
    assert "only once" in saving.reason


def test_a_baseline_without_a_slope_gives_no_number_at_that_rung_alone() -> None:
    flat = Slope(-0.1, 0.02, 0.3, 0.5, NOISE)
    ladder = [*at(0.2, EITHER), *at(0.2, EITHER, flat)]
    good, none = savings_up_the_ladder(ladder, "tokens")
    assert good.known
    assert not none.bounded
    assert "does not fall" in none.reason
    assert crossings_up_the_ladder(ladder)[1] is None


def test_a_single_pair_borrows_its_variance_from_the_ladder() -> None:
    lone = savings_up_the_ladder([pairs([0.02]), pairs([0.01, 0.03, 0.02])], "tokens")[0]
    c = 0.0001 / 0.0004
    slope_where_it_crosses = 0.4 * (1 - 0.3 * 0.05)
    assert lone.pair_variance == pytest.approx(c * 0.0004 / slope_where_it_crosses**2)
    unpaired = tokens_of([pairs([0.02])])
    assert unpaired.pair_variance == pytest.approx(2 * 0.0004 / slope_where_it_crosses**2)


@given(SMALL)
def test_swapping_arm_and_baseline_flips_the_sign(gains: list[float]) -> None:
    there = crossing_of([pairs(gains)]).shortening
    # Swapped, the baseline is the former arm, whose loss lies further down the same curve, where that is flatter.
    q = sum(gains) / len(gains) / SLOPE.kappa
    moved = Slope(SLOPE.kappa * (1 - 0.3 * q), 0.02, 0.3, 0.2, NOISE)
    assert crossing_of([pairs([-gain for gain in gains], moved)]).shortening == pytest.approx(-there, abs=1e-6)


@given(SMALL, st.floats(-2, 2), st.floats(0.1, 10))
def test_shifting_or_scaling_all_losses_changes_nothing(gains: list[float], shift: float, scale: float) -> None:
    assume(max(gains) - min(gains) > 1e-6)  # a spread that is nothing but rounding has no degrees of freedom
    (one,) = pairs(gains).points
    scaled = Slope(0.4 * scale, 0.02 * scale, 0.3, 0.2, Noise(0.02 * scale, 9))
    other = RungPairs.at_horizon(scaled, (one.baseline + shift) * scale, (one.arm + shift) * scale)
    first, second = (tokens_of([rung]) for rung in (pairs(gains), other))
    assert second.at_least == first.at_least
    for name in ("ln_speedup", "bound"):
        assert getattr(second, name) == pytest.approx(getattr(first, name), abs=1e-6, nan_ok=True)
    assert second.ln_speedup_se == pytest.approx(first.ln_speedup_se, rel=1e-5)
    assert second.dof == pytest.approx(first.dof, rel=1e-4)


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


def test_an_arm_that_ends_lower_even_at_an_eighth_saves_at_least_that() -> None:
    saving = tokens_of(at(MAX_SHORTENING, [0.1, 0.11, 0.09, 0.1]))
    assert saving.at_least == "gain"
    assert not saving.known
    assert saving.bounded
    assert math.isnan(saving.saving)
    # However far beyond it crosses: what was not run is not claimed.
    assert saving.bound == pytest.approx(math.log(8))
    assert saving.saving_low == pytest.approx(7 / 8)
    assert (saving.lower(0.5), saving.upper(0.95), saving.saving_high) == (saving.bound, math.inf, 1)
    assert saving.lower(1 - 1e-6) < saving.bound
    assert saving.p_better < 1e-4


def test_an_arm_that_hardly_crosses_at_an_eighth_claims_the_lower_end_of_its_interval() -> None:
    # A difference of .004 +- .00577: it crosses .01 beyond, and the lower end lies before T/8.
    saving = tokens_of(at(MAX_SHORTENING, [gain + 0.004 for gain in EITHER]))
    assert saving.at_least == "gain"
    reach = stats.t.ppf(0.95, 3) * math.sqrt(0.0004 / 3 / 4) / 0.4
    assert saving.bound == pytest.approx(math.log(8) + 0.01 - reach, abs=1e-3)
    # Its p-value is that of lnS itself, not of the bound.
    distance = (math.log(8) + 0.01) / saving.ln_speedup_se
    assert saving.p_better == pytest.approx(stats.t.sf(distance, saving.dof), rel=0.02)
    before = tokens_of(at(MAX_SHORTENING, [gain - 0.004 for gain in EITHER]))
    assert before.known
    assert before.ln_speedup == pytest.approx(math.log(8) - 0.01, abs=1e-3)


def test_horizons_of_whole_steps_reach_the_bound_but_for_a_little() -> None:
    shortest = MAX_SHORTENING - 0.015
    assert tokens_of(at(shortest, [0.1, 0.11, 0.09, 0.1])).bound == pytest.approx(shortest)


def test_a_crossing_far_beyond_what_was_run_is_no_number_yet() -> None:
    # At T alone: .4 (1 - e^(-.3 g))/.3 nats at the crossing g.
    near, far = (tokens_of([pairs([0.4 * (1 - math.exp(-0.3 * g)) / 0.3 + e for e in EITHER])]) for g in (0.45, 0.55))
    assert near.known
    assert near.ln_speedup == pytest.approx(0.45, abs=1e-3)
    assert far.at_least == "gain"
    assert 0 < far.bound < 0.55
    assert far.bound == far.low == far.lower(0.95)


def test_a_gain_that_is_bounded_in_tokens_is_bounded_in_seconds_by_as_much_less() -> None:
    ladder = at(MAX_SHORTENING, [0.1, 0.11, 0.09, 0.1], times=[0.3, 0.3, 0.3])
    seconds = savings_up_the_ladder(ladder, "seconds")[0]
    assert seconds.at_least == "gain"
    assert seconds.bound == pytest.approx(math.log(8) - 0.3)


def test_a_loss_whose_slope_would_have_to_be_believed_is_at_least_one() -> None:
    # .05 nats worse without scatter: how much worse in tokens, only slope and curvature could tell.
    saving = tokens_of([pairs([-0.05, -0.051, -0.049, -0.05])])
    assert saving.at_least == "loss"
    assert not saving.known
    assert -0.13 < saving.bound < -0.05
    assert (saving.lower(0.5), saving.high, saving.p_better) == (-math.inf, saving.bound, 1)
    assert saving.saving_low == -math.inf
    assert saving.saving_high == pytest.approx(1 - math.exp(-saving.bound))
    # The same loss in scatter that hides the slope's error has a number, and so has one seen beyond T.
    assert tokens_of([pairs([0.0, -0.1, 0.0, -0.1])]).known
    beyond = tokens_of([RungPairs(SLOPE, (point(0.0, [-0.05] * 4), point(-0.13, EITHER)))])
    assert beyond.known
    assert beyond.ln_speedup == pytest.approx(-0.13, abs=0.005)


def test_a_gain_a_little_smaller_than_the_only_horizon_supposed_is_a_number() -> None:
    # At the top the first guess comes from the rung below: .3, where the arm crosses at .285, hardly scattered.
    saving = tokens_of(at(0.3, [-0.006, -0.0061, -0.0059, -0.006]))
    assert saving.known
    assert saving.ln_speedup == pytest.approx(0.285, abs=0.001)


def test_a_loss_far_beyond_what_was_run_is_at_least_one_in_any_scatter() -> None:
    saving = tokens_of([pairs([-0.1, -0.6, -0.1, -0.6])])
    assert saving.at_least == "loss"


def test_differences_of_bounds_are_bounds_where_one_side_is_a_number() -> None:
    number = Saving("tokens", 0.2, 0.03, 8, 4)
    gain = Saving("tokens", math.nan, 0.04, 8, 4, at_least="gain", centre=2.0)
    loss = Saving("tokens", math.nan, 0.04, 8, 4, at_least="loss", centre=-0.1)
    reach = stats.t.ppf(0.95, 0.0025**2 / (0.0009**2 / 8 + 0.0016**2 / 8)) * 0.05
    for top, bottom, kind, bound in (
        (gain, number, "gain", 1.8 - reach),
        (number, loss, "gain", 0.3 - reach),
        (loss, number, "loss", -0.3 + reach),
        (number, gain, "loss", -1.8 + reach),
    ):
        change = difference(top, bottom)
        assert (change.known, change.bounded, change.at_least) == (False, True, kind)
        assert change.bound == pytest.approx(bound)
    for top, bottom in ((gain, gain), (gain, loss), (loss, gain), (loss, loss)):
        assert not difference(top, bottom).bounded


def test_a_difference_claims_nothing_beyond_what_was_run() -> None:
    number = Saving("tokens", 0.2, 0.03, 8, 4)
    gain = Saving("tokens", math.nan, 0.04, 8, 4, at_least="gain", centre=5.0, ceiling=2.0)
    more, less = difference(gain, number), difference(number, gain)
    assert 1.7 < more.bound < 1.8
    assert less.bound == pytest.approx(-more.bound)


def test_unpaired_or_unfinished_losses_are_refused() -> None:
    with pytest.raises(InputError, match="one arm run per baseline"):
        RungPairs.at_horizon(SLOPE, BASELINE, ARM[:2])
    with pytest.raises(InputError, match="finite"):
        RungPairs.at_horizon(SLOPE, BASELINE, np.array([2.9, math.nan, 3.0, 3.0]))
    with pytest.raises(InputError, match="at least one horizon"):
        RungPairs(SLOPE, ())
    with pytest.raises(InputError, match="between 0 and 1"):
        delta_of(0.0)
