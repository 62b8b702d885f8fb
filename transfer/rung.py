"""One rung of a promotion: which runs it needs, and what they say of baseline and arms."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from data.errors import ScaleproofError
from scaling.edits import Recipe
from scaling.lab import Lab
from scaling.runs import RunResult, RunSpec
from transfer import aa
from transfer.again import Again
from transfer.arms import Arm
from transfer.crossing import MAX_SHORTENING
from transfer.horizons import Request
from transfer.pairs import PairsAt, RungPairs, joined
from transfer.rung_baseline import BaselineAtRung
from transfer.rung_text import DocumentLosses
from transfer.rung_timing import RungTiming
from transfer.settings import MAX_PAIRS, TransferSettings
from transfer.slope import LN_2, Slope, fit_slope, pooled_noise
from transfer.timing import MIN_SECONDS, contradiction

SHARD = "final"
RUNG_SEEDS = 10_000
GENERATION_SEEDS = 10_000_000
"""A rung that is measured again shares no seed with what was measured there before."""
ARM_SEEDS = MAX_PAIRS
"""As much for an arm that is measured again, among the seeds of its rung's pairs."""
HALF, QUARTER, AA, TIMING, LANDING, PLAN = 2_000, 2_500, 3_000, 4_000, 5_000, 6_000

Losses = NDArray[np.float64]


class RungMeasurement:
    """Measures arms against the baseline at one rung."""

    def __init__(
        self, lab: Lab, baseline: Recipe, settings: TransferSettings, index: int, again: Again, *, trusted: bool = True
    ) -> None:
        """Measure at rung `index`, on seeds that no other rung and no search has used.

        trusted: whether no model wrote the arms, so that none of them can know that it is timed.
        """
        self.lab, self.baseline, self.settings, self.index = lab, baseline, settings, index
        self.rung = lab.setting.ladder.rungs[index]
        generation = GENERATION_SEEDS * again.of_rung(index)
        self.first_seed = 1 + generation + 100_000 * settings.seed + RUNG_SEEDS * (index + 1)
        self.invalid: dict[str, str] = {}
        self._again, self._trusted = again, trusted
        self._known: dict[str, RunResult] = {}
        self._points: dict[str, dict[float, range]] = {}
        self._allowed: dict[str, tuple[float, float]] = {}
        self._text = DocumentLosses(lab.store)
        self.timing = RungTiming(lab, baseline, index, self.first_seed + TIMING, again)

    @property
    def steps(self) -> int:
        """Optimiser steps at T, of which every horizon has a whole number."""
        return self.rung.steps

    def measure(self, wanted: Sequence[tuple[Arm, Request]], what: str) -> None:
        """Make the pairs that arms ask for, and all that the rung's baseline needs."""
        specs = self._own_specs()
        for arm, request in wanted:
            points = self._points.setdefault(arm.name, {})
            seeds = points[request.ln_shortening] = joined(points.get(request.ln_shortening), request.seeds)
            specs += self._baseline_specs(seeds, arm.name)
            specs += self._arm_specs(arm, request.ln_shortening, seeds)
        # By seed: the runs of a pair are made next to each other, while the machine does the same.
        self._finish(what, sorted(specs, key=lambda spec: spec.seed))

    def time(self, arms: Sequence[Arm], blocks: int = 1) -> None:
        """Take so many further timing blocks of each arm that trained; blocks are best spread over minutes."""
        self.timing.take([arm for arm in arms if arm.name not in self.invalid], blocks)

    def has_pairs(self, arm: Arm) -> bool:
        """Whether any pair of the arm was made here."""
        return bool(self._points.get(arm.name))

    def baseline_at_rung(self) -> BaselineAtRung:
        """Slope, noise and A/A check, from finished baselines that `measure` made.

        Raises:
            ScaleproofError: when a baseline run did not finish.
        """
        m, tokens = self.settings.horizon_seeds, self.rung.tokens
        half = self._losses(self._specs(HALF, m, tokens // 2))
        quarter = self._losses(self._specs(QUARTER, m, tokens // 4))
        pairs = [spec for spec in self._own_specs() if spec.purpose == "pair"]
        one, fresh = self._losses(pairs), self._losses(self._specs(AA, 2 * self.settings.aa_pairs, tokens))
        steps = self.rung.steps
        # Horizons are whole steps: of few, a quarter is not quite one.
        ln_quarter, ln_half = (math.log(self.rung.at_horizon(tokens // k).steps / steps) for k in (4, 2))
        slope = fit_slope(
            {ln_quarter: quarter, ln_half: half, 0.0: np.concatenate([one, fresh])},
            pooled_noise([quarter, half, one, fresh]),
        )
        check = aa.check(fresh[0::2], fresh[1::2], slope, others=[quarter, half, one])
        first = self._results(pairs)[0]
        return BaselineAtRung(slope, check, first.params, first.flops, first.tokens)

    def evidence(self, arm: Arm, slope: Slope) -> RungPairs | None:
        """The arm's pairs, which `measure` made; None, and the reason in `invalid`, when one of them did not finish."""
        asked = max((seeds.stop for seeds in self._points[arm.name].values()), default=0)
        points = self._finished_points(arm)
        if not points and arm.name not in self.invalid:
            # It fails where it was first looked for, shortened: how it fares at T is not known yet.
            self.measure([(arm, Request(0.0, asked))], f"{arm.name} at T, since it fails when it is shortened")
            points = self._finished_points(arm)
        if not points or not self._is_timed(arm):
            return None
        return RungPairs(slope, tuple(points), self._ratios_in_use(arm), self._ln_flops_ratio(arm))

    def allowed(self, arm: Arm) -> tuple[float, float]:
        """The longest horizon that the arm may be run on, as ln(horizon/T), and the shortest, as ln(T/horizon).

        One at which it failed is not tried again: half of its shortening is, and where that fails too, T alone.
        """
        longest = LN_2 if self.settings.run_beyond else 0.0
        return self._allowed.get(arm.name, (longest, MAX_SHORTENING))

    def _leave_out(self, arm: Arm, shortening: float) -> None:
        """Forget a horizon on which a run of the arm failed, and those beyond: only the luckiest seeds would stay."""
        del self.invalid[arm.name]
        longest, shortest = self.allowed(arm)
        if shortening < 0:
            longest = 0.0
        else:
            shortest = shortening / 2 if shortest == MAX_SHORTENING else 0.0
        self._allowed[arm.name] = longest, shortest
        points = self._points[arm.name]
        self._points[arm.name] = {
            at: seeds for at, seeds in points.items() if abs(at) < abs(shortening) or at * shortening < 0
        }

    def _finished_points(self, arm: Arm) -> list[PairsAt]:
        """The arm's pairs by horizon; another than T on which it fails is left out, and none beyond is asked for."""
        points = []
        for shortening, seeds in sorted(self._points[arm.name].items(), key=lambda item: abs(item[0])):
            if shortening not in self._points[arm.name]:
                continue
            base, own = self._baseline_specs(seeds, arm.name), self._arm_specs(arm, shortening, seeds)
            if self._all_finished(arm, own):
                points.append(self._point(shortening, base, own, seeds.start))
            elif shortening:
                self._leave_out(arm, shortening)
            else:
                return []
        return points

    def single_pairs(self, arms: Sequence[Arm], slope: Slope, shortening: float, what: str) -> list[RungPairs | None]:
        """Make and return one pair per arm on T e^-`shortening` tokens, each on a seed of its own; None as above."""
        seeds = self._seeds(PLAN, len(arms))
        base = [self._spec(self.baseline, seed, "baseline", "plan") for seed in seeds]
        own = [
            self._spec(arm.recipe, seed, arm.name, "plan", horizon=self._horizon(shortening))
            for arm, seed in zip(arms, seeds, strict=True)
        ]
        self._finish(what, [spec for pair in zip(own, base, strict=True) for spec in pair])
        self.time(arms, 1)
        made: list[RungPairs | None] = []
        for arm, one, other in zip(arms, base, own, strict=True):
            if not self._all_finished(arm, [other]) or not self._is_timed(arm):
                made.append(None)
                continue
            self._losses([one])
            ratio = self._flops_per_token(other) - self._flops_per_token(one)
            made.append(RungPairs(slope, (self._point(shortening, [one], [other]),), self.timing.ratios(arm), ratio))
        return made

    def landing(self, recipe: Recipe, arm: str, count: int, horizon: int) -> Losses:
        """Make landing runs, `count` of them on seeds that no pair has; returns their losses, NaN if one diverged."""
        shared = 2 * self.settings.aa_pairs  # the A/A baselines belong to no pair either
        seeds = [*self._seeds(AA, min(count, shared)), *self._seeds(LANDING, max(count - shared, 0))]
        specs = [self._spec(recipe, seed, arm, "landing", horizon=horizon) for seed in seeds]
        self._finish(f"landing, {arm} on {horizon:,} tokens", specs)
        ended = self._results(specs)
        return np.array([result.val_loss if result.status == "finished" else math.nan for result in ended])

    def _all_finished(self, arm: Arm, own: Sequence[RunSpec]) -> bool:
        for result in self._results(own):
            if result.status != "finished":
                said = (result.reason or result.status).rstrip(".")
                self.invalid[arm.name] = (
                    f"at rung {self.rung.name} the arm {result.status} while the baseline finished: {said}"
                )
                return False
        return True

    def _point(self, shortening: float, base: Sequence[RunSpec], own: Sequence[RunSpec], first: int = 0) -> PairsAt:
        losses = np.array([result.val_loss for result in self._results(own)])
        text = self._text.variance(keys(base), keys(own))
        return PairsAt(shortening, self._losses(base), losses, *text, first=first)

    def _is_timed(self, arm: Arm) -> bool:
        """Whether the timing may be used; else the reason is in `invalid`. No other axis than seconds needs it."""
        ratios = self.timing.ratios(arm)
        if ratios is None or self.settings.axis != "seconds":
            return True
        if np.isnan(ratios).any():
            self.invalid[arm.name] = f"at rung {self.rung.name} the arm trained and could not be timed"
            return False
        if self._trusted or not self._contradicted(arm, ratios):
            return True
        # First it is timed again: one bad moment of the machine is no fault of the recipe.
        self.time([arm], max(2, len(ratios)))
        ratios = self.timing.ratios(arm)
        assert ratios is not None
        said = self._contradicted(arm, ratios)
        if said:
            self.invalid[arm.name] = f"at rung {self.rung.name} {said}"
        return not said

    def _ratios_in_use(self, arm: Arm) -> Losses | None:
        """The arm's timing blocks; None where one failed or none was taken."""
        ratios = self.timing.ratios(arm)
        return None if ratios is None or np.isnan(ratios).any() else ratios

    def _contradicted(self, arm: Arm, ratios: Losses) -> str:
        """How the arm's own runs contradict its timing, both in CPU time; empty where they do not."""
        seconds = []
        for shortening, seeds in self._points.get(arm.name, {}).items():
            own = self._results(self._arm_specs(arm, shortening, seeds))
            base = self._results(self._baseline_specs(seeds, arm.name))
            seconds += [
                (one.cpu_seconds * other.tokens / one.tokens, other.cpu_seconds)
                for one, other in zip(own, base, strict=True)
                # What surrounds the steps must not count for more in a run that was shortened.
                if min(one.cpu_seconds, other.cpu_seconds) >= MIN_SECONDS and one.tokens
            ]
        return contradiction(float(ratios.mean()), seconds, self.timing.load(arm))

    def _ln_flops_ratio(self, arm: Arm) -> float:
        found = [
            (own, self._baseline_specs(seeds, arm.name)[0])
            for shortening, seeds in self._points[arm.name].items()
            for own in self._arm_specs(arm, shortening, seeds)
            if self._known[own.run_id].flops > 0
        ]
        own, base = found[0]
        return self._flops_per_token(own) - self._flops_per_token(base)

    def _flops_per_token(self, spec: RunSpec) -> float:
        """ln FLOPs per token of a finished run."""
        result = self._known[spec.run_id]
        return math.log(result.flops / result.tokens)

    def _own_specs(self) -> list[RunSpec]:
        """The baseline's runs whatever arms there are."""
        m, tokens = self.settings.horizon_seeds, self.rung.tokens
        return [
            *self._specs(HALF, m, tokens // 2),
            *self._specs(QUARTER, m, tokens // 4),
            *self._specs(AA, 2 * self.settings.aa_pairs, tokens),
            *self._baseline_specs(range(max([self.settings.pairs[0], *self._most_pairs()]))),
        ]

    def _most_pairs(self) -> list[int]:
        """The most pairs of each arm on the rung's own seeds."""
        return [
            max(seeds.stop for seeds in points.values())
            for arm, points in self._points.items()
            if points and not self._again.of_arm(arm)
        ]

    def _specs(self, first: int, count: int, horizon: int) -> list[RunSpec]:
        purpose = "aa" if first == AA else "horizon"
        return [
            self._spec(self.baseline, seed, "baseline", purpose, horizon=horizon) for seed in self._seeds(first, count)
        ]

    def _baseline_specs(self, seeds: range, arm: str = "") -> list[RunSpec]:
        return [self._spec(self.baseline, seed, "baseline", "pair") for seed in self._pair_seeds(arm, seeds)]

    def _arm_specs(self, arm: Arm, shortening: float, seeds: range) -> list[RunSpec]:
        horizon = self._horizon(shortening)
        return [
            self._spec(arm.recipe, seed, arm.name, "pair", finding_id=arm.finding_id, horizon=horizon)
            for seed in self._pair_seeds(arm.name, seeds)
        ]

    def _pair_seeds(self, arm: str, seeds: range) -> range:
        """Seeds of an arm's pairs, which are numbered within the rung."""
        return self._seeds(ARM_SEEDS * self._again.of_arm(arm) + seeds.start, len(seeds))

    def _horizon(self, shortening: float) -> int:
        """Tokens of a shortened run, whole steps; T itself as the rung has it."""
        if shortening == 0:
            return self.rung.tokens
        return max(1, round(self.rung.steps * math.exp(-shortening))) * self.rung.batch_tokens

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

    def _seeds(self, first: int, count: int) -> range:
        return range(self.first_seed + first, self.first_seed + first + count)

    def _finish(self, what: str, specs: Sequence[RunSpec]) -> None:
        missing = [spec for spec in specs if spec.run_id not in self._known]
        if missing:
            self._known |= self.lab.launcher.finish(f"Rung {self.index} ({self.rung.name}): {what}", missing)

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


def keys(specs: Sequence[RunSpec]) -> list[str]:
    """The ids of runs."""
    return [spec.run_id for spec in specs]
