"""Blocks of a timing: their intervals hold whatever rung is noisy, and own runs may contradict them."""

import itertools
import math

import numpy as np
import pytest
from numpy.typing import NDArray

from transfer.student import quantile
from transfer.timing import TimeRatio, blocks_needed, contradiction, half_width, time_ratios

LADDERS = {
    "equal": (0.02, 0.02, 0.02, 0.02),
    "rising": (0.005, 0.02, 0.08),
    "one noisy rung": (0.005, 0.005, 0.005, 0.08),
    "one quiet rung": (0.08, 0.08, 0.08, 0.005),
    "two rungs": (0.005, 0.08),
}
SIMULATIONS = 400
STEPS = 24


def shocks(stream: np.random.Generator, kind: str, shape: tuple[int, int]) -> NDArray[np.float64]:
    """What a block's steps share, around 0; standard deviation 1 but for what tails add."""
    if kind == "t3":
        heavy: NDArray[np.float64] = stream.standard_t(3, shape)
        return heavy
    outlying = (stream.random(shape) < 0.1) & (kind == "outliers")
    drawn: NDArray[np.float64] = stream.standard_normal(shape) * np.where(outlying, 5.0, 1.0)
    return drawn


def simulated(stream: np.random.Generator, kind: str, spread: float, blocks: int) -> NDArray[np.float64]:
    """Measured blocks (simulations, blocks) of a ratio of 1: a shared error and the mean of the steps' own."""
    own: NDArray[np.float64] = 0.002 * stream.standard_normal((SIMULATIONS, blocks, STEPS)).mean(2)
    return own + spread * shocks(stream, kind, (SIMULATIONS, blocks))


# The constants were settled on other streams. 14 simulated rungs of 8000 ladders each, on fresh ones: 91.6 % on
# average; 87.4 % at least of three blocks or more, 85.6 % of two.
@pytest.mark.parametrize("kind", ["normal", "t3", "outliers"])
def test_intervals_hold_in_every_world_and_are_not_absurdly_wide(kind: str) -> None:
    covered: dict[tuple[str, int, int], float] = {}
    for (name, spreads), blocks in itertools.product(LADDERS.items(), (3, 4, 6, 12)):
        stream = np.random.default_rng([7_301, len(covered), len(kind)])
        rungs = [simulated(stream, kind, spread, blocks) for spread in spreads]
        ladders = [time_ratios([rung[k] for rung in rungs]) for k in range(SIMULATIONS)]
        for place, spread in enumerate(spreads):
            ratios = [ladder[place] for ladder in ladders]
            covered[name, blocks, place] = float(np.mean([abs(one.mean) <= half_width(one) for one in ratios]))
            widths = float(np.median([half_width(one) for one in ratios])) * math.sqrt(blocks)
            assert widths < 2 * quantile(0.95, blocks - 1) * spread, (name, blocks, place)
    # 400 simulations know a coverage of 86 % to 1.7 %.
    assert min(covered.values()) > 0.83, min(covered, key=covered.__getitem__)
    assert 0.88 <= np.mean(list(covered.values())) <= 0.95


def test_the_noisy_rung_keeps_its_spread_and_the_quiet_one_gains_little() -> None:
    noisy, quiet = [-0.08, 0.0, 0.08], [-0.005, 0.0, 0.005]
    quiet_ladder, noisy_ladder = time_ratios([noisy, quiet, quiet, quiet]), time_ratios([quiet, noisy, noisy, noisy])
    assert 0.85 * 0.08 < quiet_ladder[0].spread < 0.08
    assert quiet_ladder[0].dof == pytest.approx(2, abs=0.1), "it has its own blocks and no more"
    assert 0.005 < noisy_ladder[0].spread < 0.008
    alike = time_ratios([noisy] * 4)[0]
    assert alike.dof > 2.3, "rungs that are alike lend each other degrees of freedom"


def test_what_one_rung_alone_tells_is_students_interval() -> None:
    (ratio,) = time_ratios([[0.1, 0.2, 0.4]])
    assert ratio.mean == pytest.approx(0.7 / 3)
    assert (ratio.dof, ratio.blocks) == (2, 3)
    assert ratio.variance == pytest.approx(np.var([0.1, 0.2, 0.4], ddof=1) / 3)


def test_what_is_not_known_is_nan() -> None:
    (alone,) = time_ratios([[0.1]])
    assert alone.mean == 0.1
    assert all(map(math.isnan, (alone.variance, alone.dof, alone.spread)))
    assert half_width(alone) == math.inf
    one, many, none = time_ratios([[0.1], [0.0, 0.02, 0.04], []])
    assert (one.spread, one.dof) == (many.spread, 1), "the others' spread stands in for it"
    assert none.blocks == 0
    assert math.isnan(none.mean)


def test_equal_blocks_are_known_exactly() -> None:
    for ratio in time_ratios([[0.1, 0.1], [0.2, 0.2]]):
        assert ratio.variance == half_width(ratio) == 0
        assert blocks_needed(ratio, 0.01) == 2


@pytest.mark.parametrize("wanted", [0.5, 0.05, 0.01, 0.002])
def test_the_blocks_needed_are_the_fewest_that_do(wanted: float) -> None:
    ratio = time_ratios([[-0.02, 0.0, 0.03], [0.0, 0.03, 0.01]])[0]

    def width(blocks: int) -> float:
        return half_width(
            TimeRatio(0.0, ratio.spread**2 / blocks, max(1.0, ratio.dof + blocks - 3), blocks, ratio.spread)
        )

    needed = blocks_needed(ratio, wanted)
    assert width(needed) <= wanted
    assert needed == 2 or width(needed - 1) > wanted
    with pytest.raises(ValueError, match="above 0"):
        blocks_needed(ratio, 0.0)


def test_an_arm_that_was_idle_while_it_was_timed_is_named_with_both_numbers_and_the_load() -> None:
    said = contradiction(math.log(0.5), [(10.0, 10.0), (9.0, 10.0), (30.0, 10.0)], 0.31)
    assert said.startswith("its timing does not hold: ")
    assert all(part in said for part in ("0.50 times", "1.00 times", "CPU time", "31 % of the machine's cores"))
    assert "not known" in contradiction(math.log(0.5), [(10.0, 10.0)] * 2, math.nan)


@pytest.mark.parametrize(
    "pairs",
    [
        [],
        [(10.0, 10.0)],  # one pair
        [(0.9, 0.9), (0.9, 0.9), (10.0, 10.0)],  # runs of less than a second
        [(math.nan, 10.0), (10.0, math.nan), (10.0, 10.0)],  # not measured
        [(7.0, 10.0), (10.0, 10.0)],  # the lower median, in the arm's favour
        [(7.4, 10.0), (7.4, 10.0)],  # within the bound
    ],
)
def test_too_little_to_contradict_a_timing(pairs: list[tuple[float, float]]) -> None:
    assert contradiction(math.log(0.5), pairs, 0.0) == ""


def test_a_timing_that_is_not_known_contradicts_nothing() -> None:
    assert contradiction(math.nan, [(10.0, 1.0)] * 3, 0.0) == ""
