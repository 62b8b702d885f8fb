import math

import numpy as np
import pytest

from data.errors import InputError
from transfer.aa import check
from transfer.slope import Noise, Slope

SLOPE = Slope(0.4, 0.02, 0.5, 0.1, Noise(0.02, 9))
OTHERS = [[3.3, 3.31], [3.0, 3.01, 2.99, 3.02], [2.8, 2.79]]


def test_alike_halves_pass() -> None:
    result = check([3.0, 3.01], [3.01, 3.0], SLOPE, others=OTHERS)
    assert not result.frozen
    assert result.ln_speedup == pytest.approx(0)
    assert result.low_99 < 0 < result.high_99


def test_a_shift_freezes_the_rung_though_there_are_but_two_pairs() -> None:
    # Were the shift counted into sigma too, two pairs could never show it, however large it is.
    assert check([3.1, 3.11], [3.0, 3.01], SLOPE, others=OTHERS).frozen
    assert check([3.0, 3.01], [3.1, 3.11], SLOPE, others=OTHERS).frozen


def test_a_slope_that_cannot_tell_freezes_the_rung() -> None:
    flat = Slope(-0.1, 0.02, 0.45, 0.25, Noise(0.02, 9))
    assert check([3.0, 3.01], [3.01, 3.0], flat, others=OTHERS).frozen
    beyond = check([9.0, 9.01], [3.01, 3.0], SLOPE, others=OTHERS)
    assert beyond.frozen
    assert math.isnan(beyond.ln_speedup)


def test_on_a_straight_loss_a_shift_of_any_size_has_a_number() -> None:
    straight = Slope(0.4, 0.02, 0.0, 0.1, Noise(0.02, 9))
    result = check([9.0, 9.01], [3.01, 3.0], straight, others=OTHERS)
    assert result.frozen
    assert result.ln_speedup == pytest.approx(6 / 0.4)


def test_false_alarms_are_one_in_a_hundred() -> None:
    rng = np.random.default_rng(11)
    ladders = [rng.normal(3, 0.02, (6, 2)) for _ in range(2000)]
    alarms = [check(runs[0], runs[1], SLOPE, others=list(runs[2:])).frozen for runs in ladders]
    assert 0.003 < np.mean(alarms) < 0.02


def test_halves_must_match() -> None:
    with pytest.raises(InputError, match="both sides"):
        check([3.0], [3.0, 3.1], SLOPE, others=OTHERS)
