"""The noise of rung 0, and whether the baseline's learning rate is bracketed there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from data.errors import ScaleproofError
from scaling.edits import Edit, Recipe
from scaling.lab import Lab
from scaling.runs import RunSpec
from search import keep
from search.proposals import Proposal

BRACKET_FACTORS = (0.5, 2.0)
BRACKET_SEEDS = 4
BRACKET_KNOB = "learning_rate"


@dataclass(frozen=True, slots=True)
class Noise:
    """What the calibration measured; `baseline_losses` maps each calibration seed to the baseline's finished loss."""

    calibration: keep.Calibration
    baseline_losses: Mapping[int, float]


def measure_noise(
    lab: Lab, baseline: Recipe, *, seeds: range, placebo: Callable[[int], Proposal], learning_rate: float
) -> Noise:
    """Run the baseline and a placebo on every seed, and the baseline at half and twice its learning rate on a few.

    The bracket is reported, and changes nothing: an undertuned baseline manufactures wins, so its reader must know.

    Raises:
        ScaleproofError: when a baseline or a placebo run does not finish.
    """
    base = {seed: _spec(lab, baseline, seed, "baseline", "calibrate") for seed in seeds}
    placebos = {
        seed: _spec(lab, placebo(1 + index).edit.apply(baseline), seed, "placebo", "placebo")
        for index, seed in enumerate(seeds)
    }
    bracket = {
        factor: [
            _spec(lab, Edit(knobs={BRACKET_KNOB: learning_rate * factor}).apply(baseline), seed, "bracket", "bracket")
            for seed in seeds[:BRACKET_SEEDS]
        ]
        for factor in BRACKET_FACTORS
    }
    wanted = [*base.values(), *placebos.values(), *(spec for specs in bracket.values() for spec in specs)]
    results = lab.launcher.finish("Calibrate: baseline, placebos, learning-rate bracket", wanted)
    losses = {seed: results[spec.run_id].val_loss for seed, spec in base.items()}
    if not np.isfinite(list(losses.values())).all():
        reason = next(results[spec.run_id].reason for spec in base.values() if results[spec.run_id].reason)
        raise ScaleproofError(f"The baseline does not train at rung 0: {reason}")
    calibration = keep.calibrate(
        [losses[seed] for seed in seeds], [results[placebos[seed].run_id].val_loss for seed in seeds]
    )
    lab.writer.append("calibration", name="sigma", value=calibration.sigma)
    lab.writer.append("calibration", name="placebo_sd", value=calibration.placebo_sd)
    for factor, specs in bracket.items():
        worse = [results[spec.run_id].val_loss - losses[spec.seed] for spec in specs]
        detail = {"knob": BRACKET_KNOB, "value": learning_rate * factor, "pairs": len(worse), "se": _se(worse)}
        lab.writer.append("calibration", name=f"bracket_{factor:g}", value=float(np.mean(worse)), detail=detail)
    lab.writer.flush()
    return Noise(calibration, losses)


def _spec(lab: Lab, recipe: Recipe, seed: int, arm: str, purpose: str) -> RunSpec:
    return lab.spec(recipe, 0, seed, shard="search", arm=arm, purpose=purpose)


def _se(values: list[float]) -> float:
    return float(np.std(values, ddof=1) / len(values) ** 0.5)
