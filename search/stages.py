"""The stages of a trial: one screening pair, then looks at ever more confirmation pairs; what each asks and says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scaling.lab import Lab
from scaling.runs import IN_EVALUATION, REJECTED, RunResult, RunSpec
from search import keep
from search.calibration import Noise
from search.proposals import Failure, TrialStatus
from search.references import References, reference_losses
from search.settings import SearchSettings
from search.trial import Trial
from search.wanted import CONFIRM, REFERENCE, SCREEN

CONFIRM_SEED = 100
SEEDS_APART = 100_000
"""Searches of other seeds share no run's seed."""


@dataclass(frozen=True, slots=True)
class End:
    """How a trial ends without an effect."""

    status: TrialStatus
    reason: str


def screen_seeds(settings: SearchSettings) -> Sequence[int]:
    """The seeds that calibration and screens use."""
    first = 1 + SEEDS_APART * settings.seed
    return range(first, first + settings.calibration_seeds)


class Stages:
    """What a trial needs next, and what its results mean; 0 is the screen, n > 0 a look at n confirmation pairs."""

    def __init__(self, lab: Lab, references: References, settings: SearchSettings, noise: Noise) -> None:
        """Judge by `noise`, as the calibration measured it."""
        self._lab, self._references, self._settings, self.noise = lab, references, settings, noise
        self._screen_seeds = screen_seeds(settings)

    def next(self, trial: Trial) -> int | None:
        """The stage that a trial is at, None when it has ended."""
        if trial.screen_difference is None:
            return 0
        looks = self._settings.confirm_looks
        if trial.look is None:
            return looks[0]
        later = [n for n in looks if n > trial.look.n]
        return later[0] if later and trial.look.decision == "more" else None

    def specs(self, trial: Trial, stage: int) -> list[tuple[int, RunSpec]]:
        """The runs that a stage needs, references among them, each with its rank in the queue."""
        if not stage:
            return [(SCREEN, self._spec(trial, self._screen_seed(trial), "search", "screen"))]
        references = [(REFERENCE, spec) for one in self._reference_specs(stage) for spec in one]
        return references + [(CONFIRM, spec) for spec in self._own_specs(trial, stage)]

    def take(self, trial: Trial, stage: int, results: Mapping[str, RunResult]) -> Failure | End | None:
        """Take the results of a stage's runs by run_id; returns None where the trial goes on, or awaits the end."""
        return self._look(trial, stage, results) if stage else self._screen(trial, results)

    def _screen(self, trial: Trial, results: Mapping[str, RunResult]) -> Failure | End | None:
        (result,) = results.values()
        if (bad := _bad_end(trial, [result])) is not None:
            return bad
        difference = self.noise.screen_losses[self._screen_seed(trial)] - result.val_loss
        trial.screen_difference = difference
        if keep.screen(difference, self.noise.calibration):
            return None
        return End("dropped", keep.screen_reason(difference, self.noise.calibration))

    def _look(self, trial: Trial, pairs: int, results: Mapping[str, RunResult]) -> Failure | End | None:
        own = [results[spec.run_id] for spec in self._own_specs(trial, pairs)]
        base = reference_losses(self._reference_specs(pairs), results).mean(axis=1)
        if (bad := _bad_end(trial, own[len(trial.differences) :])) is not None:
            return bad
        trial.differences = [float(b - result.val_loss) for b, result in zip(base, own, strict=True)]
        assert trial.screen_difference is not None
        trial.look = keep.confirm(trial.differences, trial.screen_difference, self.noise.calibration)
        return None

    def _screen_seed(self, trial: Trial) -> int:
        return self._screen_seeds[trial.place % len(self._screen_seeds)]

    def _confirm_seeds(self, pairs: int) -> Sequence[int]:
        first = self._screen_seeds[0] + CONFIRM_SEED
        return range(first, first + pairs)

    def _reference_specs(self, pairs: int) -> list[list[RunSpec]]:
        return self._references.specs(self._confirm_seeds(pairs), shard="confirm", purpose="confirm")

    def _own_specs(self, trial: Trial, pairs: int) -> list[RunSpec]:
        return [self._spec(trial, seed, "confirm", "confirm") for seed in self._confirm_seeds(pairs)]

    def _spec(self, trial: Trial, seed: int, shard: str, purpose: str) -> RunSpec:
        assert trial.recipe is not None
        arm, preflight = f"trial:{trial.trial_id}", purpose == "screen"
        return self._lab.spec(trial.recipe, 0, seed, shard=shard, arm=arm, purpose=purpose, preflight=preflight)


def _bad_end(trial: Trial, results: Sequence[RunResult]) -> Failure | End | None:
    """Count what the runs took; the first that did not finish ends the trial, or may be repaired before its screen."""
    for result in results:
        trial.add(result)
    bad = next((result for result in results if result.status != "finished"), None)
    if bad is None:
        return None
    reason = bad.reason or "no reason is known"
    rejected = reason.startswith(REJECTED)
    reason = reason.removeprefix(REJECTED)
    if trial.screen_difference is None and bad.status == "failed" and not reason.startswith(IN_EVALUATION):
        return Failure("preflight" if rejected else "crash", reason)
    return End("rejected" if rejected else "crashed", reason)
