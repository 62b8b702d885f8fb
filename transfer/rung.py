"""One rung of a promotion: which runs it needs, and what they say of baseline and arms."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data.errors import ScaleproofError
from scaling.edits import Recipe
from scaling.lab import Lab
from scaling.runs import RunResult, RunSpec, TimingSpec
from transfer import aa
from transfer.arms import Arm
from transfer.saving import RungPairs
from transfer.settings import TransferSettings
from transfer.slope import Slope, fit_slope, pooled_noise

SHARD = "final"
RUNG_SEEDS = 10_000
FLATTERY = 1.5
"""How many times faster than in its own runs an arm may be timed. Their clocks are noisy: runs share a machine."""
LEAST_SECONDS = 1.0
"""Of the clocks of shorter runs nothing is told: one moment in which the machine is busy can be half of such a run."""
HALF, TWO, AA, TIMING, LANDING, PLAN = 2_000, 2_500, 3_000, 4_000, 5_000, 6_000

Losses = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class BaselineAtRung:
    """What the baseline's own runs say of a rung."""

    slope: Slope
    check: aa.AAResult
    params: int
    flops: float
    tokens: int

    def why_frozen(self, rung: str) -> str:
        """Why nothing may be judged at this rung; empty where it may."""
        if not self.slope.usable:
            return f"at rung {rung} the baseline's finished loss does not fall with tokens, so no saving can be told"
        if not self.check.frozen:
            return ""
        found = f"lnS {self.check.ln_speedup:.3f}, 99 % interval {self.check.low_99:.3f} to {self.check.high_99:.3f}"
        known = math.isfinite(self.check.ln_speedup)
        return (
            f"the A/A check froze rung {rung}: the baseline differs from itself there "
            f"({found if known else 'by more than its slope can express'})"
        )


class RungMeasurement:
    """Measures arms against the baseline at one rung."""

    def __init__(self, lab: Lab, baseline: Recipe, settings: TransferSettings, index: int) -> None:
        """Measure at rung `index`, on seeds that no other rung and no search has used."""
        self.lab, self.baseline, self.settings, self.index = lab, baseline, settings, index
        self.rung = lab.setting.ladder.rungs[index]
        self.first_seed = 1 + 100_000 * settings.seed + RUNG_SEEDS * (index + 1)
        self.invalid: dict[str, str] = {}
        self._known: dict[str, RunResult] = {}
        self._ratios: dict[str, float] = {}

    def measure(self, arms: Sequence[Arm], pairs: Mapping[str, int], what: str = "arms") -> None:
        """Make all runs and timings of the rung, `pairs` of them for each arm by name."""
        most = max(pairs.values(), default=self.settings.pairs[0])
        wanted = [*self._own_specs(), *self._baseline_specs(most)]
        for arm in arms:
            wanted += self._arm_specs(arm, pairs[arm.name])
        self._finish(f"{len(arms)} {what}, {most} pairs", wanted)
        self._time(timing for arm in arms for timing in self._timings(arm, pairs[arm.name]))

    def baseline_at_rung(self, pairs: int) -> BaselineAtRung:
        """Slope, noise and A/A check, from finished baselines that `measure` made.

        Raises:
            ScaleproofError: when a baseline run did not finish.
        """
        half = self._losses(self._specs(HALF, self.settings.horizon_seeds, self.rung.tokens // 2))
        two = self._losses(self._specs(TWO, self.settings.horizon_seeds, self.rung.tokens * 2))
        one = self._losses(self._baseline_specs(pairs))
        fresh = self._losses(self._specs(AA, 2 * self.settings.aa_pairs, self.rung.tokens))
        slope = fit_slope(half, one, two, pooled_noise([half, one, two, fresh]))
        check = aa.check(fresh[0::2], fresh[1::2], slope, others=[half, one, two])
        first = self._results(self._baseline_specs(1))[0]
        return BaselineAtRung(slope, check, first.params, first.flops, first.tokens)

    def evidence(self, arm: Arm, pairs: int, slope: Slope) -> RungPairs | None:
        """The arm's pairs, which `measure` made; None, and the reason in `invalid`, when one of them did not finish."""
        return self._pairs(
            arm, slope, self._baseline_specs(pairs), self._arm_specs(arm, pairs), self._timings(arm, pairs)
        )

    def single_pairs(self, arms: Sequence[Arm], slope: Slope, what: str) -> list[RungPairs | None]:
        """Make and return one pair per arm, each on a seed of its own; None as in `evidence`."""
        # Where the row is the baseline itself they are one run, and it goes by the baseline's name: base comes last.
        rows = [
            (
                arm,
                [self._spec(self.baseline, seed, "baseline", "plan")],
                [self._spec(arm.recipe, seed, arm.name, "plan")],
                [self._timing(arm, seed)],
            )
            for arm, seed in zip(arms, self._seeds(PLAN, len(arms)), strict=True)
        ]
        self._finish(what, [spec for _, base, own, _ in rows for spec in (*own, *base)])
        self._time(timing for *_, timings in rows for timing in timings)
        return [self._pairs(arm, slope, base, own, timings) for arm, base, own, timings in rows]

    def landing(self, recipe: Recipe, arm: str, count: int, horizon: int) -> Losses:
        """Make landing runs, `count` of them on seeds of their own; returns their losses, NaN where one diverged."""
        specs = [self._spec(recipe, seed, arm, "landing", horizon=horizon) for seed in self._seeds(LANDING, count)]
        self._finish(f"landing, {arm} on {horizon:,} tokens", specs)
        ended = self._results(specs)
        return np.array([result.val_loss if result.status == "finished" else math.nan for result in ended])

    def _pairs(
        self,
        arm: Arm,
        slope: Slope,
        base: Sequence[RunSpec],
        own: Sequence[RunSpec],
        timings: Sequence[TimingSpec],
    ) -> RungPairs | None:
        losses, results = self._losses(base), self._results(own)
        for result in results:
            if result.status != "finished":
                said = (result.reason or result.status).rstrip(".")
                self.invalid[arm.name] = (
                    f"at rung {self.rung.name} the arm {result.status} while the baseline finished: {said}"
                )
                return None
        baseline = self._results(base)[0]
        ratios = np.array([self._ratios[spec.run_id] for spec in timings])
        if np.isnan(ratios).any():
            self.invalid[arm.name] = f"at rung {self.rung.name} the arm trained and could not be timed"
            return None
        flattered = _flattered(ratios, results, self._results(base))
        if flattered:
            self.invalid[arm.name] = f"at rung {self.rung.name} {flattered}"
            return None
        return RungPairs(
            slope,
            losses,
            np.array([result.val_loss for result in results]),
            ratios,
            math.log(results[0].flops / results[0].tokens * baseline.tokens / baseline.flops),
        )

    def _own_specs(self) -> list[RunSpec]:
        m, tokens = self.settings.horizon_seeds, self.rung.tokens
        return [
            *self._specs(HALF, m, tokens // 2),
            *self._specs(TWO, m, tokens * 2),
            *self._specs(AA, 2 * self.settings.aa_pairs, tokens),
        ]

    def _specs(self, first: int, count: int, horizon: int) -> list[RunSpec]:
        purpose = "aa" if first == AA else "horizon"
        return [
            self._spec(self.baseline, seed, "baseline", purpose, horizon=horizon) for seed in self._seeds(first, count)
        ]

    def _baseline_specs(self, pairs: int) -> list[RunSpec]:
        return [self._spec(self.baseline, seed, "baseline", "pair") for seed in self._seeds(0, pairs)]

    def _arm_specs(self, arm: Arm, pairs: int) -> list[RunSpec]:
        return [
            self._spec(arm.recipe, seed, arm.name, "pair", finding_id=arm.finding_id) for seed in self._seeds(0, pairs)
        ]

    def _spec(
        self,
        recipe: Recipe,
        seed: int,
        arm: str,
        purpose: str,
        *,
        finding_id: str | None = None,
        horizon: int | None = None,
    ) -> RunSpec:
        return self.lab.spec(
            recipe, self.index, seed, shard=SHARD, arm=arm, purpose=purpose, finding_id=finding_id, horizon=horizon
        )

    def _timings(self, arm: Arm, pairs: int) -> list[TimingSpec]:
        return [self._timing(arm, seed) for seed in self._seeds(TIMING, pairs)]

    def _timing(self, arm: Arm, seed: int) -> TimingSpec:
        return self.lab.timing(arm.recipe, self.baseline, self.index, seed, arm=arm.name, finding_id=arm.finding_id)

    def _seeds(self, first: int, count: int) -> range:
        return range(self.first_seed + first, self.first_seed + first + count)

    def _finish(self, what: str, specs: Sequence[RunSpec]) -> None:
        missing = [spec for spec in specs if spec.run_id not in self._known]
        if missing:
            self._known |= self.lab.launcher.finish(f"Rung {self.index} ({self.rung.name}): {what}", missing)

    def _time(self, specs: Iterable[TimingSpec]) -> None:
        missing = [spec for spec in specs if spec.run_id not in self._ratios]
        if missing:
            title = f"Rung {self.index} ({self.rung.name}): timing, A B B A"
            self._ratios |= self.lab.launcher.finish_timings(title, missing)

    def _results(self, specs: Sequence[RunSpec]) -> list[RunResult]:
        return [self._known[spec.run_id] for spec in specs]

    def _losses(self, specs: Sequence[RunSpec]) -> Losses:
        results = self._results(specs)
        for result in results:
            if result.status != "finished":
                raise ScaleproofError(
                    f"The baseline {result.status} at rung {self.rung.name}: {result.reason} "
                    "No saving can be measured against it; make the baseline train there first."
                )
        return np.array([result.val_loss for result in results])


def _flattered(timed: Losses, arm: Sequence[RunResult], baseline: Sequence[RunResult]) -> str:
    """How the arm's own runs contradict its timing; empty where they do not, or where fewer than two pairs can tell.

    timed: ln(seconds per token, arm / baseline). Of the pairs' own ratios the lower median counts, in the arm's favour.
    """
    pairs = [(one.seconds, other.seconds) for one, other in zip(arm, baseline, strict=True)]
    own = [math.log(one / other) for one, other in pairs if min(one, other) >= LEAST_SECONDS]
    if len(own) < 2:
        return ""
    claimed, took = float(timed.mean()), statistics.median_low(own)
    if took - claimed <= math.log(FLATTERY):
        return ""
    return (
        f"its timing does not hold: timed against the baseline a step takes {math.exp(claimed):.2f} times as long, "
        f"and in its own runs {math.exp(took):.2f} times"
    )
