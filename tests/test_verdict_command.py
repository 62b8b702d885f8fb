"""`scaleproof verdict` on tables of runs: what it answers, in JSON and in words."""

import math
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from arm_tables import (
    EXACT,
    Columns,
    Judge,
    World,
    arm_columns,
    frontier_columns,
    has_the_keys,
    pooled,
    select,
    where,
    write,
)

from analysis.wording import percent
from transfer.factorial.plans import plan_table

SIGMA = ("--sigma", "1e-4")
BUDGETS = (1e17, 1e18, 1e19, 1e20)
GAINS: dict[str, float | Sequence[float]] = {"x": 0.2, "y": (0.3, 0.2, 0.1), "z": -0.1}


@pytest.fixture
def judge(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Judge:
    return Judge(tmp_path, capsys)


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
    """Where horizons gain differently, no sentence may speak of one of them alone.

    The gain of the longest is read on fewer tokens, by the arm's own curve, where it is a little smaller.
    """
    world, columns = EXACT, arm_columns({}, EXACT)
    for params, slant in ((2e7, 0.1), (6e7, 0.05), (1.8e8, 0.0)):
        for place, ratio in enumerate(world.ratios):
            row = ("x", params, params * ratio, world.loss(params, params * ratio, 0.2 + slant * (place - 1)))
            for name, cell in zip(("arm", "params", "tokens", "loss"), row, strict=True):
                columns[name].append(cell)
    columns["seconds_per_token"] = [1e-6] * len(columns["arm"])
    (arm,) = judge.answer(columns, *SIGMA)["arms"]
    assert pooled(arm) == pytest.approx([0.2] * 3, abs=0.015)
    text = judge.text(columns, *SIGMA)
    changes = percent(pooled(arm)[-1] / pooled(arm)[0] - 1)
    assert re.search(rf"the loss difference changes by −\d+ %, the ln speed-up by {changes}", text)
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
    columns = arm_columns({"x": 0.01}, World(seeds=3))
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
    assert "a frontier needs 3 budgets of the baseline, which has 2" in said
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


def test_a_run_that_broke_down_is_named_beside_the_word(judge: Judge) -> None:
    """Beyond all losses of the baseline it has no number, and must not vanish from the answer for that."""
    columns = arm_columns({"x": 0.2}, EXACT)
    broken = where(columns, arm="x", params=1.8e8, tokens=7.2e9).index(True)
    columns["loss"][broken] = 9.0
    answer = judge.answer(columns, *SIGMA)
    (arm,) = answer["arms"]
    assert (arm["verdict"], arm["rungs"][-1]["bound"], arm["rungs"][-1]["speedup"]) == ("transfers", "at most", None)
    assert arm["rungs"][-1]["speedup_low"] is None
    assert arm["rungs"][-1]["speedup_high"] < 0.25
    assert any("x at 1.8e+08 params and 7.2e+09 tokens is at most" in said for said in answer["warnings"])
    assert "at most 0." in judge.text(columns, *SIGMA)


def test_an_arm_beyond_all_horizons_of_the_baseline_gains_at_least(judge: Judge) -> None:
    columns = arm_columns({"x": (0.2, 0.2, 1.6)}, EXACT)
    (arm,) = judge.answer(columns, *SIGMA)["arms"]
    assert arm["verdict"] == "grows"
    top = arm["pooled"][-1]
    assert (top["bound"], top["speedup"], top["speedup_high"]) == ("at least", None, None)
    assert 2 < top["speedup_low"] < math.exp(1.6)
    assert arm["forecast"] is None
    assert "at the top rung, where it ends below all losses of the baseline's horizons" in arm["reason"]
    text = judge.text(columns, *SIGMA)
    assert re.search(r"x +grows\?? +at least \d+ %", text)


def test_an_arm_that_has_no_other_horizon_gains_though_nobody_knows_how_much(judge: Judge) -> None:
    columns = arm_columns({"x": 0.2}, EXACT)
    longest = [
        arm == "baseline" or round(tokens / params) == 40
        for arm, params, tokens in zip(columns["arm"], columns["params"], columns["tokens"], strict=True)
    ]
    (arm,) = judge.answer(select(columns, longest), *SIGMA)["arms"]
    assert arm["verdict"] == "gains"
    assert all(1 < one["speedup_low"] < math.exp(0.2) and one["speedup"] is None for one in arm["pooled"])
    assert arm["reason"].startswith("It saves at least ")
