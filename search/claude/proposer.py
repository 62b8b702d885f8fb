"""Claude as a proposer: it is told what was tried, asks, and proposes; nothing it says is believed without a trial."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
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
from search.claude.calls import BudgetSpentError, Caller
from search.claude.digest import digest
from search.claude.exchange import Exchange, run_together
from search.claude.larger import larger_rungs
from search.claude.parse import SKIPPED, one_line, skip, slug_of
from search.claude.prompt import Prompt
from search.claude.reading import Library
from search.claude.repair import Repairs
from search.claude.settings import ClaudeSettings
from search.proposals import Failure, Outcome, Proposal

_BRIEF_CHARACTERS = 50_000


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
        categories: Sequence[str] = CATEGORIES,
        rungs: Sequence[Rung] = (),
        say: Callable[[str], None] = lambda line: None,
        recorded: Callable[[str], bool] = lambda key: False,
    ) -> None:
        """knobs: the baseline's, with their values and rules. rungs: the ladder's. say: shows a line to the user.

        recorded: whether a request of that key is answered from the journal, so that nothing need be looked up for it.

        Raises InputError for a brief that cannot be read.
        """
        self._study, self._baseline, self._caller, self._settings, self._say = study, baseline, caller, settings, say
        self._prompt = Prompt(baseline, knobs, categories, rungs, _brief(study.path, settings.brief))
        self._repairs = Repairs(self._prompt, baseline, caller, settings)
        self._recorded = recorded
        self._store = Store(study.path, patience_seconds=60)
        self._larger: list[str] | None = None
        self._proposing = threading.Lock()
        self._exchanges = 0
        self._waiting: deque[Proposal] = deque()
        self._fallback = deque(entry for entry in CATALOGUE if entry.category in categories)
        self._out_of_money = False

    @property
    def batch(self) -> int:
        """The most proposals to ask for at a time."""
        together = self._settings.requests_per_batch if self._settings.batch else 1
        return self._settings.proposals_per_request * together

    def propose(self, count: int, history: Sequence[Outcome]) -> list[Proposal]:
        """Up to count proposals, from one exchange or one batch of them; an empty list once the money is spent.

        An exchange that brings nothing ends in an entry of the catalogue; where none is left, in the record of a skip.
        Raises StoppedError when the search is to end, KeyRefusedError and ServiceDownError when nobody answers.
        """
        with self._proposing:
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
        """The same idea, put right, or None: one round for an edit that cannot be run, one for a run that crashed."""
        if proposal.placebo or proposal.category == SKIPPED or proposal.proposer not in {None, self.name}:
            return None
        try:
            return self._repairs.repair(proposal, failure)
        except BudgetSpentError:
            return None

    def _ask(self, count: int, history: Sequence[Outcome]) -> list[Proposal]:
        if self._larger is None:  # no promotion can end while a search holds the study
            self._larger = larger_rungs(self._store)
        larger = self._larger

        def account(room: int) -> str:
            return digest(history, larger, room)

        if self._settings.batch:
            exchanges = self._together(count, account)
        else:
            exchanges = [self._exchange(count, account)]
            with Library(self._study, self._baseline, self._settings.query) as library:
                exchanges[0].run(self._caller, library)
        return [proposal for exchange in exchanges for proposal in self._ended(exchange)]

    def _exchange(self, count: int, account: Callable[[int], str]) -> Exchange:
        self._exchanges += 1
        wanted = min(count, self._settings.proposals_per_request)
        wish = self._prompt.wish(self._exchanges, wanted, questions=not self._settings.batch)
        return Exchange(self._prompt, self._baseline, self._settings, wish, account=account, recorded=self._recorded)

    def _together(self, count: int, account: Callable[[int], str]) -> list[Exchange]:
        each = self._settings.proposals_per_request
        shares = [min(each, count - start) for start in range(0, count, each)]
        exchanges = [self._exchange(share, account) for share in shares]
        run_together(exchanges, self._settings, self._caller)
        return exchanges

    def _ended(self, exchange: Exchange) -> list[Proposal]:
        """The proposals of an exchange, each with its share of the cost."""
        found = exchange.found
        if exchange.out_of_money:
            self._out_of_money = True
            self._say(exchange.problems[-1])
        elif not found:
            found = self._instead(exchange)
        return [replace(one, cost_usd=exchange.cost_usd / len(found)) for one in found]

    def _instead(self, exchange: Exchange) -> list[Proposal]:
        """An entry of the catalogue for an exchange that brought nothing, or else the record of that."""
        why = one_line("; ".join(dict.fromkeys(exchange.problems)), 300)
        while self._fallback:
            entry = self._fallback.popleft()
            if self._applies(entry):
                self._say(f"no proposal in exchange {exchange.number} ({why}); trying {entry.slug} of the catalogue")
                return [replace(entry, slug=f"{entry.slug}-e{exchange.number:04d}-1", proposer="catalogue")]
        self._say(f"no proposal in exchange {exchange.number} ({why})")
        return [skip(slug_of("skipped", exchange.number, 1), f"The researcher proposed nothing: {why}.")]

    def _applies(self, entry: Proposal) -> bool:
        try:
            entry.edit.apply(self._baseline)
        except EditError:
            return False
        return True


def _brief(study: Path, path: str | None) -> str:
    if path is None:
        return ""
    try:
        return (study / path).read_text(encoding="utf-8")[:_BRIEF_CHARACTERS]
    except (OSError, UnicodeDecodeError):
        raise InputError(f"The brief {path} cannot be read; give a text file in UTF-8.") from None
