"""Several proposers that share one search: who finds more for its money and its machine's time gets more trials."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from data.errors import InputError
from search.proposals import Failure, Outcome, Proposal, Proposer, ProposerGoneError

USD_PER_HOUR = 2.0
"""What an hour of runs is taken to cost: about the rent of one large GPU. It decides how money and time compare: at 0
only what proposing costs counts, so that free proposers win; the dearer an hour, the less a model's price matters."""
FIRST_TRIALS = 8
"""Trials that every proposer gets before any is compared."""
HALF_LIFE = 200
"""Trials of the whole search after which a result counts half: proposers run dry, and others learn."""
KEEP_RATE = 0.05
"""The share of a proposer's trials that is taken to be kept before any has ended."""
LEAST_COST = 0.3
"""The least that a trial counts for, in trials' usual cost: one that is turned away at the door takes a place too."""
PRIOR_KEEPS = 1.0
PRIOR_COSTS = 2.0


@dataclass(frozen=True, slots=True)
class Worth:
    """What a proposer's ended trials came to, placebos apart; gain is the sum of kept effects, nats per token."""

    trials: int = 0
    kept: int = 0
    gain: float = 0.0
    dollars: float = 0.0
    seconds: float = 0.0

    @property
    def gain_per_dollar(self) -> float | None:
        """Nats per token for each dollar of proposing; None where it cost none."""
        return self.gain / self.dollars if self.dollars > 0 else None

    @property
    def gain_per_second(self) -> float | None:
        """Nats per token for each second of runs; None where there were none."""
        return self.gain / self.seconds if self.seconds > 0 else None


def worth(history: Sequence[Outcome]) -> dict[str, Worth]:
    """What each proposer's ended trials gained and cost, by its name, in order of appearance."""
    found: dict[str, Worth] = {}
    for name, one in _counted(history):
        so_far = found.get(name, Worth())
        found[name] = Worth(
            trials=so_far.trials + 1,
            kept=so_far.kept + (one.status == "kept"),
            gain=so_far.gain + _gain(one),
            dollars=so_far.dollars + _dollars(one),
            seconds=so_far.seconds + one.seconds,
        )
    return found


class MixedProposer:
    """Shares the trials among proposers by Thompson sampling on true gain per cost.

    For each batch a gain per trial and a cost per trial are drawn from every proposer's posterior, and the largest
    ratio is asked. A trial's gain is its confirmed effect where it was kept and 0 otherwise; its cost is the dollars of
    proposing it and the seconds of its runs at `usd_per_hour`. The chance to be kept has a Beta posterior, the gain of
    a kept trial and the cost of a trial an exponential's (inverse gamma). The priors weigh as much as one kept trial in
    twenty and two costs, at what is usual in this search. Old results fade for all alike (discounted Thompson sampling,
    Raj and Kalyani 2017), so that who was poor early is tried again.

    Each choice is told to `record` before the proposer is asked, and `recorded` ones are not made anew: a search that
    is resumed shares its trials as it did. A batch may be recorded again, when the one chosen turns out to be
    exhausted or to wait: the last counts.
    """

    name = "mixed"

    def __init__(
        self,
        proposers: Sequence[Proposer],
        *,
        seed: int,
        record: Callable[[int, str], None],
        recorded: Mapping[int, str],
        usd_per_hour: float = USD_PER_HOUR,
        first_trials: int = FIRST_TRIALS,
    ) -> None:
        """Share among `proposers`; `recorded` has the names chosen before, by number of batch from 0.

        Raises InputError where there are none or two of one name, for a negative price, and for a recorded name that is
        not among them.
        """
        self._arms = {one.name: one for one in proposers}
        if not self._arms or len(self._arms) < len(proposers):
            raise InputError("a mixed search needs proposers of distinct names, at least one.")
        if not usd_per_hour >= 0:
            raise InputError(f"usd_per_hour is {usd_per_hour}: give what an hour of runs costs, 0 or more dollars.")
        if unknown := sorted(set(recorded.values()) - self._arms.keys()):
            raise InputError(
                f"this search was begun with the proposer {unknown[0]!r} too: name it again, or begin a new study."
            )
        self._seed, self._usd_per_hour, self._first_trials = seed, usd_per_hour, first_trials
        self._record, self._choices = record, dict(recorded)
        self._given = dict.fromkeys(self._arms, 0)
        self._exhausted: set[str] = set()
        self._gone: ProposerGoneError | None = None
        self._number = 0

    @property
    def batch(self) -> int:
        """The largest batch of all; a proposer is never asked for more than its own."""
        return max(one.batch for one in self._arms.values())

    def propose(self, count: int, history: Sequence[Outcome]) -> list[Proposal] | None:
        """Ask the proposer chosen for this batch; None when that one wants to wait, empty when all are exhausted.

        While one that was chosen just now waits, another is chosen; one whose choice was recorded before is waited for.
        Where nobody answers one of them the others go on; once they have nothing left, that one's ProposerGoneError is
        raised.
        """
        if self._number in self._choices:
            given = self._ask(self._choices[self._number], count, history)
            if given != []:
                return given
        waiting: set[str] = set()
        while names := [name for name in self._arms if name not in self._exhausted | waiting]:
            name = self._choose(names, history)
            self._record(self._number, name)
            given = self._ask(name, count, history)
            if given:
                return given
            if given is None:
                waiting.add(name)
        if self._gone is not None and not waiting:
            raise self._gone
        return None if waiting else []

    def repair(self, proposal: Proposal, failure: Failure) -> Proposal | None:
        """Ask the proposer that made it."""
        arm = self._arms.get(proposal.proposer or "")
        repaired = None if arm is None else arm.repair(proposal, failure)
        return None if repaired is None or arm is None else _signed(repaired, arm.name)

    def worth(self, history: Sequence[Outcome]) -> dict[str, Worth]:
        """What each proposer's ended trials gained and cost, by name; those without any have an empty one."""
        found = worth(history)
        return {name: found.get(name, Worth()) for name in (*self._arms, *(found.keys() - self._arms.keys()))}

    def _ask(self, name: str, count: int, history: Sequence[Outcome]) -> list[Proposal] | None:
        try:
            proposals = self._arms[name].propose(min(count, self._arms[name].batch), history)
        except ProposerGoneError as gone:
            self._gone, proposals = gone, []
        if proposals:
            self._given[name] += len(proposals)
            self._number += 1
            return [_signed(one, name) for one in proposals]
        if proposals is not None:
            self._exhausted.add(name)
        return proposals

    def _choose(self, names: Sequence[str], history: Sequence[Outcome]) -> str:
        fewest = min(names, key=lambda name: self._given[name])
        if self._given[fewest] < self._first_trials or len(names) == 1:
            return fewest
        random = np.random.default_rng([self._seed, self._number])
        evidence = {name: Evidence() for name in self._arms} | _evidence(history, self._usd_per_hour)
        usual = _usual(list(evidence.values()))
        drawn = {name: _draw(evidence[name], usual, random) for name in self._arms}
        return max(names, key=lambda name: drawn[name])


@dataclass(frozen=True, slots=True)
class Evidence:
    """Ended trials, kept ones, their gain in nats per token and all their cost in dollars; faded, so not whole."""

    trials: float = 0.0
    kept: float = 0.0
    gain: float = 0.0
    cost: float = 0.0

    def __add__(self, other: Evidence) -> Evidence:
        """Both together."""
        return Evidence(
            self.trials + other.trials, self.kept + other.kept, self.gain + other.gain, self.cost + other.cost
        )


class Usual(NamedTuple):
    """What is taken of a proposer before it has shown its own: the gain of a kept trial and the cost of any."""

    gain: float
    cost: float


def _evidence(history: Sequence[Outcome], usd_per_hour: float) -> dict[str, Evidence]:
    found: dict[str, Evidence] = {}
    for age, (name, one) in enumerate(reversed(_counted(history))):
        weight = 0.5 ** (age / HALF_LIFE)
        cost = _dollars(one) + one.seconds / 3600 * usd_per_hour
        seen = Evidence(weight, weight * (one.status == "kept"), weight * _gain(one), weight * cost)
        found[name] = found.get(name, Evidence()) + seen
    return found


def _usual(evidence: Sequence[Evidence]) -> Usual:
    """The mean over kept trials, and over proposers: many trials that cost nothing must not make all others dear."""
    together = sum(evidence, Evidence())
    costs = [one.cost / one.trials for one in evidence if one.trials > 0]
    return Usual(
        gain=together.gain / together.kept if together.gain > 0 else 1.0,
        cost=sum(costs) / len(costs) if any(costs) else 1.0,
    )


def _draw(own: Evidence, usual: Usual, random: np.random.Generator) -> float:
    """One draw of a proposer's gain per cost."""
    kept = random.beta(PRIOR_KEEPS + own.kept, PRIOR_KEEPS * (1 / KEEP_RATE - 1) + own.trials - own.kept)
    gain = (PRIOR_KEEPS * usual.gain + own.gain) / random.gamma(1 + PRIOR_KEEPS + own.kept)
    own_cost = max(own.cost, LEAST_COST * usual.cost * own.trials)
    cost = (PRIOR_COSTS * usual.cost + own_cost) / random.gamma(PRIOR_COSTS + own.trials)
    return float(kept * gain / cost)


def _counted(history: Sequence[Outcome]) -> list[tuple[str, Outcome]]:
    return [
        (one.proposal.proposer, one)
        for one in history
        if one.ended and one.proposal is not None and one.proposal.proposer is not None and not one.proposal.placebo
    ]


def _gain(one: Outcome) -> float:
    """A kept effect; a harmful one cannot be kept, whatever noise says of it."""
    return max(one.effect or 0.0, 0.0) if one.status == "kept" else 0.0


def _dollars(one: Outcome) -> float:
    return 0.0 if one.proposal is None else one.proposal.cost_usd


def _signed(proposal: Proposal, name: str) -> Proposal:
    return proposal if proposal.proposer else replace(proposal, proposer=name)
