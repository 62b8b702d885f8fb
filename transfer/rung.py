"""One rung of a promotion: which runs it needs, and what they say of baseline and arms."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data.errors import ScaleproofError
from scaling.edits import Recipe
from scaling.lab import Lab
from scaling.runs import RunResult, RunSpec
from transfer import aa
from transfer.arms import Arm
from transfer.saving import RungPairs
from transfer.settings import TransferSettings
from transfer.slope import Slope, fit_slope, pooled_noise

SHARD = "final"
RUNG_SEEDS = 10_000
HALF, TWO, AA, TIMING = 2_000, 2_500, 3_000, 4_000

Losses = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class BaselineAtRung:
    """What the baseline's own runs say of a rung."""

    slope: Slope
    check: aa.AAResult
    params: int
    flops: float
    tokens: int


class RungMeasurement:
    """Measures arms against the baseline at one rung."""

    def __init__(self, lab: Lab, baseline: Recipe, settings: TransferSettings, index: int) -> None:
        """Measure at rung `index`, on seeds that no other rung and no search has used."""
        self.lab, self.baseline, self.settings, self.index = lab, baseline, settings, index
        self.rung = lab.setting.ladder.rungs[index]
        self.first_seed = 1 + 100_000 * settings.seed + RUNG_SEEDS * (index + 1)
        self.invalid: dict[str, str] = {}

    def measure(self, arms: Sequence[Arm], pairs: Mapping[str, int]) -> None:
        """Make all runs and timings of the rung, `pairs` of them for each arm by name."""
        most = max(pairs.values(), default=self.settings.pairs[0])
        wanted = [*self._own_specs(), *self._baseline_specs(most)]
        for arm in arms:
            wanted += self._arm_specs(arm, pairs[arm.name])
        self.lab.launcher.finish(f"Rung {self.index} ({self.rung.name}): {len(arms)} arms, {most} pairs", wanted)
        timings = [
            self.lab.timing(arm.recipe, self.baseline, self.index, seed, arm=arm.name, finding_id=arm.finding_id)
            for arm in arms
            for seed in self._seeds(TIMING, pairs[arm.name])
        ]
        self.lab.launcher.finish_timings(f"Rung {self.index} ({self.rung.name}): timing, A B B A", timings)

    def baseline_at_rung(self, pairs: int) -> BaselineAtRung:
        """Slope, noise and A/A check, from finished baselines.

        Raises:
            ScaleproofError: when a baseline run did not finish.
        """
        half = self._losses(self._specs(self.baseline, HALF, self.settings.horizon_seeds, self.rung.tokens // 2))
        two = self._losses(self._specs(self.baseline, TWO, self.settings.horizon_seeds, self.rung.tokens * 2))
        one = self._losses(self._baseline_specs(pairs))
        fresh = self._losses(self._specs(self.baseline, AA, 2 * self.settings.aa_pairs, self.rung.tokens))
        slope = fit_slope(half, one, two, pooled_noise([half, one, two, fresh]))
        check = aa.check(fresh[0::2], fresh[1::2], slope, others=[half, one, two])
        first = self._results(self._baseline_specs(1))[0]
        return BaselineAtRung(slope, check, first.params, first.flops, first.tokens)

    def evidence(self, arm: Arm, pairs: int, slope: Slope) -> RungPairs | None:
        """The arm's pairs; None, and the reason in `invalid`, when a run of the arm alone did not finish."""
        results = self._results(self._arm_specs(arm, pairs))
        for result in results:
            if result.status != "finished":
                said = (result.reason or result.status).rstrip(".")
                self.invalid[arm.name] = (
                    f"at rung {self.rung.name} the arm {result.status} while the baseline finished: {said}"
                )
                return None
        baselines = self._results(self._baseline_specs(pairs))
        timings = [
            self.lab.timing(arm.recipe, self.baseline, self.index, seed, arm=arm.name, finding_id=arm.finding_id)
            for seed in self._seeds(TIMING, pairs)
        ]
        ratios = self.lab.launcher.finish_timings("Timing", timings)
        return RungPairs(
            slope,
            np.array([result.val_loss for result in baselines]),
            np.array([result.val_loss for result in results]),
            np.array([ratios[spec.run_id] for spec in timings]),
            math.log(results[0].flops / results[0].tokens * baselines[0].tokens / baselines[0].flops),
        )

    def finished_losses(self, recipe: Recipe, arm: str, first: int, count: int, horizon: int) -> Losses:
        """Losses of runs that are made for one purpose of their own, such as a landing; NaN where one diverged."""
        specs = [
            self.lab.spec(recipe, self.index, seed, shard=SHARD, arm=arm, purpose="landing", horizon=horizon)
            for seed in self._seeds(first, count)
        ]
        results = self.lab.launcher.finish(f"Landing: {arm} on {horizon:,} tokens", specs)
        return np.array([results[spec.run_id].val_loss for spec in specs])

    def _own_specs(self) -> list[RunSpec]:
        m, tokens = self.settings.horizon_seeds, self.rung.tokens
        return [
            *self._specs(self.baseline, HALF, m, tokens // 2),
            *self._specs(self.baseline, TWO, m, tokens * 2),
            *self._specs(self.baseline, AA, 2 * self.settings.aa_pairs, tokens),
        ]

    def _specs(self, recipe: Recipe, first: int, count: int, horizon: int) -> list[RunSpec]:
        purpose = "aa" if first == AA else "horizon"
        return [
            self.lab.spec(recipe, self.index, seed, shard=SHARD, arm="baseline", purpose=purpose, horizon=horizon)
            for seed in self._seeds(first, count)
        ]

    def _baseline_specs(self, pairs: int) -> list[RunSpec]:
        return [
            self.lab.spec(self.baseline, self.index, seed, shard=SHARD, arm="baseline", purpose="pair")
            for seed in self._seeds(0, pairs)
        ]

    def _arm_specs(self, arm: Arm, pairs: int) -> list[RunSpec]:
        return [
            self.lab.spec(
                arm.recipe, self.index, seed, shard=SHARD, arm=arm.name, purpose="pair", finding_id=arm.finding_id
            )
            for seed in self._seeds(0, pairs)
        ]

    def _seeds(self, first: int, count: int) -> range:
        return range(self.first_seed + first, self.first_seed + first + count)

    def _results(self, specs: Sequence[RunSpec]) -> list[RunResult]:
        known = self.lab.launcher.results([spec.run_id for spec in specs])
        return [known[spec.run_id] for spec in specs]

    def _losses(self, specs: Sequence[RunSpec]) -> Losses:
        results = self._results(specs)
        for result in results:
            if result.status != "finished":
                raise ScaleproofError(
                    f"The baseline {result.status} at rung {self.rung.name}: {result.reason} "
                    "No saving can be measured against it; make the baseline train there first."
                )
        return np.array([result.val_loss for result in results])
