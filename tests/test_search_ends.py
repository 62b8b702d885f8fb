"""How a search ends, or is left: by signals, by its hours, by errors, and when nobody proposes any more."""

import io
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from simulated_launch import BASELINE, Bench, World
from test_search_rule import BAD, GOOD, NULL, Gains, Given, placebo

from data.errors import ScaleproofError
from scaling.edits import Edit, Replacement
from scaling.lab import Lab
from scaling.progress import RichProgress
from scaling.runs import IN_EVALUATION, REJECTED
from scaling.stopping import StoppedError
from search.clock import WorkClock
from search.proposals import Failure, Outcome, Proposal, Proposer, ProposerGoneError
from search.search import Search
from search.settings import SearchSettings
from search.trial import Trial

PATIENCE_SECONDS = 60.0


def make(folder: Path) -> Bench:
    return Bench.make(folder, World(Gains(), sigma=0.002, correlation=0.5))


def search(lab: Lab, proposer: Proposer, *, hours: float | None = None, **settings: Any) -> list[Trial]:
    chosen = SearchSettings.read({"trials": 8, **settings})
    clock = WorkClock(lab, "test", hours)
    return Search(lab, BASELINE, chosen, placebo=placebo, learning_rate=0.01, clock=clock).run(proposer)


class Then(Given):
    """Proposes what it was given, in one answer; asked again, it does something else."""

    def __init__(self, edits: list[tuple[str, float]], then: Callable[[], list[Proposal]]) -> None:
        super().__init__(edits)
        self.then = then

    def propose(self, count: int, history: Sequence[Outcome]) -> list[Proposal]:
        return super().propose(count, history) if self.edits else self.then()


def gone() -> list[Proposal]:
    raise ProposerGoneError("The account may not spend; run the same command again later.")


def test_when_nobody_proposes_any_more_what_was_begun_is_settled_before_that_is_told(tmp_path: Path) -> None:
    bench = make(tmp_path / "study")
    with bench._lab(float("inf")) as lab, pytest.raises(ProposerGoneError, match="may not spend"):
        search(lab, Then([GOOD, NULL, BAD], gone))
    statuses = {row["slug"]: row["status"] for row in bench.rows("select slug, status from trials where not placebo")}
    assert statuses == {"weight-decay-0": "kept", "beta2-1": "dropped", "init-std-2": "dropped"}
    assert bench.row("select title from findings")["title"] == "weight-decay-0"


class Repairing(Given):
    """Answers every call for a repair in the same way."""

    def __init__(self, answer: Callable[[Proposal], Proposal | None]) -> None:
        super().__init__([GOOD])
        self.answer = answer

    def propose(self, count: int, history: Sequence[Outcome]) -> list[Proposal]:
        return [replace(one, edit=Edit((Replacement("not there", "x"),))) for one in super().propose(count, history)]

    def repair(self, proposal: Proposal, failure: Failure) -> Proposal | None:
        return self.answer(proposal)


def test_a_trial_whose_repair_nobody_answers_is_left_for_the_command_that_goes_on(tmp_path: Path) -> None:
    bench = make(tmp_path / "study")
    with bench._lab(float("inf")) as lab, pytest.raises(ProposerGoneError):
        search(lab, Repairing(lambda broken: gone()[0]))
    assert bench.rows("select * from trials where not placebo") == []
    with bench._lab(float("inf")) as lab:
        search(lab, Repairing(lambda broken: replace(broken, edit=Edit(knobs=dict([GOOD])))))
    assert [row["status"] for row in bench.rows("select status from trials where not placebo")] == ["kept"]


def test_a_repair_that_brings_nothing_is_charged_to_its_trial(tmp_path: Path) -> None:
    bench = make(tmp_path / "study")
    with bench._lab(float("inf")) as lab:
        search(lab, Repairing(lambda broken: replace(broken, cost_usd=broken.cost_usd + 0.25)))
    row = bench.row("select status, cost_usd from trials where not placebo")
    assert row == {"status": "rejected", "cost_usd": 0.25}


@pytest.mark.parametrize(("reason", "repaired"), [("ValueError: 3", 1), (f"{REJECTED}{IN_EVALUATION}: ValueError.", 0)])
def test_what_fails_where_held_out_text_was_read_is_not_repaired(tmp_path: Path, reason: str, repaired: int) -> None:
    asked: list[Proposal] = []

    class Counting(Given):
        def repair(self, proposal: Proposal, failure: Failure) -> Proposal | None:
            asked.append(proposal)
            return None

    knob, value = GOOD
    world = World(Gains(), fails=lambda knobs: reason if knobs.get(knob) == value else None)
    with Bench.make(tmp_path / "study", world)._lab(float("inf")) as lab:
        (trial,) = search(lab, Counting([GOOD]), trials=1)
    assert len(asked) == repaired
    assert trial.reason == reason.removeprefix(REJECTED)


def waiting(lab: Lab, asked: threading.Event) -> Callable[[], list[Proposal]]:
    """Waits, as for a service that is down, until nobody wants its answer any more."""

    def wait() -> list[Proposal]:
        asked.set()
        if not lab.stopping.event.wait(PATIENCE_SECONDS):
            raise AssertionError("nobody told it to stop waiting")
        raise StoppedError

    return wait


def test_an_error_is_told_at_once_though_the_proposer_waits_for_its_service(tmp_path: Path) -> None:
    bench = Bench.make(tmp_path / "study", World(Gains(), diverges=lambda spec, knobs: True))
    asked = threading.Event()
    with bench._lab(float("inf")) as lab, pytest.raises(ScaleproofError, match="diverged"):
        search(lab, Then([], waiting(lab, asked)))
    assert asked.is_set()


def test_a_search_whose_hours_are_over_does_not_wait_for_a_service_that_is_down(tmp_path: Path) -> None:
    bench, asked = make(tmp_path / "study"), threading.Event()
    with bench._lab(float("inf")) as lab:
        trials = search(lab, Then([GOOD], waiting(lab, asked)), hours=2 / 3600)
    assert asked.is_set()
    assert [trial.status for trial in trials if not trial.proposal.placebo] == ["kept"]


def stopping(lab: Lab) -> Callable[[], list[Proposal]]:
    """Has the user ask to stop."""

    def stop() -> list[Proposal]:
        lab.stopping.ask()
        return []

    return stop


def test_trials_under_way_are_in_the_store_and_those_that_ended_stay_so(tmp_path: Path) -> None:
    bench = make(tmp_path / "study")

    def statuses() -> dict[str, str | None]:
        return {row["slug"]: row["status"] for row in bench.rows("select slug, status from trials where not placebo")}

    with bench._lab(float("inf")) as lab, pytest.raises(StoppedError):
        search(lab, Then([GOOD, BAD], stopping(lab)))
    assert statuses() == {"weight-decay-0": None, "init-std-1": "dropped"}
    with bench._lab(float("inf")) as lab:
        search(lab, Given([GOOD, BAD]))
    assert statuses() == {"weight-decay-0": "kept", "init-std-1": "dropped"}
    with bench._lab(float("inf")) as lab, pytest.raises(StoppedError):
        search(lab, Then([GOOD, BAD], stopping(lab)))
    assert statuses() == {"weight-decay-0": "kept", "init-std-1": "dropped"}


def test_what_was_begun_and_is_no_part_of_the_finished_search_ends_in_words_and_keeps_its_cost(tmp_path: Path) -> None:
    bench = make(tmp_path / "study")
    asked = "select status, reason, cost_usd, knobs from trials where slug = 'weight-decay-0'"

    class Costly(Then):
        def propose(self, count: int, history: Sequence[Outcome]) -> list[Proposal]:
            return [replace(one, cost_usd=0.5) for one in super().propose(count, history)]

    with bench._lab(float("inf")) as lab, pytest.raises(StoppedError):
        search(lab, Costly([GOOD], stopping(lab)))
    begun = bench.row(asked)
    assert begun["status"] is None
    with bench._lab(float("inf")) as lab, pytest.raises(ProposerGoneError):
        search(lab, Then([BAD], gone))
    assert bench.row(asked) == begun, "the command that goes on may still take it up"
    with bench._lab(float("inf")) as lab:
        search(lab, Given([BAD]))
    words = "It was begun, and is not part of the search that was finished."
    assert bench.row(asked) == {**begun, "status": "unresolved", "reason": words}
    with bench._lab(float("inf")) as lab:
        search(lab, Costly([GOOD, BAD], list))
    assert bench.row(asked)["status"] == "kept"
    assert bench.rows("select * from trials where status is null") == []


def test_a_search_of_one_trial_tries_a_proposal(tmp_path: Path) -> None:
    bench = make(tmp_path / "study")
    with bench._lab(float("inf")) as lab:
        (trial,) = search(lab, Given([GOOD]), trials=1)
    assert (trial.proposal.slug, trial.status) == ("weight-decay-0", "kept")


def test_a_proposer_never_learns_what_a_single_confirmation_run_gave(tmp_path: Path) -> None:
    bench = make(tmp_path / "study")
    with bench._lab(float("inf")) as lab:
        trials = search(lab, Given([GOOD]), confirm_looks=[1])
    one = next(trial for trial in trials if trial.proposal.slug == "weight-decay-0")
    assert one.look is not None
    told = one.outcome()
    assert (told.effect, told.effect_low, told.effect_high) == (None, None, None)


def test_without_a_terminal_long_work_tells_how_far_it_is() -> None:
    said = io.StringIO()
    with RichProgress(Console(file=said), line_seconds=0.0) as progress:
        progress.begin_trials("Search", 700)
        progress.trials(12, "2 running, waiting for claude, 1.50 of 50.00 USD spent")
    assert "12/700 trials, 2 running, waiting for claude, 1.50 of 50.00 USD spent" in said.getvalue()
