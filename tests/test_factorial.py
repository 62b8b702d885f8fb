import math

import numpy as np
import pytest
from scipy import stats

from data.errors import InputError
from transfer.factorial import (
    contribution,
    dropped,
    fold_over,
    interaction_of_the_stack,
    main_effects,
    plackett_burman,
)
from transfer.saving import RungPairs, Saving, savings_up_the_ladder
from transfer.slope import Noise, Slope

SLOPE = Slope(0.4, 0.01, 0.5, 0.1, Noise(0.02, 12))


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
    effects = main_effects(plan, (plan == 1) @ worth, se=1.0, dof=20)
    assert effects.effects == pytest.approx(worth)
    assert effects.se == pytest.approx(0.41, abs=0.005)


def test_folding_over_frees_main_effects_of_pairwise_interactions() -> None:
    plan = plackett_burman(8)
    folded = fold_over(plan)

    def leak(design: np.ndarray[tuple[int, ...], np.dtype[np.int8]]) -> float:
        pairwise = (design[:, 0] * design[:, 1]).astype(float)
        return float(np.abs(main_effects(design, pairwise, se=1, dof=1).effects).max())

    assert leak(plan) > 0.5
    assert leak(folded) == 0


def test_the_interaction_of_the_stack() -> None:
    plan = plackett_burman(4)
    effects = main_effects(plan, (plan == 1) @ np.array([0.1, 0.1, 0.05, 0.05]), se=0.03, dof=10)
    overlap = interaction_of_the_stack(Saving("tokens", 0.2, 0.02, 10, 4), effects)
    assert overlap.ln_speedup == pytest.approx(-0.1)
    variance = 0.02**2 + 4 * (2 * 0.03 / math.sqrt(12)) ** 2
    assert overlap.high - overlap.ln_speedup == pytest.approx(stats.t.ppf(0.95, 16) * math.sqrt(variance))


def test_a_contribution_is_the_stack_less_the_stack_without() -> None:
    baseline = np.array([3.0, 3.02, 2.99, 3.01])
    stack = RungPairs(SLOPE, baseline, baseline - 0.10, np.full(4, 0.05), 0.03)
    without = RungPairs(SLOPE, baseline, baseline - [0.06, 0.07, 0.06, 0.05], np.full(4, 0.02), 0.02)
    for axis in ("tokens", "flops", "seconds"):
        both = [savings_up_the_ladder([rung], axis)[0].ln_speedup for rung in (stack, without)]
        assert contribution(stack, without, axis=axis).ln_speedup == pytest.approx(both[0] - both[1])


def test_shared_baselines_add_no_noise_to_a_contribution() -> None:
    baseline = np.array([3.0, 3.2, 2.8, 3.1])
    arm = np.array([2.9, 2.9, 2.9, 2.9])
    stack, without = RungPairs(SLOPE, baseline, arm), RungPairs(SLOPE, baseline, arm + 0.01)
    assert contribution(stack, without, axis="tokens").ln_speedup_se < 0.01
    assert savings_up_the_ladder([stack], "tokens")[0].ln_speedup_se > 0.1


def test_only_a_member_that_is_likely_to_do_nothing_is_dropped() -> None:
    assert dropped(Saving("tokens", -0.05, 0.02, 10, 4))
    assert not dropped(Saving("tokens", -0.01, 0.02, 10, 4))
    assert not dropped(Saving("tokens", math.nan, math.nan, math.nan, 4))


def test_stacks_must_share_their_baselines() -> None:
    baseline = np.array([3.0, 3.02])
    with pytest.raises(InputError, match="same baselines"):
        contribution(RungPairs(SLOPE, baseline, baseline), RungPairs(SLOPE, baseline + 1, baseline), axis="tokens")
