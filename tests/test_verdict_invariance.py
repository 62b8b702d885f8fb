"""What must not change a verdict on a table: the order of rows, names, units; and that every table is answered."""

import json
import re
from typing import Any

import numpy as np
import pytest
from arm_tables import EXACT, Answer, Gain, World, answered, arm_columns, pooled, select
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.verdict_answer import verdict_answer
from analysis.verdict_text import verdict_text
from data.arm_table import arm_table_of
from data.errors import InputError
from data.run_columns import ComparedOn
from transfer.tables.verdict import Ask, judge_table

TINY = 1e-5


def same(one: Answer, other: Answer) -> None:
    """Two arms of two answers say the same, but for the last digits and the places of rows."""
    assert (one["verdict"], one["fragile"], one["pairs_to_settle"]) == (
        other["verdict"],
        other["fragile"],
        other["pairs_to_settle"],
    )
    assert pooled(one) == pytest.approx(pooled(other), rel=1e-9, abs=1e-9)
    for key in ("retention", "trend_per_decade", "trend_per_decade_low", "p_holm"):
        assert one[key] == pytest.approx(other[key], rel=1e-6, abs=1e-9)
    for end in ("speedup", "speedup_low", "speedup_high"):
        assert one["forecast"][end] == pytest.approx(other["forecast"][end], rel=1e-6)
    cells, others = ({(cell["rung"], cell["tokens"]): cell for cell in arm["rungs"]} for arm in (one, other))
    assert cells.keys() == others.keys()
    for place, cell in cells.items():
        assert cell["ln_speedup"] == pytest.approx(others[place]["ln_speedup"], rel=1e-9, abs=1e-9)


GAINS: dict[str, Gain] = {"x": 0.2, "y": (0.15, 0.1, 0.05), "z": -0.02, "u": 0.01, "v": 0.003, "w": (0.0, 0.05, 0.1)}


@settings(max_examples=8, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(0, 100))
def test_the_order_of_rows_says_nothing(random: Any, seed: int) -> None:
    columns = arm_columns(GAINS, World(sigma=0.002), seed=seed)
    order = list(range(len(columns["arm"])))
    random.shuffle(order)
    before, after = answered(columns), answered(select(columns, order))
    for arm in GAINS:
        same(before[arm], after[arm])


def test_neither_units_nor_the_floor_nor_who_is_the_baseline_change_a_saving() -> None:
    columns = arm_columns({"x": (0.3, 0.2, 0.1)}, EXACT)
    before = pooled(answered(columns, TINY)["x"])
    higher = {**columns, "loss": [loss + 3 for loss in columns["loss"]]}
    scaled = {**columns, **{name: [7 * one for one in columns[name]] for name in ("params", "tokens")}}
    for table in (higher, scaled):
        assert pooled(answered(table, TINY)["x"]) == pytest.approx(before, abs=1e-6)
    swapped = arm_table_of(columns, baseline="x")
    (arm,) = judge_table(swapped, Ask(TINY)).arms
    assert [one.ln_speedup for one in arm.savings] == pytest.approx([-one for one in before], abs=1e-3)


def test_names_say_nothing() -> None:
    names = {"x": "zebra", "y": "=1+1".replace("+", "x"), "z": "baseline 2", "u": "Ω", "v": "0", "w": "nan?"}
    columns = arm_columns(GAINS, World(sigma=0.002))
    before = answered(columns)
    after = answered({**columns, "arm": [names.get(arm, arm) for arm in columns["arm"]]})
    for arm, name in names.items():
        same(before[arm], after[name])


def test_other_arms_change_only_what_is_corrected_for_many() -> None:
    both = answered(arm_columns({"x": 0.2, "y": 0.1}))
    columns = arm_columns({"x": 0.2, "y": 0.1})
    alone = answered(select(columns, [arm != "y" for arm in columns["arm"]]))
    assert pooled(both["x"]) == pytest.approx(pooled(alone["x"]), rel=1e-12)
    assert both["x"]["p_holm"] >= alone["x"]["p_holm"]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_any_table_gets_an_answer_or_one_sentence(seed: int) -> None:
    random = np.random.default_rng(seed)
    world = World(
        params=tuple(1e6 * 3.0 ** np.arange(random.integers(1, 5))),
        ratios=tuple(10 * 2.0 ** np.arange(random.integers(1, 5))),
        sigma=float(10 ** random.uniform(-5, -1)),
        seeds=(None, 1, 2, 3)[random.integers(4)],
    )
    names = ("x", "y", "a", "b", "a+b", "stack", "without:a")[: random.integers(1, 8)]
    columns = arm_columns({name: random.normal(0, 0.5, len(world.params)).tolist() for name in names}, world, seed=seed)
    columns = select(columns, (random.random(len(columns["arm"])) < random.uniform(0.5, 1.2)).tolist())
    some = len(columns["arm"])
    optional = {
        "status": random.choice(["finished"] * 30 + ["diverged", "failed", "running", "queued"], some).tolist(),
        "seconds_per_token": random.choice(["1e-6", "2e-6", ""], some, p=[0.45, 0.45, 0.1]).tolist(),
        "tuning_trials": random.choice([3, 4], some, p=[0.98, 0.02]).tolist(),
        "learning_rate": random.choice([1e-3, 2e-3, 4e-3], some, p=[0.98, 0.01, 0.01]).tolist(),
        "flops": [6 * n * d for n, d in zip(columns["params"], columns["tokens"], strict=True)],
    }
    table = {**columns, **{name: optional[name] for name in optional if random.random() < 0.5}}
    axes: tuple[ComparedOn, ...] = ("tokens", "flops", "seconds")
    sigma = float(10 ** random.uniform(-6, 0)) if random.random() < 0.6 else None
    try:
        read = arm_table_of(table, axis=axes[random.integers(3)])
        answer = verdict_answer(read, judge_table(read, Ask(sigma)))
    except InputError as refused:
        assert re.fullmatch(r"[^\n]+\.", str(refused))
        return
    json.dumps(answer, allow_nan=False)
    assert [one["arm"] for one in answer["arms"]] == [
        name for name in dict.fromkeys(columns["arm"]) if name != "baseline"
    ]
    assert all(one["reason"].endswith(".") for one in answer["arms"])
    assert verdict_text(answer)
