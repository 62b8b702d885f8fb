"""Whether arms were treated alike: learning-rate grids, tuning trials, divergence, unfinished runs, sizes."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from arm_tables import EXACT, Columns, World, arm_columns, frontier_columns, select, where
from hypothesis import given
from hypothesis import strategies as st

from data.arm_table import arm_table_of
from data.run_columns import ComparedOn
from transfer.tables.fairness import Fairness, check_fairness
from transfer.tables.horizons import match_horizons

BUDGETS = (1e17, 1e18, 1e19, 1e20)
GAINS = {"x": 0.2, "y": 0.1}
GRID = (1e-3, 2e-3, 4e-3, 8e-3)
SINGLE = World(sigma=0.0, seeds=1)


def checked(columns: Mapping[str, Sequence[Any]], axis: ComparedOn = "tokens") -> Fairness:
    return check_fairness(arm_table_of(columns, axis=axis))


def with_status(columns: Columns, status: str, **wanted: Any) -> Columns:
    chosen = where(columns, **wanted)
    assert any(chosen)
    before = columns.get("status", ["finished"] * len(chosen))
    after = [status if one else old for one, old in zip(chosen, before, strict=True)]
    return {**columns, "status": after}


def swept(best: Mapping[str, float], world: World = SINGLE, rates: Sequence[float] = GRID) -> Columns:
    """Every run at every rate; each doubling away from an arm's best costs .05 nats."""
    once = arm_columns(GAINS, world)
    repeated = {name: [cell for cell in column for _ in rates] for name, column in once.items()}
    rate = list(rates) * len(once["arm"])
    away = [np.log2(one / best.get(arm, 2e-3)) for one, arm in zip(rate, repeated["arm"], strict=True)]
    losses = [loss + 0.05 * far**2 for loss, far in zip(repeated["loss"], away, strict=True)]
    return {**repeated, "loss": losses, "learning_rate": rate}


def test_equal_treatment_is_no_reason() -> None:
    fair = checked(arm_columns(GAINS))
    assert (fair.invalid, fair.notes) == ({}, ())
    assert {arm: sum(map(len, of.values())) for arm, of in fair.rows.items()} == {"baseline": 18, "x": 18, "y": 18}


def test_inside_a_grid_the_best_rate_counts() -> None:
    columns = swept({"x": 4e-3})
    fair = checked(columns)
    assert fair.invalid == {}
    assert any("learning rates" in note for note in fair.notes)
    for arm, best in {"baseline": 2e-3, "x": 4e-3, "y": 2e-3}.items():
        rows = np.concatenate(list(fair.rows[arm].values()))
        assert {columns["learning_rate"][row] for row in rows} == {best}


@pytest.mark.parametrize("edge", [GRID[0], GRID[-1]])
def test_a_best_rate_at_the_edge_is_unfair(edge: float) -> None:
    own = checked(swept({"x": edge})).invalid
    assert list(own) == ["x"]
    assert f"its best learning rate, {edge:g}, stands at the edge of those tried, 0.001 to 0.008" in own["x"]
    all_arms = checked(swept({"baseline": edge})).invalid
    assert list(all_arms) == ["x", "y"]
    assert all("the baseline's best learning rate" in why for why in all_arms.values())


def test_an_edge_at_one_rung_is_enough() -> None:
    columns = swept({})
    high = [arm == "x" and params == 6e7 for arm, params in zip(columns["arm"], columns["params"], strict=True)]
    columns["loss"] = [
        loss - 0.3 * (rate == GRID[-1]) if one else loss
        for loss, rate, one in zip(columns["loss"], columns["learning_rate"], high, strict=True)
    ]
    assert list(checked(columns).invalid) == ["x"]


def test_two_rates_have_no_inside() -> None:
    assert set(checked(swept({}, rates=GRID[:2])).invalid) == {"x", "y"}


def test_a_rate_that_diverged_closes_the_grid() -> None:
    assert checked(with_status(swept({"x": 4e-3}), "diverged", arm="x", learning_rate=8e-3)).invalid == {}


def test_a_rate_that_broke_off_does_not_close_the_grid() -> None:
    columns = with_status(swept({"x": 4e-3}), "failed", arm="x", learning_rate=8e-3)
    assert "stands at the edge of those tried, 0.001 to 0.004" in checked(columns).invalid["x"]


def test_a_rate_that_is_still_running_may_be_the_best() -> None:
    for status in ("running", "queued"):
        columns = with_status(swept({}), status, arm="x", learning_rate=1e-3)
        assert f"a run of it is not finished but {status}" in checked(columns).invalid["x"]


def test_a_rate_at_which_one_seed_diverged_is_not_the_best() -> None:
    columns = with_status(swept({"x": 4e-3}, World(sigma=0.0)), "diverged", arm="x", learning_rate=4e-3, seed=1)
    fair = checked(columns)
    assert fair.invalid == {}
    rows = np.concatenate(list(fair.rows["x"].values()))
    assert {columns["learning_rate"][row] for row in rows} == {2e-3}


def test_a_sweep_of_one_arm_alone_is_unequal_tuning() -> None:
    columns = swept({})
    for arm, ours, theirs in (("x", "4 tuning trials", "1"), ("baseline", "1 tuning trial", "4")):
        pairs = zip(columns["arm"], columns["learning_rate"], strict=True)
        found = checked(select(columns, [one == arm or rate == 2e-3 for one, rate in pairs])).invalid
        assert f"it got {ours} and the baseline {theirs} (" in found["x"]
        assert ("y" in found) == (arm == "baseline")


@pytest.mark.parametrize(("ours", "theirs"), [(9, 5), (5, 9)])
def test_unequal_tuning_trials_are_unfair_to_whom_they_favour(ours: int, theirs: int) -> None:
    columns = arm_columns(GAINS)
    columns["tuning_trials"] = [ours if arm == "x" else theirs for arm in columns["arm"]]
    invalid = checked(columns).invalid
    assert list(invalid) == ["x"]
    assert f"it got {ours} tuning trials and the baseline {theirs}" in invalid["x"]


def test_unknown_tuning_trials_are_no_reason() -> None:
    columns = arm_columns(GAINS)
    columns["tuning_trials"] = ["" if arm == "x" else 5 for arm in columns["arm"]]
    assert checked(columns).invalid == {}


def test_equal_tuning_trials_speak_for_rows_that_show_one_rate_alone() -> None:
    columns = swept({})
    columns["tuning_trials"] = [7] * len(columns["arm"])
    pairs = zip(columns["arm"], columns["learning_rate"], strict=True)
    assert checked(select(columns, [arm == "x" or rate == 2e-3 for arm, rate in pairs])).invalid == {}


@pytest.mark.parametrize("status", ["diverged", "failed"])
def test_one_arm_alone_without_a_loss_is_unfair(status: str) -> None:
    ours = with_status(arm_columns(GAINS), status, arm="x", params=6e7, tokens=1.2e9, seed=1)
    assert list(checked(ours).invalid) == ["x"]
    assert f"it {status} where the baseline was run as well (position 27)" in checked(ours).invalid["x"]
    theirs = with_status(arm_columns(GAINS), status, arm="baseline", params=6e7, tokens=1.2e9, seed=1)
    invalid = checked(theirs).invalid
    assert list(invalid) == ["x", "y"]
    assert f"the baseline {status} where it was run as well" in invalid["y"]


@pytest.mark.parametrize("status", ["running", "queued"])
def test_unfinished_runs_are_waited_for(status: str) -> None:
    columns = with_status(arm_columns(GAINS), status, arm="x", params=1.8e8)
    invalid = checked(columns).invalid
    assert list(invalid) == ["x"]
    assert f"a run of it is not finished but {status}" in invalid["x"]
    assert "wait for it, or leave its rows out" in invalid["x"]
    rest = select(columns, [one == "finished" for one in columns["status"]])
    assert checked(rest).invalid == {}


def test_where_both_lost_the_same_seed_neither_alone_was_unlucky() -> None:
    columns = with_status(arm_columns(GAINS), "diverged", params=2e7, tokens=2e8, seed=1, arm="baseline")
    columns = with_status(columns, "diverged", params=2e7, tokens=2e8, seed=1, arm="x")
    fair = checked(columns)
    assert list(fair.invalid) == ["y"]
    assert len(fair.rows["x"][0, 2e8]) == 1
    other = with_status(columns, "finished", params=2e7, tokens=2e8, seed=1, arm="x")
    other = with_status(other, "diverged", params=2e7, tokens=2e8, seed=0, arm="x")
    assert set(checked(other).invalid) == {"x", "y"}


@pytest.mark.parametrize("status", ["failed", "running", "queued"])
def test_an_attempt_that_was_made_again_does_not_count(status: str) -> None:
    columns = arm_columns(GAINS)
    again = select(columns, [*range(len(columns["arm"])), 20, 20, 38])
    again["status"] = ["finished"] * len(columns["arm"]) + [status] * 3
    fair = checked(again)
    assert fair.invalid == {}
    assert sum(map(len, fair.rows["x"].values())) == 18


def test_a_divergence_that_was_tried_again_stands() -> None:
    columns = arm_columns(GAINS)
    again = select(columns, [*range(len(columns["arm"])), columns["arm"].index("x")])
    again["status"] = ["finished"] * len(columns["arm"]) + ["diverged"]
    assert list(checked(again).invalid) == ["x"]


@pytest.mark.parametrize("place", [{"params": 1.8e8}, {"params": 1.8e8, "tokens": 7.2e9}])
def test_a_baseline_that_diverged_altogether_where_an_arm_finished_is_named(place: dict[str, float]) -> None:
    columns = with_status(arm_columns(GAINS), "diverged", arm="baseline", **place)
    assert all("the baseline diverged where it was run as well" in why for why in checked(columns).invalid.values())
    assert set(checked(columns).invalid) == {"x", "y"}
    without_x = select(columns, [not one for one in where(columns, arm="x", **place)])
    assert list(checked(without_x).invalid) == ["y"]


def test_a_rung_at_which_nobody_finished_yet_is_no_reason() -> None:
    columns = with_status(arm_columns(GAINS), "running", params=1.8e8)
    fair = checked(columns)
    assert fair.invalid == {}
    assert sorted({rung for rung, _ in fair.rows["x"]}) == [0, 1]


def test_a_baseline_that_diverged_at_a_budget_is_named() -> None:
    columns = with_status(frontier_columns(GAINS, BUDGETS), "diverged", arm="baseline", flops=1e20)
    assert set(checked(columns, "flops").invalid) == {"x", "y"}


def sizes_per_budget(world: World = EXACT) -> Columns:
    columns: Columns = {name: [] for name in ("arm", "params", "flops", "loss")}
    for arm, gain in {"baseline": 0.0, **GAINS}.items():
        for flops in BUDGETS:
            for params in np.sqrt(flops / 120) * 2.0 ** np.arange(-2, 3):
                row = (arm, params, flops, world.loss(params, flops / 6 / params, gain))
                for name, cell in zip(columns, row, strict=True):
                    columns[name].append(cell)
    return columns


def test_along_a_frontier_the_best_size_of_each_budget_counts() -> None:
    columns = sizes_per_budget()
    fair = checked(columns, "flops")
    assert any("sizes at one budget" in note for note in fair.notes)
    for of in fair.rows.values():
        for (_, budget), rows in of.items():
            arm = columns["arm"][rows[0]]
            every = [columns["loss"][row] for row in np.flatnonzero(where(columns, arm=arm, flops=budget))]
            assert [columns["loss"][row] for row in rows] == [min(every)]


def test_along_a_frontier_the_rate_is_judged_at_the_best_size() -> None:
    once = sizes_per_budget()
    rates = GRID[:3]
    columns = {name: [cell for cell in column for _ in rates] for name, column in once.items()}
    columns["learning_rate"] = list(rates) * len(once["arm"])
    columns["loss"] = [
        loss + 0.05 * np.log2(rate / (2e-3 if arm != "y" else 4e-3)) ** 2
        for loss, rate, arm in zip(columns["loss"], columns["learning_rate"], columns["arm"], strict=True)
    ]
    fair = checked(columns, "flops")
    assert list(fair.invalid) == ["y"]
    assert len(fair.notes) == 2
    assert all(len(rows) == 1 for of in fair.rows.values() for rows in of.values())


def test_horizons_match_by_tokens_per_param_or_by_tokens() -> None:
    params = np.array([1e8, 3e8])
    ratios = match_horizons(
        params, [params[0] * np.array([10.0, 20.0, 40.0]), params[1] * np.array([10.2, 19.5, 40.0])]
    )
    assert [one.tolist() for one in ratios.numbers] == [[0, 1, 2], [0, 1, 2]]
    tokens = match_horizons(params, [np.array([1e9, 2e9, 4e9, 9e9]), np.array([1e9, 2e9, 4e9])])
    assert [one.tolist() for one in tokens.numbers] == [[0, 1, 2], [0, 1, 2]]
    assert [one.tolist() for one in tokens.left_out] == [[9e9], []]


@given(
    st.lists(
        st.lists(st.floats(1, 1000).map(lambda x: float(f"{x:.3g}")), min_size=1, max_size=8, unique=True),
        min_size=1,
        max_size=4,
    )
)
def test_a_rung_never_has_a_horizon_twice(ratios: list[list[float]]) -> None:
    params = np.geomspace(1e7, 3e8, len(ratios))
    tokens = [np.sort(np.array(one)) * size for one, size in zip(ratios, params, strict=True)]
    found = match_horizons(params, tokens)
    for numbers, kept, left, every in zip(found.numbers, found.tokens, found.left_out, tokens, strict=True):
        assert (np.diff(numbers) > 0).all()
        np.testing.assert_array_equal(np.sort(np.concatenate([kept, left])), every)
