"""Tables whose baseline follows a known curve: every bend is inverted inside the horizons, by intervals that hold.

`benchmarks/table_curves.py` counts more of them, on more curves.
"""

from collections.abc import Callable

import numpy as np
import pytest
from arm_tables import Columns
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from data.arm_table import arm_table_of
from transfer.bent_line import drop
from transfer.saving import Saving
from transfer.tables.curve import ALONG_TOKENS, Shape, fit_curve
from transfer.tables.fairness import check_fairness
from transfer.tables.measured import at_rungs

Floats = NDArray[np.float64]
Curve = Callable[[Floats], Floats]

LN_SPEEDUPS = (-0.2, 0.0, 0.1, 0.35, 0.7)
TABLES = 6
SLOPE = 0.15


def power(b: float) -> Curve:
    return lambda u: 3 - SLOPE * drop(u, np.full(len(u), b))


def double(u: Floats) -> Floats:
    return (power(-0.5)(u) + power(0.5)(u)) / 2


def runs(curve: Curve, horizons: int, sigma: float, arms: dict[str, float], random: np.random.Generator) -> Columns:
    """Single runs at horizons a factor of 2 apart."""
    tokens = 1e9 * 2.0 ** np.arange(horizons)
    u = np.log(tokens / tokens[horizons // 2])
    columns: Columns = {"arm": [], "params": [], "tokens": [], "loss": []}
    for arm, ln_speedup in {"baseline": 0.0, **arms}.items():
        columns["arm"] += [arm] * horizons
        columns["params"] += [1e8] * horizons
        columns["tokens"] += tokens.tolist()
        columns["loss"] += (curve(u + ln_speedup) + sigma * random.standard_normal(horizons)).tolist()
    return columns


def cells(columns: Columns, sigma: float) -> dict[str, list[Saving]]:
    table = arm_table_of(columns)
    measured = at_rungs(table, check_fairness(table).rows, sigma)
    return {arm: [one.savings["tokens"] for one in of] for arm, of in measured.cells.items()}


@pytest.mark.parametrize("horizons", [3, 5])
@pytest.mark.parametrize(
    "curve",
    [power(0.05), power(0.35), power(1.3), power(0.0), power(-0.5), double],
    ids=["power .05", "power .35", "power 1.3", "straight", "steepening", "double"],
)
def test_intervals_hold_on_curves_of_every_bend(curve: Curve, horizons: int) -> None:
    random = np.random.default_rng(3)
    arms = {str(one): one for one in LN_SPEEDUPS}
    given_, held, at_all = 0, 0, 0
    for _ in range(TABLES):
        for arm, found in cells(runs(curve, horizons, 0.002, arms, random), 0.002).items():
            known = [one for one in found if one.known]
            given_ += len(known)
            held += sum(one.low <= arms[arm] <= one.high for one in known)
            at_all += len(found)
    assert held >= 0.85 * given_
    assert given_ >= 0.9 * at_all


@given(st.lists(st.floats(-1.4, 1.9), min_size=1, max_size=5), st.floats(-0.2, 1.1))
def test_a_shape_is_inverted_whatever_its_exponents(exponents: list[float], share: float) -> None:
    shape = Shape(np.log(2.0) * np.arange(len(exponents) + 1), np.array(exponents))
    ln_x = np.array([share * shape.knots[-1]])
    reached = shape.reached(shape.fallen(ln_x))
    assert reached == pytest.approx(ln_x, abs=1e-6) or np.isnan(reached).all()


def test_a_straight_and_a_steepening_loss_are_followed_as_they_are() -> None:
    x = np.array([1.0, 2.0, 4.0, 8.0, 16.0])
    for b in (0.0, -0.5):
        curve = fit_curve(x, power(b)(np.log(x)), np.ones(5), sigma=1e-4, prior=ALONG_TOKENS)
        assert curve.shape.exponents == pytest.approx([b] * 4, abs=0.1)
        assert curve.loss(x * 1.4) == pytest.approx(power(b)(np.log(x * 1.4)), abs=2e-3)


def test_the_longest_horizon_is_read_off_the_arms_own_runs() -> None:
    """A saving is 1 - T_arm/T: the arm ends at the baseline's loss somewhere between its own horizons."""
    columns = runs(power(0.3), 4, 0.0, {"x": 0.4}, np.random.default_rng(0))
    found = cells(columns, 1e-4)["x"]
    assert [one.method for one in found] == ["baseline curve"] * 3 + ["crossing"]
    assert [one.ln_speedup for one in found] == pytest.approx([0.4] * 4, abs=0.01)


def test_beyond_both_curves_there_is_a_bound_and_no_number() -> None:
    columns = runs(power(0.3), 3, 0.0, {"x": 1.6}, np.random.default_rng(0))
    found = cells(columns, 1e-3)["x"]
    assert [one.at_least for one in found] == ["gain"] * 3
    assert all(np.isnan(one.ln_speedup) and 0 < one.low < 1.6 and one.high == np.inf for one in found)
    lost = cells(runs(power(0.3), 3, 0.0, {"x": -1.6}, np.random.default_rng(0)), 1e-3)["x"]
    assert all(one.at_least == "loss" and one.low == -np.inf and -1.6 < one.high < 0 for one in lost)


def test_a_loss_beyond_the_horizons_by_its_noise_alone_has_a_number() -> None:
    columns = runs(power(0.3), 3, 0.0, {"x": 0.0}, np.random.default_rng(0))
    columns["loss"][-1] -= 0.0015
    assert all(one.known for one in cells(columns, 0.001)["x"])
