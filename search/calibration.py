"""The noise of rung 0, and whether the baseline's learning rate is bracketed there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from scaling.edits import Edit, Recipe
from scaling.lab import Lab
from scaling.runs import RunSpec
from search import keep
from search.references import References, reference_losses

BRACKET_FACTORS = (0.5, 2.0)
BRACKET_SEEDS = 4
BRACKET_KNOB = "learning_rate"


@dataclass(frozen=True, slots=True)
class Noise:
    """What the calibration measured; `screen_losses` maps each of its seeds to the mean loss of "no change" there."""

    calibration: keep.Calibration
    screen_losses: Mapping[int, float]


def measure_noise(
    lab: Lab, baseline: Recipe, references: References, *, seeds: Sequence[int], learning_rate: float
) -> Noise:
    """Run the references on every seed, and the baseline at half and twice its learning rate on a few.

    The bracket is reported, and changes nothing: an undertuned baseline manufactures wins, so its reader must know.

    Raises:
        ScaleproofError: when a baseline or a placebo run does not finish.
    """
    specs = references.specs(seeds, shard="search", purpose="calibrate")
    bracket = {
        factor: [
            _spec(lab, Edit(knobs={BRACKET_KNOB: learning_rate * factor}).apply(baseline), seed)
            for seed in seeds[:BRACKET_SEEDS]
        ]
        for factor in BRACKET_FACTORS
    }
    wanted = [spec for one in (*specs, *bracket.values()) for spec in one]
    results = lab.launcher.finish("Calibrate: baseline, placebos, learning-rate bracket", wanted)
    losses = reference_losses(specs, results)
    calibration = keep.calibrate(losses[:, 0], losses[:, 1:])
    lab.writer.append("calibration", name="sigma", value=calibration.sigma)
    lab.writer.append("calibration", name="placebo_sd", value=calibration.placebo_sd)
    of_baseline = dict(zip(seeds, losses[:, 0].tolist(), strict=True))
    for factor, tried in bracket.items():
        worse = [results[spec.run_id].val_loss - of_baseline[spec.seed] for spec in tried]
        detail = {"knob": BRACKET_KNOB, "value": learning_rate * factor, "pairs": len(worse), "se": _se(worse)}
        lab.writer.append("calibration", name=f"bracket_{factor:g}", value=float(np.mean(worse)), detail=detail)
    lab.writer.flush()
    return Noise(calibration, dict(zip(seeds, losses.mean(axis=1).tolist(), strict=True)))


def _spec(lab: Lab, recipe: Recipe, seed: int) -> RunSpec:
    return lab.spec(recipe, 0, seed, shard="search", arm="bracket", purpose="bracket")


def _se(values: list[float]) -> float:
    return float(np.std(values, ddof=1) / len(values) ** 0.5)
