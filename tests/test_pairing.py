import numpy as np
import pytest

from transfer.pairing import pairing
from transfer.saving import RungPairs
from transfer.slope import Noise, Slope


def rung(correlation: float, sigma: float, pairs: int, rng: np.random.Generator) -> RungPairs:
    common, own = rng.standard_normal(pairs), rng.standard_normal((2, pairs))
    baseline, arm = 3 + sigma * (correlation**0.5 * common + (1 - correlation) ** 0.5 * own)
    return RungPairs(Slope(0.4, 0.01, 0.5, 0.1, Noise(sigma, 12)), baseline, arm, 0.01 * rng.standard_normal(pairs))


def test_correlation_and_timing_are_recovered_from_rungs_of_different_noise() -> None:
    rng = np.random.default_rng(3)
    found = pairing([rung(0.7, sigma, 800, rng) for sigma in (0.03, 0.001)])
    assert found.correlation == pytest.approx(0.7, abs=0.04)
    assert found.s_time == pytest.approx(0.01, rel=0.1)
    assert not found.assumed


def test_luck_is_bounded() -> None:
    slope = Slope(0.4, 0.01, 0.5, 0.1, Noise(0.01, 12))
    same = RungPairs(slope, np.array([3.0, 3.1]), np.array([2.9, 3.0]))
    apart = RungPairs(slope, np.array([3.0, 3.1]), np.array([3.1, 2.9]))
    assert pairing([same]).correlation == 0.95
    assert pairing([apart]).correlation == 0


def test_without_an_arm_the_correlation_is_assumed_and_said_so() -> None:
    found = pairing([])
    assert (found.correlation, found.s_time, found.assumed) == (0.5, 0.0, True)
