"""The mixed proposer: on simulated proposers, whose ideas and costs are known, the better gets more trials."""

import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest

from data.errors import InputError
from scaling.edits import Edit
from search.mixed import MixedProposer, Worth, worth
from search.proposals import Failure, Outcome, Proposal, ProposerGoneError

COUNT = 4


@dataclass
class Simulated:
    """Proposes for ever, or `supply` proposals; each is good at a rate that may depend on how many came before."""

    name: str
    rate: Callable[[int], float]
    gain: float = 0.01
    dollars: float = 0.0
    seconds: float = 60.0
    supply: int = 10_000
    batch: int = COUNT
    waits: int = 0
    asked: int = 0

    def propose(self, count: int, history: Sequence[Outcome]) -> list[Proposal] | None:
        self.asked += 1
        if self.waits:
            self.waits -= 1
            return None
        known = {outcome.slug for outcome in history}
        slugs = (f"{self.name}-{number}" for number in range(self.supply))
        fresh = itertools.islice((slug for slug in slugs if slug not in known), count)
        return [self._proposal(slug) for slug in fresh]

    def repair(self, proposal: Proposal, failure: Failure) -> Proposal | None:
        return replace(proposal, title=f"{self.name} repaired: {failure.reason}", proposer=None)

    def end(self, proposal: Proposal, random: np.random.Generator) -> Outcome:
        """What the search finds of one of its proposals."""
        kept = random.random() < self.rate(int(proposal.slug.rpartition("-")[2]))
        effect = self.gain * (0.5 + random.random()) if kept else None
        return Outcome(proposal.slug, "kept" if kept else "dropped", effect, seconds=self.seconds, proposal=proposal)

    def _proposal(self, slug: str) -> Proposal:
        return Proposal(
            title=slug,
            slug=slug,
            hypothesis="",
            category="",
            source="",
            scale_rule="",
            expected_scaling="unknown",
            edit=Edit(),
            cost_usd=self.dollars,
        )


def always(rate: float) -> Callable[[int], float]:
    return lambda _: rate


def mix(
    arms: Sequence[Simulated], recorded: dict[int, str] | None = None, *, seed: int = 0, usd_per_hour: float = 2.0
) -> tuple[MixedProposer, dict[int, str]]:
    """The proposer, and the record that it writes: what was recorded before, and what comes."""
    journal = dict(recorded or {})
    mixed = MixedProposer(
        arms, seed=seed, record=journal.__setitem__, recorded=dict(journal), usd_per_hour=usd_per_hour
    )
    return mixed, journal


def search(mixed: MixedProposer, arms: Sequence[Simulated], trials: int, *, seed: int = 0) -> list[Outcome]:
    """Try proposals as a search does, each ended before the next batch; the outcome of a slug is always the same."""
    by_name = {arm.name: arm for arm in arms}
    history: list[Outcome] = []
    while len(history) < trials:
        proposals = mixed.propose(COUNT, history)
        if proposals is None:
            continue
        if not proposals:
            break
        for one in proposals:
            truth = np.random.default_rng([seed, *one.slug.encode()])
            history.append(by_name[one.slug.rpartition("-")[0]].end(one, truth))
    return history


def shares(history: Sequence[Outcome]) -> Counter[str]:
    return Counter(one.proposal.proposer or "" for one in history if one.proposal is not None)


@pytest.mark.parametrize("seed", range(3))
def test_who_finds_more_for_the_same_cost_gets_most_trials(seed: int) -> None:
    arms = [Simulated("poor", always(0.03)), Simulated("good", always(0.15))]
    mixed, _ = mix(arms, seed=seed)
    assert shares(search(mixed, arms, 600, seed=seed))["good"] > 400


@pytest.mark.parametrize("seed", range(3))
def test_who_finds_as_much_for_less_gets_most_trials(seed: int) -> None:
    arms = [Simulated("dear", always(0.1), dollars=0.5), Simulated("cheap", always(0.1), dollars=0.02)]
    mixed, _ = mix(arms, seed=seed)
    assert shares(search(mixed, arms, 600, seed=seed))["cheap"] > 400


def test_the_price_of_an_hour_decides_between_slow_and_dear() -> None:
    def slow_share(usd_per_hour: float) -> int:
        arms = [Simulated("slow", always(0.1), seconds=600), Simulated("dear", always(0.1), dollars=0.1)]
        return shares(search(mix(arms, usd_per_hour=usd_per_hour)[0], arms, 400))["slow"]

    assert slow_share(0.0) > 300
    assert slow_share(10.0) < 100


def test_large_gains_count_more_than_many() -> None:
    arms = [Simulated("small", always(0.2), gain=0.002), Simulated("large", always(0.1), gain=0.03)]
    mixed, _ = mix(arms)
    assert shares(search(mixed, arms, 600))["large"] > 400


@pytest.mark.parametrize("seed", range(3))
def test_a_late_bloomer_is_still_explored_and_found_out(seed: int) -> None:
    arms = [Simulated("steady", always(0.05)), Simulated("late", lambda number: 0.4 if number >= 24 else 0.0)]
    mixed, _ = mix(arms, seed=seed)
    late = [one.slug.startswith("late") for one in search(mixed, arms, 700, seed=seed)]
    assert sum(late) > 350
    assert sum(late[-200:]) > sum(late[:200])


def test_everybody_is_tried_before_any_is_compared() -> None:
    arms = [Simulated("a", always(1.0)), Simulated("b", always(0.0)), Simulated("c", always(0.0), dollars=9.0)]
    mixed, _ = mix(arms)
    assert shares(search(mixed, arms, 24)) == {"a": 8, "b": 8, "c": 8}


def test_one_that_costs_nothing_at_all_divides_by_nothing() -> None:
    arms = [Simulated("free", always(0.05), seconds=0.0), Simulated("dear", always(0.05), dollars=1.0)]
    mixed, _ = mix(arms)
    history = search(mixed, arms, 400)
    assert shares(history)["free"] > 250
    assert mixed.worth(history)["free"].gain_per_dollar is None
    assert mixed.worth(history)["free"].gain_per_second is None


def test_one_whose_proposals_are_all_turned_away_does_not_fill_the_search() -> None:
    arms = [Simulated("refused", always(0.0), seconds=0.0), Simulated("good", always(0.1), dollars=0.02)]
    mixed, _ = mix(arms)
    assert shares(search(mixed, arms, 600))["refused"] < 250


def test_a_resumed_search_shares_as_it_did_whatever_the_seed() -> None:
    arms = [Simulated("a", always(0.1)), Simulated("b", always(0.1)), Simulated("c", always(0.1), supply=10)]
    mixed, journal = mix(arms)
    whole = search(mixed, arms, 300)
    resumed, again = mix(arms, {number: name for number, name in journal.items() if number < 40}, seed=5)
    first = search(resumed, arms, 150)
    assert [one.slug for one in first] == [one.slug for one in whole[: len(first)]]
    assert again.items() >= {number: name for number, name in journal.items() if number < 40}.items()
    replayed, same = mix(arms, journal, seed=5)
    assert [one.slug for one in search(replayed, arms, 300)] == [one.slug for one in whole]
    assert same == journal


def test_a_choice_is_recorded_before_it_is_used() -> None:
    events: list[str] = []

    class Watched(Simulated):
        def propose(self, count: int, history: Sequence[Outcome]) -> list[Proposal] | None:
            events.append(f"asked {self.name}")
            return super().propose(count, history)

    mixed = MixedProposer(
        [Watched("a", always(0.1))], seed=0, record=lambda number, name: events.append(f"{number} {name}"), recorded={}
    )
    mixed.propose(COUNT, [])
    mixed.propose(COUNT, [])
    assert events == ["0 a", "asked a", "1 a", "asked a"]


def test_while_one_waits_another_is_asked_and_recorded() -> None:
    waiting, other = Simulated("waiting", always(0.1), waits=1), Simulated("other", always(0.1))
    mixed, journal = mix([waiting, other])
    given = mixed.propose(COUNT, [])
    assert [one.proposer for one in given or []] == ["other"] * COUNT
    assert journal == {0: "other"}
    both = [replace(waiting, waits=1), replace(other, waits=1)]
    assert mix(both)[0].propose(COUNT, []) is None


def test_a_proposer_whose_choice_was_recorded_is_waited_for() -> None:
    waiting, other = Simulated("waiting", always(0.1), waits=2), Simulated("other", always(0.1))
    mixed, journal = mix([waiting, other], {0: "waiting"})
    assert mixed.propose(COUNT, []) is None
    assert mixed.propose(COUNT, []) is None
    given = mixed.propose(COUNT, [])
    assert [one.proposer for one in given or []] == ["waiting"] * COUNT
    assert other.asked == 0
    assert journal == {0: "waiting"}


def test_those_that_are_exhausted_leave_and_the_search_ends_with_the_last() -> None:
    arms = [Simulated("few", always(0.5), supply=9), Simulated("many", always(0.01), supply=40)]
    mixed, _ = mix(arms)
    history = search(mixed, arms, 1000)
    assert shares(history) == {"few": 9, "many": 40}
    assert mixed.propose(COUNT, history) == []


def test_a_repair_goes_to_the_proposer_that_made_it() -> None:
    arms = [Simulated("a", always(0.1)), Simulated("b", always(0.1))]
    mixed, _ = mix(arms, {0: "b"})
    (first, *_) = mixed.propose(COUNT, []) or []
    repaired = mixed.repair(first, Failure("edit", "its text is missing"))
    assert repaired is not None
    assert (repaired.slug, repaired.proposer) == (first.slug, "b")
    assert repaired.title == "b repaired: its text is missing"
    assert mixed.repair(replace(first, proposer="someone"), Failure("crash", "")) is None


def test_worth_counts_ended_trials_and_no_placebo() -> None:
    arm = Simulated("a", always(1.0), dollars=0.5)
    one, two, three, four = (replace(proposal, proposer="a") for proposal in arm.propose(4, []) or [])
    history = [
        Outcome("1", "kept", 0.02, seconds=30.0, proposal=one),
        Outcome("2", "dropped", 0.01, seconds=10.0, proposal=two),
        Outcome("3", "kept", 0.09, seconds=10.0, proposal=replace(three, placebo=True)),
        Outcome("4", "kept", 0.07, seconds=10.0, ended=False, proposal=four),
    ]
    assert worth(history) == {"a": Worth(trials=2, kept=1, gain=0.02, dollars=1.0, seconds=40.0)}
    assert worth(history)["a"].gain_per_dollar == pytest.approx(0.02)
    assert worth(history)["a"].gain_per_second == pytest.approx(0.0005)


@pytest.mark.parametrize(
    ("names", "recorded", "price"), [("", {}, 2.0), ("aa", {}, 2.0), ("a", {0: "b"}, 2.0), ("a", {}, -1.0)]
)
def test_what_cannot_be_mixed_is_refused(names: str, recorded: dict[int, str], price: float) -> None:
    with pytest.raises(InputError):
        mix([Simulated(name, always(0.1)) for name in names], recorded, usd_per_hour=price)


class Gone(Simulated):
    """Proposes once; then nobody answers."""

    def propose(self, count: int, history: Sequence[Outcome]) -> list[Proposal] | None:
        if self.asked:
            raise ProposerGoneError("the account may not spend")
        return super().propose(count, history)


def test_where_nobody_answers_one_the_others_go_on_and_its_error_is_told_once_they_have_nothing_left() -> None:
    gone, free = Gone("gone", lambda place: 0.0), Simulated("free", lambda place: 0.0, supply=12)
    mixed = MixedProposer([gone, free], seed=0, record=lambda number, name: None, recorded={})
    history: list[Outcome] = []
    with pytest.raises(ProposerGoneError, match="may not spend"):
        while given := mixed.propose(COUNT, history):
            history += [Outcome(one.slug, "dropped", proposal=one) for one in given]
    assert Counter(one.proposal.proposer for one in history if one.proposal) == {"gone": COUNT, "free": 12}
