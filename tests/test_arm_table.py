"""Tables of arms: what is read is what was written, and whatever is wrong ends in one sentence that says where."""

import csv
import math
import os
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from arm_tables import write
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from data.arm_checks import STATUSES
from data.arm_table import ArmTable, arm_table_of, read_arm_table
from data.errors import InputError

PUBLISHED = os.environ.get("SCALEPROOF_PUBLISHED", "")
published = pytest.mark.skipif(not PUBLISHED, reason="set SCALEPROOF_PUBLISHED to the folder of published tables")

GOOD: dict[str, list[Any]] = {
    "arm": ["baseline", "baseline", "muon", "muon", "baseline", "muon"],
    "params": [1e8, 1e8, 1.05e8, 1.05e8, 3e8, 3.1e8],
    "tokens": [2e9, 2e9, 2e9, 2e9, 6e9, 6e9],
    "loss": [3.5, 3.51, 3.4, 3.41, 3.0, 2.9],
    "seed": [0, 1, 0, 1, 0, 0],
}
Columns = Mapping[str, Sequence[Any]]


def of(**changed: Any) -> ArmTable:
    return arm_table_of({name: column for name, column in {**GOOD, **changed}.items() if column is not None})


def complaint(path: Path, table: Columns, **options: Any) -> str:
    with pytest.raises(InputError) as caught:
        read_arm_table(write(path, table), **options)
    said = str(caught.value)
    assert said.count(str(path)) == 1
    assert said.endswith(".")
    assert "\n" not in said
    return said.replace(str(path), "FILE")


def test_every_kind_of_file_and_python_give_the_same_table(tmp_path: Path) -> None:
    extra: dict[str, list[Any]] = {
        "seconds_per_token": [1e-6] * 6,
        "status": ["finished"] * 5 + ["diverged"],
        "tuning_trials": [3] * 6,
    }
    there = {**GOOD, **extra, "note": ["x"] * 6}
    tables = [read_arm_table(write(tmp_path / f"runs{end}", there)) for end in (".csv", ".parquet")]
    tables.append(arm_table_of({name: np.array(column) for name, column in there.items()}))
    for table in tables:
        assert table.arm == tuple(GOOD["arm"])
        assert (table.baseline, table.arms, table.axis) == ("baseline", ("muon",), "tokens")
        assert table.loss.tolist()[:5] == GOOD["loss"][:5]
        assert math.isnan(table.loss[5])
        assert table.finished.tolist() == [True] * 5 + [False]
        assert table.seed == ("0", "1", "0", "1", "0", "0")
        assert table.flops.tolist() == [6 * n * d for n, d in zip(GOOD["params"], GOOD["tokens"], strict=True)]
        assert (table.has_seeds, table.has_times, table.flops_given) == (True, True, False)
        assert np.isnan(table.learning_rate).all()
        assert table.tuning_trials.tolist() == [3.0] * 6
        assert table.notes == (
            "1 of 6 runs did not finish (diverged 1).",
            "flops were derived as 6 x params x tokens.",
        )
        assert table.warnings == ()
        assert table.of_arm("muon").tolist() == [False, False, True, True, False, True]
        assert len(table) == 6
        with pytest.raises(ValueError, match="read-only"):
            table.loss[0] = 99
    assert [(table.unit, int(table.rows[0])) for table in tables] == [("line", 2), ("row", 1), ("position", 0)]


def test_columns_and_the_baseline_go_by_other_names(tmp_path: Path) -> None:
    renamed = {**GOOD, "optimizer": ["adamw" if one == "baseline" else one for one in GOOD["arm"]]}
    del renamed["arm"]
    path = write(tmp_path / "runs.csv", renamed)
    table = read_arm_table(path, columns={"arm": "optimizer"}, baseline="adamw")
    assert (table.baseline, table.arms) == ("adamw", ("muon",))
    assert arm_table_of(renamed, columns={"arm": "optimizer"}, baseline="muon").arms == ("adamw",)


def test_rungs_and_horizons_are_the_baselines() -> None:
    table = arm_table_of(
        {
            "arm": ["baseline"] * 4 + ["wide"] * 5,
            "params": [3e8, 1e8, 1.01e8, 1e8, 1.1e8, 3.4e8, 1.5e8, 2.6e8, 1e8],
            "tokens": [6e9, 2e9, 2.03e9, 4e9, 2.02e9, 6.5e9, 2e9, 6e9, 4.05e9],
            "loss": [3.0, 3.5, 3.49, 3.3, 3.4, 2.9, 3.2, 2.95, 3.2],
        }
    )
    assert table.rung_params.tolist() == [1e8, 3e8]
    assert table.rung.tolist() == [1, 0, 0, 0, 0, 1, -1, 1, 0]
    expected = [6e9, 2e9, 2e9, 4e9, 2e9, math.nan, math.nan, 6e9, 4e9]
    np.testing.assert_array_equal(table.horizon, expected)
    assert "params is like that of no finished baseline run in position 6, which" in table.warnings[0]
    assert "tokens is like that of no finished baseline run in position 5, which" in table.warnings[1]


def test_a_rung_that_only_an_unfinished_baseline_has_is_none() -> None:
    table = of(status=["finished"] * 4 + ["diverged", "finished"], loss=[3.5, 3.51, 3.4, 3.41, "boom", 2.9])
    assert table.rung_params.tolist() == [1e8]
    assert table.rung.tolist() == [0, 0, 0, 0, -1, -1]


def test_on_axis_flops_budgets_are_the_rungs() -> None:
    runs: dict[str, list[Any]] = {
        "arm": ["baseline", "a", "baseline", "a"],
        "loss": [3.0, 2.9, 2.8, 2.7],
        "flops": [1e18, 1.01e18, 4e18, 5e18],
    }
    table = arm_table_of(runs, axis="flops")
    assert table.rung_scale.tolist() == [1e18, 4e18]
    assert np.isnan(table.rung_params).all()
    assert np.isnan(table.params).all()
    assert table.rung.tolist() == [0, 0, 1, -1]
    np.testing.assert_array_equal(table.horizon, [1e18, 1e18, 4e18, math.nan])
    assert table.flops_given
    sized = arm_table_of({**runs, "params": [1e8, 1e8, 2e8, 2e8]}, axis="flops")
    assert sized.rung_params.tolist() == [1e8, 2e8]
    assert sized.tokens[0] == pytest.approx(1e18 / 6e8)
    with pytest.raises(InputError, match="only flops of params, tokens, flops"):
        arm_table_of(runs)


def test_unfinished_runs_may_hold_anything_but_words_for_numbers() -> None:
    rest = ["finished"] * 5
    for status in STATUSES[1:]:
        table = of(status=[*rest, status], loss=[*GOOD["loss"][:5], "exploded"], tokens=[*GOOD["tokens"][:5], ""])
        assert table.status[5] == status
        assert math.isnan(table.tokens[5])
        assert math.isnan(table.flops[5])
        assert table.rung[5] == 1
    with pytest.raises(InputError, match="'3e8 or so', which is no number, in position 5"):
        of(status=[*rest, "failed"], params=[*GOOD["params"][:5], "3e8 or so"])


def test_seeds_are_text_or_numbers() -> None:
    assert of(seed=[0.0, 1.0, 0, 1, "0", "1.0"]).seed == ("0", "1", "0", "1", "0", "1")
    assert of(seed=["a", "b", "a", "b", "c", "007"]).seed == ("a", "b", "a", "b", "c", "007")
    none = of(seed=[None, "", math.nan, None, None, None], loss=GOOD["loss"], tokens=[1e9, 2e9, 1e9, 2e9, 6e9, 6e9])
    assert none.seed == (None,) * 6
    assert not none.has_seeds


def test_ragged_tables_and_single_seeds_are_no_errors() -> None:
    table = arm_table_of({"arm": ["baseline", "a"], "params": [1e8, 3e9], "tokens": [1e9, 5e9], "loss": [3.0, 2.5]})
    assert table.rung.tolist() == [0, -1]


LR = [1e-3, 2e-3, 1e-3, 2e-3, 1e-3, 1e-3]


def test_a_sweep_of_learning_rates_is_no_repetition() -> None:
    assert of(seed=None, learning_rate=LR).learning_rate.tolist() == LR
    assert of(seed=[0] * 6, learning_rate=LR).has_seeds


def test_a_failed_attempt_does_not_count_as_the_run_again() -> None:
    assert len(of(seed=[0, 0, 0, 1, 0, 0], status=["failed"] + ["finished"] * 5)) == 6


FINISHED = ["finished"] * 6
BAD: list[tuple[dict[str, Any], str]] = [
    ({"arm": ["a", "a", "b", "b", "a", "b"]}, "no arm 'baseline'; give --baseline one of its arms: 'a', 'b'"),
    ({"arm": ["baseline"] * 6}, "is 'baseline' in every row"),
    ({"arm": ["baseline", "", "b", " ", "b", "b"]}, "arm is blank in lines 3 and 5"),
    ({"loss": [3.5, "nan", 3.4, 3.41, 3, 2]}, "loss is not finite (nan) in line 3; write 'diverged' or 'failed' in a"),
    ({"loss": [3.5, "inf", 3.4, 3.41, 3, 2]}, "loss is not finite (inf) in line 3"),
    ({"loss": [3.5, 0, 3.4, -1, 3, 2]}, "loss is not above 0 (0) in lines 3 and 5"),
    ({"loss": [3.5, "", 3.4, 3.41, 3, 2]}, "loss is empty in line 3"),
    ({"params": [1e8, 1e8, "105M", 1e8, 3e8, 3e8]}, "params holds '105M', which is no number, in line 4"),
    ({"params": [1e8, 1e8, "nan", 1e8, 3e8, 3e8]}, "params is not finite (nan) in line 4; correct it"),
    ({"tokens": [2e9, 2e9, -2e9, 2e9, 6e9, 6e9]}, "tokens is not above 0 (-2e+09) in line 4"),
    ({"params": [1e8, 1e8, 1e308, 1e8, 3e8, 3e8]}, "flops = 6 x params x tokens is too large"),
    ({"seed": [0, 0, 0, 1, 0, 0]}, "arm and params, tokens, seed are the same in lines 2 and 3; leave one out"),
    ({"seed": None}, "in lines 2 and 3; tell the runs apart by a column seed, or leave one out"),
    ({"seed": [0, 1, 0, "", 0, 0]}, "seed is empty in line 5; give every run its seed, or leave the column out"),
    ({"corpus": ["c4", "c4", "pile", "c4", "c4", ""]}, "corpus mixes corpora ('c4', 'pile') in line 4"),
    ({"tokenizer": ["a", "a", "a", "b", "a", "a"]}, "tokenizer mixes tokenisers ('a', 'b') in line 5"),
    (
        {"bytes_per_token": [4, 4.03, 4, 4.1, 4, ""]},
        "bytes_per_token goes from 4 to 4.1, so tokenisers are mixed in line 5",
    ),
    ({"status": [*FINISHED[:5], "done"]}, "status holds 'done' in line 7; write one of finished, diverged"),
    ({"status": [*FINISHED[:5], ""]}, "status holds nothing in line 7"),
    ({"status": ["diverged", "failed", *FINISHED[:2], "queued", "running"]}, "no finished run of its baseline"),
    ({"learning_rate": [0.1, 0.1, 0.1, 0.1, 0.1, 0]}, "learning_rate is not above 0 (0) in line 7"),
    ({"seconds_per_token": [1, "inf", 1, 1, 1, 1]}, "seconds_per_token is not finite (inf) in line 3"),
    ({"seconds_per_token": [1, "fast", 1, 1, 1, 1]}, "seconds_per_token holds 'fast', which is no number, in line 3"),
    ({"tuning_trials": [1, 2.5, 3, 1, 1, ""]}, "tuning_trials is not a whole number (2.5) in line 3"),
    ({"tuning_trials": [1, 0, 3, 1, 1, ""]}, "tuning_trials is not above 0 (0) in line 3"),
    ({"params": None}, "only tokens of params, tokens, flops"),
    ({"loss": None}, "no column loss; map it to one of 'arm'"),
    ({"arm": None}, "no column arm; map it to one of"),
]


@pytest.mark.parametrize(("changed", "said"), BAD)
def test_a_bad_table_says_what_is_wrong_and_where(tmp_path: Path, changed: dict[str, Any], said: str) -> None:
    there = {name: column for name, column in {**GOOD, **changed}.items() if column is not None}
    assert said in complaint(tmp_path / "runs.csv", there)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"baseline": "adam"}, "no arm 'adam'; give --baseline one of its arms: 'baseline', 'muon'"),
        ({"axis": "dollars"}, "axis 'dollars' is unknown"),
        ({"axis": "seconds"}, "no column seconds_per_token"),
        ({"columns": {"optimizer": "arm"}}, "'optimizer' cannot be mapped"),
        ({"columns": {"arm": "optimizer"}}, "no column 'optimizer', to which arm is mapped"),
        ({"columns": {"params": "tokens"}}, "'tokens' is mapped to twice"),
    ],
)
def test_a_bad_option_says_what_is_wrong(tmp_path: Path, options: dict[str, Any], said: str) -> None:
    assert said in complaint(tmp_path / "runs.csv", GOOD, **options)


def test_seconds_need_the_baselines_times() -> None:
    with pytest.raises(InputError, match="seconds_per_token is empty in positions 0, 1 and 4"):
        arm_table_of({**GOOD, "seconds_per_token": ["", "", 1e-6, 1e-6, "", 1e-6]}, axis="seconds")


def test_an_empty_table_and_bad_columns_are_refused(tmp_path: Path) -> None:
    assert "no rows" in complaint(tmp_path / "runs.csv", {name: [] for name in GOOD})
    bad_tables: list[dict[str, Any]] = [
        {name: [] for name in GOOD},
        {**GOOD, "loss": [3.0]},
        {**GOOD, "arm": "baseline"},
        {**GOOD, "seed": 3},
    ]
    for bad in bad_tables:
        with pytest.raises(InputError, match=r"^arrays[^\n]*\.$"):
            arm_table_of(bad)
    with pytest.raises(InputError, match="one-dimensional"):
        of(loss=np.ones((6, 2)))
    with pytest.raises(InputError, match="neither text nor a number"):
        of(arm=["baseline", "a", ["b"], "a", "a", "a"])


def test_what_looks_wrong_is_said() -> None:
    assert "is below 1,000" in of(params=[100, 100, 105, 105, 300, 310]).warnings[0]
    assert "differs from 6 x params x tokens" in of(flops=[1e10] * 6).warnings[0]
    assert "nats per token" in of(loss=[33.5, 33.6, 30, 30.1, 20.1, 20.2]).warnings[0]
    (idle,) = of(loss=[3.5, 3.51, 3.4, 3.4, 3.0, 2.9]).warnings
    assert "same to the last digit for different seeds of one arm in positions 2 and 3" in idle


arm_cells = st.sampled_from(["baseline", "a", "b", "", " a ", "nan", None, 3, 3.0, True, b"x"])
counts = st.sampled_from([1e8, 1.01e8, 3e8, "1e8", "", None, math.nan, math.inf, -1, 0, 10**400, "x"])
any_cells = st.sampled_from([0, 1, 2, 1.0, 2.5, "1", "s", "", None, math.nan, math.inf, -1, True, [1]])
status_cells = st.sampled_from([*STATUSES, "finished", "finished", "", None, "done", 1])
COLUMNS = {
    "arm": arm_cells,
    "params": counts,
    "tokens": counts,
    "flops": counts,
    "loss": counts,
    "seed": any_cells,
    "seconds_per_token": any_cells,
    "learning_rate": any_cells,
    "tuning_trials": any_cells,
    "status": status_cells,
    "corpus": any_cells,
    "tokenizer": any_cells,
    "bytes_per_token": any_cells,
}


def sound(table: ArmTable) -> None:
    """What every table promises."""
    m, done = len(table), table.finished
    assert {table.baseline, *table.arms} == set(table.arm)
    assert table.baseline not in table.arms
    assert [one == "finished" for one in table.status] == done.tolist()
    ours = table.of_arm(table.baseline) & done
    assert ours.any()
    for column in (table.params, table.tokens, table.flops, table.seconds_per_token, table.learning_rate):
        assert column.shape == (m,)
        assert (np.isnan(column) | ((column > 0) & np.isfinite(column))).all()
    needed = (
        (table.loss, table.flops) if table.axis == "flops" else (table.loss, table.params, table.tokens, table.flops)
    )
    assert all(np.isfinite(column[done]).all() for column in needed)
    assert len({seed is None for seed in table.seed}) == 1
    assert (np.diff(table.rung_scale) > 0).all()
    assert len(table.rung_scale) == len(table.rung_params) == len(set(table.rung[ours].tolist()))
    assert (table.rung[ours] >= 0).all()
    assert np.isfinite(table.horizon[ours]).all()
    assert table.rung.max() < len(table.rung_scale)
    scale = table.flops if table.axis == "flops" else table.params
    kept = table.rung >= 0
    assert (np.abs(np.log(scale[kept] / table.rung_scale[table.rung[kept]])) < 0.1501).all()


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_any_cells_make_a_sound_table_or_one_sentence(data: st.DataObject) -> None:
    m = data.draw(st.integers(1, 6))
    names = data.draw(st.sets(st.sampled_from(sorted(COLUMNS))).map(lambda some: some | {"arm", "loss", "params"}))
    table = {name: data.draw(st.lists(COLUMNS[name], min_size=m, max_size=m)) for name in sorted(names)}
    try:
        made = arm_table_of(table, axis=data.draw(st.sampled_from(["tokens", "flops", "seconds"])))
    except InputError as error:
        assert str(error).startswith("arrays")
        assert str(error).endswith(".")
        assert "\n" not in str(error)
    else:
        sound(made)


sizes = st.sampled_from([1e7, 1.01e7, 1.05e7, 1.14e7, 1.3e7, 1e8, 1.02e8]) | st.floats(1e3, 1e12)
sound_rows = st.lists(
    st.tuples(st.sampled_from(["baseline", "a", "b"]), sizes, sizes, st.floats(0.5, 9), st.sampled_from(STATUSES)),
    min_size=2,
    max_size=30,
)


@settings(deadline=None, max_examples=200)
@given(sound_rows, st.sampled_from(["tokens", "flops"]), st.randoms(use_true_random=False))
def test_the_order_of_the_rows_does_not_matter(rows: list[Any], axis: Any, shuffle: random.Random) -> None:
    rows = [(*row, number) for number, row in enumerate(rows)]
    assume(any(row[0] == "baseline" and row[4] == "finished" for row in rows))
    assume(len({row[0] for row in rows}) > 1)
    names = ("arm", "params", "tokens", "loss", "status", "seed")
    tables = []
    for order in (rows, shuffle.sample(rows, len(rows))):
        table = arm_table_of(dict(zip(names, zip(*order, strict=True), strict=True)), axis=axis)
        sound(table)
        tables.append((table, np.argsort([int(str(seed)) for seed in table.seed])))
    (one, first), (other, second) = tables
    for name in ("params", "tokens", "flops", "loss", "rung", "horizon"):
        np.testing.assert_array_equal(getattr(one, name)[first], getattr(other, name)[second])
    np.testing.assert_array_equal(one.rung_params, other.rung_params)
    np.testing.assert_array_equal(one.rung_scale, other.rung_scale)
    assert set(one.arms) == set(other.arms)


@published
def test_published_tables_are_read_whole() -> None:
    folder = Path(PUBLISHED) / "transfer"
    table = read_arm_table(folder / "optimizers_by_scale.csv", columns={"arm": "optimizer"}, baseline="adamw")
    with (folder / "optimizers_by_scale.csv").open(newline="") as lines:
        there = list(csv.DictReader(lines))
    assert table.loss.tolist() == [float(row["loss"]) for row in there]
    assert (len(table.arms), len(table.rung_params), table.warnings) == (5, 4, ())
    assert np.isfinite(table.horizon).all()
    budgets = read_arm_table(
        folder / "porian_refinedweb_compute_optimal.csv",
        columns={"arm": "setting"},
        baseline="long_warmup",
        axis="flops",
    )
    assert (budgets.flops_given, len(budgets.rung_scale)) == (True, 11)
