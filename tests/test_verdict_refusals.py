"""What `scaleproof verdict` refuses in one sentence, and what it leaves out by name while it judges the rest."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from arm_tables import EXACT, Columns, Judge, World, arm_columns, pooled, select, where

GAINS: dict[str, float | Sequence[float]] = {"x": 0.2, "y": (0.3, 0.2, 0.1), "z": -0.1}


@pytest.fixture
def judge(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Judge:
    return Judge(tmp_path, capsys)


def test_one_rung_shows_no_transfer(judge: Judge) -> None:
    arm = judge.arms(arm_columns({"x": 0.2}, World(params=(2e7,))))["x"]
    assert arm["verdict"] == "inconclusive"
    assert "one rung alone cannot show whether a gain lasts" in arm["reason"]
    assert (arm["retention"], arm["trend_per_decade"]) == (None, None)


def test_one_horizon_shows_no_slope(judge: Judge) -> None:
    said = judge.refusal(arm_columns({"x": 0.2}, World(ratios=(20.0,))))
    assert "the baseline has one horizon only, which shows no slope" in said


def test_a_loss_that_does_not_fall_tells_no_saving(judge: Judge) -> None:
    assert "does not fall with tokens" in judge.refusal(arm_columns({"x": 0.2}, World(b=-50.0)))


def test_without_a_common_horizon_nothing_is_compared(judge: Judge) -> None:
    columns = arm_columns({"x": 0.2, "y": 0.1})
    columns["tokens"] = [
        tokens * (1.3 if arm == "x" else 1.0) for arm, tokens in zip(columns["arm"], columns["tokens"], strict=True)
    ]
    answer = judge.answer(columns)
    x, y = answer["arms"]
    assert x["verdict"] in ("invalid", "inconclusive")
    assert "no finished run at a size and horizon of the baseline" in x["reason"]
    assert y["verdict"] == "transfers"
    assert any("tokens is like that of no finished baseline run" in said for said in answer["warnings"])
    alone = select(columns, [arm != "y" for arm in columns["arm"]])
    assert "no arm can be compared with the baseline" in judge.refusal(alone)


def test_an_arm_that_stops_below_the_top_leaves_the_others_alone(judge: Judge) -> None:
    columns = arm_columns({"x": 0.2, "y": 0.1}, EXACT)
    arms = judge.arms(select(columns, [not one for one in where(columns, arm="x", params=1.8e8)]), "--sigma", "1e-4")
    assert {cell["params"] for cell in arms["x"]["rungs"]} == {2e7, 6e7}
    assert pooled(arms["y"]) == pytest.approx([0.1] * 3, abs=1e-3)


@pytest.mark.parametrize("status", ["running", "queued", "failed", "diverged"])
def test_an_unfinished_arm_is_named_and_the_others_are_judged(judge: Judge, status: str) -> None:
    columns = arm_columns({"x": 0.2, "y": 0.1})
    lost = where(columns, arm="x", params=1.8e8, seed=1)
    columns["status"] = [status if one else "finished" for one in lost]
    columns["loss"] = ["" if one else loss for one, loss in zip(lost, columns["loss"], strict=True)]
    answer = judge.answer(columns)
    x, y = answer["arms"]
    assert (x["verdict"], y["verdict"]) == ("invalid", "transfers")
    assert status in x["reason"]
    assert "line 41" in x["reason"]
    assert any(f"{status} 3" in note for note in answer["notes"])


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ({"loss": {5: math.nan}}, "loss is not finite (nan) in line 7"),
        ({"loss": {5: ""}}, "loss is empty in line 7"),
        ({"seed": {1: 0}}, "arm and params, tokens, seed are the same in lines 2 and 3"),
        ({"corpus": {0: "pile"}}, "corpus mixes corpora"),
        ({"tokenizer": {0: "gpt2"}}, "tokenizer mixes tokenisers"),
        ({"status": {0: "done"}}, "status holds 'done' in line 2"),
        ({"learning_rate": {0: -1}}, "learning_rate is not above 0 (-1) in line 2"),
        ({"tuning_trials": {0: 1.5}}, "tuning_trials is not a whole number (1.5) in line 2"),
        ({"params": {0: "20M"}}, "params holds '20M', which is no number, in line 2"),
    ],
)
def test_a_bad_table_is_one_sentence(judge: Judge, broken: Mapping[str, Mapping[int, Any]], said: str) -> None:
    columns = arm_columns(GAINS)
    usual: Columns = {name: [one] * len(columns["arm"]) for name, one in OPTIONAL.items()}
    table = {**columns, **{name: usual[name] for name in broken if name in usual}}
    for name, cells in broken.items():
        table[name] = [cells.get(place, cell) for place, cell in enumerate(table[name])]
    assert said in judge.refusal(table)


OPTIONAL: dict[str, Any] = {
    "corpus": "c4",
    "tokenizer": "own",
    "status": "finished",
    "learning_rate": 0.001,
    "tuning_trials": 3,
}


def test_a_table_needs_a_baseline_and_something_beside_it(judge: Judge) -> None:
    columns = arm_columns({"x": 0.2})
    assert "is 'baseline' in every row" in judge.refusal(arm_columns({}))
    assert "no arm 'adamw'; give --baseline one of its arms: 'baseline', 'x'" in judge.refusal(
        columns, "--baseline", "adamw"
    )
    assert "no arm 'baseline'" in judge.refusal(
        {**columns, "arm": [arm.replace("baseline", "adamw") for arm in columns["arm"]]}
    )
    running = ["running" if arm == "baseline" else "finished" for arm in columns["arm"]]
    assert "no finished run of its baseline" in judge.refusal({**columns, "status": running})


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--axis", "dollars"), "take one of tokens, flops, seconds"),
        (("--sigma", "0"), "is no noise level"),
        (("--sigma", "nan"), "is no noise level"),
        (("--smallest-saving", "1"), "must lie between 0 and 1"),
        (("--target", "tokens=1e9"), "give params=7e9 or flops=1e21"),
        (("--target", "params=1e9,flops=1e20"), "give params=7e9 or flops=1e21"),
        (("--target", "soon"), "--target 'soon' is wrong"),
        (("--column", "arm"), "is not NAME=COLUMN"),
        (("--column", "arm=optimiser"), "no column 'optimiser'"),
        (("--column", "optimiser=arm"), "'optimiser' cannot be mapped"),
    ],
)
def test_a_bad_call_is_one_sentence(judge: Judge, options: tuple[str, ...], said: str) -> None:
    assert said in judge.refusal(arm_columns({"x": 0.2}), *options)


def test_no_table_is_one_sentence(judge: Judge, tmp_path: Path) -> None:
    assert "There is no file" in judge.refusal(tmp_path / "none.csv")
    assert "is not a study" in judge.refusal(tmp_path)
    (tmp_path / "empty.csv").write_text("arm,params,tokens,loss\n")
    assert "no rows" in judge.refusal(tmp_path / "empty.csv")
