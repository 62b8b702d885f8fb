"""The timing blocks of one rung: taken a few at a time, so that they spread over the minutes of a promotion."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from scaling.edits import Recipe
from scaling.lab import Lab
from scaling.runs import TimingSpec
from transfer.again import Again
from transfer.arms import Arm

Floats = NDArray[np.float64]

BLOCKS_APART = 1_000
"""Timing that is taken again has blocks of other numbers."""


class RungTiming:
    """Times arms against the baseline at one rung."""

    def __init__(self, lab: Lab, baseline: Recipe, index: int, first_seed: int, again: Again) -> None:
        """Time at rung `index`; blocks go by the seeds from `first_seed` on."""
        self._lab, self._baseline, self._index, self._first_seed, self._again = lab, baseline, index, first_seed, again
        self._blocks: dict[str, int] = {}
        self._ratios: dict[str, float] = {}

    def take(self, arms: Sequence[Arm], blocks: int) -> None:
        """Take so many further blocks of each arm; those that the store has are not taken again."""
        specs: list[TimingSpec] = []
        for arm in arms:
            begun = self._blocks.get(arm.name, 0)
            self._blocks[arm.name] = begun + blocks
            specs += [self._spec(arm, block) for block in range(begun, begun + blocks)]
        if specs:
            name = self._lab.setting.ladder.rungs[self._index].name
            self._ratios |= self._lab.launcher.finish_timings(f"Rung {self._index} ({name}): timing, A B B A", specs)

    def blocks(self, arm: Arm) -> int:
        """How many blocks the arm has."""
        return self._blocks.get(arm.name, 0)

    def ratios(self, arm: Arm) -> Floats | None:
        """ln(seconds per token, arm / baseline) of each block (blocks,), NaN where it failed; None where none was."""
        specs = self._specs(arm)
        return np.array([self._ratios[spec.run_id] for spec in specs]) if specs else None

    def load(self, arm: Arm) -> float:
        """Mean share of the machine's cores that others kept busy meanwhile; NaN where it is not known."""
        rows = self._lab.store.rows(
            "select avg(load) as load from timings where list_contains($ids, run_id)",
            {"ids": [spec.run_id for spec in self._specs(arm)]},
        )
        return float(rows[0]["load"]) if rows and rows[0]["load"] is not None else math.nan

    def _specs(self, arm: Arm) -> list[TimingSpec]:
        return [self._spec(arm, block) for block in range(self.blocks(arm))]

    def _spec(self, arm: Arm, block: int) -> TimingSpec:
        again = self._again.timing + self._again.of_arm(arm.name)
        return self._lab.timing(
            arm.recipe,
            self._baseline,
            self._index,
            self._first_seed + block,
            arm=arm.name,
            finding_id=arm.finding_id,
            block=block + BLOCKS_APART * again,
        )
