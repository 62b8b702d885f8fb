"""Proposals that tune the recipe's knobs, by Optuna's tree-structured Parzen estimator."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from data.errors import InputError
from scaling.edits import Edit
from scaling.knobs import Knob
from search.proposals import Failure, Outcome, Proposal

if TYPE_CHECKING:
    import optuna

_SLUG = re.compile(r"tune-(\d{4,})-[0-9a-f]{8}")
_CRASHED = "crashed"


@dataclass(frozen=True, slots=True)
class KnobRange:
    """What a tuner may try for one knob: its value now, the bounds, and whether steps are factors (log)."""

    value: float
    low: float
    high: float
    log: bool

    def __post_init__(self) -> None:
        """Raise InputError for bounds that hold nothing, or that have no logarithm."""
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise InputError(f"a knob's range needs finite bounds in rising order, not {self.low} to {self.high}.")
        if self.log and self.low <= 0:
            raise InputError(f"a knob tuned by factors needs a lower bound above zero, not {self.low}.")


def knob_ranges(knobs: Mapping[str, Knob]) -> dict[str, KnobRange]:
    """The ranges of all knobs that have both bounds; steps are factors where both bounds are above zero."""
    return {
        name: KnobRange(knob.value, knob.low, knob.high, log=knob.low > 0)
        for name, knob in sorted(knobs.items())
        if knob.low is not None and knob.high is not None
    }


class OptunaProposer:
    """Tunes all given knobs together.

    Trials are asked for in batches of a fixed size, in a fixed order, and a batch is told once all of it has ended: so
    the n-th proposal depends on seed, ranges, batch and the outcomes of earlier batches, and on nothing else. History
    alone is enough to resume. A kept value is judged like any other edit; Optuna only sees screening differences.
    """

    name = "optuna"

    def __init__(self, knobs: Mapping[str, KnobRange], *, seed: int, batch: int, trials: int) -> None:
        """Prepare to propose `trials` settings of the knobs, `batch` at a time.

        Raises InputError when Optuna is not installed or there is no knob to tune.
        """
        try:
            import optuna
        except ModuleNotFoundError as error:
            raise InputError(
                "the proposer 'optuna' needs Optuna: run pip install 'scaleproof[optuna]', or use the proposer "
                "'catalogue'."
            ) from error
        if not knobs:
            raise InputError("there is nothing to tune: give at least one knob of the recipe a low and a high bound.")
        if batch < 1 or trials < 0:
            raise ValueError("batch is at least 1, trials at least 0")
        self._optuna = optuna
        self._knobs = dict(sorted(knobs.items()))
        self._seed, self._batch, self._trials = seed, batch, trials
        self._study = self._new_study()
        # What the sampler knows already: replaying a long history at each call would take longer than its trials.
        self._told: dict[int, float | str | None] = {}
        self._asked: dict[int, tuple[optuna.Trial, Proposal]] = {}

    def propose(self, count: int, history: Sequence[Outcome]) -> list[Proposal] | None:
        """The next proposals of the batch under way that the history does not hold; empty when all have ended.

        None while proposals of a batch are under way that the next one is to learn from.

        Raises InputError when the history was made with another seed, other ranges or another batch size.
        """
        ended = {index: outcome for outcome in history if (index := _index(outcome.slug)) is not None}
        if any(index not in ended or _signal(ended[index]) != signal for index, signal in self._told.items()):
            self._study, self._told, self._asked = self._new_study(), {}, {}
        while len(self._told) < self._trials:
            first = len(self._told)
            if not self._asked:
                last = min(first + self._batch, self._trials)
                self._asked = {index: self._ask(index) for index in range(first, last)}
            for index, (_, proposal) in self._asked.items():
                _check_same(proposal, ended.get(index))
            waiting = [proposal for index, (_, proposal) in self._asked.items() if index not in ended]
            if waiting:
                return waiting[:count]
            if not all(ended[index].ended for index in self._asked):
                return None
            for index, (trial, _) in self._asked.items():
                self._tell(trial, index, _signal(ended[index]))
            self._asked = {}
        return []

    def repair(self, proposal: Proposal, failure: Failure) -> None:
        """A setting that crashes is a crash; Optuna learns from it."""

    @property
    def batch(self) -> int:
        """As many as are asked of the sampler together."""
        return self._batch

    def _new_study(self) -> optuna.Study:
        # The library logs each trial to standard error; a search reports in its own words.
        self._optuna.logging.set_verbosity(self._optuna.logging.WARNING)
        sampler = self._optuna.samplers.TPESampler(seed=self._seed)
        return self._optuna.create_study(direction="maximize", sampler=sampler)

    def _ask(self, index: int) -> tuple[optuna.Trial, Proposal]:
        trial = self._study.ask()
        values = {
            name: _rounded(trial.suggest_float(name, knob.low, knob.high, log=knob.log), knob)
            for name, knob in self._knobs.items()
        }
        return trial, self._proposal(index, values)

    def _tell(self, trial: optuna.Trial, index: int, signal: float | str | None) -> None:
        states = self._optuna.trial.TrialState
        if isinstance(signal, float):
            self._study.tell(trial, signal)
        elif signal == _CRASHED:
            # Pruned, the sampler stays away from there; failed, it would forget the trial and crash again nearby.
            self._study.tell(trial, state=states.PRUNED)
        else:
            self._study.tell(trial, state=states.FAIL)
        self._told[index] = signal

    def _proposal(self, index: int, values: dict[str, float]) -> Proposal:
        changes = ", ".join(f"{name} {self._knobs[name].value:g} -> {value:g}" for name, value in values.items())
        return Proposal(
            title=f"Tune {changes}",
            slug=f"tune-{index:04d}-{_digest(values)}",
            hypothesis=f"the baseline's knobs are not at their best on rung 0; these may be better: {changes}",
            category="tuning",
            source="Optuna, tree-structured Parzen estimator (Bergstra et al. 2011)",
            scale_rule="each knob's own rule",
            expected_scaling="unknown",
            edit=Edit(knobs=values),
        )


def _rounded(value: float, knob: KnobRange) -> float:
    """Six digits, so that a value can be read, typed and found again."""
    return min(max(float(f"{value:.6g}"), knob.low), knob.high)


def _digest(values: Mapping[str, float]) -> str:
    text = ";".join(f"{name}={value!r}" for name, value in values.items())
    return hashlib.blake2b(text.encode(), digest_size=4).hexdigest()


def _index(slug: str) -> int | None:
    match = _SLUG.fullmatch(slug)
    return int(match[1]) if match else None


def _signal(outcome: Outcome) -> float | str | None:
    """What the sampler is told: the screening difference, that it crashed, or nothing."""
    if outcome.status == _CRASHED:
        return _CRASHED
    difference = outcome.screen_difference
    return None if difference is None or not math.isfinite(difference) else float(difference)


def _check_same(proposal: Proposal, outcome: Outcome | None) -> None:
    if outcome is not None and outcome.slug != proposal.slug:
        raise InputError(
            f"trial {outcome.slug} was proposed with other settings (seed, knob ranges, trials at a time or version of "
            "Optuna): restore them, or begin a new study."
        )
