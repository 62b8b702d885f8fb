"""The search on rung 0: calibrate, screen, confirm, decide."""

from __future__ import annotations

from collections.abc import Callable

from data.schema import KINDS
from scaling.edits import EditError, Recipe
from scaling.lab import Lab
from scaling.stopping import StoppedError
from search import keep
from search.asking import Asking
from search.calibration import measure_noise
from search.clock import WorkClock
from search.finish import finish
from search.places import Placebo, Places
from search.proposals import Failure, Proposer, TrialStatus
from search.references import References
from search.settings import SearchSettings
from search.stages import Stages, screen_seeds
from search.trial import Trial
from search.wanted import Wanted

LEAD = 2
"""Trials for each worker that are to wait in the queue: the next are asked for before fewer do."""

_NOT_OF_IT = "It was begun, and is not part of the search that was finished."

Door = Callable[[Recipe], str | None]
"""Says in one sentence what an edited recipe must not be run for, or None."""


class Search:
    """Tries proposals against the baseline; every decision comes from pairs, never from a best-so-far number.

    Trials go their ways independently: whenever a worker is free it takes the run that settles most, and the proposer
    is asked, in a thread of its own, before the trials run out. What a trial's pairs say depends on its own runs and
    on the references alone, so the order in which runs end changes no result.
    """

    def __init__(
        self,
        lab: Lab,
        baseline: Recipe,
        settings: SearchSettings,
        *,
        placebo: Placebo,
        learning_rate: float,
        door: Door = lambda recipe: None,
        clock: WorkClock | None = None,
        account: Callable[[], str] = str,
    ) -> None:
        """Search with `lab`; `placebo(k)` is the k-th proposal that changes nothing but the random stream.

        `learning_rate` is the baseline's own, at rung 0, which is bracketed. When `clock` is over, no more is
        proposed. `account` says in a few words what the proposer has cost.
        """
        self.lab, self.baseline, self.settings, self._account = lab, baseline, settings, account
        self.learning_rate, self.door, self.clock = learning_rate, door, clock or WorkClock(lab, "search", None)
        self._places = Places(settings, placebo)
        self.references = References(lab, baseline, placebo, keep.references_for(settings.trials))
        self.trials: list[Trial] = []
        self._wanted = Wanted()
        self._by_hash: dict[str, Trial] = {}
        self._settled = {
            row["trial_id"] for row in lab.store.rows("select trial_id from trials where status is not null")
        }
        self._best = 0.0

    def run(self, proposer: Proposer) -> list[Trial]:
        """Try up to `settings.trials` proposals; returns them with their outcomes, which are in the store too.

        Raises:
            StoppedError: when the user asked to stop; the runs under way have ended, and all is kept.
            ProposerGoneError: when nobody proposes any more for now; what was begun has ended, and is settled.
        """
        seeds = screen_seeds(self.settings)
        self._proposer, self._asked_at = proposer.name, -1
        with Asking(proposer, self.lab.stopping) as asking, self.clock.waking(self.lab.stopping.wake):
            self._ask(asking)  # a model thinks while the calibration runs
            noise = measure_noise(
                self.lab, self.baseline, self.references, seeds=seeds, learning_rate=self.learning_rate
            )
            self._stages = Stages(self.lab, self.references, self.settings, noise)
            self.lab.progress.begin_trials(f"Search: {proposer.name}", self.settings.trials)
            self._work(asking)
        self._finish()
        if asking.gone is not None:
            raise asking.gone
        self._settle_others()
        return self.trials

    def _work(self, asking: Asking) -> None:
        launcher, executor, stopping = self.lab.launcher, self.lab.launcher.executor, self.lab.stopping
        while True:
            if not stopping.asked:  # an answer that comes now is found again by the command that goes on
                self._take_answers(asking)
                self._ask(asking)
                while executor.free and self._wanted:
                    launcher.start(self._wanted.next())
            elif not executor.running:
                raise StoppedError
            if not executor.running:
                if not asking.busy:
                    return
                if self.clock.is_over(len(self.trials)):
                    asking.give_up()
            for spec in launcher.ended():
                for trial in self._wanted.ended(spec.run_id):
                    self._go_on(trial, asking)
            self.lab.progress.trials(self._ended, ", ".join(filter(None, self._now(asking))))

    def _now(self, asking: Asking) -> tuple[str, ...]:
        waiting = f"waiting for {self._proposer}" if asking.busy else ""
        return f"{self.lab.launcher.executor.running} running", waiting, self._account()

    @property
    def _ended(self) -> int:
        return sum(trial.ended for trial in self.trials)

    def _ask(self, asking: Asking) -> None:
        """Ask for more before the workers run out of trials; where the answer was to wait, only after news."""
        room = min(asking.proposer.batch, self.settings.trials - len(self.trials))
        enough = self._wanted.screens >= LEAD * self.lab.launcher.executor.workers
        if asking.proposing or asking.exhausted or enough or not room or self._asked_at == self._ended:
            return
        if self.clock.is_over(len(self.trials)):
            asking.exhausted = True
            return
        self._asked_at = self._ended
        asking.ask(self._places.others(len(self.trials), room), [trial.outcome() for trial in self.trials])

    def _take_answers(self, asking: Asking) -> None:
        proposals = asking.proposals()
        if proposals:
            self._asked_at = -1
            proposals = self._places.filled(len(self.trials), proposals)
        for proposal in proposals:
            self.trials.append(Trial(len(self.trials), proposal))
        if proposals:
            self.clock.note(len(self.trials))
        for trial in self.trials[len(self.trials) - len(proposals) :]:
            self._begin(trial, asking)
        for trial, repaired in asking.repairs():
            failure = trial.failure
            assert failure is not None
            unchanged = repaired is None or repaired.edit == trial.proposal.edit
            trial.proposal = repaired or trial.proposal  # its cost has grown
            if unchanged:
                self._stop(trial, "crashed" if failure.kind == "crash" else "rejected", failure.reason)
                continue
            trial.failure, trial.recipe = None, None
            self._begin(trial, asking)

    def _begin(self, trial: Trial, asking: Asking) -> None:
        try:
            recipe = trial.proposal.edit.apply(self.baseline)
        except EditError as error:
            self._fail(trial, Failure("edit", str(error)), asking)
            return
        twin = self._by_hash.get(recipe.hash)
        if twin is not None:
            trial.twin = twin
            self._stop(trial, "rejected", f"It yields the same recipe as {twin.trial_id}.")
            return
        refused = None if trial.proposal.placebo else self.door(recipe)
        if refused is not None:
            self._fail(trial, Failure("preflight", refused), asking)
            return
        trial.recipe = recipe
        self._by_hash[recipe.hash] = trial
        self._go_on(trial, asking)

    def _go_on(self, trial: Trial, asking: Asking) -> None:
        """Take the trial as far as the runs that are known let it go, and want those that it needs next."""
        while trial.status is None and trial.failure is None:
            stage = self._stages.next(trial)
            if stage is None:
                return
            specs = self._stages.specs(trial, stage)
            known = self.lab.launcher.results(spec.run_id for _, spec in specs)
            self._wanted.want(trial, specs, known)
            if trial.waiting:
                return
            end = self._stages.take(trial, stage, known)
            if isinstance(end, Failure):
                self._fail(trial, end, asking)
            elif end is not None:
                self._stop(trial, end.status, end.reason)
            else:
                self._record(trial)  # it has passed the screen: nothing is repaired, and its id changes, after that
            self._tell_best(trial)

    def _fail(self, trial: Trial, failure: Failure, asking: Asking) -> None:
        """Ask once to repair an edit that cannot be run, and once more one that crashed."""
        round_ = "crash" if failure.kind == "crash" else "edit"
        if trial.proposal.placebo or round_ in trial.repaired:
            self._stop(trial, "crashed" if failure.kind == "crash" else "rejected", failure.reason)
            return
        trial.failure = failure
        trial.repaired.add(round_)
        asking.ask_repair(trial, failure)

    def _stop(self, trial: Trial, status: TrialStatus, reason: str) -> None:
        trial.stop(status, reason)
        self._record(trial)

    def _finish(self) -> None:
        looks = {t.trial_id: t.look for t in self.trials if t.look is not None and t.status is None}
        ends = finish(looks, self._stages.noise.calibration)
        for trial in self.trials:
            if trial.trial_id in ends and trial.status is None:
                trial.end = ends[trial.trial_id]
                trial.status, trial.reason = trial.end.status, trial.end.reason
                self._record(trial)
        for trial in self.trials:
            if trial.twin is not None:
                trial.reason = f"It yields the same recipe as {trial.twin.trial_id}, which was {trial.twin.status}."
                self._record(trial)
        self.lab.writer.flush()
        self.lab.store.ingest()

    def _settle_others(self) -> None:
        """End what earlier commands began, with another proposer maybe, and this search has no place for."""
        own = {trial.trial_id for trial in self.trials}
        columns = ", ".join(KINDS["trial"].columns)
        for row in self.lab.store.rows(f"select {columns} from trials where status is null"):
            if row["trial_id"] not in own:
                self.lab.writer.append("trial", **row | {"status": "unresolved", "reason": _NOT_OF_IT})
        self.lab.writer.flush()
        self.lab.store.ingest()

    def _tell_best(self, trial: Trial) -> None:
        look = trial.look
        if look is None or trial.proposal.placebo or look.effect <= self._best:
            return
        self._best = look.effect
        over = f"{look.effect:+.4f} nats per token over {look.n} {'pair' if look.n == 1 else 'pairs'}"
        self.lab.progress.say(f"  best so far: {trial.proposal.title}, {over}")

    def _record(self, trial: Trial) -> None:
        """Write down how a trial stands; how it ended, in this command or an earlier one, is not taken back."""
        if trial.status is None and trial.trial_id in self._settled:
            return
        self.lab.writer.append("trial", **trial.row(self.baseline, self._proposer))
