"""What a table of runs is made to say: true savings found again, intervals that cover, words, trends and forecasts."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from arm_tables import EXACT, Answer, Gain, World, answered, arm_columns, frontier_columns, pooled, select
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.verdict_answer import verdict_answer
from data.arm_table import arm_table_of
from data.errors import InputError
from data.run_columns import ComparedOn
from transfer.tables.fairness import check_fairness
from transfer.tables.measured import at_rungs
from transfer.tables.pooling import Pooled
from transfer.tables.verdict import Ask, TableVerdict, judge_table
from transfer.words import GAIN_WORDS

TINY = 1e-5
BUDGETS = (1e17, 1e18, 1e19, 1e20)
TABLES = 300


def judged(
    columns: Mapping[str, Sequence[Any]], sigma: float | None = None, axis: ComparedOn = "tokens"
) -> TableVerdict:
    return judge_table(arm_table_of(columns, axis=axis), Ask(sigma))


@pytest.mark.parametrize("beta", [0.2, 0.28, 0.45, 0.7])
@pytest.mark.parametrize("ratios", [(10.0, 20.0, 40.0), (5.0, 20.0, 80.0, 160.0)])
def test_without_noise_the_true_savings_are_found(beta: float, ratios: tuple[float, ...]) -> None:
    world = World(sigma=0.0, seeds=None, beta=beta, b=1.5 * 1e9**beta, ratios=ratios)
    gains: dict[str, Gain] = {"same": 0.2, "less": (0.3, 0.2, 0.1), "worse": -0.15, "none": 0.0, "much": 0.7}
    arms = answered(arm_columns(gains, world), TINY)
    for arm, gain in gains.items():
        truth = [gain] * 3 if isinstance(gain, float | int) else list(gain)
        assert pooled(arms[arm]) == pytest.approx(truth, abs=2e-3)
        for cell in arms[arm]["rungs"]:
            found = math.exp(truth[cell["rung"]])
            if cell["bound"]:
                assert 0.9 * found < cell["speedup_low"] < found
                continue
            assert cell["speedup"] == pytest.approx(found, rel=3e-3)
            assert cell["saving"] == pytest.approx(1 - 1 / cell["speedup"])
            assert cell["speedup_low"] <= cell["speedup"] <= cell["speedup_high"]
    assert arms["less"]["trend_per_decade"] == pytest.approx(-0.2 / math.log10(9), abs=1e-3)
    assert arms["less"]["retention"] == pytest.approx(-0.2, abs=1e-3)
    words = {arm: one["verdict"] for arm, one in arms.items()}
    assert words == {
        "same": "transfers",
        "less": "shrinks",
        "worse": "harmful",
        "none": "vanishes",
        "much": "transfers",
    }


def test_without_noise_the_true_savings_are_found_along_a_frontier() -> None:
    gains: dict[str, Gain] = {"same": 0.2, "less": (0.3, 0.25, 0.15, 0.1), "more": (0.02, 0.1, 0.2, 0.3), "worse": -0.2}
    arms = answered(frontier_columns(gains, BUDGETS), TINY, "flops")
    for arm, gain in gains.items():
        truth = [gain] * 4 if isinstance(gain, float | int) else list(gain)
        assert pooled(arms[arm]) == pytest.approx(truth, abs=1e-3)
        assert [one["flops"] for one in arms[arm]["rungs"]] == pytest.approx(BUDGETS)
    words = {arm: one["verdict"] for arm, one in arms.items()}
    assert words == {"same": "transfers", "less": "shrinks", "more": "grows", "worse": "harmful"}


@settings(max_examples=20, deadline=None)
@given(
    gain=st.floats(-0.5, 0.8),
    beta=st.floats(0.15, 0.8),
    floor=st.floats(0.5, 3.0),
    steps=st.lists(st.floats(1.6, 4.0), min_size=2, max_size=4),
)
def test_without_noise_any_curve_is_inverted(gain: float, beta: float, floor: float, steps: list[float]) -> None:
    ratios = tuple(8.0 * np.cumprod([1.0, *steps]))
    world = World(sigma=0.0, seeds=None, beta=beta, b=1.5 * 1e9**beta, floor=floor, ratios=ratios)
    assert pooled(answered(arm_columns({"x": gain}, world), TINY)["x"]) == pytest.approx([gain] * 3, abs=2e-3)


def pools(world: World, gain: tuple[float, ...], sigma: float | None) -> list[Pooled]:
    """The arm's pooled savings in TABLES tables of one world."""
    found = []
    for seed in range(TABLES):
        table = arm_table_of(arm_columns({"x": gain}, world, seed=seed))
        found.append(at_rungs(table, check_fairness(table).rows, sigma).pooled["x"])
    return found


@pytest.mark.parametrize(
    ("world", "sigma"),
    [
        (World(params=(2e7, 6e7), correlation=0.0), None),
        (World(params=(2e7, 6e7), correlation=0.9, sigma=0.003), None),
        (World(params=(2e7, 6e7), correlation=0.0, seeds=None), 0.001),
    ],
    ids=["uncorrelated pairs", "correlated pairs", "single runs, sigma given"],
)
def test_intervals_cover(world: World, sigma: float | None) -> None:
    gain = (0.25, 0.1)
    found = pools(world, gain, sigma)
    held = [
        [saving.low <= truth <= saving.high for saving, truth in zip(one.savings, gain, strict=True)] for one in found
    ]
    # This curve is smooth, which no table says of its own; where runs are precise the intervals are wide by that.
    assert np.mean(held) >= 0.87
    change = [(one.retention(0).low <= gain[1] - gain[0] <= one.retention(0).high) for one in found]
    assert np.mean(change) >= 0.87
    estimates = np.array([[saving.ln_speedup for saving in one.savings] for one in found])
    assert np.abs(estimates.mean(axis=0) - gain).max() < 2e-3
    assert np.mean([one.scatter() is not None for one in found]) < 0.06


def test_pairs_that_go_together_narrow_intervals() -> None:
    widths = []
    for correlation in (0.0, 0.9):
        world = World(params=(2e7, 6e7), correlation=correlation, seeds=4)
        found = [judged(arm_columns({"x": 0.01}, world, seed=seed)).arms[0].savings[-1] for seed in range(12)]
        widths.append(np.mean([one.high - one.low for one in found]))
    assert widths[1] < 0.7 * widths[0]


def test_no_gain_is_hardly_ever_called_one() -> None:
    words = [
        one.verdict.word
        for seed in range(12)
        for one in judged(arm_columns({f"x{k}": 0.0 for k in range(8)}, seed=seed)).arms
    ]
    assert sum(word in GAIN_WORDS for word in words) <= 0.03 * len(words)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1000), st.floats(1e-4, 3e-3))
def test_a_larger_sigma_widens_every_interval(seed: int, sigma: float) -> None:
    columns = arm_columns({"x": 0.2, "y": -0.05}, World(seeds=None, correlation=0.0), seed=seed)
    narrow, wide = answered(columns, sigma), answered(columns, 2 * sigma)
    for arm in ("x", "y"):
        for one, other in zip(narrow[arm]["pooled"], wide[arm]["pooled"], strict=True):
            assert other["speedup_low"] < one["speedup_low"] < one["speedup_high"] < other["speedup_high"]
        assert narrow[arm]["trend_per_decade_high"] < wide[arm]["trend_per_decade_high"]


def test_a_larger_sigma_widens_intervals_along_a_frontier() -> None:
    columns = frontier_columns({"x": 0.2}, BUDGETS, sigma=0.001)
    narrow, wide = (answered(columns, sigma, "flops")["x"]["pooled"][-1] for sigma in (0.001, 0.002))
    assert wide["speedup_high"] - wide["speedup_low"] > 1.3 * (narrow["speedup_high"] - narrow["speedup_low"])


def test_arms_may_be_run_at_one_horizon_of_the_baselines_three() -> None:
    """As a study's ladder does: T for all, T/2 and 2T for the baseline alone."""
    held = []
    for seed in range(60):
        columns = arm_columns({"x": (0.25, 0.1)}, World(params=(2e7, 6e7), sigma=0.002), seed=seed)
        middle = [
            arm == "baseline" or round(tokens / params) == 20
            for arm, params, tokens in zip(columns["arm"], columns["params"], columns["tokens"], strict=True)
        ]
        low, high = judged(select(columns, middle)).arms[0].savings
        held += [low.low <= 0.25 <= low.high, high.low <= 0.1 <= high.high]
    assert np.mean(held) >= 0.82


def test_seeds_that_pair_no_runs_still_tell_the_noise() -> None:
    columns = arm_columns({"x": 0.2}, World(correlation=0.0, seeds=3))
    columns["seed"] = [f"{arm}-{seed}" for arm, seed in zip(columns["arm"], columns["seed"], strict=True)]
    verdict = judged(columns)
    assert not any(noise.assumed for noise in verdict.noises)
    assert [one.ln_speedup for one in verdict.arms[0].savings] == pytest.approx([0.2] * 3, abs=0.02)


def test_an_arm_may_share_some_horizons_alone() -> None:
    columns = arm_columns({"x": 0.2, "y": 0.1}, EXACT)
    ratio = [round(tokens / params) for tokens, params in zip(columns["tokens"], columns["params"], strict=True)]
    ragged = {2e7: (10, 20, 40), 6e7: (20, 40), 1.8e8: (20,)}
    rows = zip(columns["arm"], columns["params"], ratio, strict=True)
    arms = answered(select(columns, [arm != "x" or there in ragged[params] for arm, params, there in rows]), TINY)
    assert [round(one["tokens"] / one["params"]) for one in arms["x"]["rungs"]] == [10, 20, 40, 20, 40, 20]
    assert pooled(arms["x"]) == pytest.approx([0.2] * 3, abs=1e-3)
    assert pooled(arms["y"]) == pytest.approx([0.1] * 3, abs=1e-3)


def test_a_gain_that_hangs_on_the_horizon_is_no_trend_over_params() -> None:
    """Not even where the arm has other horizons at other rungs."""
    world, columns = EXACT, arm_columns({}, EXACT)
    for params, ratios in {2e7: (10, 20), 6e7: (10, 20, 40), 1.8e8: (20, 40)}.items():
        for ratio in ratios:
            row = ("x", params, params * ratio, world.loss(params, params * ratio, 0.1 + 0.05 * math.log2(ratio / 10)))
            for name, cell in zip(("arm", "params", "tokens", "loss"), row, strict=True):
                columns[name].append(cell)
    arm = answered(columns, TINY)["x"]
    assert arm["trend_per_decade"] == pytest.approx(0, abs=1e-3)
    assert arm["retention"] == pytest.approx(0, abs=1e-3)


def test_horizons_close_to_one_another_stay_apart() -> None:
    arm = answered(arm_columns({"x": 0.1}, World(sigma=0.0, seeds=None, ratios=(10.0, 10.8, 11.6, 12.5))), 0.001)["x"]
    by_loss = [cell["ln_speedup"] for cell in arm["rungs"]]
    assert len(set(by_loss)) == len(by_loss) == 12


def test_more_seeds_narrow_intervals() -> None:
    columns = arm_columns({"x": 0.2}, World(seeds=4, correlation=0.5))
    many, few = answered(columns, 0.001)["x"], answered(select(columns, [s < 2 for s in columns["seed"]]), 0.001)["x"]
    assert all(a["ln_speedup_se"] < b["ln_speedup_se"] for a, b in zip(many["pooled"], few["pooled"], strict=True))


def test_forecasts_carry_every_method_and_its_error() -> None:
    arm = answered(arm_columns({"x": (0.3, 0.2, 0.1)}, EXACT), TINY, target=5.4e8)["x"]
    forecast = arm["forecast"]
    assert set(forecast["methods"]) == {"decay", "last", "mean", "linear"}
    methods = {name: one["speedup"] for name, one in forecast["methods"].items()}
    assert methods["last"] == pytest.approx(math.exp(0.1), rel=1e-3)
    assert methods["mean"] == pytest.approx(math.exp(0.2), rel=1e-3)
    assert methods["linear"] == pytest.approx(1.0, abs=1e-3)
    errors = {name: one["leave_top_rung_out_error"] for name, one in forecast["methods"].items()}
    assert errors["last"] == pytest.approx(math.exp(0.2) - math.exp(0.1), abs=1e-3)
    assert errors["mean"] == pytest.approx(math.exp(0.25) - math.exp(0.1), abs=1e-3)
    assert errors["linear"] == pytest.approx(0, abs=1e-3)
    assert forecast["speedup_low"] < methods["decay"] < forecast["speedup_high"]
    assert (forecast["method"], forecast["extrapolated"]) == ("decay", False)


def test_beyond_four_times_the_ladder_a_forecast_is_extrapolated() -> None:
    columns = arm_columns({"x": 0.2}, EXACT)
    far, near = (answered(columns, TINY, target=times * 1.8e8)["x"]["forecast"] for times in (4.1, 3.9))
    assert (far["extrapolated"], near["extrapolated"]) == (True, False)
    budgets = frontier_columns({"x": 0.2}, BUDGETS)
    far, near = (
        answered(budgets, TINY, "flops", target=math.sqrt(times * 1e20))["x"]["forecast"] for times in (4.1, 3.9)
    )
    assert (far["extrapolated"], near["extrapolated"]) == (True, False)
    assert far["flops"] == pytest.approx(4.1e20)


def test_seeds_that_change_nothing_are_no_noise() -> None:
    with pytest.raises(InputError, match="the baseline's seeds change no loss at all"):
        judged(arm_columns({"x": 0.2}, World(sigma=0.0)))


def interactions(gains: Mapping[str, Gain], world: World = EXACT, sigma: float | None = 1e-4) -> list[Answer]:
    table = arm_table_of(arm_columns(gains, world))
    found: list[Answer] = verdict_answer(table, judge_table(table, Ask(sigma)))["interactions"]
    return found


def test_a_combination_is_compared_with_its_members() -> None:
    (one,) = interactions({"a": 0.2, "b": 0.1, "a + b": 0.25})
    assert (one["kind"], one["members"]) == ("combination", ["a", "b"])
    assert one["ln_speedup"] == pytest.approx(-0.05, abs=1e-3)
    assert one["ln_speedup_low"] < -0.05 < one["ln_speedup_high"] < 0
    assert interactions({"a": 0.2, "a+b": 0.25}) == []


def test_the_stack_without_a_member_tells_what_it_adds() -> None:
    found = interactions({"stack": (0.4, 0.35, 0.3), "without:a": (0.2, 0.2, 0.2), "without:b": 0.3, "without:": 0.1})
    assert {one["members"][0]: one["kind"] for one in found} == {"a": "contribution", "b": "contribution"}
    assert [one["ln_speedup"] for one in found] == pytest.approx([0.1, 0.0], abs=1e-3)


def test_interactions_cover_their_truth() -> None:
    held = []
    for seed in range(60):
        table = arm_table_of(arm_columns({"a": 0.2, "b": 0.1, "a+b": 0.25}, World(sigma=0.002), seed=seed))
        (one,) = verdict_answer(table, judge_table(table, Ask()))["interactions"]
        held.append(one["ln_speedup_low"] <= -0.05 <= one["ln_speedup_high"])
    assert np.mean(held) >= 0.8
