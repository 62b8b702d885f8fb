import math

import numpy as np
import pytest
from scipy import stats

from data.errors import InputError
from transfer.landing import judge_landing, landing_tokens
from transfer.slope import Noise, Slope

SLOPE = Slope(0.4, 0.02, 0.5, 0.1, Noise(0.02, 10))


def test_shortened_by_the_least_that_was_claimed() -> None:
    assert landing_tokens(1_000_000, 0.08) == 920_000
    assert landing_tokens(1_000_000, -0.3) == 1_000_000
    with pytest.raises(InputError):
        landing_tokens(1_000_000, 1.0)


def test_the_bound_and_margin_by_hand() -> None:
    baseline, excess = np.full(5, 3.0), np.array([0.001, -0.001, 0.003, 0.000, 0.002])
    landing = judge_landing(baseline, baseline + excess, SLOPE, smallest_saving=0.01)
    assert landing.loss_difference == pytest.approx(0.001)
    assert landing.high_95 == pytest.approx(0.001 + stats.t.ppf(0.95, 4) * math.sqrt(2.5e-6 / 5))
    assert landing.margin == pytest.approx(-0.4 * math.log(0.99))
    assert landing.stands


def test_a_stack_that_lands_short_does_not_stand() -> None:
    baseline = np.array([3.0, 3.01, 2.99, 3.0, 3.02])
    assert not judge_landing(baseline, baseline + 0.01, SLOPE, smallest_saving=0.01).stands
    noise = np.array([0.05, -0.05, 0.06, -0.06, 0.0])
    assert not judge_landing(baseline, baseline + noise, SLOPE, smallest_saving=0.01).stands


def test_one_pair_cannot_land() -> None:
    with pytest.raises(InputError, match="two at least"):
        judge_landing([3.0], [2.9], SLOPE, smallest_saving=0.01)
