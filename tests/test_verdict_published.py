"""`scaleproof verdict` on tables that others published; SCALEPROOF_PUBLISHED names the folder that holds them."""

import csv
import itertools
import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.verdict_answer import verdict_answer
from data.arm_table import ArmTable, arm_table_of
from scaleproof import main
from transfer.tables.verdict import Ask, judge_table

FOLDER = os.environ.get("SCALEPROOF_PUBLISHED", "")
pytestmark = pytest.mark.skipif(not FOLDER, reason="set SCALEPROOF_PUBLISHED to the folder of published tables")

OPTIMISERS = ("cautious", "lion", "mars", "muon", "nadamw")
SETTINGS = ("long_warmup", "short_warmup", "chinchilla_decay", "tuned_constant")
LARGEST_FITTED, TARGET = 8e17, 6.4e18

Answer = dict[str, Any]


def rows_of(name: str) -> list[dict[str, str]]:
    with (Path(FOLDER) / "transfer" / name).open(newline="") as lines:
        return list(csv.DictReader(lines))


def verdict_of(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], sigma: float) -> Answer:
    table = str(Path(FOLDER) / "transfer" / "optimizers_by_scale.csv")
    call = ["scaleproof", "verdict", table, "--baseline", "adamw", "--column", "arm=optimizer", "--sigma", str(sigma)]
    monkeypatch.setattr("sys.argv", [*call, "--json"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    answer: Answer = json.loads(capsys.readouterr().out)
    return {**answer, "arms": {one["arm"]: one for one in answer["arms"]}}


@pytest.fixture(params=[0.001, 0.002])
def optimisers(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Answer:
    return verdict_of(monkeypatch, capsys, request.param)


def test_a_matrix_optimiser_speeds_up_less_and_less(optimisers: Answer) -> None:
    longest = [one for one in optimisers["arms"]["muon"]["rungs"] if round(one["tokens"] / one["params"]) == 160]
    # The authors say 1.4 to 1.1. At 130M Muon's own runs on 4 and 8 Chinchilla budgets meet AdamW's loss at 5.9, and
    # AdamW's on 8 and 16 meet Muon's at 10.8: 1.35 either way.
    assert [one["speedup"] for one in longest] == pytest.approx([1.35, 1.22, 1.245, 1.105], abs=0.012)
    assert [one["method"] for one in longest[:3]] == ["by the arm's own curve"] * 3
    assert optimisers["arms"]["muon"]["trend_per_decade"] == pytest.approx(-0.173, abs=0.01)


def test_optimisers_get_their_words(optimisers: Answer) -> None:
    words = {arm: one["verdict"] for arm, one in optimisers["arms"].items()}
    assert (words["muon"], words["lion"]) == ("shrinks", "harmful")
    # At 134M they gain 1.02 and 1.05, at 537M 1.04 and 1.08: sure gains, of which these runs cannot tell the change.
    doubtful = optimisers["sigma"]["values"][0] == 0.001
    for arm in ("mars", "cautious"):
        assert words[arm] == ("grows" if doubtful else "gains")
        assert optimisers["arms"][arm]["fragile"] or not doubtful
    assert any("assumed" in said for said in optimisers["warnings"])


def test_a_word_that_depends_on_the_noise_is_fragile(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sure, doubtful = (verdict_of(monkeypatch, capsys, sigma)["arms"]["mars"] for sigma in (0.001, 0.002))
    assert sure["verdict"] != doubtful["verdict"]
    assert sure["fragile"]


def test_the_decay_foresees_the_top_rung(optimisers: Answer) -> None:
    errors = {
        method: np.mean(
            [
                abs(optimisers["arms"][arm]["forecast"]["methods"][method]["leave_top_rung_out_error"])
                for arm in OPTIMISERS
            ]
        )
        for method in ("decay", "last", "mean", "linear")
    }
    assert errors["decay"] <= 0.04
    assert errors["decay"] < min(errors["last"], errors["mean"])


def frontier_table(rows: Sequence[tuple[str, float, float]], baseline: str) -> ArmTable:
    columns = dict(zip(("arm", "flops", "loss"), (list(one) for one in zip(*rows, strict=True)), strict=True))
    return arm_table_of(columns, baseline=baseline, axis="flops")


def test_value_embeddings_by_depth_give_the_published_compute_gains() -> None:
    rows = rows_of("nanochat_x0_lambdas_by_depth.csv")
    # Every depth was trained on tokens in proportion to its params; FLOPs then go as their square.
    flops = [6.0 * 20.0 * float(row["scaling_params"]) ** 2 for row in rows]
    table = frontier_table(
        [
            (arm, compute, float(row[f"{arm}_bpb"]))
            for arm in ("baseline", "arm")
            for compute, row in zip(flops, rows, strict=True)
        ],
        "baseline",
    )
    arm = verdict_answer(table, judge_table(table, Ask(sigma=0.0005)))["arms"][0]
    speedups = [one["speedup"] for one in arm["rungs"]]
    assert speedups == pytest.approx([1.174, 1.165, 1.141, 1.113], abs=0.001)
    assert 1 - arm["rungs"][-1]["loss_difference"] / arm["rungs"][0]["loss_difference"] == pytest.approx(0.62, abs=0.01)
    assert 1 - arm["rungs"][-1]["ln_speedup"] / arm["rungs"][0]["ln_speedup"] == pytest.approx(0.33, abs=0.01)


def porian() -> list[tuple[str, float, float]]:
    return [
        (row["setting"], float(row["flops"]), float(row["loss"]))
        for row in rows_of("porian_refinedweb_compute_optimal.csv")
    ]


def ln_gain_at_target(before: str, after: str) -> float:
    """ln of the FLOPs at which the setting before reaches the loss of the one after at TARGET, over TARGET."""
    curve = sorted((flops, loss) for setting, flops, loss in porian() if setting == before)
    reached = next(loss for setting, flops, loss in porian() if setting == after and math.isclose(flops, TARGET))
    losses = [-loss for _, loss in curve]
    return float(np.interp(-reached, losses, np.log([flops for flops, _ in curve]))) - math.log(TARGET)


@pytest.mark.parametrize("sigma", [0.002, 0.005, 0.01])
def test_gains_along_the_frontier_are_foreseen_eight_times_further(sigma: float) -> None:
    errors = []
    for before, after in itertools.pairwise(SETTINGS):
        rows = [row for row in porian() if row[0] in (before, after) and row[1] <= LARGEST_FITTED * 1.01]
        table = frontier_table(rows, before)
        arm = verdict_answer(table, judge_table(table, Ask(sigma=sigma, target=math.sqrt(TARGET))))["arms"][0]
        truth = ln_gain_at_target(before, after)
        errors.append(abs(math.log(arm["forecast"]["speedup"]) - truth))
        assert math.log(arm["forecast"]["speedup_low"]) < truth < math.log(arm["forecast"]["speedup_high"])
        assert arm["vanishing"] or after == "chinchilla_decay"
    assert math.exp(np.mean(errors)) <= 1.2
