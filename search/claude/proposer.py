"""Claude as a proposer: it is told what was tried, asks, and proposes; nothing it says is believed without a trial."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from data.errors import InputError
from data.store import Store
from data.study import Study
from scaling.edits import EditError, Recipe
from scaling.knobs import Knob
from scaling.ladder import Rung
from search.catalogue import CATALOGUE
from search.catalogue.proposer import CATEGORIES
from search.claude.calls import Caller, KeyRefusedError, ServiceDownError
from search.claude.course import Course, Courses
from search.claude.digest import digest
from search.claude.exchange import Exchange, run_together
from search.claude.larger import larger_rungs
from search.claude.parse import SKIPPED, one_line, skip, slug_of
from search.claude.prompt import Prompt
from search.claude.reading import Library
from search.claude.repair import Repairs
from search.claude.settings import ClaudeSettings
from search.proposals import Failure, Outcome, Proposal, ProposerGoneError

_BRIEF_CHARACTERS = 50_000
_MOST_NOT_TAKEN = 3


class ClaudeProposer:
    """Proposes what Claude thinks of. Asked again over a journal of recorded answers, it proposes the same for free.

    `propose` is for one thread at a time; `repair` may be called from others meanwhile.
    """

    name = "claude"

    def __init__(
        self,
        study: Study,
        baseline: Recipe,
        knobs: Mapping[str, Knob],
        caller: Caller,
        settings: ClaudeSettings,
        *,
        courses: Courses,
        categories: Sequence[str] = CATEGORIES,
        rungs: Sequence[Rung] = (),
        say: Callable[[str], None] = lambda line: None,
        recorded: Callable[[str], bool] = lambda key: False,
    ) -> None:
        """knobs: the baseline's, with their values and rules. rungs: the ladder's. say: shows a line to the user.

        courses: how earlier exchanges were begun; the settings are those of exchanges that begin from now on.

        recorded: whether a request of that key is answered from the journal, so that nothing need be looked up for it.

        Raises InputError for a brief that cannot be read.
        """
        self._study, self._baseline, self._caller, self._settings, self._say = study, baseline, caller, settings, say
        self._prompt = Prompt(baseline, knobs, categories, rungs, _brief(study.path, settings.brief))
        self._repairs = Repairs(self._prompt, baseline, caller, settings)
        self._recorded, self._courses = recorded, courses
        self._course = Course.of(settings, 1)
        self._store = Store(study.path, patience_seconds=60)
        self._larger: list[str] | None = None
        self._proposing = threading.Lock()
        self._exchanges = 0
        self._not_taken = 0
        self._waiting: deque[Proposal] = deque()
        self._fallback = deque(entry for entry in CATALOGUE if entry.category in categories)
        self._out_of_money = False

    @property
    def batch(self) -> int:
        """The most proposals to ask for at a time, as it was where the next exchange has been begun."""
        return (self._course if self._waiting else self._next(1)).most

    def account(self) -> str:
        """What all requests of the study have cost, in a few words; any thread may ask."""
        limit = self._settings.max_usd
        return f"{self._caller.spent_usd:.2f}{'' if limit is None else f' of {limit:.2f}'} USD spent"

    def propose(self, count: int, history: Sequence[Outcome]) -> list[Proposal]:
        """Up to count proposals, from one exchange or one batch of them; an empty list once the money is spent.

        An exchange that brings nothing ends in the record of a skip, and after it an entry of the catalogue, where one
        is left. Raises StoppedError when the search is to end; ProposerGoneError when nobody answers, and when the
        service took no request of three exchanges in a row, the last of which is asked again by the next command.
        """
        with self._proposing, _told_as_gone():
            if not self._waiting and not self._out_of_money and count > 0:
                begun = self._exchanges
                try:
                    self._waiting.extend(self._ask(count, history))
                except BaseException:
                    # Asked again, it shall be the same exchange, whose answers so far are recorded.
                    self._exchanges = begun
                    raise
            return [self._waiting.popleft() for _ in range(min(count, len(self._waiting)))]

    def repair(self, proposal: Proposal, failure: Failure) -> Proposal | None:
        """The same idea, put right, or None: one round for an edit that cannot be run, one for a run that crashed.

        Raises StoppedError and ProposerGoneError, as `propose` does.
        """
        if proposal.placebo or proposal.category == SKIPPED or proposal.proposer not in {None, self.name}:
            return None
        with _told_as_gone():
            return self._repairs.repair(proposal, failure)

    def _ask(self, count: int, history: Sequence[Outcome]) -> list[Proposal]:
        if self._larger is None:  # no promotion can end while a search holds the study
            self._larger = larger_rungs(self._store)
        larger = self._larger

        def account(room: int) -> str:
            return digest(history, larger, room)

        self._course = course = self._next(count)
        self._courses.begin(self._exchanges + 1, course)
        settings = course.over(self._settings)
        exchanges = [self._exchange(share, settings, account) for share in course.shares()]
        if course.batch:
            run_together(exchanges, settings, self._caller)
        else:
            with Library(self._study, self._baseline, settings.query) as library:
                exchanges[0].run(self._caller, library)
        self._require_service(exchanges)
        return [proposal for exchange in exchanges for proposal in self._ended(exchange)]

    def _require_service(self, exchanges: Sequence[Exchange]) -> None:
        """Raise ProposerGoneError for a service that goes on taking nothing, rather than fill a search with skips."""
        in_a_row = self._not_taken
        for exchange in exchanges:
            in_a_row = in_a_row + 1 if exchange.not_taken else 0
            if in_a_row == _MOST_NOT_TAKEN:
                self._caller.forget(key for one in exchanges for key in one.not_taken)
                why = exchange.problems[-1].rstrip(".")
                raise ProposerGoneError(f"{why}, {in_a_row} exchanges in a row; run the same command again later.")
        self._not_taken = in_a_row

    def _next(self, count: int) -> Course:
        return self._courses.begun(self._exchanges + 1) or Course.of(self._settings, count)

    def _exchange(self, count: int, settings: ClaudeSettings, account: Callable[[int], str]) -> Exchange:
        self._exchanges += 1
        wish = self._prompt.wish(self._exchanges, count, questions=not settings.batch)
        return Exchange(self._prompt, self._baseline, settings, wish, account=account, recorded=self._recorded)

    def _ended(self, exchange: Exchange) -> list[Proposal]:
        """The proposals of an exchange, each with its share of the cost; what stands in for them cost nothing."""
        found, instead = exchange.found, list[Proposal]()
        if exchange.out_of_money:
            self._out_of_money = True
            self._say(exchange.problems[-1])
        elif not found:
            found, instead = self._nothing(exchange)
        share = exchange.cost_usd / max(1, len(found))
        return [*(replace(one, cost_usd=share, exchange=exchange.name) for one in found), *instead]

    def _nothing(self, exchange: Exchange) -> tuple[list[Proposal], list[Proposal]]:
        """The record of an exchange that brought nothing, and an entry of the catalogue, where one is left."""
        why = one_line("; ".join(dict.fromkeys(exchange.problems)), 300)
        skipped = [skip(slug_of("skipped", exchange.number, 1), f"The researcher proposed nothing: {why}.")]
        while self._fallback:
            entry = self._fallback.popleft()
            if self._applies(entry):
                self._say(f"no proposal in exchange {exchange.number} ({why}); trying {entry.slug} of the catalogue")
                return skipped, [replace(entry, slug=f"{entry.slug}-{exchange.name}-1", proposer="catalogue")]
        self._say(f"no proposal in exchange {exchange.number} ({why})")
        return skipped, []

    def _applies(self, entry: Proposal) -> bool:
        try:
            entry.edit.apply(self._baseline)
        except EditError:
            return False
        return True


@contextmanager
def _told_as_gone() -> Iterator[None]:
    """What ends all asking ends no search amid its runs."""
    try:
        yield
    except (KeyRefusedError, ServiceDownError) as error:
        raise ProposerGoneError(str(error)) from error


def _brief(study: Path, path: str | None) -> str:
    if path is None:
        return ""
    try:
        return (study / path).read_text(encoding="utf-8")[:_BRIEF_CHARACTERS]
    except (OSError, UnicodeDecodeError):
        raise InputError(f"The brief {path} cannot be read; give a text file in UTF-8.") from None
