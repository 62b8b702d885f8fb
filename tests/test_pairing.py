import numpy as np
import pytest

from transfer.pairing import pairing
from transfer.pairs import PairsAt, RungPairs
from transfer.slope import Noise, Slope


def rung(correlation: float, sigma: float, pairs: int, rng: np.random.Generator) -> RungPairs:
    common, own = rng.standard_normal(pairs), rng.standard_normal((2, pairs))
    baseline, arm = 3 + sigma * (correlation**0.5 * common + (1 - correlation) ** 0.5 * own)
    slope, times = Slope(0.4, 0.01, 0.5, 0.1, Noise(sigma, 12)), 0.01 * rng.standard_normal(600)
    return RungPairs.at_horizon(slope, baseline, arm, times)


def test_correlation_and_timing_are_recovered_from_rungs_of_different_noise() -> None:
    rng = np.random.default_rng(3)
    found = pairing([rung(0.7, sigma, 800, rng) for sigma in (0.03, 0.001)])
    assert found.correlation == pytest.approx(0.7, abs=0.04)
    assert found.s_time == pytest.approx(0.01, rel=0.1)
    assert not found.assumed


def test_the_pairs_of_every_horizon_count_and_are_never_compared_with_each_other() -> None:
    # Differences .01 -.01 about 0 at T, .02 -.02 about .5 at a shorter horizon: (.0002 + .0008)/2, over sigma^2.
    slope, runs = Slope(0.4, 0.01, 0.5, 0.1, Noise(0.04, 12)), np.array([3.0, 3.1])
    two = (PairsAt(0.0, runs, runs - [0.01, -0.01]), PairsAt(0.3, runs, runs - [0.52, 0.48]))
    assert pairing([RungPairs(slope, two)]).correlation == pytest.approx(1 - 0.0005 / 0.0016 / 2)


def test_luck_is_bounded() -> None:
    slope = Slope(0.4, 0.01, 0.5, 0.1, Noise(0.01, 12))
    same = RungPairs.at_horizon(slope, np.array([3.0, 3.1]), np.array([2.9, 3.0]))
    apart = RungPairs.at_horizon(slope, np.array([3.0, 3.1]), np.array([3.1, 2.9]))
    assert pairing([same]).correlation == 0.95
    assert pairing([apart]).correlation == 0


def test_without_an_arm_the_correlation_is_assumed_and_said_so() -> None:
    found = pairing([])
    assert (found.correlation, found.s_time, found.assumed) == (0.5, 0.0, True)
