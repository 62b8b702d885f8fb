import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from data.errors import InputError
from transfer.landing import judge_landing, landing_margin, landing_tokens

MARGIN = -0.4 * math.log(0.99)


def test_shortened_by_the_very_saving_that_is_printed() -> None:
    assert landing_tokens(1_000_000, 0.08) == 920_000
    assert landing_tokens(1_000_000, 0.0) == landing_tokens(1_000_000, -0.3) == 1_000_000
    with pytest.raises(InputError):
        landing_tokens(1_000_000, 1.0)
    with pytest.raises(InputError):
        landing_tokens(0, 0.1)


def test_a_landing_run_has_whole_steps_and_never_fewer_than_claimed() -> None:
    # 920,000 tokens are 898.4 steps of 1,024; 896,000 are 875 steps exactly, whatever the rounding of 1 - .104.
    assert landing_tokens(1_000_000, 0.08, 1024) == 899 * 1024
    assert landing_tokens(1_000_000, 0.104, 1024) == 875 * 1024


@given(st.integers(1, 10_000), st.integers(1, 65_536), st.floats(-1, 0.999))
def test_no_saving_shortens_by_more_than_itself_plus_a_step(steps: int, batch: int, saving: float) -> None:
    tokens = steps * batch
    short = landing_tokens(tokens, saving, batch)
    assert short % batch == 0
    assert 0 < short <= tokens
    wanted = tokens * (1 - max(saving, 0))
    assert wanted - 1e-5 * batch <= short < wanted + batch


def test_the_margin_by_hand() -> None:
    # lnS .2 with a lower end of .15: at a slope of .4 nats per e-fold the interval concedes .02 nats.
    assert landing_margin(0.4, 0.01) == pytest.approx(MARGIN)
    assert landing_margin(0.4, 0.01, 0.05) == pytest.approx(MARGIN + 0.4 * 0.05)
    assert landing_margin(0.4, 0.01, -0.05) == pytest.approx(MARGIN)


def test_the_bound_by_hand() -> None:
    baseline, excess = np.full(5, 3.0), np.array([0.001, -0.001, 0.003, 0.000, 0.002])
    landing = judge_landing(baseline, baseline + excess, MARGIN)
    assert landing.pairs == 5
    assert landing.loss_difference == pytest.approx(0.001)
    assert landing.high_95 == pytest.approx(0.001 + stats.t.ppf(0.95, 4) * math.sqrt(2.5e-6 / 5))
    assert landing.margin == MARGIN
    assert landing.stands


def test_a_stack_that_lands_short_does_not_stand() -> None:
    baseline = np.array([3.0, 3.01, 2.99, 3.0, 3.02])
    assert not judge_landing(baseline, baseline + 0.01, MARGIN).stands
    noise = np.array([0.05, -0.05, 0.06, -0.06, 0.0])
    assert not judge_landing(baseline, baseline + noise, MARGIN).stands
    # What the printed interval conceded is allowed for.
    assert judge_landing(baseline, baseline + 0.01, landing_margin(0.4, 0.01, 0.05)).stands


def test_one_pair_cannot_land() -> None:
    with pytest.raises(InputError, match="two at least"):
        judge_landing([3.0], [2.9], MARGIN)
    with pytest.raises(InputError, match="as many baselines"):
        judge_landing([3.0, 3.1], [2.9, 2.8, 2.9], MARGIN)
