"""The search on rung 0: calibrate, screen, confirm, decide."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from scaling.edits import EditError, Recipe, unified_diff
from scaling.lab import Lab
from scaling.runs import REJECTED, RunResult, RunSpec
from search import keep
from search.calibration import measure_noise
from search.finish import Finish, finish
from search.proposals import Outcome, Proposal, Proposer, TrialStatus
from search.references import References, reference_losses
from search.settings import SearchSettings

CONFIRM_SEED = 100
PLACEBO_TRIAL = 100
"""Placebo trials shift the random stream by other amounts than the calibration's placebos."""
BATCH = 16
"""Trials proposed at a time; fixed, so that a proposer that learns sees the same history on any machine."""


Placebo = Callable[[int], Proposal]


@dataclass(slots=True)
class Trial:
    """One proposal on its way through the search."""

    place: int
    proposal: Proposal
    recipe: Recipe | None
    status: TrialStatus | None = None
    reason: str = ""
    screen_difference: float | None = None
    differences: list[float] = field(default_factory=list)
    look: keep.Look | None = None
    end: Finish | None = None

    @property
    def trial_id(self) -> str:
        """The proposal's slug and the beginning of the hash of what it yields."""
        return self.proposal.slug if self.recipe is None else f"{self.proposal.slug}-{self.recipe.hash[:6]}"


class Search:
    """Tries proposals against the baseline; every decision comes from pairs, never from a best-so-far number."""

    def __init__(
        self, lab: Lab, baseline: Recipe, settings: SearchSettings, *, placebo: Placebo, learning_rate: float
    ) -> None:
        """Search with `lab`; `placebo(k)` is the k-th proposal that changes nothing but the random stream.

        `learning_rate` is the baseline's own, at rung 0, which is bracketed.
        """
        self.lab, self.baseline, self.settings, self.placebo = lab, baseline, settings, placebo
        self.learning_rate = learning_rate
        self.references = References(lab, baseline, placebo, keep.references_for(settings.trials))
        self.first_seed = 1 + 100_000 * settings.seed
        self.trials: list[Trial] = []

    def run(self, proposer: Proposer) -> list[Trial]:
        """Try up to `settings.trials` proposals; returns them with their outcomes, which are in the store too."""
        seeds = range(self.first_seed, self.first_seed + self.settings.calibration_seeds)
        self.noise = measure_noise(
            self.lab, self.baseline, self.references, seeds=seeds, learning_rate=self.learning_rate
        )
        while len(self.trials) < self.settings.trials:
            batch = self._propose(proposer)
            if not batch:
                break
            self._screen([trial for trial in batch if trial.status is None], proposer.name)
            for pairs in self.settings.confirm_looks:
                self._confirm(batch, pairs, proposer.name)
            self._record(batch, proposer.name)
        self._finish(proposer.name)
        return self.trials

    def _propose(self, proposer: Proposer) -> list[Trial]:
        room = min(BATCH, self.settings.trials - len(self.trials))
        places = range(len(self.trials), len(self.trials) + room)
        every = self.settings.placebo_every
        numbers = [place // every for place in places if place % every == min(every, self.settings.trials) // 2]
        proposals = proposer.propose(room - len(numbers), [outcome(trial) for trial in self.trials])
        if not proposals:
            return []
        proposals += [self.placebo(PLACEBO_TRIAL + number) for number in numbers]
        for proposal in proposals:
            self.trials.append(self._trial(proposal))
        return self.trials[-len(proposals) :]

    def _trial(self, proposal: Proposal) -> Trial:
        place = len(self.trials)
        try:
            recipe = proposal.edit.apply(self.baseline)
        except EditError as error:
            return Trial(place, proposal, None, "rejected", str(error))
        twin = next((trial for trial in self.trials if trial.recipe and trial.recipe.hash == recipe.hash), None)
        if twin is not None:
            return Trial(place, proposal, None, "rejected", f"It yields the same recipe as {twin.trial_id}.")
        return Trial(place, proposal, recipe)

    def _screen(self, batch: Sequence[Trial], proposer: str) -> None:
        count = self.settings.calibration_seeds
        specs = {
            trial.trial_id: self._spec(trial, self.first_seed + trial.place % count, "search", "screen")
            for trial in batch
        }
        results = self.lab.launcher.finish("Screen: one pair each", specs.values())
        for trial in batch:
            spec = specs[trial.trial_id]
            result = results[spec.run_id]
            if not self._ended_well(trial, result):
                continue
            trial.screen_difference = self.noise.screen_losses[spec.seed] - result.val_loss
            if not keep.screen(trial.screen_difference, self.noise.calibration):
                trial.status = "dropped"
                trial.reason = keep.screen_reason(trial.screen_difference, self.noise.calibration)
        self._record(batch, proposer)

    def _confirm(self, batch: Sequence[Trial], pairs: int, proposer: str) -> None:
        going = [trial for trial in batch if trial.status is None and (not trial.look or trial.look.decision == "more")]
        if not going:
            return
        seeds = [self.first_seed + CONFIRM_SEED + index for index in range(pairs)]
        references = self.references.specs(seeds, shard="confirm", purpose="confirm")
        specs = {trial.trial_id: [self._spec(trial, seed, "confirm", "confirm") for seed in seeds] for trial in going}
        wanted = [spec for one in (*references, *specs.values()) for spec in one]
        results = self.lab.launcher.finish(f"Confirm: {_count(len(going), 'trial')} at {_count(pairs, 'pair')}", wanted)
        base = reference_losses(references, results).mean(axis=1)
        for trial in going:
            ended = [results[spec.run_id] for spec in specs[trial.trial_id]]
            if all(self._ended_well(trial, result) for result in ended):
                trial.differences = [float(b - r.val_loss) for b, r in zip(base, ended, strict=True)]
                assert trial.screen_difference is not None
                trial.look = keep.confirm(trial.differences, trial.screen_difference, self.noise.calibration)
        self._tell_best()
        self._record(going, proposer)

    def _finish(self, proposer: str) -> None:
        looks = {t.trial_id: t.look for t in self.trials if t.look is not None and t.status is None}
        ends = finish(looks, self.noise.calibration)
        for trial in self.trials:
            if trial.trial_id in ends and trial.status is None:
                trial.end = ends[trial.trial_id]
                trial.status, trial.reason = trial.end.status, trial.end.reason
        self._record(self.trials, proposer)
        self.lab.store.ingest()

    def _ended_well(self, trial: Trial, result: RunResult) -> bool:
        if result.status == "finished":
            return True
        reason = result.reason or "no reason is known"
        rejected = reason.startswith(REJECTED)
        trial.status = "rejected" if rejected else "crashed"
        trial.reason = reason.removeprefix(REJECTED)
        return False

    def _spec(self, trial: Trial, seed: int, shard: str, purpose: str) -> RunSpec:
        assert trial.recipe is not None
        arm, preflight = f"trial:{trial.trial_id}", purpose == "screen"
        return self.lab.spec(trial.recipe, 0, seed, shard=shard, arm=arm, purpose=purpose, preflight=preflight)

    def _tell_best(self) -> None:
        looked = [trial for trial in self.trials if trial.look is not None and not trial.proposal.placebo]
        if looked:
            best = max(looked, key=lambda trial: trial.look.effect if trial.look else 0.0)
            assert best.look is not None
            over = f"{best.look.effect:+.4f} nats per token over {_count(best.look.n, 'pair')}"
            self.lab.progress.say(f"  best so far: {best.proposal.title}, {over}")

    def _record(self, trials: Sequence[Trial], proposer: str) -> None:
        for trial in trials:
            if trial.status is not None:
                self.lab.writer.append("trial", **self._row(trial, proposer))
        self.lab.writer.flush()

    def _row(self, trial: Trial, proposer: str) -> dict[str, Any]:
        proposal, end = trial.proposal, trial.end
        row: dict[str, Any] = {
            "trial_id": trial.trial_id,
            "proposer": "placebo" if proposal.placebo else proposer,
            "title": proposal.title,
            "hypothesis": proposal.hypothesis,
            "source": proposal.source,
            "category": proposal.category,
            "placebo": proposal.placebo,
            "status": trial.status,
            "reason": trial.reason,
            "knobs": dict(proposal.edit.knobs),
            "scale_rule": proposal.scale_rule,
            "cost_usd": proposal.cost_usd,
        }
        if trial.recipe is not None:
            row |= {"patch": unified_diff(self.baseline, trial.recipe), "recipe_hash": trial.recipe.hash}
        if end is not None:
            row |= {
                "effect": end.effect,
                "effect_low": end.effect_low,
                "effect_high": end.effect_high,
                "pairs": end.pairs,
                "z": end.z,
                "p_value": end.p_value,
                "q_value": end.q_value,
            }
        return row


_SO_FAR: dict[keep.Decision, TrialStatus] = {
    "keep": "kept",
    "futile": "dropped",
    "more": "unresolved",
    "unresolved": "unresolved",
}


def _count(number: int, noun: str) -> str:
    return f"{number} {noun if number == 1 else noun + 's'}"


def outcome(trial: Trial) -> Outcome:
    """What a proposer learns of a trial: never a number of a single confirmation run."""
    return Outcome(
        slug=trial.proposal.slug,
        status=trial.status or (_SO_FAR[trial.look.decision] if trial.look else "unresolved"),
        effect=trial.look.effect if trial.look else None,
        screen_difference=trial.screen_difference,
    )
