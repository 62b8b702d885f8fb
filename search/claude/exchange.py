"""One exchange with the researcher: questions answered, proposals taken, and what is done when none come.

Its course follows from the answers alone, and each answer has a key; so the same exchange, gone through again over
recorded answers, gives the same proposals.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from scaling.edits import Recipe
from search.claude.calls import Answer, BudgetSpentError, Caller, ContextFullError, Request, RequestRefusedError
from search.claude.course import exchange_name
from search.claude.echo import repeatable
from search.claude.journal import REJECTED
from search.claude.parse import InvalidCallError, proposal, read_proposal, skip, slug_of
from search.claude.prompt import Block, Prompt, Wish
from search.claude.reading import Library, check_question
from search.claude.settings import ClaudeSettings
from search.proposals import Proposal

NARROW_COUNT = 2
_GOES_ON = frozenset({"tool_use", "pause_turn"})
_USELESS = frozenset({"refusal", "errored", "expired", "canceled", "lost"})
_BROKEN = "The input is not valid: it is not one whole JSON object, of whole characters and finite numbers."


@dataclass(frozen=True, slots=True)
class Attempt:
    """One way to ask: which model, how hard it shall think, and whether narrowly (fewer, one category, little said)."""

    model: str
    effort: str | None
    narrow: bool


def attempts(settings: ClaudeSettings, number: int) -> list[Attempt]:
    """The ways to ask in turn, until one brings a proposal; effort goes round from exchange to exchange."""
    effort = settings.efforts[(number - 1) % len(settings.efforts)]
    # Not every model knows efforts: a narrow request leaves them out.
    return [Attempt(settings.models[0], effort, False), *(Attempt(model, None, True) for model in settings.models)]


class Exchange:
    """A conversation of a few turns that ends in proposals, or in the reasons why there are none."""

    def __init__(
        self,
        prompt: Prompt,
        baseline: Recipe,
        settings: ClaudeSettings,
        wish: Wish,
        *,
        account: Callable[[int], str],
        recorded: Callable[[str], bool],
    ) -> None:
        """account: gives what was tried, in at most so many characters. recorded: whether a key's answer is known."""
        self._prompt, self._baseline, self._settings, self._wish = prompt, baseline, settings, wish
        self._account, self._recorded = account, recorded
        self._asked = 0
        self._count = wish.count
        self._messages: list[dict[str, Any]] = []
        self._corrected = False
        self.found: list[Proposal] = []
        self.problems: list[str] = []
        self.cost_usd = 0.0
        self.out_of_money = False
        self._heard = False

    @property
    def number(self) -> int:
        """Its number in the search, from 1."""
        return self._wish.number

    @property
    def name(self) -> str:
        """Its name in the store."""
        return exchange_name(self.number)

    @property
    def not_taken(self) -> list[str]:
        """The keys of its requests, where the service took none of them; one that was too long shows that it would."""
        if self._heard or self.out_of_money:
            return []
        return [self._key(place) for place in range(1, self._asked + 1)]

    def _key(self, place: int) -> str:
        return f"{self.name}.t{place}"

    def run(self, caller: Caller, library: Library) -> None:
        """Ask until there are proposals, there is no other way to ask, or the money is spent."""
        for attempt in attempts(self._settings, self.number):
            try:
                self._converse(attempt, caller, library)
            except RequestRefusedError as error:
                self.turned_down(error)
            except BudgetSpentError as error:
                self.stop_spending(error)
            if self.found or self.out_of_money:
                return

    def opening(self, attempt: Attempt) -> Request:
        """The first request of an attempt; the conversation begins anew."""
        wish, room = self._wish, self._settings.history_characters
        if attempt.narrow:
            wish, room = replace(wish, count=min(NARROW_COUNT, wish.count), narrow=True), room // 6
        self._count = wish.count
        told = self._prompt.exchange(wish, self._account(room), self._settings.turns)
        self._messages = [{"role": "user", "content": [self._opened(told)]}]
        return self.request(attempt)

    def request(self, attempt: Attempt) -> Request:
        """The next request, under a key that is its own for ever."""
        self._asked += 1
        return Request(
            key=self._key(self._asked),
            purpose="propose",
            model=attempt.model,
            system=self._prompt.system,
            tools=self._prompt.tools,
            messages=list(self._messages),
            max_tokens=self._settings.max_tokens,
            effort=attempt.effort,
            exchange=self.name,
        )

    def turned_down(self, error: RequestRefusedError) -> None:
        """Note that the service did not take the last request."""
        self.problems.append(str(error))
        self._heard |= isinstance(error, ContextFullError)

    def stop_spending(self, error: BudgetSpentError) -> None:
        """Note that there is no money for the last request."""
        self.problems.append(str(error))
        self.out_of_money = True

    def take(self, answer: Answer, library: Library | None) -> bool:
        """Take the proposals of an answer; returns whether it is to be answered in turn, which is then prepared.

        library: answers the questions; None where none are answered.
        """
        if answer.stop_reason == REJECTED:
            self.turned_down(RequestRefusedError(answer.error))
            return False
        self._heard = True
        self.cost_usd += answer.cost_usd
        if answer.stop_reason in _USELESS:
            why = answer.refusal_category or answer.error
            self.problems.append(f"{answer.model}: {answer.stop_reason}{f' ({why})' if why else ''}")
            return False
        answer = repeatable(answer)
        before, corrected = len(self.found), self._corrected
        goes_on = answer.stop_reason in _GOES_ON and library is not None
        results = [self._result(call, answer, library, corrected) for call in answer.tool_calls()]
        if len(self.found) == before and not goes_on:
            self.problems.append(f"{answer.model}: an answer without a proposal ({answer.stop_reason})")
        if not goes_on or len(self.found) >= self._count or not answer.content:
            return False
        self._messages.append({"role": "assistant", "content": answer.content})
        self._messages.append({"role": "user", "content": [*results, self._reminder()]})
        return True

    def _converse(self, attempt: Attempt, caller: Caller, library: Library) -> None:
        going = self.take(caller.ask(self.opening(attempt)), library)
        for _ in range(self._settings.turns - 1):
            if not going:
                return
            going = self.take(caller.ask(self.request(attempt)), library)
        if going and not self.found:
            self.problems.append(f"{attempt.model}: no proposal in {self._settings.turns} answers")

    def _result(self, call: Block, answer: Answer, library: Library | None, corrected: bool) -> Block:
        result: Block = {"type": "tool_result", "tool_use_id": call["id"]}
        try:
            if call["id"] in answer.broken:
                raise InvalidCallError(_BROKEN)
            if call["name"] == "propose":
                return {**result, "content": self._propose(call["input"])}
            if library is None:
                raise InvalidCallError("No questions are answered this time.")
            ask = check_question(call["name"], call["input"])
            return {**result, "content": "" if self._recorded(self._key(self._asked + 1)) else library.answer(ask)}
        except InvalidCallError as error:
            self._wrong(call["name"], str(error), answer, corrected)
            return {**result, "content": str(error), "is_error": True}

    def _propose(self, given: Any) -> str:  # noqa: ANN401 (whatever a model sent)
        checked = read_proposal(given, self._prompt.categories)
        slug = slug_of(checked.title, self.number, len(self.found) + 1)
        self.found.append(proposal(checked, slug, self._baseline))
        return f"Recorded as {slug}."

    def _wrong(self, name: str, problem: str, answer: Answer, corrected: bool) -> None:
        """An invalid call is told once; after that, one that should have been a proposal is recorded as a skip."""
        self._corrected = True
        cut_short = answer.stop_reason not in _GOES_ON
        if name == "propose" and corrected and not cut_short:
            slug = slug_of("skipped", self.number, len(self.found) + 1)
            self.found.append(skip(slug, f"The researcher's call could not be read twice. {problem}"))

    def _reminder(self) -> Block:
        missing = self._count - len(self.found)
        said = f"{len(self.found)} of {self._count} recorded. " if self.found else ""
        turns_left = self._settings.turns - (len(self._messages) + 1) // 2
        last = " This is the last answer that is read." if turns_left <= 1 else ""
        return {"type": "text", "text": f"{said}Propose {missing} more in one answer when you are ready.{last}"}

    def _opened(self, told: str) -> Block:
        """The opening, cached for the turns that follow it within minutes."""
        block: Block = {"type": "text", "text": told}
        if self._wish.questions and self._settings.turns > 1:
            block["cache_control"] = {"type": "ephemeral"}
        return block


def run_together(exchanges: Sequence[Exchange], settings: ClaudeSettings, caller: Caller) -> None:
    """Run exchanges of one answer each, in batches: all of them, then those that brought nothing, asked otherwise."""
    for place in range(len(settings.models) + 1):
        waiting = [exchange for exchange in exchanges if not exchange.found]
        if not waiting:
            return
        requests = [exchange.opening(attempts(settings, exchange.number)[place]) for exchange in waiting]
        try:
            answers = caller.ask_batch(requests)
        except BudgetSpentError as error:
            for exchange in waiting:
                exchange.stop_spending(error)
            return
        for exchange, answer in zip(waiting, answers, strict=True):
            exchange.take(answer, None)
