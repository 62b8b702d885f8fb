"""`scaleproof verdict` on tables and studies: what it answers, in JSON and in words, and what it refuses."""

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from arm_tables import EXACT, Columns, Judge, World, arm_columns, frontier_columns, select, where, write
from report_fixture import FINDINGS, SMALLEST_SAVING, demo_records, write_spool

from data.study import Study
from transfer.factorial import plan_table

SIGMA = ("--sigma", "1e-4")
BUDGETS = (1e17, 1e18, 1e19, 1e20)
CELL_KEYS = {"params", "tokens", "flops", "speedup", "speedup_low", "speedup_high", "saving"}
ARM_KEYS = {"arm", "rungs", "verdict", "fragile", "reason", "retention", "trend_per_decade", "forecast"}
FORECAST_KEYS = {
    "params",
    "flops",
    "speedup",
    "speedup_low",
    "speedup_high",
    "method",
    "extrapolated",
    "methods",
}
GAINS: dict[str, float | Sequence[float]] = {"x": 0.2, "y": (0.3, 0.2, 0.1), "z": -0.1}


@pytest.fixture
def judge(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Judge:
    return Judge(tmp_path, capsys)


def pooled(arm: Mapping[str, Any]) -> list[float]:
    return [one["ln_speedup"] for one in arm["pooled"]]


def has_the_keys(answer: Mapping[str, Any]) -> None:
    assert {"arms", "interactions", "warnings"} <= answer.keys()
    for arm in answer["arms"]:
        assert arm.keys() >= ARM_KEYS
        assert all(cell.keys() >= CELL_KEYS for cell in arm["rungs"])
        assert arm["forecast"].keys() >= FORECAST_KEYS
        assert set(arm["forecast"]["methods"]) == {"last", "mean", "linear", "decay"}
        for method in arm["forecast"]["methods"].values():
            assert method.keys() >= {"speedup", "leave_top_rung_out_error"}


def test_a_table_answers_with_the_promised_keys(judge: Judge) -> None:
    answer = judge.answer(arm_columns(GAINS))
    has_the_keys(answer)
    assert [one["arm"] for one in answer["arms"]] == list(GAINS)
    assert [one["verdict"] for one in answer["arms"]] == ["transfers", "shrinks", "harmful"]
    assert (answer["interactions"], answer["warnings"]) == ([], [])
    for arm in answer["arms"]:
        assert len(arm["rungs"]) == 9
        for cell in arm["rungs"]:
            assert cell["speedup_low"] < cell["speedup"] < cell["speedup_high"]
            assert cell["saving"] == pytest.approx(1 - 1 / cell["speedup"])
            assert cell["flops"] == pytest.approx(6 * cell["params"] * cell["tokens"])


def test_every_kind_of_file_gives_the_same_answer(judge: Judge, tmp_path: Path) -> None:
    columns = arm_columns(GAINS)
    answers = [judge.answer(write(tmp_path / f"table{end}", columns)) for end in (".csv", ".parquet")]
    assert answers[0]["arms"] == answers[1]["arms"]


def test_columns_and_baseline_go_by_other_names(judge: Judge) -> None:
    columns = arm_columns(GAINS)
    names = {"baseline": "AdamW", "x": "Muon"}
    renamed: Columns = {
        "Optimizer": [names.get(arm, arm) for arm in columns["arm"]],
        "Model Size": columns["params"],
        "tokens": columns["tokens"],
        "final": columns["loss"],
        "seed": columns["seed"],
        "loss of another kind": columns["tokens"],
    }
    options = ("--baseline", "AdamW", "--column", "arm=Optimizer", "--column", "params=Model Size")
    arms = judge.arms(renamed, *options, "--column", "loss=final")
    assert arms["Muon"]["pooled"] == judge.arms(columns)["x"]["pooled"]


def test_the_words_come_first_then_why(judge: Judge) -> None:
    columns = arm_columns(GAINS)
    columns["tuning_trials"] = [9 if arm == "z" else 5 for arm in columns["arm"]]
    text = judge.text(columns)
    assert "3 arms against baseline, on the axis tokens." in text
    assert "measured from seeds" in text
    for said in ("transfers", "shrinks", "invalid"):
        assert said in text
    assert "z: Invalid: it got 9 tuning trials and the baseline 5 (lines" in text
    assert text.index("transfers") < text.index("Speed-up (90 % interval) by params")
    assert max(map(len, text.split("\n\n")[1].splitlines())) <= 100


def test_the_text_of_an_arm_agrees_with_its_pooled_savings(judge: Judge) -> None:
    """Where horizons gain differently, no sentence may speak of one of them alone."""
    world, columns = EXACT, arm_columns({}, EXACT)
    for params, slant in ((2e7, 0.1), (6e7, 0.05), (1.8e8, 0.0)):
        for place, ratio in enumerate(world.ratios):
            row = ("x", params, params * ratio, world.loss(params, params * ratio, 0.2 + slant * (place - 1)))
            for name, cell in zip(("arm", "params", "tokens", "loss"), row, strict=True):
                columns[name].append(cell)
    columns["seconds_per_token"] = [1e-6] * len(columns["arm"])
    (arm,) = judge.answer(columns, *SIGMA)["arms"]
    assert pooled(arm) == pytest.approx([0.2] * 3, abs=1e-3)
    text = judge.text(columns, *SIGMA)
    assert re.search(r"the loss difference changes by −\d+ %, the ln speed-up by −?0(\.\d)? %", text)
    assert "x at 180M params: -18.1 % time = -18.1 % tokens x +0.0 % seconds per token." in text


def test_a_noise_that_was_given_is_said_to_be_assumed(judge: Judge) -> None:
    columns = arm_columns(GAINS, World(seeds=None))
    assert "nothing tells the noise of a run; give --sigma" in judge.refusal(columns)
    answer = judge.answer(columns, "--sigma", "0.001")
    assert all(answer["sigma"]["assumed"])
    assert any("sigma = 0.001 nats per token, is assumed, not measured" in said for said in answer["warnings"])
    assert "0.001 nats per token, assumed" in judge.text(columns, "--sigma", "0.001")


def test_a_given_noise_beside_seeds_is_compared_with_theirs(judge: Judge) -> None:
    (said,) = judge.answer(arm_columns(GAINS), "--sigma", "0.004")["warnings"]
    assert "assumed" in said
    assert "the baseline's own seeds give 0.000" in said


def test_seconds_are_tokens_times_seconds_per_token(judge: Judge) -> None:
    columns = arm_columns(GAINS, EXACT)
    slower = {"x": 1.1, "y": 0.95}
    columns["seconds_per_token"] = [
        1e-15 * params * slower.get(arm, 1.0) for arm, params in zip(columns["arm"], columns["params"], strict=True)
    ]
    tokens, seconds = judge.arms(columns, *SIGMA), judge.arms(columns, *SIGMA, "--axis", "seconds")
    for arm in GAINS:
        shift = math.log(slower.get(arm, 1.0))
        assert pooled(seconds[arm]) == pytest.approx([one - shift for one in pooled(tokens[arm])], abs=1e-12)
        for one, other in zip(tokens[arm]["rungs"], seconds[arm]["rungs"], strict=True):
            assert one["axes"] == other["axes"]
            times = one["axes"]["tokens"]["speedup"] / one["axes"]["seconds"]["speedup"]
            assert times == pytest.approx(slower.get(arm, 1.0), rel=1e-12)
    text = judge.text(columns, *SIGMA, "--axis", "seconds")
    assert "x at 180M params: -9.9 % time = -18.1 % tokens x +10.0 % seconds per token." in text


def test_timings_that_vary_widen_the_interval_in_seconds(judge: Judge) -> None:
    columns = arm_columns({"x": 0.2}, World(seeds=3))
    random = np.random.default_rng(1)
    columns["seconds_per_token"] = (1e-6 * np.exp(0.02 * random.standard_normal(len(columns["arm"])))).tolist()
    axes = judge.arms(columns)["x"]["rungs"][-1]["axes"]
    assert axes["seconds"]["ln_speedup_se"] > 3 * axes["tokens"]["ln_speedup_se"]


def test_an_arm_that_was_not_timed_is_named_and_the_others_are_judged(judge: Judge) -> None:
    columns = arm_columns(GAINS)
    columns["seconds_per_token"] = ["" if arm == "x" else 1e-6 for arm in columns["arm"]]
    arms = judge.arms(columns, "--axis", "seconds")
    assert arms["x"]["verdict"] in ("invalid", "inconclusive")
    assert arms["x"]["rungs"] == []
    assert arms["z"]["verdict"] == "harmful"
    assert "seconds_per_token is empty" in judge.refusal(
        {**columns, "seconds_per_token": ["" if arm == "baseline" else 1e-6 for arm in columns["arm"]]},
        *("--axis", "seconds"),
    )
    assert "no column seconds_per_token" in judge.refusal(arm_columns(GAINS), "--axis", "seconds")


def test_counted_flops_take_the_place_of_6nd(judge: Judge) -> None:
    columns = arm_columns(GAINS, EXACT)
    counted = [
        6 * params * tokens * (1.08 if arm == "x" else 1.0)
        for arm, params, tokens in zip(columns["arm"], columns["params"], columns["tokens"], strict=True)
    ]
    derived, given = judge.answer(columns, *SIGMA), judge.answer({**columns, "flops": counted}, *SIGMA)
    assert any("flops were derived" in note for note in derived["notes"])
    assert not any("flops were derived" in note for note in given["notes"])
    for answer, factor in ((derived, 1.0), (given, 1.08)):
        cell = answer["arms"][0]["rungs"][4]
        assert cell["flops"] == pytest.approx(6 * cell["params"] * cell["tokens"] * factor)
        axes = cell["axes"]
        assert axes["tokens"]["ln_speedup"] - axes["flops"]["ln_speedup"] == pytest.approx(math.log(factor), abs=1e-9)


def test_an_arm_with_more_params_pays_for_them_in_flops(judge: Judge) -> None:
    columns = arm_columns({"x": 0.2}, EXACT)
    columns["params"] = [
        params * (1.05 if arm == "x" else 1.0) for arm, params in zip(columns["arm"], columns["params"], strict=True)
    ]
    cell = judge.arms(columns, *SIGMA)["x"]["rungs"][0]
    assert cell["params"] == pytest.approx(2e7 * 1.05)
    assert cell["axes"]["tokens"]["ln_speedup"] == pytest.approx(0.2, abs=1e-3)
    assert cell["axes"]["flops"]["ln_speedup"] == pytest.approx(0.2 - math.log(1.05), abs=1e-3)


def test_along_frontiers_budgets_are_rungs(judge: Judge) -> None:
    columns = frontier_columns({"x": 0.2, "y": (0.3, 0.2, 0.1, 0.05)}, BUDGETS)
    answer = judge.answer(columns, *SIGMA, "--axis", "flops")
    has_the_keys(answer)
    arms = {one["arm"]: one for one in answer["arms"]}
    assert (arms["x"]["verdict"], arms["y"]["verdict"]) == ("transfers", "shrinks")
    assert [one["flops"] for one in arms["x"]["rungs"]] == pytest.approx(BUDGETS)
    assert all(one["params"] is None for one in arms["x"]["rungs"])
    assert arms["x"]["forecast"]["params"] is None
    assert arms["x"]["forecast"]["flops"] == pytest.approx(1e21)
    assert any("assumed" in said for said in answer["warnings"])
    assert "1e+20" in judge.text(columns, *SIGMA, "--axis", "flops")
    said = judge.refusal(select(columns, [flops < 5e18 for flops in columns["flops"]]), *SIGMA, "--axis", "flops")
    assert "the baseline has 2 budgets, and a frontier needs 3 at least" in said
    assert "give --sigma" in judge.refusal(columns, "--axis", "flops")


def test_targets(judge: Judge) -> None:
    columns = arm_columns(GAINS, EXACT)
    next_step, params, flops = (
        judge.arms(columns, *SIGMA, *options)["x"]["forecast"]
        for options in ((), ("--target", "params=7B"), ("--target", "flops=1e21"))
    )
    assert (next_step["params"], next_step["extrapolated"]) == (pytest.approx(5.4e8), False)
    assert (params["params"], params["extrapolated"]) == (7e9, True)
    assert params["flops"] == pytest.approx(6 * 7e9 * 40 * 7e9)
    assert flops["flops"] == pytest.approx(1e21)
    assert flops["params"] == pytest.approx(math.sqrt(1e21 / 240))
    assert "*" in judge.text(columns, *SIGMA, "--target", "params=7B")
    budgets = frontier_columns({"x": 0.2}, BUDGETS)
    along = judge.arms(budgets, *SIGMA, "--axis", "flops", "--target", "flops=1e22")["x"]["forecast"]
    assert (along["flops"], along["extrapolated"]) == (pytest.approx(1e22), True)
    refused = judge.refusal(budgets, *SIGMA, "--axis", "flops", "--target", "params=7B")
    assert "give flops=1e21" in refused


def test_the_smallest_saving_decides_what_vanishes(judge: Judge) -> None:
    columns = arm_columns({"x": 0.03}, EXACT)
    words = [judge.arms(columns, *SIGMA, "--smallest-saving", one)["x"]["verdict"] for one in ("0.01", "0.05")]
    assert words == ["transfers", "vanishes"]


def test_a_word_that_hangs_on_the_noise_is_fragile(judge: Judge) -> None:
    columns = arm_columns({"x": 0.012}, World(seeds=None, sigma=0.0))
    found = [judge.arms(columns, "--sigma", sigma)["x"] for sigma in ("0.0005", "0.0015", "0.01")]
    assert [(one["verdict"], one["fragile"]) for one in found] == [
        ("transfers", False),
        ("transfers", True),
        ("inconclusive", False),
    ]
    assert "neither a gain, nor a loss, nor clearly nothing" in found[2]["reason"]
    assert "transfers?" in judge.text(columns, "--sigma", "0.0015")


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
    arms = judge.arms(select(columns, [not one for one in where(columns, arm="x", params=1.8e8)]), *SIGMA)
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
        (("--sigma", "0"), "give a number above 0"),
        (("--sigma", "nan"), "give a number above 0"),
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


STRANGE = (
    "μ-param, “quoted”",
    '"',
    "[red]bold[/red]",
    "x" * 90,
    "-1",
    "\x1b[31mred",
    "=cmd()",
    "baseline 2",
    "a\tb",
    "c++",
)


def test_strange_names_are_names(judge: Judge) -> None:
    columns = arm_columns({name: 0.01 * place for place, name in enumerate(STRANGE)}, World(params=(2e7, 6e7)))
    answer = judge.answer(columns)
    assert [one["arm"] for one in answer["arms"]] == list(STRANGE)
    assert answer["interactions"] == []
    text = judge.text(columns)
    assert "\x1b" not in text
    assert "[red]bold[/red]" in text


def test_columns_that_mean_nothing_here_change_nothing(judge: Judge) -> None:
    columns = arm_columns(GAINS)
    notes = [f"note {row}" for row in range(len(columns["arm"]))]
    assert judge.answer({"note": notes, **columns, "loss2": notes}) == judge.answer(columns)


def test_combinations_interact(judge: Judge) -> None:
    columns = arm_columns({"a": 0.2, "b": 0.1, "a+b": 0.22, "stack": 0.3, "without:a": 0.12}, EXACT)
    answer = judge.answer(columns, *SIGMA)
    kinds = {one["arm"]: (one["kind"], one["members"]) for one in answer["interactions"]}
    assert kinds == {"a+b": ("combination", ["a", "b"]), "without:a": ("contribution", ["a"])}
    by_arm = {one["arm"]: one for one in answer["interactions"]}
    assert by_arm["a+b"]["ln_speedup"] == pytest.approx(-0.08, abs=1e-3)
    assert by_arm["without:a"]["ln_speedup"] == pytest.approx(0.18, abs=1e-3)
    assert "Interactions (ln speed-up, 90 % interval)" in judge.text(columns, *SIGMA)


def test_a_whole_plan_of_combinations_tells_main_effects(judge: Judge) -> None:
    effects = {f"f{place}": -0.02 + 0.0125 * place for place in range(9)}
    rows = ["+".join(row) for row in plan_table(list(effects)) if row]
    gains = {row: sum(effects[name] for name in row.split("+")) for row in rows}
    whole = "+".join(effects)
    world = World(params=(2e7, 6e7), sigma=0.0, seeds=None)
    (plan,) = judge.answer(arm_columns({**gains, whole: sum(effects.values()) - 0.05}, world), *SIGMA)["interactions"]
    assert (plan["arm"], plan["kind"], set(plan["members"])) == (whole, "plan", set(effects))
    (without,) = judge.answer(arm_columns(gains, world), *SIGMA)["interactions"]
    assert without["ln_speedup"] is None
    found = {one["finding"]: one["ln_speedup"] for one in without["detail"]["findings"]}
    assert found == pytest.approx(effects, abs=1e-3)


def test_a_plan_that_cannot_be_read_is_a_warning(judge: Judge) -> None:
    columns = arm_columns({"a+b": 0.1, "a+b+c": 0.2, "c++": 0.3, "d+": 0.1}, World(params=(2e7, 6e7)))
    answer = judge.answer(columns)
    assert any("cannot be read as a plan" in said for said in answer["warnings"])
    assert len(answer["arms"]) == 4


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A promoted study whose runs were judged on several axes."""
    return made_study(tmp_path_factory.mktemp("study") / "demo", "landing")


def made_study(path: Path, until: str) -> Path:
    Study.create(path, {"transfer": {"smallest_saving": SMALLEST_SAVING}})
    return write_spool(path, demo_records(until=until))


def test_a_study_answers_with_the_same_keys(judge: Judge, study: Path) -> None:
    answer = judge.answer(study)
    has_the_keys(answer)
    assert answer["smallest_saving"] == SMALLEST_SAVING
    words = {one["arm"]: one["verdict"] for one in answer["arms"]}
    assert words == {**{f"alone:{finding}": word for finding, *_, word in FINDINGS}, "stack": "shrinks"}
    assert {one["arm"] for one in answer["interactions"]} == {"stack", "without:t03", "without:t07"}
    text = judge.text(study)
    assert "6 arms against baseline" in text
    for method in ("decay", "last", "mean", "linear"):
        assert method in text


def test_a_study_is_judged_on_one_axis_at_a_time(judge: Judge, study: Path) -> None:
    slower = {finding: slow for finding, _, _, _, slow, _ in FINDINGS}
    gains = {finding: gain for finding, _, _, gain, _, _ in FINDINGS}
    for axis, options, share in (("seconds", (), 1.0), ("tokens", ("--axis", "tokens"), 0.0)):
        answer = judge.answer(study, *options)
        assert (answer["axis"], len(answer["arms"])) == (axis, 6)
        for arm in answer["arms"][:5]:
            finding = arm["arm"].removeprefix("alone:")
            expected = [gain - share * slower[finding] for gain in gains[finding]]
            assert pooled(arm) == pytest.approx(expected)
            assert arm["forecast"]["params"] == 6_400_000


def test_a_study_takes_no_options_of_tables(judge: Judge, study: Path) -> None:
    for options in (("--sigma", "0.1"), ("--baseline", "x"), ("--target", "params=1e9"), ("--column", "arm=x")):
        assert f"{options[0]} is for a table of runs" in judge.refusal(study, *options)


def test_a_study_that_was_not_promoted_has_no_verdict(judge: Judge, tmp_path: Path) -> None:
    said = judge.refusal(made_study(tmp_path / "study", "search"))
    assert "holds no verdict yet; run `scaleproof promote" in said
