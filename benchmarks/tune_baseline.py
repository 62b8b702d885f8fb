"""Is the baseline well tuned? One knob at a time around its value, at one rung, on several seeds.

An undertuned baseline manufactures wins, so the optimum of every knob must lie inside its bracket.
Run: .venv/bin/python benchmarks/tune_baseline.py --rung 0 --seeds 4 learning_rate
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from rich.console import Console

from scaling.edits import Edit, EditError, Recipe
from scaling.lab import baseline_recipe, open_lab
from scaling.loading import load
from transfer.presets import create_study


def main() -> None:
    """Print the mean finished loss, and its paired difference from the baseline, for each factor of each knob."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("knobs", nargs="+", help="knob, or knob=factor,factor,...")
    parser.add_argument("--preset", default="demo")
    parser.add_argument("--rung", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--study", type=Path, default=Path(tempfile.gettempdir()) / "scaleproof-tune")
    chosen = parser.parse_args()
    if not (chosen.study / "study.toml").exists():
        create_study(chosen.study, chosen.preset)
    from data.study import Study

    study = Study.open(chosen.study)
    baseline = baseline_recipe(study)
    knobs = load(baseline).knobs
    seeds = range(700, 700 + chosen.seeds)
    with open_lab(study, Console()) as lab:
        grid: dict[tuple[str, float], Recipe] = {("baseline", 1.0): baseline}
        for argument in chosen.knobs:
            name, _, factors = argument.partition("=")
            for factor in map(float, factors.split(",") if factors else ("0.5", "0.7", "1.4", "2")):
                try:
                    grid[name, factor] = Edit(knobs={name: knobs[name].value * factor}).apply(baseline)
                except EditError:
                    continue
        specs = {
            key: [lab.spec(recipe, chosen.rung, seed, shard="search", arm="tune", purpose="bracket") for seed in seeds]
            for key, recipe in grid.items()
        }
        results = lab.launcher.finish("Tune", [spec for one in specs.values() for spec in one])
    base = np.array([results[spec.run_id].val_loss for spec in specs["baseline", 1.0]])
    print(f"baseline: {base.mean():.4f}, sd over seeds {base.std(ddof=1):.4f}")
    for (name, factor), one in specs.items():
        losses = np.array([results[spec.run_id].val_loss for spec in one])
        worse = losses - base
        error = worse.std(ddof=1) / len(one) ** 0.5
        print(f"{name:>24} x {factor:<5g} {losses.mean():.4f}  {worse.mean():+.4f} +- {error:.4f}")


if __name__ == "__main__":
    main()
