"""Opening the researcher for a search: its prices, its key, its journal, and Claude behind them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager

from scaling.edits import Recipe
from scaling.knobs import Knob
from scaling.lab import Lab
from search.claude.calls import Caller, Journal, Prices
from search.claude.course import Courses
from search.claude.proposer import ClaudeProposer
from search.claude.settings import ClaudeSettings


@contextmanager
def open_researcher(
    lab: Lab, settings: ClaudeSettings, baseline: Recipe, knobs: Mapping[str, Knob]
) -> Iterator[ClaudeProposer]:
    """Claude as the proposer of a search, once the service has taken the key and knows every model.

    Raises:
        InputError: for a key that is missing or refused, a model without a price, and a brief that cannot be read.
    """
    journal = Journal(lab.study)
    caller = Caller(
        journal=journal,
        prices=Prices.read(settings.prices, folder=lab.study.path),
        max_usd=settings.max_usd,
        say=lab.progress.say,
        stopping=lab.stopping.event,
        base_url=settings.base_url,
    )
    if settings.max_usd is None:
        lab.progress.say("No limit on money is set; --max-usd sets one.")
    with closing(caller), closing(Courses(lab.study, met_by(journal))) as courses:
        for model in settings.models:
            caller.check(model)
        yield ClaudeProposer(
            lab.study,
            baseline,
            knobs,
            caller,
            settings,
            courses=courses,
            rungs=lab.setting.ladder.rungs,
            say=lambda line: lab.progress.say(f"  {line}"),
            recorded=lambda key: journal.answer(key) is not None,
        )


def met_by(journal: Journal) -> Callable[[Sequence[str]], bool]:
    """Says of keys whether the service answered any of their requests, turned it down, or has it in a batch."""
    # Once, as others may write to the journal later; a batch that is made from now on is this command's own.
    in_batches = {request.key for batch in journal.open_batches() for request in batch.requests.values()}

    def met(keys: Sequence[str]) -> bool:
        settled = any(journal.answer(key) is not None or journal.rejection(key) is not None for key in keys)
        return settled or not in_batches.isdisjoint(keys)

    return met
