import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from data.errors import InputError
from transfer.power import Expected, Settling, pair_variance, pairs_for, pairs_needed, smallest_visible_saving


def test_variance_of_a_pair_by_hand() -> None:
    assert pair_variance(0.03, 0.5, 0.9, 0.01) == pytest.approx(1.3 * 2 * 0.0009 * 0.1 / 0.25 + 0.0001)


@pytest.mark.parametrize(("effect", "variance"), [(0.05, 0.002), (0.02, 0.004), (1.0, 1e-9)])
def test_the_smallest_number_of_pairs(effect: float, variance: float) -> None:
    def reached(n: int) -> bool:
        dof = 1 / (1 / (n + 1) + 1 / (n + 4))
        reach = stats.t.ppf(0.95, dof) + stats.t.ppf(0.9, dof)
        return bool(n >= variance * reach**2 / effect**2)

    pairs = pairs_for(effect, variance, alpha=0.05, power=0.9)
    assert pairs is not None
    assert reached(pairs)
    assert pairs == 2 or not reached(pairs - 1)


@given(st.floats(0.005, 0.1), st.integers(2, 40))
def test_plans_and_visible_savings_agree(sigma: float, pairs: int) -> None:
    visible = smallest_visible_saving(
        sigma=sigma, kappa=0.4, s_time=0.01, pairs=pairs, correlation=0.5, alpha=0.05, power=0.9
    )
    effect = -math.log1p(-visible)
    variance = pair_variance(sigma, 0.4, 0.5, 0.01)
    assert pairs_for(effect * 1.0001, variance, alpha=0.05, power=0.9) == pairs
    needed = pairs_for(effect * 0.999, variance, alpha=0.05, power=0.9)
    assert needed is not None
    assert needed > pairs


def expected(top: float, bottom: float, findings: int = 1) -> Expected:
    return Expected(top, bottom, top_variance=0.004, bottom_variance=0.004, delta=0.01, findings=findings)


def test_each_word_asks_its_own_question() -> None:
    def need(word: Settling, top: float, bottom: float) -> int | None:
        return pairs_needed(word, expected(top, bottom))

    assert need("harmful", -0.1, 0.0) == need("gains", 0.1, 0.1)
    assert need("gains", -0.1, 0.1) is None
    assert need("transfers", 0.1, 0.1) == pairs_for(0.025, 0.008, alpha=0.05, power=0.95)
    assert need("transfers", 0.1, 0.13) == pairs_for(0.0025, 0.008, alpha=0.05, power=0.95)
    assert need("transfers", 0.05, 0.1) is None
    assert need("shrinks", 0.05, 0.05) is None
    shrinks, gains = need("shrinks", 0.05, 0.1), need("gains", 0.05, 0.1)
    assert shrinks is not None
    assert gains is not None
    assert shrinks == pairs_for(0.05 - 0.005, 0.008, alpha=0.05, power=0.9)
    assert shrinks > gains
    assert need("vanishes", 0.0, 0.1) == pairs_for(0.01, 0.004, alpha=0.05, power=0.95)


def test_more_findings_need_more_pairs() -> None:
    alone, among_twenty = (pairs_needed("gains", expected(0.05, 0.05, findings)) for findings in (1, 20))
    assert alone is not None
    assert among_twenty is not None
    assert among_twenty > alone


def test_what_pairs_cannot_shrink_can_make_a_word_unreachable() -> None:
    assert pairs_for(0.05, 0.002, alpha=0.05, power=0.9, fixed_variance=0.05**2) is None
    assert pairs_for(1e-5, 1.0, alpha=0.05, power=0.9) is None


def test_an_impossible_plan_is_refused() -> None:
    with pytest.raises(InputError):
        pair_variance(0.03, -0.1, 0.5)
    with pytest.raises(InputError):
        smallest_visible_saving(sigma=0.1, kappa=1, s_time=0, pairs=0, correlation=0, alpha=0.05, power=0.9)
