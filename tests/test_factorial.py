"""Plans of many findings: balanced to run, read without bias, with intervals that cover."""

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from data.errors import InputError
from transfer.factorial.analysis import PlanAnalysis, analyse_plan
from transfer.factorial.plans import (
    contribution,
    dropped,
    fold_over,
    plackett_burman,
    plan_of_combinations,
    plan_table,
)
from transfer.pairs import PairsAt, RungPairs
from transfer.saving import Saving
from transfer.saving_estimate import savings_up_the_ladder
from transfer.slope import Noise, Slope

Array = NDArray[np.float64]

SLOPE = Slope(0.4, 0.01, 0.5, 0.1, Noise(0.02, 12))
SIGMA = 0.02
PLANS = 2_000


def named(findings: int) -> list[str]:
    return [f"f{i}" for i in range(findings)]


def truth(plan: NDArray[np.int8], worth: Array, interactions: Array | None = None) -> Array:
    """lnS of each row: what its members are worth alone, and the interaction of each pair (upper triangle) in it."""
    on = (plan == 1).astype(float)
    joint = np.zeros((len(worth), len(worth))) if interactions is None else np.triu(interactions, 1)
    found: Array = on @ worth + np.einsum("ri,ij,rj->r", on, joint, on)
    return found


def half_stack(worth: Array, interactions: Array) -> Array:
    """Main effects over all 2^k combinations: half of the others are on."""
    joint = np.triu(interactions, 1)
    found: Array = worth + (joint + joint.T).sum(1) / 2
    return found


def analysed(plan: NDArray[np.int8], values: Array, noise: Any = (SIGMA, 12), **options: Any) -> PlanAnalysis:
    return analyse_plan(plan, values, noise, named(plan.shape[1]), **options)


@pytest.mark.parametrize(("findings", "runs"), [(1, 12), (11, 12), (12, 24), (23, 24)])
def test_plans_are_balanced_and_orthogonal(findings: int, runs: int) -> None:
    plan = plackett_burman(findings).astype(int)
    assert plan.shape == (runs, findings)
    assert np.array_equal(plan.T @ plan, runs * np.eye(findings))
    assert (plan.sum(0) == 0).all()
    assert (plan[-1] == -1).all()


def test_too_many_findings_are_refused() -> None:
    for findings in (0, 24):
        with pytest.raises(InputError, match="1 to 23"):
            plackett_burman(findings)


def test_main_effects_are_recovered_with_the_published_error() -> None:
    worth = np.linspace(-0.1, 0.3, 20)
    plan = plackett_burman(20)
    found = analysed(plan, truth(plan, worth), (1.0, 20))
    assert found.effects == pytest.approx(worth)
    assert found.se == pytest.approx(np.full(20, 2 / math.sqrt(24)))
    assert found.se[0] == pytest.approx(0.41, abs=0.005)
    assert found.high - found.effects == pytest.approx(stats.t.ppf(0.95, 20) * found.se)
    assert found.effect("f3").ln_speedup == pytest.approx(worth[3])
    assert not found.folded
    assert found.pairs is None


def test_a_finding_is_dropped_by_its_one_sided_bound() -> None:
    plan = plackett_burman(3)
    reach = stats.t.ppf(0.9, 12) * 2 * SIGMA / math.sqrt(12)
    found = analysed(plan, truth(plan, np.array([-1.01, -0.99, 1.0]) * reach))
    assert found.dropped.tolist() == [True, False, False]


def covered(found: Any, true: float) -> bool:
    return bool(found.low <= true <= found.high)


def noise_of(draw: np.random.Generator, dof: float) -> tuple[float, float]:
    return SIGMA * math.sqrt(draw.chisquare(dof) / dof), dof


def test_intervals_cover_the_truth_in_nine_plans_of_ten() -> None:
    draw = np.random.default_rng(7)
    plan = plackett_burman(20)
    hits, sums, stacks = 0.0, 0, 0
    for _ in range(PLANS):
        worth = draw.normal(0.01, 0.02, 20)
        values = truth(plan, worth) + draw.normal(0, SIGMA, 24)
        noise = noise_of(draw, 8)
        # The stack saves .05 less than its members do together; four pairs measure it.
        stack = Saving("tokens", worth.sum() - 0.05 + draw.normal(0, SIGMA / 2), noise[0] / 2, 8, 4)
        found = analysed(plan, values, noise, stack=stack)
        hits += float(((found.low <= worth) & (worth <= found.high)).mean())
        sums += covered(found.sum_of_effects, worth.sum())
        stacks += covered(found.interaction, -0.05)
    for share in (hits / PLANS, sums / PLANS, stacks / PLANS):
        assert 0.87 < share < 0.93


def test_runs_that_share_one_baseline_are_covered_too() -> None:
    draw = np.random.default_rng(8)
    plan = fold_over(plackett_burman(4))
    worth = np.array([0.03, 0.02, 0.0, -0.01])
    stack_row = int(np.flatnonzero((plan > 0).all(1))[0])
    covariance = SIGMA**2 * (np.eye(24) + 1 / 2)
    hits, stacks = 0.0, 0
    for _ in range(PLANS):
        values = truth(plan, worth) + draw.normal(0, SIGMA, 24) + draw.normal(0, SIGMA / math.sqrt(2))
        stack = Saving("tokens", float(values[stack_row]), math.sqrt(1.5) * SIGMA, math.inf, 1)
        found = analysed(plan, values, covariance, stack=stack, stack_covariance=covariance[stack_row])
        hits += float(((found.low <= worth) & (worth <= found.high)).mean())
        stacks += covered(found.interaction, 0.0)
    assert 0.87 < hits / PLANS < 0.93
    assert 0.87 < stacks / PLANS < 0.93


def test_what_all_runs_share_cancels_in_main_effects() -> None:
    plan = plackett_burman(9)
    values = np.random.default_rng(1).normal(0, 0.1, 12)
    apart = analysed(plan, values, SIGMA**2 * np.eye(12))
    shared = analysed(plan, values + 3, SIGMA**2 * (np.eye(12) + 5))
    np.testing.assert_allclose(shared.effects, apart.effects, atol=1e-12)
    np.testing.assert_allclose(shared.se, apart.se)


def test_a_row_without_noise_makes_the_others_tell_as_much() -> None:
    plan = plackett_burman(11)
    covariance = np.diag(np.where((plan < 0).all(1), 0.0, SIGMA**2))
    found = analysed(plan, np.zeros(12), covariance, dof=9)
    assert found.se == pytest.approx(np.full(11, 2 / math.sqrt(12) * SIGMA * math.sqrt(11 / 12)))
    assert found.dof == 9


def interacting(findings: int, seed: int) -> tuple[Array, Array]:
    draw = np.random.default_rng(seed)
    return draw.normal(0.02, 0.02, findings), np.triu(draw.normal(0, 0.03, (findings, findings)), 1)


@pytest.mark.parametrize("findings", [4, 9, 11, 20])
def test_folding_over_frees_main_effects_of_pairwise_interactions(findings: int) -> None:
    worth, joint = interacting(findings, findings)
    expected = half_stack(worth, joint)
    plan = plackett_burman(findings)
    biased = analysed(plan, truth(plan, worth, joint)).effects - expected
    folded = fold_over(plan)
    found = analysed(folded, truth(folded, worth, joint))
    assert np.abs(biased).max() > 0.005
    np.testing.assert_allclose(found.effects, expected, atol=1e-12)
    assert found.folded


def test_intervals_of_folded_plans_cover_in_a_world_with_interactions() -> None:
    draw = np.random.default_rng(9)
    plans = {folded: fold_over(plackett_burman(9)) if folded else plackett_burman(9) for folded in (False, True)}
    hits = {False: 0.0, True: 0.0}
    strings = []
    for number in range(PLANS):
        worth, joint = interacting(9, number)
        expected = half_stack(worth, joint)
        for folded, plan in plans.items():
            found = analysed(plan, truth(plan, worth, joint) + draw.normal(0, SIGMA, len(plan)), noise_of(draw, 10))
            hits[folded] += float(((found.low <= expected) & (expected <= found.high)).mean()) / PLANS
            if found.pairs is not None and number < 300:
                true = found.pairs.aliases @ joint[np.triu_indices(9, 1)]
                strings.append(float(((found.pairs.low <= true) & (true <= found.pairs.high)).mean()))
    assert 0.87 < hits[True] < 0.93
    assert hits[False] < 0.7
    assert np.mean(strings) == pytest.approx(0.9, abs=0.04)


@pytest.mark.parametrize("findings", [3, 5, 9, 20])
def test_strings_hold_the_interactions_that_they_name(findings: int) -> None:
    worth, joint = interacting(findings, findings)
    plan = fold_over(plackett_burman(findings))
    pairs = analysed(plan, truth(plan, worth, joint)).pairs
    assert pairs is not None
    assert len(pairs.pairs) == findings * (findings - 1) // 2
    np.testing.assert_allclose(pairs.ln_speedups, pairs.aliases @ joint[np.triu_indices(findings, 1)], atol=1e-12)
    if findings <= 5:  # rows enough to tell every pair from every other
        np.testing.assert_allclose(pairs.aliases, np.eye(len(pairs.pairs)), atol=1e-9)
        assert pairs.text(0) == "f0 x f1"


def test_products_that_look_alike_make_one_string() -> None:
    # Half of all combinations of three, folded with its mirror image in a fourth: a b = c d in every row.
    base = np.array(list(itertools.product([1, -1], repeat=3)))
    plan = np.column_stack([base, base.prod(1)]).astype(np.int8)
    joint = np.zeros((4, 4))
    joint[0, 1], joint[2, 3] = 0.1, 0.05
    found = analysed(plan, truth(plan, np.zeros(4), joint))
    assert found.pairs is not None
    assert [found.pairs.text(i) for i in range(3)] == ["f0 x f1 + f2 x f3", "f0 x f2 + f1 x f3", "f0 x f3 + f1 x f2"]
    assert found.pairs.ln_speedups == pytest.approx([0.15, 0, 0])


def rejections(plan: NDArray[np.int8], sigma: float, joint: Array | None = None) -> dict[str, float]:
    draw = np.random.default_rng(3)
    worth = draw.normal(0.02, 0.02, (plan.shape[1],))
    found: dict[str, list[bool]] = {}
    for _ in range(400):
        values = truth(plan, worth, joint) + draw.normal(0, sigma, len(plan))
        for check in analysed(plan, values, noise_of(draw, 12)).checks:
            found.setdefault(check.kind, []).append(not check.passed)
    return {kind: float(np.mean(said)) for kind, said in found.items()}


def test_checks_raise_no_false_alarm_and_see_what_is_wrong() -> None:
    plan = plackett_burman(17)
    again = np.concatenate([plackett_burman(8)] * 2)
    folded = fold_over(plackett_burman(17))
    for one, kinds in (
        (plan, {"dummy columns"}),
        (again, {"replicates", "dummy columns"}),
        (folded, {"dummy columns", "pairwise interactions"}),
    ):
        calm = rejections(one, SIGMA)
        assert set(calm) == kinds
        assert max(calm.values()) < 0.1
        assert min(rejections(one, 3 * SIGMA).values()) > 0.7
    joint = np.zeros((17, 17))
    joint[0, 1] = 0.3
    seen = rejections(folded, SIGMA, joint)
    assert seen["pairwise interactions"] > 0.9
    assert seen["dummy columns"] < 0.1
    assert analysed(plackett_burman(23), np.zeros(24)).checks == ()


def test_checks_say_what_they_mean() -> None:
    plan = fold_over(plackett_burman(9))
    joint = np.zeros((9, 9))
    joint[0, 1] = 1.0
    checks = analysed(plan, truth(plan, np.zeros(9), joint)).checks
    said = {check.kind: check.sentence for check in checks}
    assert "interact in pairs, from which the main effects are free" in said["pairwise interactions"]
    assert said["dummy columns"].startswith("What carries no finding (3 columns) varies")
    assert said["dummy columns"].endswith("which agrees with it.")


def test_the_interaction_of_the_stack() -> None:
    plan = plackett_burman(4)
    stack = Saving("tokens", 0.2, 0.02, 10, 4)
    overlap = analysed(plan, truth(plan, np.array([0.1, 0.1, 0.05, 0.05])), (0.03, 10), stack=stack).interaction
    assert overlap is not None
    assert overlap.ln_speedup == pytest.approx(-0.1)
    variance = 0.02**2 + 4 * (2 * 0.03 / math.sqrt(12)) ** 2
    dof = variance**2 / (0.02**4 / 10 + (4 * (2 * 0.03 / math.sqrt(12)) ** 2) ** 2 / 10)
    assert overlap.high - overlap.ln_speedup == pytest.approx(stats.t.ppf(0.95, dof) * math.sqrt(variance))
    unknown = Saving("tokens", math.nan, math.nan, math.nan, 4)
    assert analysed(plan, np.zeros(12), stack=unknown).interaction is None


def test_everything_can_be_written_as_json() -> None:
    plan = fold_over(plackett_burman(9))
    found = analysed(plan, np.arange(24.0) / 100, stack=Saving("tokens", 0.2, 0.02, 10, 4)).as_dict(most_pairs=3)
    assert [one["finding"] for one in found["findings"]] == named(9)
    assert len(found["pairs"]) == 3
    assert {"sum_of_effects", "interaction", "folded", "checks"} <= set(found)
    assert all(math.isfinite(value) for value in found["interaction"].values())


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 12), st.booleans(), st.integers(0, 2**32 - 1))
def test_the_order_of_rows_and_findings_does_not_matter(findings: int, folded: bool, seed: int) -> None:
    plan = fold_over(plackett_burman(findings)) if folded else plackett_burman(findings)
    draw = np.random.default_rng(seed)
    values = draw.normal(0, 0.1, len(plan))
    rows, columns = (draw.permutation(size) for size in plan.shape)
    one = analysed(plan, values)
    names = [named(findings)[i] for i in columns]
    other = analyse_plan(plan[rows][:, columns], values[rows], (SIGMA, 12), names)
    for name in names:
        np.testing.assert_allclose(other.effect(name).high, one.effect(name).high, atol=1e-12)
    np.testing.assert_allclose(other.sum_of_effects.low, one.sum_of_effects.low, atol=1e-12)
    ratios = [{check.kind: check.variance_ratio for check in found.checks} for found in (one, other)]
    assert ratios[0] == pytest.approx(ratios[1])


@pytest.mark.parametrize("arms", [["baseline", "a", "b", "a+b"], ["a+b", "b+c", "a+c", "baseline", "a+b+c", "c"]])
def test_any_plan_that_tells_its_findings_apart_is_read(arms: list[str]) -> None:
    names, plan = plan_of_combinations(arms)
    worth = np.linspace(0.1, 0.3, len(names))
    found = analyse_plan(plan, truth(plan, worth), (SIGMA, 5), names)
    assert found.effects == pytest.approx(worth)


@pytest.mark.parametrize(
    ("arms", "said"),
    [
        (["baseline", "a+b", "c", "a+b+c", "baseline"], "confounds 'a', 'b'"),
        (["a", "a+b", "a+c", "a+b+c"], "'a' is on in every run"),
        (["a", "b"], "confounds 'a', 'b'"),
    ],
)
def test_confounded_findings_are_named(arms: list[str], said: str) -> None:
    names, plan = plan_of_combinations(arms)
    with pytest.raises(InputError, match=said):
        analyse_plan(plan, np.zeros(len(plan)), (SIGMA, 5), names)


GOOD: dict[str, Any] = {
    "signs": plackett_burman(3),
    "ln_speedups": np.zeros(12),
    "noise": (SIGMA, 5),
    "names": named(3),
}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"signs": plackett_burman(3) * 2}, "1 \\(on\\) or -1"),
        ({"signs": np.ones(12)}, "one row per run"),
        ({"ln_speedups": np.zeros(11)}, "12 runs needs one finite result"),
        ({"ln_speedups": np.full(12, np.nan)}, "one finite result"),
        ({"names": ["a", "a", "b"]}, "a name of its own"),
        ({"noise": (SIGMA, 0)}, "more than 0 degrees of freedom"),
        ({"noise": (-SIGMA, 5)}, "no variance below 0"),
        ({"noise": np.eye(11)}, "covariance of 12 by 12"),
        ({"noise": np.eye(12) + np.eye(12, k=1)}, "symmetric"),
        ({"stack": Saving("tokens", 0.1, 0.1, 5, 4), "stack_covariance": np.zeros(3)}, "each of 12 runs"),
    ],
)
def test_a_bad_call_says_what_is_wrong(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        analyse_plan(**{**GOOD, **changed})


def test_a_plan_can_be_printed_run_and_read_back() -> None:
    names = named(9)
    for folded, rows in ((False, 12), (True, 24)):
        table = plan_table(names, folded)
        assert len(table) == rows
        assert [] in table
        read, plan = plan_of_combinations(["+".join(row) or "baseline" for row in table])
        order = [read.index(name) for name in names]
        expected = plackett_burman(9)
        np.testing.assert_array_equal(plan[:, order], fold_over(expected) if folded else expected)
    assert plan_of_combinations(["none", "b + a"], baseline="none")[1].tolist() == [[-1, -1], [1, 1]]


@pytest.mark.parametrize("arms", [["a++b"], ["a+a"], [""], ["baseline+a"], ["baseline"], []])
def test_names_that_are_no_combination_are_refused(arms: list[str]) -> None:
    with pytest.raises(InputError, match=r"no combination|no finding"):
        plan_of_combinations(arms)


@pytest.mark.parametrize("names", [[], ["a", "a"], ["a", " "], ["a+b"], named(24)])
def test_a_plan_needs_names_that_can_be_joined(names: list[str]) -> None:
    with pytest.raises(InputError):
        plan_table(names)


def crossing_at(
    ln_shortening: float, differences: Any, baseline: Any = (3.0, 3.02, 2.99, 3.01), **ratios: Any
) -> list[RungPairs]:
    """A ladder of one rung, whose pairs lie at the horizon where the arm crosses, but for the mean difference."""
    runs = np.array(baseline)
    return [RungPairs(SLOPE, (PairsAt(ln_shortening, runs, runs - np.array(differences)),), **ratios)]


def test_a_contribution_is_the_stack_less_the_stack_without() -> None:
    scatter = np.array([0.01, -0.01, 0.0, 0.0])
    stack = crossing_at(0.5, scatter, ln_time_ratios=np.array([0.05, 0.06]), ln_flops_ratio=0.03)
    without = crossing_at(0.3, -scatter, ln_time_ratios=np.array([0.02, 0.01]), ln_flops_ratio=0.02)
    adds = {"tokens": 0.2, "flops": 0.2 - 0.01, "seconds": 0.2 - 0.04}
    for axis in ("tokens", "flops", "seconds"):
        found = contribution(stack, without, axis=axis)
        assert found.ln_speedup == pytest.approx(adds[axis], abs=1e-6)
        both = [savings_up_the_ladder(ladder, axis)[0].ln_speedup for ladder in (stack, without)]
        assert found.ln_speedup == pytest.approx(both[0] - both[1])


def test_the_last_rung_is_asked_and_the_lower_ones_tell_what_pairing_gains() -> None:
    quiet = crossing_at(0.1, [0.001, -0.001, 0.001, -0.001])
    stack, without = (crossing_at(g, [0.02, -0.02, 0.02, -0.02]) for g in (0.5, 0.3))
    alone = contribution(stack, without, axis="tokens")
    above = contribution([*quiet, *stack], [*quiet, *without], axis="tokens")
    assert above.ln_speedup == pytest.approx(alone.ln_speedup)
    assert above.ln_speedup_se < alone.ln_speedup_se


def test_what_seeds_share_cancels_from_a_contribution() -> None:
    ours, theirs = np.array([0.03, -0.01, 0.0, -0.02]), np.array([0.02, -0.02, 0.01, -0.01])
    found = contribution(crossing_at(0.5, ours), crossing_at(0.3, theirs), axis="tokens")
    # By seed the two differ by .01 .01 -.01 -.01, over kappa .4; two degrees of freedom more expect half of the noise.
    noise = [float(np.var(one, ddof=1)) / 4 / 0.16 for one in (ours, theirs)]
    expected = noise[0] + noise[1] - math.sqrt(noise[0] * noise[1])
    variance = (3 * (0.0004 / 3) / 4 / 0.16 + 2 * expected) / 5
    assert found.ln_speedup_se == pytest.approx(math.sqrt(variance))
    assert found.dof == pytest.approx(3 + 1)
    assert found.pair_variance == pytest.approx(4 * variance)
    assert found.ln_speedup_se < math.sqrt(sum(noise))


def test_a_contribution_covers_what_a_member_adds() -> None:
    # lnS .35 and .25 on a loss that is straight in ln T, seen .05 beside the crossing, with a baseline that both share.
    rng, hits = np.random.default_rng(2), []
    for _ in range(300):
        seeds, own, other = 0.02 * rng.standard_normal((3, 4))
        stack = crossing_at(0.30, 0.4 * 0.05 + seeds - own, 3 + seeds)
        without = crossing_at(0.30, -0.4 * 0.05 + seeds - other, 3 + seeds)
        found = contribution(stack, without, axis="tokens")
        hits.append(found.low <= 0.1 <= found.high)
    assert 0.86 <= np.mean(hits) <= 0.97


def test_a_stack_beyond_what_was_run_adds_at_least_so_much() -> None:
    beyond = crossing_at(math.log(8), [0.1, 0.11, 0.1, 0.09])
    known = crossing_at(0.3, [0.01, -0.01, 0.0, 0.0])
    more, less = contribution(beyond, known, axis="tokens"), contribution(known, beyond, axis="tokens")
    assert (more.at_least, less.at_least) == ("gain", "loss")
    assert 1.5 < more.bound < math.log(8) - 0.3
    assert less.bound == pytest.approx(-more.bound)


def test_only_a_member_that_is_likely_to_do_nothing_is_dropped() -> None:
    assert dropped(Saving("tokens", -0.05, 0.02, 10, 4))
    assert not dropped(Saving("tokens", -0.01, 0.02, 10, 4))
    assert not dropped(Saving("tokens", math.nan, math.nan, math.nan, 4))


def test_stacks_must_share_their_baselines() -> None:
    ours = crossing_at(0.3, [0.01, -0.01, 0.0, 0.0])
    theirs = crossing_at(0.2, [0.01, -0.01, 0.0, 0.0], (3.1, 3.02, 2.99, 3.01))
    with pytest.raises(InputError, match="same baselines"):
        contribution(ours, theirs, axis="tokens")
    # Fewer pairs of one of them are the first of the other's.
    few = crossing_at(0.2, [0.01, -0.01], (3.0, 3.02))
    assert contribution(ours, few, axis="tokens").known
