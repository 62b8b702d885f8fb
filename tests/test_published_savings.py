"""The method on tables that others published; SCALEPROOF_PUBLISHED names the folder that holds them."""

import csv
import math
import os
from pathlib import Path

import numpy as np
import pytest

from transfer.forecast import forecast
from transfer.pairs import PairsAt, RungPairs
from transfer.saving import Axis, Saving
from transfer.saving_estimate import savings_up_the_ladder
from transfer.slope import LN_2, Noise, Slope, fit_slope

FOLDER = os.environ.get("SCALEPROOF_PUBLISHED", "")
pytestmark = pytest.mark.skipif(not FOLDER, reason="set SCALEPROOF_PUBLISHED to the folder of published tables")

SIZES = ("130m", "300m", "520m", "1.2b")
SIZES_IN_PARAMS = (134217728, 301989888, 536870912, 1207959552)


def table(name: str) -> list[dict[str, str]]:
    with (Path(FOLDER) / "transfer" / name).open(newline="") as lines:
        return list(csv.DictReader(lines))


def test_nanochat_time_is_tokens_times_seconds_per_token() -> None:
    before, after = table("nanochat_time_to_gpt2.csv")[3:5]
    tokens_ratio = float(after["param_data_ratio"]) / float(before["param_data_ratio"])
    time_ratio = float(after["hours"]) / float(before["hours"])
    # What a finished loss would have shown, had the arm been run on the baseline's tokens.
    slope = Slope(0.2, 0.001, 0.4, 0.01, Noise(0.001, 20))
    gain = slope.kappa / slope.curvature * (1 - tokens_ratio**slope.curvature)
    losses = np.full(5, 3.0), np.full(5, 3.0 - gain)
    rung = RungPairs.at_horizon(slope, *losses, np.full(5, math.log(time_ratio / tokens_ratio)))

    def saving(axis: Axis) -> float:
        return savings_up_the_ladder([rung], axis)[0].saving

    assert saving("seconds") == pytest.approx(0.109, abs=5e-4)
    assert saving("tokens") == pytest.approx(0.084, abs=5e-4)
    assert 1 - (1 - saving("seconds")) / (1 - saving("tokens")) == pytest.approx(0.027, abs=5e-4)


def test_nanochat_gains_by_depth_match_the_published_compute_gains() -> None:
    for row in table("nanochat_x0_lambdas_by_depth.csv"):
        slope = Slope(float(row["kappa_dbpb_dlnC"]), 0.0, 0.1, 0.01, Noise(1e-4, 10))
        baseline, arm = np.full(2, float(row["baseline_bpb"])), np.full(2, float(row["arm_bpb"]))
        saving = savings_up_the_ladder([RungPairs.at_horizon(slope, baseline, arm)], "tokens")[0]
        # Pairs at one horizon tell no curvature, and the prior's is above that of a frontier.
        assert math.exp(saving.ln_speedup) == pytest.approx(float(row["ceg_compute"]), abs=0.006)


@pytest.fixture(scope="module")
def muon() -> list[Saving]:
    """Muon against AdamW at twice the Chinchilla budget, by size; AdamW at 1, 2 and 4 times gives the slope."""
    losses = {
        (row["optimizer"], row["model_size"], row["chinchilla_multiple"]): float(row["loss"])
        for row in table("optimizers_by_scale.csv")
    }
    rungs = []
    for size in SIZES:
        half, one, two = (losses["adamw", size, multiple] for multiple in "124")
        # One seed each: a spread of .002 nats is assumed.
        slope = fit_slope({-LN_2: [half], 0.0: [one], LN_2: [two]}, Noise(0.002, 10, assumed=True))
        # Muon on half the tokens and on as many: it crosses between them.
        pairs = [
            PairsAt(shortening, np.array([one]), np.array([losses["muon", size, multiple]]))
            for shortening, multiple in ((LN_2, "1"), (0.0, "2"))
        ]
        rungs.append(RungPairs(slope, tuple(pairs)))
    return savings_up_the_ladder(rungs, "tokens")


def test_a_matrix_optimiser_saves_less_at_scale(muon: list[Saving]) -> None:
    speedups = [math.exp(saving.ln_speedup) for saving in muon]
    assert 1.25 < speedups[0] < 1.45
    assert 1.05 < speedups[3] < 1.2
    assert muon[3].ln_speedup < muon[0].ln_speedup / 2


def test_its_saving_at_the_largest_size_is_forecast_from_the_smaller_ones(muon: list[Saving]) -> None:
    decay = forecast(SIZES_IN_PARAMS[:3], {"muon": muon[:3]}, SIZES_IN_PARAMS[3])["muon"][0]
    assert decay.saving_low < muon[3].saving < decay.saving_high
    # Taking the smallest model's saving for granted misses by more than a tenth.
    assert muon[0].saving - muon[3].saving > 0.1
    assert abs(decay.saving - muon[3].saving) < 0.07
