"""What a trial is compared with on each seed: the mean of the baseline and of placebos of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from data.errors import ScaleproofError
from scaling.edits import Recipe
from scaling.lab import Lab
from scaling.runs import RunResult, RunSpec
from search.proposals import Proposal

FURTHER_PLACEBOS = 1_000_000
"""Placebos after the first are numbered from here: far from those of the calibration, one a seed, and of trials."""


class References:
    """Runs that stand for "no change"; all trials share them, so that a few more of them sharpen every comparison."""

    def __init__(self, lab: Lab, baseline: Recipe, placebo: Callable[[int], Proposal], per_seed: int) -> None:
        """Describe `per_seed` runs on each seed, the baseline first."""
        self.lab, self.baseline, self.placebo, self.per_seed = lab, baseline, placebo, per_seed

    def specs(self, seeds: Sequence[int], *, shard: str, purpose: str) -> list[list[RunSpec]]:
        """The runs of each seed; `purpose` is the baseline's. The first placebos are those of the calibration."""
        return [
            [self._spec(self.baseline, seed, shard, "baseline", purpose)]
            + [self._spec(self._placebo(index, which), seed, shard, "placebo", "placebo") for which in self._further]
            for index, seed in enumerate(seeds)
        ]

    @property
    def _further(self) -> range:
        return range(1, self.per_seed)

    def _placebo(self, index: int, which: int) -> Recipe:
        number = 1 + index if which == 1 else FURTHER_PLACEBOS + which
        return self.placebo(number).edit.apply(self.baseline)

    def _spec(self, recipe: Recipe, seed: int, shard: str, arm: str, purpose: str) -> RunSpec:
        return self.lab.spec(recipe, 0, seed, shard=shard, arm=arm, purpose=purpose)


def reference_losses(specs: Sequence[Sequence[RunSpec]], results: Mapping[str, RunResult]) -> NDArray[np.float64]:
    """Finished losses (seeds, runs per seed), the baseline's in the first column.

    Raises:
        ScaleproofError: when one of them did not finish.
    """
    losses = np.array([[results[spec.run_id].val_loss for spec in one] for one in specs], dtype=np.float64)
    if not np.isfinite(losses).all():
        raise ScaleproofError(
            "A run of the baseline, or of a placebo of it, diverged at rung 0; the baseline must train on every seed."
        )
    return losses
